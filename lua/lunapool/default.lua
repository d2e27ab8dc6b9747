-- What built-in routing does, as a policy: reads on the standbys, everything else on the primary.
--
-- For a policy of your own that differs in something, and leaves the rest to this one:
--
--   local default = require "lunapool.default"
--   local M = { api = 1 }
--   function M.plan(statement, cluster)
--     if statement:touches("orders") then return cluster.primary, "orders are read where they are written" end
--     return default.plan(statement, cluster)
--   end
--   return M

local M = { api = 1 }

---@param statement lunapool.Statement
---@param cluster lunapool.Cluster
---@return lunapool.Decision
---@return string
function M.plan(statement, cluster)
  if statement.is_read then
    return cluster.standbys, "a read"
  end
  return cluster.primary, "not proven to be a read"
end

return M
