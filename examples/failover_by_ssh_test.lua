-- lunapool test examples/failover_by_ssh_test.lua

local t = require "lunapool.test"

local function cluster(sim)
  sim:cluster { primary = "pg1", standbys = { "pg2", "pg3" }, follow_timeout = "600s" }
  sim:run "1s"
end

t.case("pg_ctl promotes, and the other standby follows by pg_rewind", function(sim)
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

t.case("a promotion that fails is tried again, then the next candidate", function(sim)
  cluster(sim)
  sim:hook_fails("promote", "pg2")
  sim:hook_fails("promote", "pg3", 1)
  sim:kill "pg1"
  sim:run "30s"
  t.is(sim:primary(), "pg3")
  t.ok(not sim:is_writable("pg2"), "pg2 is no primary")
end)

t.case("Lunapool may die at any step: the next one goes on", function(sim)
  cluster(sim)
  sim:leader_dies_at "promote"
  sim:kill "pg1"
  sim:run "30s"
  t.ok(sim:primary() == "pg2" or sim:primary() == "pg3", "a standby is primary")
  t.is(sim:promotions(), 1)
end)
