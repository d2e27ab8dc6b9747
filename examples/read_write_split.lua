-- Reads on standbys, everything else on the primary: what built-in routing does, spelt out.

local M = { api = 1 }

function M.route(query, cluster)
  if query.is_read and not query.in_transaction then
    return cluster.standbys, "a read"
  end
  if query.is_read and query.read_only then
    return cluster.standbys, "a transaction that only reads"
  end
  return cluster.primary, query.is_read and "in a transaction" or "not proven to be a read"
end

return M
