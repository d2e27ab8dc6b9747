-- lunapool test examples/failover_by_commands_test.lua

local t = require "lunapool.test"

t.case("who is here comes first, and the old primary becomes a standby", function(sim)
  sim:cluster { primary = "pg1", standbys = { "pg2", "pg3" }, nodes = { pg3 = { tags = { "site=here" } } } }
  sim:run "1s"
  sim:kill "pg1"
  sim:run "60s"
  t.is(sim:primary(), "pg3")
  t.ok(sim:is_streaming "pg1", "pg1 follows")
  t.ok(not sim:is_quarantined "pg1")
  t.is(sim:promotions(), 1)
end)

t.case("nobody is here: somebody else", function(sim)
  sim:cluster { primary = "pg1", standbys = { "pg2", "pg3" } }
  sim:run "1s"
  sim:kill "pg1"
  sim:run "60s"
  t.ok(sim:primary() == "pg2" or sim:primary() == "pg3", "a standby is primary")
end)
