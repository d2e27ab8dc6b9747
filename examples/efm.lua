-- EDB Failover Manager decides who is primary; Lunapool (failover = external, the default) follows what nodes say of themselves within a
-- probe_interval, and holds what would write meanwhile.  What is left for EFM's load balancer scripts is to keep a node away that it will stop:
--
--   script.load.balancer.detach = /usr/bin/lunapool ctl run efm-detach --host=%h
--   script.load.balancer.attach = /usr/bin/lunapool ctl run efm-attach --host=%h
--
-- Its cluster has a state_dir.  Of a primary nothing has to be told: its statements end or wait, and go on at the next one.

local lp = require "lunapool"
local M = { api = 1, tasks = {}, on = {} }

local function node_of(task, cluster)
  for _, node in ipairs(cluster.nodes) do
    if task.args.host and (node.host == task.args.host or node.name == task.args.host) then
      return node
    end
  end
  return nil, "--host=%h names a node of cluster " .. cluster.name
end

M.tasks["efm-detach"] = function(task, cluster)
  local node, err = node_of(task, cluster)
  if not node then return nil, err end
  if node == cluster.primary then return node.name .. " is the primary" end
  lp.drain(node, { timeout = 10 }) -- who stays longer is cut off
  return lp.detach(node)
end

M.tasks["efm-attach"] = function(task, cluster)
  local node, err = node_of(task, cluster)
  if not node then return nil, err end
  return lp.attach(node)
end

function M.on.primary_changed(event, cluster)
  return lp.notify(event.node.name .. " is the primary of " .. cluster.name)
end

return M
