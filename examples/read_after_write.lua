-- A session that has just written reads from the primary for a while, and so does everybody who asks for orders.

local MS = 2000

local M = { api = 1 }

function M.plan(statement, cluster)
  if statement:touches("orders") then
    return cluster.primary, "orders are read where they are written"
  end
end

function M.route(query, cluster)
  if query.is_read and query.ms_since_write < MS then
    return cluster.primary, "this session wrote a moment ago"
  end
end

return M
