#!/usr/bin/env -S /usr/bin/python3
"""Policies in the control plane at real servers: tasks, events, and the hooks of a failover, good ones and bad ones."""
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import PROMOTE, signal_tree  # noqa: E402

proxy_only()


def policy(text):
    return 'local lp = require "lunapool"\nlocal M = { api = 1, tasks = {}, on = {} }\n' + text + '\nreturn M\n'


class Scene:
    """A primary and two standbys, and a Lunapool that fails over with this policy."""

    def __init__(self, text, **options):
        self.cluster = Cluster(standbys=2)
        self.cluster.query('create table t (id int)')
        state = temp_dir()
        os.chmod(state, 0o700)
        self.proxy = Proxy(self.cluster, workers=2, pool={'size': 5}, options={'state_dir': state},
                           cluster_options={'failover': 'auto', 'policy': 'main.lua', **options}, files={'main.lua': policy(text)})
        self.admin = self.proxy.connect('lunapool')
        wait_for(lambda: sum(r['fit'] == 'yes' for r in self.nodes().values()) == 2, what='both standbys fit')
        self.session = self.proxy.connect()
        self.session.q('insert into t values (1)')

    def nodes(self):
        return {r['node']: r for r in self.admin.table('SHOW NODES')}

    def primary(self):
        return next((n for n, r in self.nodes().items() if r['role'] == 'primary'), None)

    def tasks(self, name):
        return [r for r in self.admin.table('SHOW TASKS') if r['name'] == name]

    def kill(self):
        for i in (1, 2):
            self.cluster.caught_up(i)
        signal_tree(self.cluster, 0, signal.SIGKILL)

    def fail_over(self):
        self.kill()
        self.proxy.wait_log('operation_ended.*end=done', 60)
        self.session.q('insert into t values (2)')

    def promotions(self):
        return [l for l in self.proxy.log().split('\n') if 'candidate_chosen' in l]

    def close(self):
        self.proxy.stop()
        self.cluster.stop()


with scenario('the policy chooses, promotes, and makes the other one follow'):
    s = Scene(PROMOTE + '''
function M.failover(event, cluster) return { cluster:node("n2"), cluster:node("n1") } end
function M.promote(op, node) lp.log("promoting " .. node.name .. ", " .. op.old_primary.name .. " is lost") return promote(node) end
function M.follow_primary(op, node, primary)
  local made, err = lp.sql(node, "select format('alter system set primary_conninfo = %L', $1::text) as text", { primary.conninfo })
  if not made then return nil, err end
  for _, text in ipairs { made[1].text, "select pg_reload_conf()" } do
    local done, why = lp.sql(node, text)
    if not done then return nil, why end
  end
  return true
end
function M.on.primary_changed(event) lp.log("now it is " .. event.node.name) end
function M.tasks.who(task, cluster) return cluster.primary.name .. " " .. (task.args.say or "") end
''')
    out = run([PROGRAM, 'ctl', '-s', s.proxy.unix, 'run', 'who', '--say=a b'])
    like(out[1], 'n0 a b', 'a task is run by its name')
    s.fail_over()
    is_(s.primary(), 'n2', 'the one that it put first')
    like(s.proxy.log(), 'policy_log .*promoting n2, n0 is lost', 'by its hook')
    wait_for(lambda: s.nodes()['n1']['fit'] == 'yes', what='n1 to follow')
    is_([r['state'] for r in s.tasks('follow_primary')], ['done'], 'the other one follows by its hook')
    s.proxy.wait_log('policy_log .*now it is n2')
    out = run([PROGRAM, 'ctl', '-s', s.proxy.unix, 'run', 'who'])
    like(out[1], 'n2', 'tasks see it')
    with s.cluster.at(2) as c:
        is_(c.q('select id from t order by 1'), [['1'], ['2']], 'the session went on there')
    s.close()

with scenario('rows 31, 73: promotion fails at the first candidate: errors, lies, silence'):
    for how, body in (('an error', 'return nil, "no key for " .. node.name'), ('a lie', 'return true'),
                      ('a raised error', 'error("broken")'), ('nonsense', 'return "promoted"'),
                      ('silence', 'lp.exec({ "sh", "-c", "trap \\"\\" TERM; sleep 1000 & wait; sleep 1000" }, { timeout = 1000 }) return true')):
        s = Scene(PROMOTE + f'''
function M.failover(event, cluster) return event.refused.n1 and {{ cluster:node("n2") }} or {{ cluster:node("n1"), cluster:node("n2") }} end
function M.promote(op, node) if node.name == "n1" then {body} end return promote(node) end
''', promote_timeout='1s')
        s.fail_over()
        is_(s.primary(), 'n2', f'rows 31, 73, {how}: the next one')
        is_([re.search('node=(n.)', l).group(1) for l in s.promotions()], ['n1', 'n2'], f'{how}: one after the other')
        like(s.proxy.log(), 'promotion_failed.*node=n1', f'{how}: it is said')
        s.close()

with scenario('nobody is promoted before the old primary is fenced'):
    s = Scene('function M.fence(op, node) if lp.kv.get("off") then lp.log(node.name .. " is off") return true end return nil, "no answer of its power supply" end\n'
              'function M.tasks.off() lp.kv.set("off", true) end', fence_required=True)
    s.kill()
    s.proxy.wait_log('reason="the old primary is not fenced: no answer of its power supply"', 60)
    with s.cluster.at(1) as a, s.cluster.at(2) as b:
        is_([a.one('select pg_is_in_recovery()'), b.one('select pg_is_in_recovery()')], ['t', 't'], 'both are standbys still')
    s.admin.q('RUN off')
    s.proxy.wait_log('operation_ended.*end=done', 60)
    like(s.proxy.log(), 'policy_log .*n0 is off', 'then it goes on')
    ok(s.primary() in ('n1', 'n2'), 'and somebody is')
    is_(sum(r['state'] == 'done' for r in s.tasks('fence')), 1, 'it was fenced once')
    s.close()

with scenario('a hook that was killed with Lunapool goes on behind the steps that it has finished'):
    marks = temp_dir()
    s = Scene(PROMOTE + f'''
function M.promote(op, node)
  local made = lp.step("mark", function()
    local ok, err = lp.exec {{ "sh", "-c", "echo $1 >> {marks}/made", "sh", node.name }}
    return ok and {{ of = node.name, id = op.id }}, err
  end)
  if not lp.exec {{ "test", "-e", "{marks}/go" }} then lp.sleep(1000) end
  lp.log("made for " .. made.of .. " in " .. made.id .. ", now " .. op.id)
  return promote(node)
end
function M.on.operation_began(event) lp.log(event.kind .. " of " .. event.node.name) end
function M.on.operation_ended(event) lp.log(event.outcome .. ": " .. event.node.name .. " for " .. event.old.name) end
''', promote_timeout='60s')
    s.kill()
    wait_for(lambda: [r['waits_for'] for r in s.tasks('promote')] == ['sleep 1000 s'], what='the hook to wait behind its step')
    is_([r['last_line'] for r in s.tasks('operation_began')], ['failover of n0'], 'what has begun is told')
    s.proxy.kill()
    open(f'{marks}/go', 'w').close()
    s.proxy.start()
    s.proxy.wait_log('operation_ended.*end=done', 60)
    with open(f'{marks}/made') as f:
        made = f.read().split()
    is_(len(made), 1, 'what was finished was not done again')
    like(s.proxy.log(), f'policy_log .*made for {made[0]} in 1, now 1', '… and what it came to is known')
    s.admin = s.proxy.connect('lunapool')
    is_(s.primary(), made[0], 'then it went on')
    wait_for(lambda: [r['last_line'] for r in s.tasks('operation_ended')] == [f'done: {made[0]} for n0'], what='the end to be told')
    s.close()

with scenario('nobody shall be, until the policy thinks otherwise'):
    s = Scene('function M.failover(event, cluster) if lp.kv.get("go") then return cluster:node("n1") end return nil, "not at night" end\n'
              'function M.tasks.go() lp.kv.set("go", true) end')
    s.kill()
    s.proxy.wait_log('operation_waits.*the policy wants nobody to take its place: not at night')
    is_(s.primary(), None, 'nobody is')
    s.admin.q('RUN go')
    s.proxy.wait_log('operation_ended.*end=done', 60)
    is_(s.primary(), 'n1', 'and then the one')
    s.close()
done()
