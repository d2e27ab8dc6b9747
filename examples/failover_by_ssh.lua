-- What failover.sh and follow_primary.sh of a Pgpool-II cluster do by ssh (pg_ctl promote; stop, pg_rewind, primary_conninfo, start), where each
-- step may fail and is then tried again.  require "lunapool.by_ssh" is this and more; here is how such a thing is written.
--
-- It takes of the configuration: ssh_user in the block cluster, data_dir (and bin_dir, ssh_host) in the blocks node; and a key
-- that lets the user who runs Lunapool log in at the nodes without a question.

local lp = require "lunapool"
local M = { api = 1 }

local function program(node, name)
  return node.bin_dir == "" and name or node.bin_dir .. "/" .. name
end

-- Called again when it fails; pg_ctl says that a server that is no standby any more cannot be promoted, so that is asked first.
function M.promote(op, node)
  local rows = lp.sql(node, "select pg_is_in_recovery() as is_standby", nil, { timeout = 2 })
  if rows and not rows[1].is_standby then
    return true
  end
  local output, err = lp.ssh(node, { program(node, "pg_ctl"), "promote", "-D", node.data_dir }, { timeout = 30 })
  return output and true, err
end

-- A standby that has replayed more than the new primary ever had cannot simply follow it.
function M.follow_primary(op, node, primary)
  local ok = lp.rewind(node, primary)
  if ok then
    return lp.start_standby(node, primary)
  end
  lp.log("pg_rewind cannot help " .. node.name .. ": it gets a new copy", "warn")
  return lp.rebuild(op, node, primary, { timeout = 12 * 3600 })
end

return M
