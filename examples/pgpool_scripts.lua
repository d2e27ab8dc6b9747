-- Two scripts of a Pgpool-II cluster, failover.sh and follow_primary.sh, that are to be kept as they are.
--
-- %d, %h and so on are filled in as there.  Their end counts here: a script that fails is called again, or the next candidate is tried;
-- one that hangs is ended.  Whatever failover.sh says, the node itself is asked whether it was promoted.

local lp = require "lunapool"
local M = { api = 1 }

local failover_command = "/etc/pgpool-II/failover.sh %d %h %p %D %m %H %M %P %r %R %N %S"
local follow_primary_command = "/etc/pgpool-II/follow_primary.sh %d %h %p %D %m %H %M %P %r %R"

local function run(command, op, timeout)
  local output, err = lp.exec({ "sh", "-c", lp.compat.escapes(op, command) }, { timeout = timeout })
  if not output then
    return nil, err
  end
  lp.log(output)
  return true
end

function M.promote(op, node)
  return run(failover_command, op, 60)
end

function M.follow_primary(op, node, primary)
  return run(follow_primary_command, op, 1800)
end

return M
