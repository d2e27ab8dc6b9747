-- lunapool test examples/pgpool_scripts_test.lua

local t = require "lunapool.test"

t.case("failover.sh gets the letters that it knows, and its word is not taken for it", function(sim)
  sim:cluster { primary = "pg1", standbys = { "pg2", "pg3" } }
  local lines, times = {}, 0
  sim:program("failover%.sh", function(line)
    lines[#lines + 1], times = line, times + 1
    if times > 1 then -- it says at once that it was done
      sim:promote(line:match "'10%.0%.0%.2' " and "pg2" or "pg3")
    end
  end)
  sim:program("follow_primary%.sh", function(line)
    sim:follow(line:match "'10%.0%.0%.3' '5432' '/[^']*/pg3' '1'" and "pg3" or "pg2", sim:primary())
  end)
  sim:run "1s"
  sim:kill "pg1"
  sim:run "20s"
  t.ok(times >= 2, "it is called again")
  t.like(lines[1], "failover%.sh '0' '10%.0%.0%.1' '5432'") -- %d %h %p: the node that failed
  t.ok(sim:primary() == "pg2" or sim:primary() == "pg3", "a standby is primary")
  t.is(sim:promotions(), 1)
end)
