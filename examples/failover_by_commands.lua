-- Failover by PostgreSQL's own programs, for nodes on this machine, or such that the programs in bin_dir reach: pg_ctl promotes, standbys
-- follow, an old primary is rewound and becomes a standby, and where pg_rewind cannot help it gets a new copy.
--
-- It takes data_dir (bin_dir, config_dir) of each node.  require "lunapool.by_commands" is the same without the changes below.

local lp = require "lunapool"
local M = require "lunapool.by" { here = true, rebuild = true }

-- Only nodes of the site where the applications are; when none of these can be primary, the others.
function M.failover(event, cluster)
  local near = cluster:candidates(function(node) return node.tags.site == "here" end)
  return #near > 0 and near or cluster:candidates()
end

function M.on.operation_ended(event)
  if event.kind == "failover" and event.outcome == "done" then
    lp.notify(event.node.name .. " is the primary now")
  end
end

return M
