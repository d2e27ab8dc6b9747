-- Who reads from one standby goes on reading there, so that its cache stays warm for him.  When a standby comes or goes, only those
-- move who have to (rendezvous hashing).

local lp = require "lunapool"

local M = { api = 1 }

function M.balance(query, nodes)
  local who, best, most = query.user .. "@" .. query.client_address, nil, -1
  for _, node in ipairs(nodes) do
    local score = lp.hash(node.name .. who)
    if score > most then
      best, most = node, score
    end
  end
  return best
end

return M
