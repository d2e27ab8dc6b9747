#!/usr/bin/env -S /usr/bin/python3
"""What ran where, and why: EXPLAIN ROUTE says what then happens, SHOW ROUTES counts what was sent, and nobody sees a constant."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
import pgwire as w  # noqa: E402

proxy_only()
cluster = Cluster(standbys=2)
db = cluster.database(setup='''
create table t (i int primary key, v text);
insert into t select i, 'v' || i from generate_series(1, 100) i;
create function writes() returns int language sql volatile as $$ insert into t values (1000 + (random() * 1e6)::int) returning i $$;
''')
for i in range(3):  # a setting of a name with a dot is a session's, so a read may ask for it
    with open(f'{cluster.dir}/n{i}/postgresql.conf', 'a') as f:
        f.write(f"test.node = 'n{i}'\n")
    with cluster.at(i) as n:
        n.q('select pg_reload_conf()')
        wait_for(lambda: n.one("select current_setting('test.node', true)") == f'n{i}', what='the setting')
HERE = "current_setting('test.node')"


def rows_of(answer):
    names = [c[0] for m in answer if m[0] == 'T' for c in w.columns(m[1])]
    return [dict(zip(names, w.text_row(m[1]))) for m in answer if m[0] == 'D']


def shown(admin, what):
    return rows_of(admin.ask(w.query(what)))


def proxies(**kw):
    p = Proxy(cluster, **{'workers': 2, 'pool': {'size': 3}, **kw})
    admin = p.connect('lunapool')
    wait_for(lambda: sum(n['fit'] == 'yes' for n in shown(admin, 'SHOW NODES')) == 2, what='two standbys that are fit')
    return p, admin


def settled(c):
    """All standbys show what was written, and this session's reads go there again."""
    for i in (1, 2):
        lsn = cluster.one('select pg_current_wal_insert_lsn()')
        with cluster.at(i) as n:
            wait_for(lambda: n.one(f"select pg_last_wal_replay_lsn() >= '{lsn}'") == 't', what='replay')
    wait_for(lambda: c.one('select ' + HERE) != 'n0', what='a read on a standby')


def counted(admin, statement=None):
    """SHOW ROUTES of our database: (statement, node, decided by, because): count."""
    sums = {}
    for r in shown(admin, 'SHOW ROUTES'):
        if r['database'] == db and statement in (None, r['statement']):
            key = (r['statement'], r['node'], r['decided_by'], r['because'])
            ok(key not in sums, f'one row for {key}') if key in sums else None
            sums[key] = int(r['count'])
    return sums


with scenario('SHOW ROUTES counts what was sent, where it ran'):
    proxy, admin = proxies(workers=2)
    clients = [proxy.connect(db) for _ in range(6)]  # of both workers
    c = clients[0]
    for each in clients:
        settled(each)
    sent = {}

    def ran(statement, node, by, because, n=1):
        key = (statement, node, by, because)
        sent[key] = sent.get(key, 0) + n

    def read(each, literal):
        ran('select current_setting(?),?', each.one(f'select {HERE}, {literal}'), 'built-in routing', 'only reads')
    for i, each in enumerate(clients * 10):
        read(each, i)
        read(each, f"'secret {i}'")
    for i, each in enumerate(clients):
        ran('select current_setting(?),$1', each.x(f'select {HERE}, $1', [str(i)])[0][0], 'built-in routing', 'only reads')
    unseen = (' where i = -1', ' where i = - ?')
    for each in clients:
        for sql, shape, node, by, because in (
                ('begin', 'begin', None, 'session', 'it needs no server'),
                (f'select {HERE} from t' + unseen[0], 'select current_setting(?)from t' + unseen[1], 'n0', 'session', 'its transaction is there'),
                (f"update t set v = 'secret'" + unseen[0], 'update t set v = ?' + unseen[1], 'n0', 'session', 'its transaction is there'),
                ('commit', 'commit', 'n0', 'session', 'its transaction is there'),
                ("update t set v = 'secret'" + unseen[0], 'update t set v = ?' + unseen[1], 'n0', 'built-in routing', 'writes'),
                ('select writes() /* secret */ limit 0', 'select writes()limit ?', 'n0', 'built-in routing', 'calls a volatile function: writes'),
                ("/* lunapool: route=primary */ select v from t where v = 'secret'", 'select v from t where v = ?', 'n0', 'hint', 'as decided'),
                ('/* lunapool: node=n2 */ insert into t select 1 where false', 'insert into t select ? where false', 'n0', 'hint', 'writes'),
                ("set secret.key = 'secret'", 'set secret . key = ?', 'n0', 'built-in routing', 'changes the session')):
            each.q(sql)
            ran(shape, node, by, because)
    got = {k: n for k, n in counted(admin).items() if k[0] != 'select current_setting(?)'}
    for key in sorted(set(got) | set(sent), key=str):
        is_(got.get(key), sent.get(key), f'of {key}')
    all_of_it = str(shown(admin, 'SHOW ROUTES')) + proxy.log()
    is_([word for word in ("'secret 1", 'secret 1', "'secret'", '= secret') if word in all_of_it], [], 'no constant is told')
    is_({r['cached'] for r in shown(admin, 'SHOW ROUTES') if r['statement'] == 'commit' and r['database'] == db}, {'2 of 2'}, 'both workers have seen it')
    one = [r for r in shown(admin, 'SHOW ROUTES') if r['statement'] == 'select current_setting(?),?' and r['database'] == db]
    is_([int(r['count']) for r in one], sorted((int(r['count']) for r in one), reverse=True), 'the busiest first')
    ok(all(int(r['mean_us']) <= int(r['total_us']) <= int(r['mean_us']) * int(r['count']) + int(r['count']) for r in one), 'times add up')

with scenario('log_routes'):
    proxy.settings['options'] = {'log_routes': 1}
    proxy.write_config()
    admin.q('RELOAD')
    settled(c)
    at = len(proxy.log())
    c.q(f"/* lunapool: node=n2 */ select {HERE}, 'secret', 424242")
    line = proxy.wait_log(r'.*route .*node=n2.*', start=at).group(0)
    for fact in ('by=hint', 'because="as decided"', 'shape="select current_setting(?),?,?"', f'database={db}'):
        ok(fact in line, f'the line has {fact}') or diag(line)
    is_([word for word in ('secret', '424242') if word in proxy.log()[at:]], [], '… and no constant')
    c.x("select $1 || 'secret'", ['secret'])
    proxy.wait_log(r'.*route .*shape="select \$1 \|\| \?".*', start=at)
    proxy.settings['options'] = {'log_routes': '0.25'}
    proxy.write_config()
    admin.q('RELOAD')
    at = len(proxy.log())
    for i in range(400):
        c.q(f'select {i}')
    n = proxy.log()[at:].count('route ')
    ok(30 < n < 200, f'a share of the statements: {n} of 400')
    is_([r['value'] for r in shown(admin, 'SHOW CONFIG') if r['key'] == 'log_routes'], ['0.25'], 'SHOW CONFIG has the share')
