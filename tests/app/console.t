#!/usr/bin/env -S /usr/bin/python3
"""The console shows what is: pools, clients, pins, nodes."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import columns, query, text_row  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database()
cluster.role('stranger')
proxy = Proxy(cluster, workers=2, pool={'size': 4, 'max_pinned': 2}, hba='host lunapool stranger all reject\nhost all all all trust\n')
admin = proxy.connect('lunapool')


def show(what):
    rows, names = [], []
    for kind, body in admin.ask(query(f'SHOW {what}')):
        if kind == 'T':
            names = [c[0] for c in columns(body)]
        elif kind == 'D':
            rows.append(dict(zip(names, text_row(body))))
    return rows


def pool():
    return [p for p in show('POOLS') if p['database'] == db][0]


a, b, c = (proxy.connect(db, params={'application_name': f'app{i}'}) for i in range(3))
a.q('begin; select 1')
b.q('create temp table t(i int)')
c.q('select 1')
wait_for(lambda: int(pool()['sv_idle']) >= 1, what='an idle server')
p = pool()
is_((p['user'], p['cl_active'], p['cl_waiting'], p['sv_active'], p['sv_pinned'], p['pool_mode'], p['pool_size']),
    ('postgres', '3', '0', '2', '1', 'transaction', '4'), 'SHOW POOLS: clients and servers')
pins = show('PINS')
is_(len(pins), 1, 'SHOW PINS: one')
is_((pins[0]['database'], pins[0]['application_name']), (db, 'app1'), '… who')
like(pins[0]['reason'], 'temp', '… why')
clients = {x['application_name']: x for x in show('CLIENTS')}
is_(sorted(k for k in clients if k.startswith('app')), ['app0', 'app1', 'app2'], 'SHOW CLIENTS: all')
is_([clients[f'app{i}']['state'] for i in range(3)], ['active', 'active', 'idle'], '… what they do')
is_([clients[f'app{i}']['doing'] for i in range(3)], ['ready'] * 3, '… in our own words')
is_((clients['app0']['addr'], clients['app0']['port']), ('127.0.0.1', str(a.sock.getsockname()[1])), '… from where')
is_((clients['app0']['local_addr'], clients['app0']['local_port']), ('127.0.0.1', str(proxy.port)), '… to where')
wait_for(lambda: 'new' not in [x['state'] for x in show('SERVERS')], what='the last login')
servers = {x['ptr']: x for x in show('SERVERS') if x['database'] == db}
is_([servers[clients[f'app{i}']['link']]['link'] for i in range(2)], [clients[f'app{i}']['ptr'] for i in range(2)],
    'SHOW SERVERS: who has which server')
is_({(x['state'], bool(x['link'])) for x in servers.values()}, {('active', True), ('idle', False)}, '… what they do')
is_({x['remote_pid'] for x in servers.values() if x['link']},
    {a.one('select pg_backend_pid()'), b.one('select pg_backend_pid()')}, '… which backends they are')
like(clients['app0']['connect_time'], r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+$', '… since when')
is_([(n['cluster'], n['node'], n['role'], n['sv_active']) for n in show('NODES')], [('main', 'n0', 'primary', '2')], 'SHOW NODES')
before = [int(s['total_query_count']) for s in show('STATS') if s['database'] == db][0]
for _ in range(5):
    c.q('select 1')
is_([int(s['total_query_count']) for s in show('STATS') if s['database'] == db][0] - before, 5, 'SHOW STATS counts')


def traffic():
    row = [s for s in show('STATS') if s['database'] == db][0]
    return int(row['total_received']), int(row['total_sent'])


was = traffic()
c.q('select 1')  # 14 bytes; the answer: a column's description, a row, a tag, ReadyForQuery
received, sent = traffic()
is_(received - was[0], 14, 'SHOW STATS: bytes from clients')
ok(50 < sent - was[1] < 100, 'SHOW STATS: bytes to clients')
is_({r['command'] for r in show('HELP')} >= {'SHOW POOLS', 'SHOW HELP'}, True, 'SHOW HELP')
is_(admin.error('SHOW NOTHING'), '08P01', 'what is not known is an error')
is_([m[0] for m in admin.ask(query(''))], ['I', 'Z'], 'nothing is answered by nothing')
like(admin.one('SHOW VERSION'), r'^Lunapool \d', 'and life goes on')
try:
    proxy.connect('lunapool', user='stranger')
    ok(False, 'hba.conf says who may come in')
except WireError as e:
    like(str(e), '^28000 ', 'hba.conf says who may come in')
is_(proxy.psql('show version', 'lunapool')[0], 0, 'psql can speak to it')
for x in (a, b, c):
    x.quit()
wait_for(lambda: not show('PINS') and not [x for x in show('CLIENTS') if x['application_name'].startswith('app')], what='their end')
ok(True, 'who went is not shown')

proxy = Proxy(cluster, hba='host all all all scram-sha-256\n', secrets='"postgres" "pass"\n')
admin = proxy.connect('lunapool', secret='pass')
is_(show('POOLS'), [], 'the console needs no pool')
with proxy.connect(db, secret='pass') as c:
    c.q('select 1')
    is_([p['database'] for p in show('POOLS')], [db], '… others do')
done()
