-- lunapool test examples/nearest_standby_test.lua

local t = require "lunapool.test"

local function cluster(sim)
  sim:cluster { primary = "pg1", standbys = { "pg2", "pg3", "pg4" } }
  sim:run "1s"
end

t.case("the standby of the same site takes over, also when another one has more", function(sim)
  cluster(sim)
  sim:lag("pg2", "1MB")
  sim:run "1s"
  sim:kill "pg1"
  sim:run "10s"
  t.is(sim:primary(), "pg2")
  t.called(sim, "follow_primary", "pg3", "pg4")
  t.routes(sim, "INSERT INTO orders VALUES (1)", { to = "pg2" })
  t.at_most(sim:write_outage(), "1s")
end)

t.case("without it, one of the other site does", function(sim)
  cluster(sim)
  sim:kill "pg2"
  sim:run "1s"
  sim:kill "pg1"
  sim:run "10s"
  t.is(sim:primary(), "pg3")
end)

t.case("the archive is never the primary: rather nobody", function(sim)
  cluster(sim)
  sim:kill "pg2"
  sim:kill "pg3"
  sim:run "1s"
  sim:kill "pg1"
  sim:run "10s"
  t.is(sim:primary(), nil)
  t.is(sim:promotions(), 0)
end)
