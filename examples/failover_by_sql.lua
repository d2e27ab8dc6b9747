-- Failover where nothing but SQL reaches the nodes: what Lunapool does without a policy, as a policy to begin one's own with.
--
-- The service role must be allowed to: EXECUTE on pg_promote and pg_reload_conf, pg_monitor, and from PostgreSQL 15 on
-- GRANT ALTER SYSTEM ON PARAMETER primary_conninfo; before, it is a superuser.  An old primary cannot be rewound this way: it stays in quarantine.

local lp = require "lunapool"
local M = { api = 1 }

-- A promotion may be overtaken by the end of the old stream and then sleeps for seconds; asked for again it begins at once.
function M.promote(op, node)
  return lp.retry { tries = 600, delay = 0.02 } (function()
    lp.sql(node, "select pg_promote(false)") -- an error means that it is no standby any more
    local rows, err = lp.sql(node, "select pg_is_in_recovery() as is_standby")
    if not rows then
      return nil, err
    elseif rows[1].is_standby then
      return nil, node.name .. " is in recovery"
    end
    return true
  end)
end

local function quoted(text)
  return "'" .. text:gsub("\\", "\\\\"):gsub("'", "\\'") .. "'"
end

-- With another address; who it is and how it proves that stays as it was.  (A URI, or several hosts: better written out here.)
local function aimed_at(conninfo, primary)
  for _, key in ipairs { "host", "hostaddr", "port" } do
    conninfo = (" " .. conninfo):gsub("%s" .. key .. "%s*=%s*'[^']*'", ""):gsub("%s" .. key .. "%s*=%s*[^%s']+", "")
  end
  return ("%s host=%s port=%d"):format(conninfo:match("^%s*(.-)%s*$"), quoted(primary.host), primary.port)
end

function M.follow_primary(op, node, primary)
  local rows, err = lp.sql(node, "select current_setting('primary_conninfo')")
  if not rows then
    return nil, err
  end
  local conninfo = aimed_at(rows[1].current_setting, primary):gsub("'", "''")
  rows, err = lp.sql(node, "alter system set primary_conninfo = '" .. conninfo .. "'")
  if rows then
    rows, err = lp.sql(node, "select pg_reload_conf()")
  end
  return rows and true, err
end

return M
