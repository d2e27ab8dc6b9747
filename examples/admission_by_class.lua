-- At login each client gets a class by its application; batch work and reports then read where they disturb nobody.

local lp = require "lunapool"

local CLASSES = { nightly = "batch", etl = "batch", metabase = "reports" }

local M = { api = 1 }

function M.admit(client)
  if client.user == "guest" and client.database == "payroll" then
    return lp.reject("guests do not see the payroll", "28000")
  end
  return { class = CLASSES[client.application] or "interactive" }
end

local function is_idle(node)
  return node.in_flight < 10
end

function M.route(query, cluster)
  if query.class == "interactive" or not query.is_read or query.in_transaction then
    return
  end
  if query.class == "reports" then
    return cluster:node("pg3"), "reports"
  end
  return cluster:candidates(is_idle), "batch work goes where there is room"
end

return M
