-- pg3 runs the new version: five of a hundred users read there, the same ones each time.

local lp = require "lunapool"

local CANARY, PERCENT = "pg3", 5

local M = { api = 1 }

local function is_stable(node)
  return node.name ~= CANARY
end

function M.route(query, cluster)
  if not query.is_read or query.in_transaction then
    return
  end
  local canary = cluster:node(CANARY)
  if canary and canary.is_fit and lp.hash(query.user) % 100 < PERCENT then
    return canary, "one of the canary's users"
  end
  return cluster:candidates(is_stable), "not one of the canary's users"
end

function M.selftest()
  local n = 0
  for i = 1, 10000 do
    if lp.hash("user" .. i) % 100 < PERCENT then
      n = n + 1
    end
  end
  return n > 300 and n < 700, "the share of users is far from what it should be"
end

return M
