-- A reporting cluster: servers that have all of the data each, none a standby of another, and get them anew from a dump, half of them
-- at a time.  The other half answers meanwhile, so that nobody sees old data behind new:  lunapool ctl run rolling-refresh --dump=/srv/dump
--
-- Each server is a cluster of one node.  A refresh that fails leaves the half that was not touched, and says why; run it again then, and
-- after a restart of Lunapool on the way, which does not know of it.

local lp = require "lunapool"
local M = { api = 1, tasks = {} }

local SERVERS = { "report1", "report2", "report3" }
local DATABASE, SOURCE = "reports", "host=etl dbname=reports user=refresh"

local groups = { all = SERVERS, first = {}, second = {} }
for i, name in ipairs(SERVERS) do
  local half = i <= #SERVERS / 2 and groups.first or groups.second
  half[#half + 1] = name
end

function M.route(query, cluster)
  local best
  for _, name in ipairs(query.stays and {} or groups[lp.kv.get("serving") or "all"]) do
    local node = lp.cluster(name).nodes[1]
    best = best and best.in_flight <= node.in_flight and best or node
  end
  return best, "the reporting server with least to do"
end

local function refresh(half, serving, dump)
  lp.kv.set("serving", serving)
  return lp.parallel(half, function(name)
    local node = lp.cluster(name).nodes[1]
    local ok, err = lp.drain(node, { timeout = 3600 })
    if not ok then return nil, err end
    local target = node.conninfo .. " dbname=" .. DATABASE
    return lp.exec({ "pg_restore", "--clean", "--if-exists", "--single-transaction", "-d", target, dump }, { timeout = 6 * 3600 })
  end)
end

M.tasks["rolling-refresh"] = function(task, cluster)
  local ok, err = lp.exec({ "pg_dump", "-Fc", "-f", task.args.dump, "-d", SOURCE }, { timeout = 6 * 3600 })
  if ok then ok, err = refresh(groups.first, "second", task.args.dump) end
  if ok then ok, err = refresh(groups.second, "first", task.args.dump) end
  if not ok then return nil, err end
  lp.kv.set("serving", nil)
  return #SERVERS .. " servers have the data of " .. task.args.dump
end

return M
