#!/usr/bin/env -S /usr/bin/python3
"""A policy sends statements to another cluster: each runs where its data are, transactions stay in one cluster, and a session takes its settings along."""
import os
import sys
import threading  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from harness import ROOT  # noqa: E402
import pgwire as w  # noqa: E402

proxy_only()
one, two = Cluster(standbys=1), Cluster(standbys=1)
CLUSTERS = {'shard1': one, 'shard2': two}


def shard(tenant):
    """What examples/shard_by_tenant.lua makes of a name."""
    h = 2166136261
    for b in tenant.encode():
        h = (h ^ b) * 16777619 & 0xffffffff
    return 'shard%d' % (h % 2 + 1)


TENANTS = [next(f't{i}' for i in range(100) if shard(f't{i}') == s) for s in CLUSTERS]
FIRST, SECOND = (f'tenant_{t}' for t in TENANTS)
for name, c in CLUSTERS.items():
    for d in (FIRST, SECOND, 'both'):
        c.database(d, setup=f"""create table whose (cluster text); insert into whose values ('{name}');
                                create table log (i serial primary key, v text); create table {name}_only (i int)""")
    c.mark_nodes(f'{name}_n')
WHOSE, HERE = 'select cluster from whose', "select current_setting('test.node')"
with open(f'{ROOT}/examples/shard_by_tenant.lua') as f:
    EXAMPLE = f.read()


class Sharded(Proxy):
    """The harness's first cluster is called main: here it is shard1, whose nodes are shard1_n0 and _n1."""

    def write_config(self):
        super().write_config()
        with open(self.path) as f:
            text = f.read()
        with open(self.path, 'w') as f:
            f.write(text.replace('"main"', '"shard1"'))


def sharded(policy, **kw):
    p = Sharded(one, **{'workers': 2, 'pool': {'size': 3}, 'cluster_options': {'policy': 'main.lua', 'max_lag_time': 0}, 'files': {'main.lua': policy},
                        'others': {'shard2': (two, {'max_lag_time': 0})}, **kw})
    admin = p.connect('lunapool')
    wait_for(lambda: sum(n['fit'] == 'yes' for n in admin.table('SHOW NODES')) == 2, what='two standbys that are fit')
    return p, admin


def policy(body):
    return 'local lp = require "lunapool"\nlocal M = { api = 1 }\n' + body + '\nreturn M\n'


def seen(c, sql, n=10):
    return {c.one(sql) for _ in range(n)}


def settled(c, node):
    wait_for(lambda: c.one(HERE) == node, what=f'reads on {node}')


with scenario('examples/shard_by_tenant.lua'):
    proxy, admin = sharded(EXAMPLE)
    a, b = proxy.connect(FIRST), proxy.connect(SECOND)
    is_((seen(a, WHOSE), seen(b, WHOSE)), ({'shard1'}, {'shard2'}), 'each tenant finds its data')
    settled(a, 'shard1_n1')
    settled(b, 'shard2_n1')
    ok(True, 'reads run on standbys of their shard')
    b.q("insert into log (v) values ('x')")
    is_((two.one('select count(*) from log', SECOND), one.one('select count(*) from log', SECOND)), ('1', '0'), 'writes go there, too')
    is_([b.one('select count(*) from log') for _ in range(30)], ['1'] * 30, '… and are read')
    is_([r[0] for r in b.x(WHOSE)], ['shard2'], 'extended statements')
    b.ask(w.parse('named', WHOSE) + w.sync())
    is_([w.text_row(m[1]) for m in b.ask(w.bind('', 'named') + w.execute() + w.sync()) if m[0] == 'D'], [['shard2']], 'a prepared statement by its name')
    b.q('prepare p as ' + WHOSE)
    is_(b.q('execute p'), [['shard2']], '… and by SQL')
    b.send(b''.join(w.query(WHOSE) for _ in range(5)) + w.query("insert into log (v) values ('y')") + w.query(WHOSE))
    is_([w.text_row(m[1]) for m in b.until('Z', 7) if m[0] == 'D'], [['shard2']] * 6, 'a pipeline')
    is_(b.q(f"begin; insert into log (v) values ('z'); {WHOSE}; commit"), [['shard2']], 'a transaction in one Query')
    b.q('begin')
    is_(b.one(WHOSE), 'shard2', 'a transaction')
    b.q("insert into log (v) values ('in it')")
    b.q('savepoint s')
    b.q('rollback to s')
    b.q('commit')
    is_(two.one("select count(*) from log where v = 'in it'", SECOND), '1', '… with all that is in it')
    b.q('begin read only')
    is_((b.one(WHOSE), b.error("insert into log (v) values ('no')")), ('shard2', '25006'), 'a transaction that only reads')
    b.q('rollback')
    big = 'x' * 300000
    b.q(f"insert into log (v) values ('{big}')")
    b.x('insert into log (v) values ($1)', [big[:100000]])
    is_(two.one("select count(*) from log where length(v) >= 100000", SECOND), '2', 'texts and parameters of any size')
    b.send(w.query('copy log (v) from stdin') + w.copy_data('copied\n') + w.copy_done())
    b.until('Z')
    is_(two.one("select count(*) from log where v = 'copied'", SECOND), '1', 'COPY')
    is_(one.one('select count(*) from log', SECOND), '0', 'nothing went astray')
    b.q("set search_path = pg_catalog, public; set timezone = 'Asia/Tokyo'")
    is_((b.one('show timezone'), b.one("select current_setting('search_path')")), ('Asia/Tokyo', 'pg_catalog, public'), "the session's settings are there")
    settled(b, 'shard2_n1')
    e = dict(b.q('explain route ' + WHOSE))
    is_((e['cluster'], e['runs on']), ('shard2', 'shard2_n1'), 'EXPLAIN ROUTE tells the cluster')
    like(e['decided by'], 'main.lua', '… and who says so')

MOVING = policy("""
function M.route(query, cluster)
  local where = query.text:match("to=(%w+)")
  if where == "wait" then return lp.wait(20000) end
  local to = where and lp.cluster(where)
  if to then return query.is_read and to.standbys or to.primary, "as it says" end
end""")

with scenario('one session, two clusters'):
    moving, madmin = sharded(MOVING)
    c = moving.connect('both')

    def at(where, sql=WHOSE):
        return f'/* to={where} */ {sql}'
    is_([c.one(at(s)) for s in ['shard1', 'shard2'] * 10], ['shard1', 'shard2'] * 10, 'statement by statement')
    is_(c.one(WHOSE), 'shard1', 'what the policy leaves open belongs to the cluster of the database')
    is_([c.x(at(s))[0][0] for s in ['shard1', 'shard2'] * 5], ['shard1', 'shard2'] * 5, '… extended ones, too')
    c.send(b''.join(w.query(at(s)) for s in ['shard1', 'shard2', 'shard2', 'shard1', 'shard2'] * 4))
    is_([w.text_row(m[1])[0] for m in c.until('Z', 20) if m[0] == 'D'], ['shard1', 'shard2', 'shard2', 'shard1', 'shard2'] * 4, 'in a pipeline')
    segment = lambda s: w.parse('', at(s)) + w.bind('', '') + w.execute() + w.sync()  # noqa: E731
    c.send(b''.join(segment(s) for s in ['shard1', 'shard2', 'shard1', 'shard1', 'shard2'] * 3))
    is_([w.text_row(m[1])[0] for m in c.until('Z', 15) if m[0] == 'D'], ['shard1', 'shard2', 'shard1', 'shard1', 'shard2'] * 3, '… of segments')
    for i in range(0, len(segment('shard2')), 7):  # as the network may cut it
        c.send(segment('shard2')[i:i + 7])
    is_([w.text_row(m[1])[0] for m in c.until('Z') if m[0] == 'D'], ['shard2'], 'in pieces')
    is_(c.error(at('shard1', 'select * from shard2_only')), '42P01', 'each cluster has its own tables')
    is_(c.q(at('shard2', 'select * from shard2_only')), [], '… indeed')
    c.q("set application_name = 'traveller'")
    is_({c.one(at(s, 'show application_name')) for s in ('shard1', 'shard2')}, {'traveller'}, 'settings travel')
    c.q(at('shard2', "insert into log (v) values ('w')"))
    is_([c.one(at('shard2', "select count(*) from log where v = 'w'")) for _ in range(20)], ['1'] * 20, 'what is written in one is read there')

with scenario('what must be seen is known for each cluster'):
    two.pause_node(1)
    c.q(at('shard2', "insert into log (v) values ('late')"))
    late = at('shard2', "select current_setting('test.node'), count(*) from log where v = 'late'")
    is_([c.q(late) for _ in range(5)], [[['shard2_n0', '1']]] * 5, 'a standby that is late there is not asked')
    wait_for(lambda: c.one(at('shard1', HERE)) == 'shard1_n1', what='a standby of the other')
    is_([c.one(at('shard1', HERE)) for _ in range(5)], ['shard1_n1'] * 5, 'the other cluster\'s is')
    is_([c.q(late) for _ in range(5)], [[['shard2_n0', '1']]] * 5, '… and coming back it is still known')
    two.pause_node(1, False)
    wait_for(lambda: c.q(late) == [['shard2_n1', '1']], what='a read on the standby')
    c.q(at('shard1', "insert into log (v) values ('v')"))
    is_(c.one(at('wait', "select count(*) from log where v = 'v'")), '1', 'lp.wait() waits at home')

with scenario('a transaction stays'):
    c.q('begin')
    is_(c.one(at('shard2')), 'shard2', 'where its first statement went')
    is_(c.one(WHOSE), 'shard2', '… with what the policy says nothing of')
    told = [dict(c.q('explain route ' + at(where))) for where in ('shard1', 'shard2')]
    like(told[0].get('error', ''), '^0A000 .* to the cluster "shard1", but the transaction is in', 'EXPLAIN ROUTE tells what belongs elsewhere will fail')
    is_(told[1].get('error'), None, '… and what does not will not')
    is_(c.error(at('shard1')), '0A000', 'a statement for another cluster is refused')
    is_(c.error(at('shard2')), '25P02', '… which ends the transaction')
    c.q('rollback')
    is_(c.one(at('shard1')), 'shard1', 'behind it the session is free')
    c.q(f"begin; {at('shard2', 'select 1')}")
    answer = c.ask(w.parse('', at('shard1')) + w.bind('', '') + w.execute() + w.sync())
    is_([w.fields(m[1])['C'] for m in answer if m[0] == 'E'], ['0A000'], 'an extended one, too')
    like(next(w.fields(m[1])['M'] for m in answer if m[0] == 'E'), 'to the cluster "shard1", but the transaction is in the cluster "shard', '… in words')
    c.q('rollback')
    c.q('begin')
    c.q(at('shard2', "insert into log (v) values ('undone')"))
    c.q('savepoint a')
    c.q('rollback to a')
    c.q('rollback')
    is_(two.one("select count(*) from log where v = 'undone'", 'both'), '0', 'ROLLBACK goes where the transaction is')
    c.q('begin isolation level repeatable read')
    is_((c.one(at('shard2', 'show transaction_isolation')), c.one(WHOSE)), ('repeatable read', 'shard2'), 'its modes go along')
    c.q('commit')

with scenario('a transaction that reads'):
    wait_for(lambda: c.one(at('shard2', HERE)) == 'shard2_n1', what='a read on the standby')
    c.q('begin read only')
    is_((c.one(at('shard2', HERE)), c.one(HERE), c.error(at('shard1'))), ('shard2_n1', 'shard2_n1', '0A000'), 'runs on a standby there, and stays')
    is_(c.error(HERE), '25P02', '… and fails with what belongs elsewhere')
    c.q('rollback')
    c.send(w.query(at('shard1')) + w.query('begin') + w.query(at('shard2')) + w.query('commit') + w.query(at('shard1')))
    is_([w.text_row(m[1])[0] for m in c.until('Z', 5) if m[0] == 'D'], ['shard1', 'shard2', 'shard1'], 'a pipeline of both')
    begin = w.parse('', 'begin') + w.bind('', '') + w.execute()
    c.send(segment('shard1') + begin + segment('shard2') + segment('shard2') + w.query('commit') + segment('shard1'))
    is_([w.text_row(m[1])[0] for m in c.until('Z', 5) if m[0] == 'D'], ['shard1', 'shard2', 'shard2', 'shard1'], '… of segments')
    until, uadmin = sharded(MOVING, databases={'*': {'read_until_write': True}})
    u = until.connect('both')
    wait_for(lambda: u.one(at('shard2', HERE)) == 'shard2_n1', what='a read on the standby')
    u.q('begin')
    first = u.one(at('shard2', HERE))
    u.q('savepoint s')
    u.q("insert into log (v) values ('moved')")
    is_((first, u.one(at('shard2', HERE)), u.one(WHOSE)), ('shard2_n1', 'shard2_n0', 'shard2'), 'until it writes: then it moves to the primary of the same cluster')
    u.q('commit')
    is_(two.one("select count(*) from log where v = 'moved'", 'both'), '1', '… and nothing is lost')
    until.stop()

with scenario('plan'):
    planned, padmin = sharded(policy("""
function M.plan(statement, cluster)
  if statement:touches("shard2_only") then return lp.cluster("shard2").standbys, "it lives there" end
end"""))
    x = planned.connect('both')
    is_([x.q('select * from shard2_only') for _ in range(3)], [[]] * 3, 'what plan() says holds')
    is_(x.one(WHOSE), 'shard1', '… for that statement')
    x.q('begin')
    is_((x.q('select * from shard2_only'), x.one(WHOSE)), ([], 'shard2'), '… and decides where a transaction is')
    x.q('commit')
    planned.stop()

with scenario('a pin stays'):
    c.q(at('shard2', 'create temp table mine as select 1 i'))
    is_((c.one('select i from mine'), c.one(WHOSE)), ('1', 'shard2'), 'who has a temporary table stays with it')
    like(dict(c.q('explain route ' + at('shard1'))).get('error', ''), '^0A000 .* but the server that the session keeps', 'EXPLAIN ROUTE tells what cannot run')
    is_(c.error(at('shard1')), '0A000', 'a statement for another cluster is refused')
    is_(c.one(at('shard2', 'select i from mine')), '1', '… and nothing else is lost')
    c.q('drop table mine')
    c.q('discard all')
    wait_for(lambda: c.one(at('shard1')) == 'shard1', what='the end of the pin')
    ok(True, 'without it the session is free')
    wait_for(lambda: c.one(at('shard2', HERE)) == 'shard2_n1', what='a read on the standby')
    is_(c.one('/* lunapool: route=primary */ ' + at('shard2', HERE)), 'shard2_n0', 'a hint chooses a node of the cluster that the policy says')
    is_(c.one('/* lunapool: node=shard2_n1 */ ' + at('shard2', HERE)), 'shard2_n1', '… by its name, too')

with scenario('session pooling'):
    own, oadmin = sharded(MOVING, pool={'size': 3, 'mode': 'session'})
    s = own.connect('both')
    is_((s.one(at('shard2')), s.one(WHOSE), s.error(at('shard1'))), ('shard2', 'shard2', '0A000'), 'the first statement decides for the session')
    own.stop()

with scenario('a primary is away'):
    one.kill_node(0)
    wait_for(lambda: {n['node']: n['reachable'] for n in madmin.table('SHOW NODES')}['n0'] == 'no', what='the death seen')
    wait_for(lambda: not [x for x in madmin.table('SHOW SERVERS') if x['port'] == str(one.ports[0])], what='the end of its servers')
    is_([c.one(at('shard2')) for _ in range(3)], ['shard2'] * 3, 'what belongs to another cluster than that of the database runs meanwhile')
    is_(c.q(at('shard2', "insert into log (v) values ('m') returning v")), [['m']], '… writes, too')
    waiting = threading.Thread(target=lambda: c.q("insert into log (v) values ('n')"))
    waiting.start()
    wait_for(lambda: [x['state'] for x in madmin.table('SHOW CLIENTS') if x['state'] == 'waiting'] or not waiting.is_alive(), what='a write that waits')
    one.start_node(0)
    waiting.join()
    is_(one.one("select count(*) from log where v = 'n'", 'both'), '1', 'what belongs to that cluster waits for its primary')
    wait_for(lambda: sum(n['fit'] == 'yes' for n in madmin.table('SHOW NODES')) == 2, 60, what='two standbys that are fit')

with scenario('reloads in between'):
    errors, counts, over = [], [0] * 4, threading.Event()

    def client(k):
        x = moving.connect('both')
        while not over.is_set():
            try:
                for s in ('shard1', 'shard2'):
                    if x.one(at(s)) != s or x.q(f"begin; {at(s)}; commit")[0][0] != s or x.x(at(s))[0][0] != s:
                        errors.append('wrong cluster')
                counts[k] += 1
            except Exception as e:  # noqa: BLE001
                errors.append(str(e))
                return
    ts = [threading.Thread(target=client, args=(k,)) for k in range(4)]
    for t in ts:
        t.start()
    for i in range(40):
        moving.settings['others'] = {n: CLUSTER for n, CLUSTER in ([('extra', (two, {})), ('shard2', (two, {}))] if i % 2 else [('shard2', (two, {}))])}
        moving.settings['options'] = {'log_level': 'info' if i % 3 else 'warn'}
        line = moving.reload() if i % 3 else (moving.write_config(), madmin.q('RELOAD'))
    over.set()
    for t in ts:
        t.join()
    is_(errors, [], 'clusters come and go, and none of those who use others sees it')
    ok(min(counts) > 0, f'… while they work ({counts})')

with scenario('the cluster of a session is gone'):
    is_(c.one(at('shard2')), 'shard2', 'it is there')
    moving.settings['others'] = {}
    moving.write_config()
    madmin.q('RELOAD')
    is_(c.one(at('shard2')), 'shard1', 'lp.cluster() does not know it any more, so the policy says nothing')

done()
