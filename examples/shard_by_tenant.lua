-- Each tenant has a database of its own, tenant_<name>, on one of several clusters.  Which one follows from the name.

local lp = require "lunapool"

local SHARDS = { "shard1", "shard2" }

local M = { api = 1 }

function M.route(query, cluster)
  local tenant = query.database:match("^tenant_(.+)$")
  if not tenant then
    return
  end
  local shard = lp.cluster(SHARDS[lp.hash(tenant) % #SHARDS + 1])
  if query.is_read and not query.in_transaction then
    return shard.standbys, "reads of tenant " .. tenant
  end
  return shard.primary, "tenant " .. tenant
end

return M
