-- lunapool test examples/pgpool_scripts_test.lua

local t = require "lunapool.test"

t.case("failover.sh gets the letters that it knows, and its word is not taken for it", function(sim)
  sim:cluster { primary = "pg1", standbys = { "pg2", "pg3" } }
  local lines, times = {}, 0
  sim:program("failover%.sh", function(line)
    lines[#lines + 1], times = line, times + 1
    if times > 1 then -- the first time it says so, and nothing was done
      sim:promote("pg" .. line:match "'/[^']*' '%d' '10%.0%.0%.(%d)'")
    end
  end)
  sim:program("follow_primary%.sh", function(line)
    local node, primary = line:match "follow_primary%.sh '%d' '10%.0%.0%.(%d)'.* '%d' '10%.0%.0%.(%d)'"
    sim:follow("pg" .. node, "pg" .. primary)
  end)
  sim:run "1s"
  sim:kill "pg1"
  sim:run "20s"
  t.ok(times >= 2, "it is called again")
  t.like(lines[1], "failover%.sh '0' '10%.0%.0%.1' '5432'") -- %d %h %p: the node that failed
  t.ok(sim:primary() == "pg2" or sim:primary() == "pg3", "a standby is primary")
  t.is(sim:promotions(), 1)
end)
