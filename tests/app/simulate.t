#!/usr/bin/env -S /usr/bin/python3
"""lunapool test: good and bad files of tests, seeds that do the same again, the examples, and that all of it is described."""
import glob
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from harness import PROGRAM, ROOT  # noqa: E402

LONG = os.environ.get('LUNAPOOL_LONG')
home = temp_dir()
HEAD = 'local t = require "lunapool.test"\n'


def test(*args):
    return run([PROGRAM, 'test', *args], timeout=600)


def file(name, text):
    with open(f'{home}/{name}', 'w') as f:
        f.write(text)
    return f'{home}/{name}'


def case(body, name='one', file_name='x_test.lua'):
    return test(file(file_name, f'{HEAD}t.case("{name}", function(sim)\n{body}\nend)\n'))


# -- the command line
for args in ([], ['--seeds'], ['--seeds', '0', 'x'], ['--seeds', 'x', 'x'], ['--nonsense', 'x'], ['--seed', '-1', 'x']):
    status, out, err = test(*args)
    is_((status, out), (2, ''), f'"test {" ".join(args)}" is a mistake')
status, out, err = test('--help')
is_((status, err), (0, ''), 'test --help')
like(out, r'--seeds N', '… tells of seeds')

# -- files that are no tests
for text, told in (('local x = \n', r'x_test\.lua:2: '), (HEAD, r'it has no case'), ('error("no")\n', r'x_test\.lua:1: no'),
                   (HEAD + 't.case(7)\n', r'x_test\.lua:2: a case has a name')):
    status, out, err = test(file('x_test.lua', text))
    is_((status, out.splitlines()[:1]), (1, ['1..1']), f'{text!r} fails')
    like(out, r'(?m)^not ok 1 - .*x_test\.lua$', '… by its name')
    like(out, told, '… and says why')
status, out, err = test(f'{home}/none_test.lua')
is_(status, 1, 'a file that is not there fails')

# -- mistakes in cases
CLUSTER = 'sim:cluster { primary = "pg1", standbys = { "pg2", "pg3" } } '
for body, told in (('sim:kill "pg1"', r'x_test\.lua:3: begin with sim:cluster'),
                   (CLUSTER + CLUSTER, r'a case begins once'),
                   (CLUSTER + 'sim:kill "pg9"', r'x_test\.lua:3: .*there is no such node'),
                   (CLUSTER + 'sim:run "soon"', r'a time, as'),
                   (CLUSTER + 'sim:lag("pg2", "much")', r'bytes, as'),
                   (CLUSTER + 'sim:hook_fails "promotion"', r"invalid option 'promotion'"),
                   (CLUSTER + 'sim:leader_dies_at "lunch"', r"invalid option 'lunch'"),
                   (CLUSTER + 't.routes(sim, "select 1", { from = "pg1" })', r'no from'),
                   (CLUSTER + 'sim:run "1s" t.is(sim:primary(), "pg2")', r'x_test\.lua:3: it is "pg1", and "pg2" was expected'),
                   ('sim:cluster { restart_grce = "1s" }', r'restart_grce .*did you mean restart_grace'),
                   ('sim:cluster { policy = "none.lua" }', r'none\.lua: cannot open it'),
                   ('sim:cluster { nodes = { pg7 = { priority = 1 } } }', r'pg7 is neither')):
    status, out, err = case(body)
    is_(status, 1, f'{body} fails')
    like(out, told, '… and says why')

# -- a case that fails, with its seed and what had happened
file('bad.lua', 'local M = { api = 1 }\nfunction M.failover() return nil, "not on Mondays" end\nreturn M\n')
FAILS = CLUSTER + 'sim:run "1s" sim:kill "pg1" sim:run "5s" t.ok(sim:primary(), "there is a primary")'
status, out, err = case(FAILS, file_name='bad_test.lua')
is_(status, 1, 'a policy that wants nobody fails')
like(out, r'there is a primary: it is nil', '… by what the case says')
like(out, r'seed 1; the same again: lunapool test --seed 1 ', '… with its seed')
like(out, r'#   1\.000 test: kill pg1\n(.*\n)*.*not on Mondays', '… and what had happened')
again = test('--seed', '1', f'{home}/bad_test.lua')
is_(again[1], out, 'the same seed does exactly the same again')
other = test('--seed', '2', f'{home}/bad_test.lua')
ok(other[1].replace('seed 2', 'seed 1') != out, 'another one does not')

# -- a policy that makes an invariant false: it promotes everybody, and says that it failed
file('greedy.lua', 'local lp = require "lunapool"\nlocal M = { api = 1 }\nfunction M.promote(op, node)\n'
     '  for _, other in ipairs(op.cluster.nodes) do\n    lp.sql(other, "select pg_promote(false)")\n  end\n'
     '  lp.sleep(0.5)\n  return true\nend\nreturn M\n')
status, out, err = case(CLUSTER + 'sim:run "1s" sim:kill "pg1" sim:run "5s"', file_name='greedy_test.lua')
is_(status, 1, 'a policy that promotes two nodes fails without being asked')
like(out, r'violated: one promotion: operation 1 has tried 1 candidates, and pg\d is the 2th', '… by the rule that it breaks')

# -- faults of each kind, without a policy
GOOD = {
    'frozen': 'sim:freeze "pg1" sim:run "10s" t.ok(sim:primary() ~= "pg1") sim:thaw "pg1" sim:run "5s" t.ok(sim:is_quarantined "pg1") '
              't.at_most(sim:write_outage(), "3s")',
    'partitioned': 'sim:partition "pg1" sim:run "10s" t.ok(sim:primary() ~= "pg1") sim:heal "pg1" sim:run "5s" t.is(sim:promotions(), 1)',
    'back as primary': 'sim:kill "pg1" sim:run "5s" local p = sim:primary() sim:return_as_primary "pg1" sim:run "5s" '
                       't.is(sim:primary(), p) t.ok(sim:is_writable "pg1") t.ok(sim:is_quarantined "pg1")',
    'restarted': 'sim:restart "pg2" sim:run "10s" t.ok(sim:is_streaming "pg2") t.is(sim:primary(), "pg1") t.is(sim:promotions(), 0)',
    'full': 'sim:refuse "pg1" sim:run "10s" t.is(sim:primary(), "pg1") t.is(sim:promotions(), 0)',
    'slow': 'sim:slow("pg1", "50ms") sim:run "10s" t.is(sim:promotions(), 0)',
    'full disk, hung disk, healed': 'sim:disk_full "pg1" sim:run "300ms" sim:heal "pg1" sim:hang "pg1" sim:run "300ms" sim:heal "pg1" '
                                    'local n = sim:writes() sim:run "1s" t.ok(sim:writes() > n) t.is(sim:primary(), "pg1")',
    'hook fails once': 'sim:hook_fails("promote", nil, 1) sim:kill "pg1" sim:run "5s" t.ok(sim:primary()) t.at_most(sim:write_outage(), "4s")',
    'first candidate hangs': 'sim:hook_hangs("promote", "pg2") sim:kill "pg1" sim:run "60s" t.is(sim:primary(), "pg3")',
    'switchover': 't.ok(sim:switchover "pg3") sim:run "5s" t.is(sim:primary(), "pg3") t.is(sim:lost_writes(), 0) t.at_most(sim:write_outage(), "300ms")',
    'orders': 't.ok(sim:detach "pg2") sim:run "1s" t.ok(sim:is_quarantined "pg2") local ok, why = sim:detach "pg1" t.like(why, "is the primary") '
              't.ok(sim:attach "pg2") sim:run "1s" t.ok(sim:maintenance(true)) sim:run "1s" sim:kill "pg1" sim:run "5s" t.is(sim:promotions(), 0)',
    'a disk that hangs': 'sim:hang "pg1" sim:run "45s" t.ok(sim:primary() ~= "pg1") t.is(sim:promotions(), 1)',
    'a full disk': 'sim:disk_full "pg1" sim:run "45s" t.ok(sim:primary() ~= "pg1") t.is(sim:promotions(), 1)',
    'a cut between two nodes': 'sim:partition("pg2", "pg1") sim:run "10s" t.is(sim:primary(), "pg1") t.is(sim:promotions(), 0) '
                               't.at_most(sim:write_outage(), "100ms") sim:heal "pg2" sim:run "5s" t.ok(sim:is_streaming "pg2")',
    'a cut from Lunapool': 'sim:partition("pg2", "lunapool") sim:run "5s" t.is(sim:primary(), "pg1") t.ok(sim:is_streaming "pg2") sim:heal "pg2" sim:run "2s" '
                           't.is(sim:promotions(), 0)',
    'a torn journal': 'sim:tear_journal() sim:run "2s" t.is(sim:primary(), "pg1") t.is(sim:epoch(), 1) sim:kill "pg1" sim:run "5s" t.ok(sim:primary()) '
                      't.is(sim:promotions(), 1)',
    'promoted by others': 'sim:kill "pg1" sim:run "20ms" sim:promote "pg3" sim:run "5s" t.ok(sim:primary() ~= "pg1") t.is(sim:epoch(), 2)',
}
tests = HEAD + ''.join(f't.case("{name}", function(sim) {CLUSTER} sim:run "1s" {body} end)\n' for name, body in GOOD.items())
tests += ''.join(f't.case("Lunapool dies at {step}", function(sim) {CLUSTER} sim:run "1s" sim:leader_dies_at "{step}" sim:kill "pg1" '
                 f'sim:run "10s" t.ok(sim:primary()) t.is(sim:promotions(), 1) end)\n' for step in ('confirm', 'hold', 'choose', 'promote', 'publish', 'follow'))
tests += ('t.case("synchronous", function(sim) sim:cluster { sync = "ANY 1 (pg2, pg3)" } sim:run "1s" sim:lag("pg3", "1MB") sim:run "1s" '
          'sim:kill "pg1" sim:run "5s" t.is(sim:primary(), "pg2") t.is(sim:lost_writes(), 0) end)\n')
tests += ('t.case("late reads", function(sim) sim:cluster { max_lag = "1MB", max_lag_time = "1s" } sim:run "1s" sim:lag("pg2", "10s") '
          'sim:lag("pg3", "64MB") sim:run "2s" t.routes(sim, "select 1", { to = "pg1" }) sim:heal "pg2" sim:run "2s" '
          't.routes(sim, "select 1", { to = "pg2" }) t.routes(sim, "update t set x = 1", { to = "pg1" }) end)\n')
status, out, err = test('--seeds', '200' if LONG else '20', file('faults_test.lua', tests))
is_((status, err), (0, ''), f'{len(GOOD) + 8} faults, with twenty seeds each')
if status:
    print('# ' + out.replace('\n', '\n# '))

# -- tasks, and what actions do to nodes
file('tasks.lua', 'local lp = require "lunapool"\nlocal M = { api = 1, tasks = {} }\nfunction M.tasks.spare(task, cluster)\n'
     '  local node = cluster:node(task.args.node)\n  local ok, err = lp.drain(node, { timeout = 10 })\n  if not ok then return nil, err end\n'
     '  lp.sleep(5)\n  local rows = lp.sql(node, "select count(*) as n from jobs")\n  lp.log("jobs: " .. rows[1].n)\n  return "done"\nend\n'
     'function M.tasks.pause(task, cluster)\n  local hold = lp.hold(cluster)\n  lp.sleep(2)\n  hold:release()\nend\n'
     'function M.tasks.bad() return nil, "no way" end\nreturn M\n')
status, out, err = test(file('tasks_test.lua', HEAD + 't.case("tasks", function(sim) ' + CLUSTER + 'sim:answers("pg2", "from jobs", { { n = 7 } }) '
                             'sim:run "1s" local ok, said = sim:task("spare", { node = "pg2" }) t.ok(ok, said) t.like(said, "jobs: 7") '
                             't.ok(sim:now() >= 6) local ok, why = sim:task "bad" t.ok(not ok) t.like(why, "no way") '
                             'ok, why = sim:task "none" t.like(why, "no policy has a task") '
                             't.at_most(sim:write_outage(), "100ms") t.ok(sim:task "pause") t.at_most(sim:write_outage(), "2.1s") '
                             't.ok(sim:write_outage() > 1.9) sim:run "1s" t.is(sim:promotions(), 0) end)\n'))
is_((status, err), (0, ''), 'tasks run, wait, ask and hold')
if status:
    print('# ' + out.replace('\n', '\n# '))

# -- who is asked by HTTP
file('http.lua', 'local lp = require "lunapool"\nlocal M = { api = 1, tasks = {} }\nfunction M.tasks.ask(task)\n'
     '  local r, err = lp.http { url = task.args.url, body = task.args.body, timeout = 3 }\n'
     '  if not r then return nil, err.kind .. ": " .. err.message .. " " .. tostring(err.status) end\n  lp.log(r.status .. " " .. r.body)\nend\n'
     'function M.failover(event, cluster) return cluster:candidates() end\n'
     'function M.fence(op, node) return lp.http { url = "http://pdu/off?" .. node.name, method = "PUT" } and true end\nreturn M\n')
status, out, err = test(file('http_test.lua', HEAD + 't.case("http", function(sim) ' + CLUSTER + """
  local asked, down
  sim:http("^http://vip/", function(request) asked = request.method .. " " .. tostring(request.body) return 200, "up" end)
  sim:http("/missing", function() return 404, "none" end)
  sim:http("/late", function() return 200, "late", 5 end)
  sim:http("/gone", function() return nil, "connection reset" end)
  sim:http("^http://pdu/", function(request) down = request.method .. request.url:match("%?(.*)") sim:kill "pg1" return 204 end)
  local ok, said = sim:task("ask", { url = "http://vip/x" }) t.ok(ok, said) t.like(said, "200 up") t.is(asked, "GET nil")
  ok, said = sim:task("ask", { url = "http://vip/x", body = "b" }) t.is(asked, "POST b")
  ok, said = sim:task("ask", { url = "http://vip/missing" }) t.like(said, "http: GET http://vip/missing: status 404 404")
  local began = sim:now()
  ok, said = sim:task("ask", { url = "http://vip/late" }) t.like(said, "timeout") t.at_most(sim:now() - began, 3.1)
  ok, said = sim:task("ask", { url = "http://vip/gone" }) t.like(said, "connection reset")
  ok, said = sim:task("ask", { url = "http://nobody/" }) t.like(said, "nobody answers there")
  sim:freeze "pg1" sim:run "10s" t.is(down, "PUTpg1") t.ok(sim:primary() ~= "pg1") t.called(sim, "fence", "pg1")
end)
t.case("wrong", function(sim) """ + CLUSTER + 'sim:http("x", function() error "no" end) sim:task("ask", { url = "http://x/" }) sim:run "1s" end)\n'))
like(out, r'(?m)^ok 1 - http\nnot ok 2 - wrong\n# .*an answer of the test.s: .*no', 'HTTP is answered by the test')
if not out.count('\nok 1'):
    print('# ' + out.replace('\n', '\n# '))

# -- decisions that fail, drains
file('decides.lua', 'local M = { api = 1 }\nfunction M.failover() return nil, "never" end\nfunction M.returning() return "attach" end\nreturn M\n')
status, out, err = test(file('decides_test.lua', HEAD + 't.case("as without it", function(sim) ' + CLUSTER + 'sim:hook_fails "failover" '
                             'sim:kill "pg1" sim:run "5s" t.ok(sim:primary()) t.called(sim, "failover", "pg1") end)\n'
                             't.case("or as it says", function(sim) ' + CLUSTER + 'sim:kill "pg1" sim:run "5s" t.is(sim:primary(), nil) end)\n'
                             't.case("drains", function(sim) ' + CLUSTER + 'sim:busy("pg2", "5s") t.ok(sim:drain("pg2", "1min")) sim:run "4s" '
                             't.ok(not sim:is_quarantined "pg2") sim:run "3s" t.ok(sim:is_quarantined "pg2") local ok, why = sim:drain "pg1" '
                             't.like(why, "is the primary") end)\n'))
is_((status, err), (0, ''), 'decisions fail or hold, and a drain waits')
if status:
    print('# ' + out.replace('\n', '\n# '))

# -- several clusters
file('both.lua', 'local lp = require "lunapool"\nlocal M = { api = 1, tasks = {} }\nfunction M.tasks.who(task, cluster) lp.log(cluster.name .. " " .. '
     'cluster.primary.name .. " " .. lp.cluster(task.args.other).primary.name) end\nreturn M\n')
status, out, err = test('--seeds', '10', file('both_test.lua', HEAD + """
local function begin(sim)
  sim:clusters { { name = "orders", primary = "o1", standbys = { "o2", "o3" }, sync = "ANY 1 (o2, o3)" },
                 { name = "reports", primary = "r1", standbys = { "r2" }, failover = "manual" } }
  sim:run "1s"
end
t.case("what happens to one is nothing to the other", function(sim)
  begin(sim) sim:kill "o1" sim:run "5s"
  t.ok(sim:primary() == "o2" or sim:primary "orders" == "o3") t.is(sim:primary "reports", "r1")
  t.is(sim:promotions(), 1) t.is(sim:promotions "reports", 0) t.is(sim:epoch "orders", 2) t.is(sim:epoch "reports", 1)
  t.at_most(sim:write_outage "reports", "100ms") t.ok(sim:write_outage() > 0.1) t.is(sim:lost_writes(), 0)
  t.routes(sim, "update t set x = 1", { database = "reports", to = "r1" }) t.routes(sim, "update t set x = 1", { to = { "o2", "o3" } })
  local ok, said = sim:task("who", { other = "reports" }, "orders") t.ok(ok, said) t.like(said, "orders o%d r1")
end)
t.case("both at once, and Lunapool", function(sim)
  begin(sim) sim:leader_dies_at "promote" sim:kill "o1" t.ok(sim:switchover "r2") sim:run "10s"
  t.ok(sim:primary() ~= "o1") t.is(sim:promotions(), 1) t.ok(sim:primary "reports") t.at_most(sim:promotions "reports", 1)
end)
t.case("orders", function(sim)
  begin(sim) t.ok(sim:switchover(nil, "reports")) sim:run "3s" t.is(sim:primary "reports", "r2") t.is(sim:primary(), "o1")
  t.ok(sim:maintenance(true, "orders")) sim:run "1s" sim:kill "o1" sim:run "5s" t.is(sim:promotions "orders", 0)
  t.ok(sim:writes "reports" > 100) t.ok(sim:detach "r1") sim:run "1s" t.ok(sim:is_quarantined "r1")
end)
"""))
is_((status, err), (0, ''), 'several clusters, each with its own life')
if status:
    print('# ' + out.replace('\n', '\n# '))
for body, told in (('sim:clusters { { name = "a" }, { name = "b" } }', r'two nodes are called pg1'), ('sim:clusters { { primary = "x" } }', r'a name of its own'),
                   ('sim:clusters {}', r'one to 8 clusters'), (CLUSTER + 'sim:primary "other"', r'there is no such cluster')):
    status, out, err = case(body)
    like(out, told, f'{body} fails and says why')

# -- an operator's own configuration
os.makedirs(f'{home}/conf.d', exist_ok=True)
file('hba', 'local all all trust\n')
file('conf.d/10.conf', 'listen { port = 6432 }\nauth { hba_file = "../hba" }\nstate_dir = "/nowhere"\n'
     'cluster "orders" { failover = auto service_user = "lp" policy = "../rejoin2.lua" ssh_user = "postgres"\n'
     '  node "o1" { host = "127.0.0.1" port = 5433 data_dir = "/d/1" }\n  node "o2" { host = "127.0.0.1" port = 5434 data_dir = "/d/2" priority = 0 }\n'
     '  node "o3" { host = "db3.example" data_dir = "/d/3" ssh_host = "db3.ssh" } }\n'
     'cluster "one" { node "x" { host = "/run/pg" } }\ncluster "reports" { service_user = "lp" failover = manual node "r1" { host = "10.1.1.1" } node "r2" { host = "10.1.1.2" } }\n'
     'database "shop" { cluster = "orders" }\ndatabase "facts" { cluster = "reports" }\ndatabase "*" { cluster = "one" }\n')
file('rejoin2.lua', 'local lp = require "lunapool"\nlocal M = { api = 1 }\nfunction M.returning() return "rejoin" end\nM.rejoin = lp.rejoin\nreturn M\n')
CONFIGURED = HEAD + """
t.case("as it stands there", function(sim)
  sim:configured { reports = { primary = "r2" }, %s }
  sim:run "1s" t.is(sim:primary(), "o1") t.is(sim:primary "reports", "r2") t.is(sim:primary "one", "x")
  sim:kill "o1" sim:kill "r2" sim:run "3s"
  t.is(sim:primary(), "o3", "o2 must not") t.is(sim:primary "reports", nil)
  t.routes(sim, "update t set x = 1", { database = "shop", to = "o3" }) t.routes(sim, "select 1", { database = "anything", to = "x" })
  sim:run "60s" t.called(sim, "rejoin", "o1") t.ok(sim:is_streaming "o1") t.ok(not sim:is_quarantined "o1")
end)
"""
file('configured_test.lua', CONFIGURED % '')
status, out, err = test('-c', f'{home}/conf.d', '--seeds', '10', f'{home}/configured_test.lua')
is_((status, err), (0, ''), 'test -c: a configuration as it stands')
if status:
    print('# ' + out.replace('\n', '\n# '))
status, out, err = test(file('configured_test.lua', CONFIGURED % 'path = "conf.d", clients = false'))
is_((status, err), (0, ''), '… or named by the test')
for body, told in (('sim:configured()', r'which configuration'), ('sim:configured { path = "none" }', r'none'), ('sim:configured { path = "conf.d", who = 7 }', 'not who'),
                   ('sim:configured { path = "conf.d", orders = { primary = "r1" } }', r'cluster orders has no node r1')):
    status, out, err = case(body)
    like(out, told, f'{body} fails and says why')

# -- who comes back
file('rejoin.lua', 'local lp = require "lunapool"\nlocal M = { api = 1 }\nfunction M.returning() return "rejoin" end\n'
     'function M.rejoin(op, node, primary)\n  local ok, err = lp.rewind(node, primary)\n  if not ok then return nil, err end\n'
     '  return lp.start_standby(node, primary)\nend\nreturn M\n')
status, out, err = test('--seeds', '20', file('rejoin_test.lua', HEAD + 't.case("rejoins", function(sim) ' + CLUSTER +
                                              'sim:run "1s" sim:kill "pg1" sim:run "60s" t.called(sim, "rejoin", "pg1") '
                                              't.ok(sim:is_streaming "pg1") t.ok(not sim:is_quarantined "pg1") t.is(sim:promotions(), 1) end)\n'
                                              't.case("rejoins, with Lunapool dead on the way", function(sim) ' + CLUSTER +
                                              'sim:run "1s" sim:leader_dies_at "verify" sim:kill "pg1" sim:run "60s" '
                                              't.ok(sim:is_streaming "pg1") t.ok(not sim:is_quarantined "pg1") end)\n'))
is_((status, err), (0, ''), 'the policy has the old primary rejoin')
if status:
    print('# ' + out.replace('\n', '\n# '))

# -- who cannot be primary has what was acknowledged
file('main.lua', 'return { api = 1 }\n')
status, out, err = test('--seeds', '20', file('main_test.lua', HEAD +
                                              't.case("its promotion always fails: the next one", function(sim) sim:cluster { primary = "pg1", '
                                              'standbys = { "pg2", "pg3" }, sync = "ANY 1 (pg2, pg3)", nodes = { pg2 = { priority = 200 } } }\n'
                                              'sim:run "2s" sim:hook_fails("promote", "pg2") sim:kill "pg1" sim:run "5s" '
                                              't.is(sim:primary(), "pg3") t.at_most(sim:write_outage(), "4s") end)\n'
                                              't.case("its priority is 0: another gets it from there", function(sim) sim:cluster { primary = "pg1", '
                                              'standbys = { "pg2", "pg3" }, sync = "ANY 1 (pg2, pg3)", nodes = { pg3 = { priority = 0 } } }\n'
                                              'sim:run "2s" sim:lag("pg2", "64kB") sim:run "1s" sim:kill "pg1" sim:heal "pg2" sim:run "20s" '
                                              't.is(sim:primary(), "pg2") t.is(sim:lost_writes(), 0) end)\n'))
is_((status, err), (0, ''), 'it is counted, and handed on')
if status:
    print('# ' + out.replace('\n', '\n# '))

# -- the examples
examples = sorted(glob.glob(f'{ROOT}/examples/*_test.lua'))
ok(len(examples) >= 3, 'there are examples')
status, out, err = test('--seeds', '1000' if LONG else '20', *examples)
is_((status, err), (0, ''), 'they are good, with twenty seeds each')
if status:
    print('# ' + out.replace('\n', '\n# '))

# -- what there is is described
with open(f'{ROOT}/src/sim/methods.h') as f:
    methods = re.findall(r'METHOD\((\w+)\)', f.read().split('METHODS(METHOD)', 1)[1])
with open(f'{ROOT}/lua/lunapool/test.lua') as f:
    functions = re.findall(r'^function M\.(\w+)', f.read(), re.M)
with open(f'{ROOT}/lua/lunapool/meta/test.lua') as f:
    stubs = f.read()
with open(f'{ROOT}/docs/testing-policies.md') as f:
    manual = f.read()
is_(sorted(re.findall(r'^function sim:(\w+)', stubs, re.M)), sorted(methods + ['cluster', 'clusters', 'configured']), 'the stubs have all methods, and no others')
is_(sorted(re.findall(r'^function t\.(\w+)', stubs, re.M)), sorted(functions), '… and all functions')
is_([m for m in methods if not re.search(rf'\b{m}\(', manual) and f'sim:{m} ' not in manual], [], 'the manual has all methods')
is_([m for m in functions if f't.{m}(' not in manual], [], '… and all functions')
done()
