-- Reports run for minutes and need a warm cache of their own: they live on pg3, and nobody else reads there.

local REPORTS = "pg3"

local M = { api = 1 }

local function is_for_others(node)
  return node.name ~= REPORTS
end

function M.route(query, cluster)
  if not query.is_read or query.in_transaction then
    return -- as it would be without this policy
  end
  if query.application ~= "reporting" then
    return cluster:candidates(is_for_others), REPORTS .. " is for reports"
  end
  local node = cluster:node(REPORTS)
  if node and node.is_fit then
    return node, "reports live on " .. REPORTS
  end
  return cluster.standbys, REPORTS .. " is away"
end

return M
