#!/usr/bin/env -S /usr/bin/python3
"""What goes wrong with who shall be primary, row by row of the catalogue of failures: it dies, it lies, it is behind, it is paused, it is asked for by
somebody who lies on another timeline; and the old primary that is back at an inconvenient time."""
import os
import re
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import PROMOTE, Scene, family, signal_tree  # noqa: E402

proxy_only()

POLICY = '''
local lp = require "lunapool"
local M = { api = 1, tasks = {} }
''' + PROMOTE + '''
%s
function M.tasks.go() lp.kv.set("go", true) end
return M
'''


def hooked(text, **kw):
    return Scene(policy=POLICY % text, **kw)


with scenario('row 30: the candidate dies between the choice and its promotion'):
    name = 'row 30'
    s = hooked('function M.promote(op, node) if node.name == "n1" then lp.exec({ "sh", "-c", "kill -9 $(cat %s)" }) end return promote(node) end\n' % '/nowhere'
               + 'function M.failover(event, cluster) return { cluster:node("n1"), cluster:node("n2") } end', promote_timeout='2s')
    pids = f'{s.state}/pids'
    with open(pids, 'w') as f:
        f.write(' '.join(str(p) for p in family(s.cluster.process[1].pid)))
    s.proxy.files['main.lua'] = s.proxy.files['main.lua'].replace('/nowhere', pids)
    s.proxy.reload()
    s.load()
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.ends()
    s.end_load()
    is_(s.operations(), [('failover', 'done', 'n0', 'n2')], f'{name}: the same operation goes on with the next one')
    is_((s.promotions(2), s.promotions(3)), (1, 0), f'{name}: one promotion')
    is_(s.errors, [], f'{name}: clients have waited')
    s.close()

with scenario('row 31: who is said to be promoted writes, but on the timeline of the old primary'):
    name = 'row 31'
    s = hooked('function M.promote(op, node) if node.name ~= "n1" then return promote(node) end while not lp.kv.get("go") do lp.sleep(0.05) end return true end\n'
               'function M.failover(event, cluster) return event.refused.n1 and { cluster:node("n2") } or { cluster:node("n1"), cluster:node("n2") } end')
    s.load(writers=2, readers=1)
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.proxy.wait_log('operation_step.*step=promote.*target=n1')
    s.cluster.kill_node(1, signal.SIGINT)
    os.remove(f'{s.cluster.dir}/n1/standby.signal')
    s.cluster.start_node(1)
    ok(s.is_writable(1), f'{name}: somebody has started it as no standby')
    s.admin.q('RUN go')
    s.ends()
    s.end_load()
    is_(s.operations(), [('failover', 'done', 'n0', 'n2')], f'{name}: the next one is')
    like(s.proxy.log(), 'promotion_failed.*node=n1.*that is no promotion', f'{name}: it is said why')
    like(s.row(1)['reason'], 'its promotion failed: it is out of recovery on the timeline', f'{name}: … and remembered')
    ok(s.is_untouched(1), f'{name}: nobody is there')
    is_(s.errors, [], f'{name}: clients have waited')
    s.close()

with scenario('row 32: the promotion is done, and nobody says so'):
    name = 'row 32'
    s = hooked('function M.promote(op, node) promote(node) return nil, "the connection was lost" end')
    s.load()
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.ends()
    s.end_load()
    is_(len(re.findall('candidate_chosen', s.proxy.log())), 1, f'{name}: the node itself was asked, and nobody else promoted')
    is_(s.promotions(2), 1, f'{name}: one promotion')
    is_(sum(s.is_writable(i) for i in (1, 2)), 1, f'{name}: one is writable')
    s.close()

with scenario('row 28: replay is paused; row 29: a long query is in the way'):
    name = 'rows 28, 29'
    s = Scene(sync='ANY 1 (n1, n2)')
    long = [s.cluster.at(i) for i in (1, 2)]
    for c in long:
        c.q('begin isolation level repeatable read; select count(*) from t')
    for i in (1, 2):
        s.cluster.pause_node(i)
    s.load(readers=0)
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.ends()
    s.end_load()
    s.judge(name, s.primary(), 5)
    for c in long:
        is_(c.one('select count(*) from t'), '0', f'{name}: a query that runs goes on')
        c.drop()
    s.close()

with scenario('row 34: another timeline, with more in it'):
    name = 'row 34'
    s = Scene(standbys=3)
    s.load(writers=2, readers=1)
    # n3 gets its WAL from n2, which somebody promotes: both are on a timeline that is not ours, and write much
    s.feed_standby(3, s.cluster.ports[2])
    with s.cluster.at(2) as c, s.cluster.at(3) as d:
        wait_for(lambda: d.one(f"select count(*) from pg_stat_wal_receiver where sender_port = {s.cluster.ports[2]}") == '1', what='n3 to follow n2')
        c.q('select pg_promote()')
        wait_for(lambda: c.one('select pg_is_in_recovery()') == 'f')
        c.q("create table theirs as select i from generate_series(1, 100000) i")
        lsn = c.one('select pg_current_wal_flush_lsn()')
        wait_for(lambda: d.one(f"select coalesce(pg_last_wal_replay_lsn() >= '{lsn}', false)") == 't', what='n3 to have it')
    s.proxy.wait_log('node_quarantined.*node=n2')
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.ends()
    s.end_load()
    is_(s.primary(), 1, f'{name}: it is chosen by its ancestry, not by how much it has')
    told = s.admin.table('SHOW OPERATIONS')[0]['candidates']
    like(told, r'n2: .*quarantine', f'{name}: it says why not n2')
    like(told, r'n3: it is on timeline 2, the primary was on 1', f'{name}: … and why not n3')
    is_(s.errors, [], f'{name}: clients have waited')
    s.close()

with scenario('row 19: the old primary is back before the point of no return'):
    name = 'row 19, before'
    s = hooked('function M.failover(event, cluster) if lp.kv.get("go") then return cluster:node("n1") end return nil, "not yet" end')
    s.load()
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.proxy.wait_log('operation_waits.*not yet')
    s.cluster.start_node(0)
    s.ends('aborted')
    s.end_load()
    is_(s.operations()[0][:2], ('failover', 'aborted'), f'{name}: it is given up')
    is_((s.primary(), s.promotions(2), s.errors), (0, 0, []), f'{name}: everything is as it was')
    s.consistent(name, 0)
    wait_for(lambda: s.fit() == 2, 30, 'both standbys to stream again')
    ok(True, f'{name}: its standbys are back')
    name = 'row 19, behind'
    s.proxy.files['main.lua'] = POLICY % 'function M.promote(op, node) if lp.kv.get("go") then return promote(node) end return nil, "not yet" end'
    s.proxy.reload()
    s.history.__init__()
    s.load()
    at = len(s.proxy.log())
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.proxy.wait_log('operation_step.*step=promote', start=at)
    s.cluster.start_node(0)
    s.admin.q('RUN go')
    s.ends('(done|aborted)', start=at)
    s.end_load()
    new = s.primary()
    is_(s.operations()[0][:2], ('failover', 'done' if new else 'aborted'), f'{name}: n{new} it is')
    is_(sum(s.is_writable(i) for i in (0, 1, 2)), 1 if new == 0 else 2, f'{name}: nobody was promoted beside it' if new == 0 else f'{name}: the old one is writable')
    if new:
        wait_for(lambda: 'quarantine' in (s.row(0)['why_not'] or ''), what='the quarantine')
        ok(s.is_untouched(0), f'{name}: … and in quarantine, where nobody is')
    is_(s.errors, [], f'{name}: clients have waited')
    s.close()
done()
