-- What lunapool.by_ssh and lunapool.by_commands have in common: failover with PostgreSQL's own programs.
--
-- Of the configuration it takes data_dir, and bin_dir where the programs are not in PATH, of each node.  Options: here, on this machine; rebuild, a new
-- copy where pg_rewind cannot help; conninfo, options, timeout as lp.rejoin has them.

local lp = require "lunapool"

return function(options)
  local M = { api = 1, tasks = {}, on = {} }

  -- A clean stop sends the standbys the last of what was written, so that the old primary can follow as it is.  One that is lost is left alone: to reach
  -- for it would take longer than all the rest.
  function M.fence(op, node)
    if op.kind ~= "switchover" then
      return nil, "only a switchover stops it"
    end
    return lp.stop(node, { here = options.here, timeout = 5 })
  end

  function M.promote(op, node)
    return lp.promote(node, options)
  end

  -- One that has replayed more than the new primary ever had cannot simply follow it.
  function M.follow_primary(op, node, primary)
    if lp.follow(node, primary, { here = options.here, timeout = 5 }) then
      return true
    end
    lp.log(node.name .. " does not follow " .. primary.name .. " as it is: it is rewound", "warn")
    return lp.rejoin(op, node, primary, options)
  end

  -- An old primary, or one that was promoted in vain, becomes a standby; what it has alone is gone then.  A standby is told whom to follow.
  function M.returning(event, node, cluster)
    return event.state == "standby" and "attach" or "rejoin"
  end

  function M.rejoin(op, node, primary)
    return lp.rejoin(op, node, primary, options)
  end

  function M.recover(op, node, primary)
    return lp.rebuild(op, node, primary, options)
  end

  return M
end
