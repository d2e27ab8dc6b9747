#!/usr/bin/env -S /usr/bin/python3
"""Transactions on standbys answer what PostgreSQL answers: those that only read run there, others until they write, and nobody can tell where."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
import pgwire as w  # noqa: E402

proxy_only()
SETUP = '''
create table t (i int primary key, v text);
insert into t select i, 'v' || i from generate_series(1, 20) i;
create function needs_primary() returns text language plpgsql stable as $$ declare t text; begin execute 'select pg_current_wal_' || 'insert_lsn()' into t; return 'yes'; end $$;
create function own_f(int) returns int immutable language sql as 'select $1 + 1';
create role reader login; alter role reader set default_transaction_read_only = on; grant all on t to reader;
create role repeater login; alter role repeater set default_transaction_isolation = 'repeatable read'; grant all on t to repeater;
create role strict login; alter role strict set default_transaction_isolation = 'serializable'; grant all on t to strict;
'''
ROLES = ('reader', 'repeater', 'strict')
cluster = Cluster(standbys=2)
db = cluster.database(setup=SETUP)
direct_db = cluster.database('t_transactions_direct', '\n'.join(line for line in SETUP.split('\n') if not line.startswith('create role')) + ''.join(
    f'grant all on t to {r};' for r in ROLES))
cluster.mark_nodes()
for i in (1, 2):
    cluster.caught_up(i)
HERE = "select current_setting('test.node')"


def proxies(**kw):
    kw = {'workers': 2, 'pool': {'size': 4}, 'databases': {'*': {}, 'until': {'dbname': db, 'read_until_write': True}}, **kw}
    p = Proxy(cluster, **kw)
    admin = p.connect('lunapool')
    wait_for(lambda: sum(r['fit'] == 'yes' for r in admin.table('SHOW NODES')) == 2, what='two standbys that are fit')
    with p.connect(db) as c:
        wait_for(lambda: c.one(HERE) != 'n0' and c.one(HERE + ' from t where i = 1') != 'n0', what='what is known of the catalogue')
    return p, admin


def settled(c):
    """This session's reads go to standbys."""
    wait_for(lambda: c.one(HERE + ' from t where i = 1') != 'n0', what='a read on a standby')


def heard(messages):
    """What a client hears, without what differs from session to session."""
    told = {'E': lambda b: (w.fields(b)['C'], w.fields(b)['M']), 'T': w.columns, 'D': w.text_row}
    return ['EOF' if m is None else (m[0], told.get(m[0], bytes)(m[1])) for m in messages]


STANDBY, PRIMARY, SETTLED = 'standby', 'primary', 'settled'


def here(c):
    rows = [w.text_row(m[1])[0] for m in c.ask(w.query(HERE)) if m[0] == 'D']
    return (PRIMARY if rows[0] == 'n0' else STANDBY) if rows else None


def replay(name, script, to='until', user='postgres', params=None):
    """SCRIPT through Lunapool and directly: SQL, bytes of a unit, or where the transaction is to be."""
    with proxy.connect(to, user=user, params=params or {}) as c, cluster.at(0, direct_db, user=user, params=params or {}) as d:
        for at, step in enumerate(script):
            if step in (STANDBY, PRIMARY):
                got = here(c)
                if got != step:
                    return is_(f'step {at}: {got}', f'step {at}: {step}', name)
                continue
            if step == SETTLED:
                settled(c)
                continue
            data = w.query(step) if isinstance(step, str) else step
            c.send(data)
            d.send(data)
            got, want = (heard(x.until('Z', units(data))) for x in (c, d))
            if got != want:
                return is_([f'step {at}', *got], [f'step {at}', *want], name)
    return ok(True, name)


def units(data):
    n = at = 0
    while at < len(data):
        n += data[at:at + 1] in (b'Q', b'S', b'F')
        at += 1 + int.from_bytes(data[at + 1:at + 5], 'big')
    return n


def x(sql, values=(), name='', rows=0, portal=''):
    return w.parse(name, sql) + w.bind(portal, name, values) + w.describe('P', portal) + w.execute(portal, rows)


proxy, admin = proxies()
READ = 'select * from t where i < 4 order by i'

with scenario('READ ONLY'):
    for begin in ('begin read only', 'start transaction read only', 'BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY',
                  'begin isolation level repeatable read read only', 'begin isolation level repeatable read, read only, deferrable'):
        replay(f'{begin}: on a standby', [begin, READ, STANDBY, READ, x(READ) + w.sync(), STANDBY, 'commit', READ], db)
    replay('serializable stays on the primary', ['begin isolation level serializable read only', READ, PRIMARY, 'commit'], db)
    replay('so does READ WRITE', ['begin read write', READ, PRIMARY, 'commit', 'begin', READ, PRIMARY, 'commit'], db)
    replay('it ends', ['begin read only', READ, STANDBY, 'commit', 'insert into t values (100, 1)', 'delete from t where i = 100'], db)
    replay('SET TRANSACTION READ ONLY behind BEGIN', ['begin', 'set transaction read only', READ, STANDBY, 'rollback'], db)
    replay('… and the isolation', ['begin read only', 'set transaction isolation level repeatable read', 'show transaction_isolation', 'commit'], db)
    replay('… which may be serializable', ['begin read only', 'set transaction isolation level serializable', READ, PRIMARY, 'show transaction_isolation', 'commit'], db)
    replay('… or back to READ WRITE', ['begin read only', 'set transaction read write', READ, PRIMARY, "update t set v = 'x' where i = 1", 'rollback'], db)
    replay('the session\'s default', ['set default_transaction_read_only = on', 'begin', READ, STANDBY, 'show transaction_read_only', 'commit',
                                      'begin read write', READ, PRIMARY, 'commit'], db)
    replay('SET SESSION CHARACTERISTICS', ['set session characteristics as transaction read only', 'begin', READ, STANDBY, 'commit'], db)
    replay('the role\'s default', ['begin', READ, STANDBY, 'commit', 'begin read write', READ, PRIMARY, 'commit'], db, 'reader')
    replay('a role that is always serializable', ['begin read only', READ, PRIMARY, 'show transaction_isolation', 'commit'], db, 'strict')
    replay('a session that is', ["set default_transaction_isolation = 'serializable'", 'begin read only', READ, PRIMARY, 'commit'], db)
    replay('at start', ['begin', READ, STANDBY, 'commit'], db, params={'options': '-c default_transaction_read_only=on'})
    replay('AND CHAIN', ['begin read only', READ, STANDBY, 'commit and chain', READ, STANDBY, 'rollback and chain', STANDBY, 'rollback', READ], db)

with scenario('READ ONLY that cannot go on there'):
    for what in ('insert into t values (100)', "select nextval('pg_catalog.pg_seq')", 'select * from t for update', 'listen x', 'create table x ()', 'nonsense',
                 'select * from nothing', 'show transaction_read_only', 'select needs_primary() = \'yes\'', 'lock table t in share mode', "notify x, 'y'"):
        replay(f'{what}: the primary answers', ['begin read only', READ, STANDBY, what, 'rollback', READ, 'unlisten *'], db)
        if not what.startswith(('nonsense', 'listen', 'notify', 'select nextval', 'select needs', 'lock')):
            replay('… and in REPEATABLE READ the standby, with the same answer',
                   ['begin isolation level repeatable read read only', READ, what, 'rollback', READ], db)
    replay('it goes on there', ['begin read only', READ, STANDBY, 'select txid_current_if_assigned()', PRIMARY, READ, 'commit'], db)
    with proxy.connect(db) as c:
        c.q('begin isolation level repeatable read read only')
        c.q(READ)
        is_([c.error('select pg_advisory_lock(1)'), c.error('select 1'), here(c)], ['25006', '25P02', None], 'what would pin the session to a standby is refused')
        c.q('rollback')
        is_(c.q('insert into t values (101, 1) returning i'), [['101']], '… and the session goes on')
        c.q('delete from t where i = 101')

with scenario('what hangs on the transaction'):
    with proxy.connect(db) as c:
        c.q('begin read only')
        one = c.one('select now()')
        is_((here(c), c.one('select now()')), (STANDBY, one), 'now() stays what it is')
        is_(c.error('insert into t values (100)'), '25006', '… and what writes fails there')
        c.q('rollback')
    replay('cursors', ['begin read only', 'declare c cursor for select i from t order by i', 'fetch 2 from c', STANDBY, 'fetch 1 from c', 'insert into t values (1)', 'commit'], db)
    replay('portals', ['begin read only', w.parse('', READ) + w.bind('p', '') + w.execute('p', 1) + w.sync(), w.execute('p', 1) + w.sync(), STANDBY, w.execute('p', 5) + w.sync(),
                       'commit'], db)

with scenario('reads until it writes'):
    WRITE = "update t set v = v || '.' where i = 2 returning v"
    replay('it moves when it writes', ['begin', READ, STANDBY, READ, WRITE, PRIMARY, READ, 'rollback', READ])
    replay('… in the extended protocol', ['begin', x(READ) + w.sync(), STANDBY, x('select $1::int', [4]) + w.sync(), x(WRITE) + w.sync(), PRIMARY, x(READ) + w.sync(), 'rollback'])
    replay('… with BEGIN in the flight of the first statement', [w.parse('', 'BEGIN') + w.bind('', '') + w.execute() + x(READ) + w.sync(), STANDBY, x(WRITE) + w.sync(), PRIMARY,
                                                                 x('ROLLBACK') + w.sync()])
    replay('… all in one segment', [w.parse('', 'BEGIN') + w.bind('', '') + w.describe('P') + w.execute() + x(READ) + x(READ) + x('COMMIT') + w.sync(), READ,
                                    w.parse('', 'BEGIN') + w.bind('', '') + w.execute() + x(READ) + x(WRITE) + x('ROLLBACK') + w.sync(), READ])
    replay('… without waiting for answers', [w.query('begin') + w.query(READ) + w.query(READ) + w.query(WRITE) + w.query(READ) + w.query('rollback') + w.query(READ)])
    replay('what only reads ends there', ['begin', READ, STANDBY, 'commit', 'begin', READ, STANDBY, 'rollback', 'begin', READ, STANDBY, 'commit and chain', READ, STANDBY, WRITE,
                                          'rollback and chain', READ, PRIMARY, 'rollback'])
    replay('a write first', ['begin', WRITE, READ, PRIMARY, 'rollback'])
    for what in ('select * from t where i = 1 for update', 'select now() > \'2000-01-01\'', 'select own_f(1)', 'declare c cursor for select 1', 'create temp table x (i int)',
                 'lock table t', "select pg_advisory_xact_lock(7)", 'prepare p as select 1', 'do $$ begin end $$', 'select txid_current() > 0', 'show transaction_read_only',
                 '/* lunapool: route=primary */ select 1', 'set transaction isolation level repeatable read', 'begin', 'select 1; select 2; savepoint x', 'vacuum',
                 "copy t from stdin" if False else 'truncate t'):
        replay(f'{what}: on the primary', ['begin', READ, STANDBY, what] + ([PRIMARY] if what not in ('vacuum', 'set transaction isolation level repeatable read') else []) +
               ['rollback', 'deallocate all'])
    for level in ('repeatable read', 'serializable'):
        replay(f'not at {level}', [f'begin isolation level {level}', READ, PRIMARY, 'commit'])
    replay('nor by a session\'s default', ["set default_transaction_isolation = 'repeatable read'", 'begin', READ, PRIMARY, 'commit'])
    for role in ('repeater', 'strict'):
        replay(f'nor by that of a role ({role})', ['begin', READ, PRIMARY, 'show transaction_isolation', 'commit', 'begin', READ, PRIMARY, 'commit'], user=role)
    replay('READ ONLY is READ ONLY', ['begin read only', READ, STANDBY, WRITE, 'rollback'])

with scenario('savepoints and settings move with it'):
    W = "insert into t values (200, 'w') returning i"
    S = ['show datestyle', 'show statement_timeout', "select nullif(current_setting('app.x', true), '')"]
    replay('settings', ['begin', "set local datestyle = 'german'", READ, STANDBY, "set local statement_timeout = '7s'", *S, W, PRIMARY, *S, 'rollback', *S])
    replay('of the session', ['begin', READ, "set datestyle = 'german'", STANDBY, W, PRIMARY, *S, 'commit', *S, 'delete from t where i = 200', 'reset datestyle'])
    replay('… rolled back', ['begin', READ, "set datestyle = 'german'", "set app.x = 'a'", STANDBY, W, PRIMARY, *S[:2], 'rollback', *S[:2]])
    replay('set_config()', ['begin', READ, "select set_config('app.x', 'here', true)", STANDBY, x("select set_config($1, $2, true)", ['app.y', 'there']) + w.sync(), STANDBY, W, PRIMARY,
                            "select current_setting('app.x'), current_setting('app.y')", 'rollback'])
    replay('savepoints', ['begin', READ, 'savepoint a', "set local datestyle = 'german'", 'savepoint b', "set local statement_timeout = '9s'", STANDBY, W, PRIMARY, *S,
                          'rollback to b', *S, 'rollback to a', *S, W, 'release a', 'rollback', *S])
    replay('… that were rolled back to', ['begin', READ, 'savepoint a', "set local datestyle = 'german'", 'rollback to a', "set local statement_timeout = '3s'", STANDBY, W, PRIMARY, *S,
                                          'rollback to a', *S, 'rollback'])
    replay('… and released', ['begin', READ, 'savepoint a', "set local datestyle = 'german'", 'savepoint a', "set local statement_timeout = '3s'", 'release a', STANDBY, W, PRIMARY, *S,
                              'rollback to a', *S, 'release a', 'rollback to a', 'rollback'])
    replay('an error behind which it goes on', ['begin', READ, 'savepoint a', STANDBY, 'select 1/0', READ, 'rollback to a', STANDBY, W, PRIMARY, 'rollback to a', READ, 'rollback'])
    replay('an error on the primary', ['begin', READ, 'savepoint a', STANDBY, 'insert into t values (1)', READ, 'rollback to a', PRIMARY, READ, 'commit'])
    replay('an error that ends it', ['begin', READ, STANDBY, 'select 1/0', READ, 'insert into t values (1)', 'commit', READ, 'begin', READ, 'select 1/0', 'rollback and chain', READ,
                                     'rollback'])
    replay('what a standby refuses, the primary does', ['begin', READ, 'savepoint a', "set local datestyle = 'german'", STANDBY, "select needs_primary() = 'yes'", PRIMARY, *S, 'rollback to a', *S,
                                                        'commit'])
    replay('an unknown table', ['begin', READ, 'savepoint a', STANDBY, 'select * from nothing', 'rollback to a', PRIMARY, 'commit'])
    replay('in one segment', ['begin', READ, STANDBY, x("set local datestyle = 'german'") + x('savepoint a') + x('select 2') + w.sync(), STANDBY, x(W) + x('show datestyle') + w.sync(), PRIMARY, *S,
                              'rollback to a', *S, 'rollback'])
    replay('in one segment that fails', ['begin', READ, 'savepoint a', x("set local datestyle = 'german'") + x('savepoint b') + x('select 2/0') + x('savepoint c') + w.sync(), 'rollback to c',
                                         'rollback to b', *S, STANDBY, W, PRIMARY, *S, 'rollback to a', *S, 'rollback'])
    replay('prepared statements', [w.parse('s1', READ) + w.sync(), w.parse('s2', W) + w.sync(), SETTLED, 'begin', w.bind('', 's1') + w.describe('P') + w.execute() + w.sync(), STANDBY,
                                   w.bind('', 's2') + w.execute() + w.sync(), PRIMARY, w.bind('', 's1') + w.execute() + w.sync(), 'rollback', w.close('S', 's1') + w.close('S', 's2') + w.sync()])
    replay('… made there', ['begin', x(READ, name='s1') + w.sync(), STANDBY, x('select $1::int', [3], name='s2') + w.sync(), STANDBY, w.bind('', 's1') + w.execute() + w.sync(), W,
                            w.bind('', 's1') + w.execute() + w.sync(), PRIMARY, 'rollback', w.close('S', 's1') + w.close('S', 's2') + w.sync()])
    X = [f'prepare p1 as {READ}', f'prepare p2 (int) as {W}', 'prepare p3 as select now() is not null', w.parse('p4', 'savepoint a') + w.sync(), SETTLED]
    replay('EXECUTE', [*X, 'begin', 'execute p1', STANDBY, x('execute p1') + w.sync(), STANDBY, 'execute p3', PRIMARY, 'execute p1', 'rollback', 'deallocate all'])
    replay('… of what writes', [*X, 'begin', 'execute p1', STANDBY, 'execute p2(1)', PRIMARY, 'execute p1', 'rollback', 'execute p1', 'deallocate all'])
    replay('… of what the books must know', [*X, 'begin', 'execute p1', STANDBY, 'execute p4', PRIMARY, 'select 1/0', 'rollback to a', 'execute p1', 'rollback', 'deallocate all'])
    replay('… in one that is READ ONLY', [*X, 'begin read only', 'execute p1', STANDBY, 'execute p3', STANDBY, x('execute p3') + w.sync(), STANDBY, 'commit', 'deallocate all'])
    replay('… that fails', [*X, 'begin', 'execute p1', 'savepoint a', 'execute p9', 'rollback to a', 'execute p1', PRIMARY, 'rollback', 'deallocate all'])
    NEEDY = "select needs_primary() = 'yes'"
    replay('… and again on the primary', [x(NEEDY, name='s1') + w.sync(), 'begin', x(READ) + w.sync(), x(NEEDY, name='s2') + w.sync(), PRIMARY, w.bind('', 's1') + w.execute() + w.sync(),
                                          w.bind('', 's2') + w.execute() + w.sync(), 'commit', x(READ, name='s2') + w.sync(), w.close('S', 's1') + w.close('S', 's2') + w.sync()])
    replay('… and one that fails there', ['begin', x(READ) + w.sync(), x('select 1/(i - 1) from t', name='s1') + w.sync(), 'rollback', w.bind('', 's1') + w.execute() + w.sync(),
                                          x('select * from nothing', name='s3') + w.sync(), w.bind('', 's3') + w.execute() + w.sync(), w.close('S', 's1') + w.sync()])
    replay('COPY', ['begin', READ, 'copy (select i from t where i < 3 order by i) to stdout', STANDBY, 'rollback'])


def moves():
    return sum(int(r['reads']) for r in admin.table('SHOW NODES'))


with scenario('hints, the session\'s setting, freshness'):
    replay('a hint on the first statement keeps it on the primary', ['begin read only', '/* lunapool: route=primary */ ' + READ, PRIMARY, READ, 'commit'], db)
    replay('… or makes it read on a standby until it writes', ['begin', '/* lunapool: route=standby */ ' + READ, STANDBY, 'delete from t where i = 0', PRIMARY, 'rollback'], db)
    replay('so does the setting', ["set lunapool.route = 'primary'", 'begin read only', READ, PRIMARY, 'commit', "set lunapool.route = 'standby'", 'begin', READ, STANDBY,
                                   'delete from t where i = 0', PRIMARY, 'rollback'], db)
    replay('a hint cannot make it serializable there', ['begin isolation level repeatable read', '/* lunapool: route=standby */ ' + READ, PRIMARY, 'commit'], db)
    with proxy.connect('until') as c, proxy.connect('until') as other:
        is_({c.q('begin') or c.one('/* lunapool: node=n2 */ ' + HERE + ' from t where i = 1') + here(c) + str(c.q('commit')) for _ in range(10)}, {'n2standby[]'}, 'a hint for a node')
        for i in (1, 2):
            cluster.delay_node(i, '1s')
        c.q("insert into t values (300, 'new')")
        c.q('begin read only')
        is_((c.one('select v from t where i = 300'), here(c)), ('new', PRIMARY), 'a transaction reads what its session has written')
        c.q('commit')
        other.q('begin')
        is_((other.q(READ) != [], here(other), other.q('commit'), here(other)), (True, STANDBY, [], STANDBY), 'who has written nothing reads on a standby, and behind a transaction, too')
        for i in (1, 2):
            cluster.delay_node(i, '0')
        c.q('delete from t where i = 300')
    for i in (1, 2):
        cluster.caught_up(i)

with scenario('policy'):
    POLICY = """
local M = { api = 1 }
function M.route(query, cluster)
  local app = query.application
  if app == 'flags' then
    return require('lunapool').reject(table.concat({ tostring(query.in_transaction), tostring(query.read_only), tostring(query.wrote), query.kind }, ' '), 'P0001')
  end
  if app == 'reporting' then return cluster:node('n2') end
  if app == 'home' then return cluster.primary end
end
return M
"""
    asked, aadmin = proxies(cluster_options={'policy': 'main.lua'}, files={'main.lua': POLICY})
    with asked.connect(db, params={'application_name': 'flags'}) as c:
        def said(*steps):
            for s in steps[:-1]:
                c.q(s)
            got = [w.fields(m[1])['M'] for m in c.ask(w.query(steps[-1])) if m[0] == 'E']
            c.ask(w.query('rollback'))
            return got
        is_([said('begin', READ), said('begin read only', READ), said('begin isolation level serializable read only', 'delete from t'), said('begin', 'set transaction read only', READ), said(READ)],
            [['true false false select'], ['true true false select'], ['true true false delete'], ['true true false select'], ['false false false select']],
            'it is asked at the first statement, and told of the transaction')
    with asked.connect(db, params={'application_name': 'reporting'}) as c:
        c.q('begin')
        is_((c.one(HERE), c.one(HERE), c.q('delete from t where i = 0'), c.one(HERE), c.q('rollback')), ('n2', 'n2', [], 'n0', []),
            'a node that it names reads until the transaction writes')
    with asked.connect(db, params={'application_name': 'home'}) as c:
        c.q('begin read only')
        is_((c.one(HERE), c.q('rollback')), ('n0', []), '… or it keeps it on the primary')
    with asked.connect(db) as c:
        c.q('begin')
        is_((c.one(HERE), c.q('rollback')), ('n0', []), 'without an opinion what writes is on the primary')
    asked.stop()

with scenario('who waits, goes, is late'):
    with proxy.connect('until') as c, proxy.connect(db) as looker:
        c.q('begin')
        c.q(READ)
        c.send(w.query('select pg_sleep(60)'))
        wait_for(lambda: any(int(r['in_flight']) for r in admin.table('SHOW NODES') if r['role'] == 'standby'), what='a statement on a standby')
        c.cancel()
        is_([m[0] if m[0] != 'E' else w.fields(m[1])['C'] for m in c.until('Z')][-2:], ['57014', 'Z'], 'a cancel reaches the standby')
        is_((c.error(READ), here(c), c.q('rollback'), c.q(READ) != []), ('25P02', None, [], True), '… and the transaction has failed')
        c.q('begin')
        c.q("set application_name = 'left behind'")
        c.q('savepoint a')
        c.q(READ)
        c.drop()
    with proxy.connect('until', params={'application_name': 'new'}) as c:
        is_({c.one("select current_setting('application_name') || (select count(*) from t where i < 0)") for _ in range(20)}, {'new0'}, 'what a client leaves behind nobody finds')
    late = Proxy(cluster, workers=1, databases={'*': {'read_until_write': True}}, limits={'idle_transaction_timeout': '200ms'})
    with late.connect(db) as c:
        wait_for(lambda: c.one(HERE + ' from t where i = 1') != 'n0', what='a read on a standby')
        c.q('begin')
        c.q(READ)
        is_([w.fields(m[1])['C'] if m and m[0] == 'E' else m for m in c.until('Z')], ['25P03', None], 'idle_transaction_timeout holds there, too')
    late.stop()

with scenario('drivers'):
    try:
        import psycopg
    except ImportError:
        psycopg = None
        skip('psycopg', 'it is not installed')
    if psycopg:
        def session(database):
            return psycopg.connect(host='127.0.0.1', port=proxy.port, user='postgres', dbname=database)
        with session(db) as con:
            con.read_only = True
            got = [con.execute(HERE).fetchone()[0] for _ in range(8)]  # prepared from the sixth on
            ok(len(set(got)) == 1 and got[0] != 'n0', 'psycopg: a transaction that only reads is on one standby')
            with con.cursor('named') as cur:
                is_(cur.execute('select i from t order by i').fetchmany(2), [(1,), (2,)], '… with a cursor of the server')
            con.commit()
            with con.pipeline():
                a, b = con.execute(HERE), con.execute('select i from t where i = %s', [7])
            ok(a.fetchone()[0] != 'n0' and b.fetchone() == (7,), '… as a pipeline')
            con.rollback()
        with session('until') as con:
            with con.pipeline():
                a, b = con.execute(HERE), con.execute('select i from t where i = %s', [7])
            with con.pipeline():
                c, d = con.execute('update t set v = v where i = %s returning i', [7]), con.execute(HERE)
            is_((a.fetchone()[0] != 'n0', b.fetchone(), c.fetchone(), d.fetchone()[0]), (True, (7,), (7,), 'n0'), '… one that writes moves')
            con.rollback()
            settled(con_c := proxy.connect('until'))
            con_c.quit()
            with con.transaction():
                with con.transaction():
                    con.execute(READ)
                with con.transaction():
                    con.execute("set local application_name = 'inner'")
                    con.execute('delete from t where i = 0')
                    is_(con.execute("select current_setting('application_name'), " + HERE[7:]).fetchone(), ('inner', 'n0'), '… with savepoints of its own')

with scenario('where it runs is shown'):
    with proxy.connect('until') as c:
        settled(c)
        c.q('begin')
        node = c.one(HERE)
        server = [r for r in admin.table('SHOW SERVERS') if r['database'] == 'until' and r['state'] == 'active']
        is_([int(r['port']) for r in server], [cluster.ports[int(node[1:])]], 'SHOW SERVERS has it with the standby that it is on')
        c.q("update t set v = v where i = 1")
        wait_for(lambda: [int(r['port']) for r in admin.table('SHOW SERVERS') if r['database'] == 'until' and r['state'] == 'active'] == [cluster.port], what='the primary alone')
        ok(True, '… and with the primary when it has moved')
        is_(dict(c.q('explain route select 1'))['runs on'], 'the server of its transaction or session: n0', '… as EXPLAIN ROUTE says')
        c.q('rollback')

with scenario('the standby fails'):
    def victim(c):
        """The node that its transaction is on, and the backend."""
        node, pid = c.q(f"{HERE.replace('test.node', 'test.node')}, pg_sleep(0)")[0][0], None
        return int(node[1:])

    def terminate(i):
        with cluster.at(i) as n:
            pids = ','.join(p for p, _ in n.q(f"select pid, pg_terminate_backend(pid) from pg_stat_activity where datname = '{db}'"))
            wait_for(lambda: n.one(f'select count(*) from pg_stat_activity where pid in ({pids})') == '0', what='their end')

    def lost(name, before, after, to='until', how=terminate):
        """Directly nothing is lost; so all answers but those of AFTER's errors are the same."""
        with proxy.connect(to) as c, cluster.at(0, direct_db) as d:
            settled(c)
            for s in before:
                got, want = heard(c.ask(w.query(s))), heard(d.ask(w.query(s)))
                if got != want:
                    return is_(got, want, name)
            i = victim(c)
            ok(i, f'{name}: on a standby')
            how(i)
            got, want = [heard(c.ask(w.query(s))) for s in after], [heard(d.ask(w.query(s))) for s in after]
            return is_(got, want, name)
    WRITE = "insert into t values (400, 'x') returning i"
    lost('between two statements', ['begin', READ, "set local datestyle = 'german'", 'savepoint a'], [READ, 'show datestyle', WRITE, 'rollback to a', READ, 'rollback'])
    lost('… before it ends', ['begin', READ, "set datestyle = 'german'"], ['commit', 'show datestyle', 'reset datestyle', 'begin', 'rollback'])
    lost('… of one that only reads', ['begin read only', READ], [READ, 'insert into t values (1)', 'commit'], db)
    for begin, to in (('begin isolation level repeatable read read only', db), ('begin read only', db)):
        with proxy.connect(to) as c:
            settled(c)
            c.q(begin)
            c.q("select now() > '2000-01-01'" if to == db else READ)
            i = victim(c)
            terminate(i)
            is_((c.error(READ), c.error(READ), c.q('rollback'), c.q(READ) != []), ('40001', '25P02', [], True), f'{begin}: it cannot be repeated')
    for how in (READ, WRITE):
        with proxy.connect('until') as c:
            settled(c)
            c.q('begin')
            c.q('savepoint a')
            i = victim(c)
            c.send(w.query('select i, pg_sleep(case i when 1 then 2 else 0 end) is null from t where i < 3 order by i'))
            wait_for(lambda: any(int(r['in_flight']) for r in admin.table('SHOW NODES') if r['node'] == f'n{i}'), what='a statement on it')
            if how is READ:
                terminate(i)
            else:
                cluster.kill_node(i)
            is_([heard([m])[0] for m in c.until('Z')][1:], [('D', ['1', 'f']), ('D', ['2', 'f']), ('C', b'SELECT 2\0'), ('Z', b'T')], 'a statement under way is run again on the primary')
            is_((here(c), c.q(WRITE), c.q('rollback to a'), c.q('commit')), (PRIMARY, [['400']], [], []), '… and the transaction goes on there')
            if how is WRITE:
                cluster.start_node(i)
                wait_for(lambda: sum(r['fit'] == 'yes' for r in admin.table('SHOW NODES')) == 2, 60, what='its return')
    with proxy.connect('until') as c:
        cluster.set_node(1, max_standby_streaming_delay='10ms')
        cluster.set_node(2, max_standby_streaming_delay='10ms')
        with proxy.connect(db) as reader:
            settled(reader)
            reader.q('begin isolation level repeatable read read only')
            reader.q(READ)
            i = victim(reader)
            cluster.query('update t set v = v where i = 20', db)
            cluster.query('vacuum t', db)
            wait_for(lambda: reader.error(READ) == '40001', what='a conflict')
            is_((reader.error(READ), reader.q('rollback'), reader.q(READ) != []), ('25P02', [], True), 'a conflict with recovery is told as it is')
        for i in (1, 2):
            cluster.set_node(i, max_standby_streaming_delay=None)
            cluster.caught_up(i)

# ---- transactions at random: what Lunapool answers is what PostgreSQL answers ----------------------------------------------------------
seed = int(os.environ.get('SEED', 20261123))
diag(f'SEED={seed}')


def at_random(r):
    """One transaction, as steps."""
    reads = ['select i, v from t where i < 6 order by i', 'select count(*) from t', 'show datestyle', "select nullif(current_setting('app.x', true), '')",
             'select v from t where i = 3; select 7', 'values (1), (2)']
    steps = [r.choice(['begin', 'begin', 'begin', 'begin isolation level read committed', 'begin read only', 'start transaction', 'begin isolation level repeatable read read only'])]
    for _ in range(r.randrange(1, 9)):
        k, name = r.random(), r.choice('abc')
        if k < .45:
            sql = r.choice(reads)
            steps.append(sql if ';' in sql or r.random() < .5 else x(sql) + w.sync())
        elif k < .55:
            steps.append(f'savepoint {name}')
        elif k < .62:
            steps.append(f'rollback to {name}')
        elif k < .67:
            steps.append(f'release {name}')
        elif k < .77:
            steps.append(r.choice(["set local datestyle = 'german'", "set local datestyle = 'iso'", "set app.x = '1'", "set local app.x = '2'", "set datestyle = 'sql'",
                                   "select set_config('app.x', '3', true)", 'reset datestyle']))
        elif k < .85:
            steps.append(r.choice(['select 1/0', 'select * from nothing', "set datestyle = 'nonsense'", 'release nothing', x('select 2/0') + x('select 3') + w.sync()]))
        elif k < .95:
            i = r.randrange(500, 520)
            steps.append(r.choice([f"insert into t values ({i}, 'r') returning i", f"update t set v = v || 'u' where i = {r.randrange(1, 20)} returning v", f'delete from t where i = {i}',
                                   'select i from t where i = 2 for update']))
        else:
            steps.append(x(f'savepoint {name}') + x(r.choice(reads[:2])) + x("set local app.x = '5'") + w.sync())
    steps.append(r.choice(['commit', 'commit', 'rollback', 'commit and chain']))
    return steps + (['rollback'] if steps[-1].endswith('chain') else [])


with scenario('at random'):
    r = random.Random(seed)
    before, wrong, rounds = moves(), None, 600 if LONG else 150
    c, d = proxy.connect('until'), cluster.at(0, direct_db)
    for n in range(rounds):
        if r.random() < .7:
            settled(c)
        for at, step in enumerate(script := at_random(r)):
            data = w.query(step) if isinstance(step, str) else step
            c.send(data)
            d.send(data)
            got, want = (heard(side.until('Z', units(data))) for side in (c, d))
            if got != want and not wrong:
                wrong = (n, at, script, got, want)
                is_(got, want, f'transaction {n} of seed {seed}, step {at} of {script}')
        if wrong:
            break
    is_(wrong, None, f'{rounds} transactions answer what PostgreSQL answers')
    is_(c.q('select i, v from t order by i'), d.q('select i, v from t order by i'), '… and leave the same behind')
    ok(moves() - before > rounds, f'{moves() - before} units were read on standbys')

done()
