-- lunapool test examples/failover_by_sql_test.lua

local t = require "lunapool.test"

local function cluster(sim)
  sim:cluster { primary = "pg1", standbys = { "pg2", "pg3" } }
  sim:run "1s"
end

t.case("a standby is promoted, and the other one is told whom to follow", function(sim)
  cluster(sim)
  sim:kill "pg1"
  sim:run "30s"
  local primary = sim:primary()
  t.ok(primary == "pg2" or primary == "pg3", "a standby is primary")
  local other = primary == "pg2" and "pg3" or "pg2"
  t.called(sim, "promote", primary)
  t.called(sim, "follow_primary", other)
  t.ok(sim:is_streaming(other), "the other one follows")
  t.is(sim:promotions(), 1)
end)

t.case("the old primary comes back, and takes nothing", function(sim)
  cluster(sim)
  sim:kill "pg1"
  sim:run "10s"
  sim:start "pg1"
  sim:run "30s"
  t.ok(sim:is_quarantined "pg1")
  t.is(sim:promotions(), 1)
end)
