-- Who shall be the new primary: a standby of the same site, if there is one that may, and never one of the archive.
--
-- The rules that keep data safe come first: event.candidates are those who may at all, the best first.

local M = { api = 1 }

local site_of = { pg1 = "a", pg2 = "a", pg3 = "b" }
local archive = { pg4 = true }

function M.failover(event, cluster)
  local near, far = {}, {}
  local home = event.old_primary and site_of[event.old_primary.name]
  for _, node in ipairs(event.candidates) do
    if not archive[node.name] then
      local list = site_of[node.name] == home and near or far
      list[#list + 1] = node
    end
  end
  for _, node in ipairs(far) do
    near[#near + 1] = node
  end
  if #near == 0 then
    return nil, "only the archive is left"
  end
  return near
end

return M
