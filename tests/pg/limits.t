#!/usr/bin/env -S /usr/bin/python3
"""Limits and timeouts hold over all workers, and cost a client no more than its statement wherever the protocol allows."""
import contextlib
import os
import re
import select
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, brief, execute, parse, query, sync  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database(setup='create sequence s; create table t (i int)')
cluster.role('limited')
cluster.role('plain')


def refused(p, user='postgres', database=None):
    """The SQLSTATE with which a login is refused, '' when it is not (then the connection is closed again)."""
    try:
        p.connect(database or db, user=user).quit()
        return ''
    except WireError as e:
        return str(e).split()[0]


def column(p, command, name, where=None):
    """The values of a column of a SHOW command, of rows for which WHERE holds."""
    c = Conn(p.addr, database='lunapool')
    got = c.ask(query(command))
    c.quit()
    names = [x[0] for m in got if m[0] == 'T' for x in pgwire.columns(m[1])]
    rows = [dict(zip(names, pgwire.text_row(m[1]))) for m in got if m[0] == 'D']
    return [r[name] for r in rows if where is None or where(r)]


def waiting(p):
    return sum(int(v) for v in column(p, 'show pools', 'cl_waiting', lambda r: r['database'] == db))


with scenario('limits of clients'):
    p = Proxy(cluster, limits={'max_clients': 3})
    cs = [p.connect(db) for _ in range(3)]
    is_(refused(p), '53300', 'max_clients: one too many')
    is_([c.one('select 1') for c in cs], ['1'] * 3, 'the others live')
    cs[0].quit()
    wait_for(lambda: refused(p) == '', what='room')
    ok(True, 'one left: room for another')
    cs[1].reset()
    wait_for(lambda: refused(p) == '', what='room')
    ok(True, 'one vanished: room for another')
    p.stop()
    p = Proxy(cluster, databases={db: {'max_client_connections': 1}, '*': {}}, users={'limited': {'max_client_connections': 2}})
    c = p.connect(db)
    is_((refused(p), refused(p, database='postgres')), ('53300', ''), 'max_client_connections of a database')
    c.quit()
    cs = [p.connect('postgres', user='limited') for _ in range(2)]
    is_((refused(p, 'limited', 'postgres'), refused(p, 'plain', 'postgres')), ('53300', ''), 'max_client_connections of a user')
    wait_for(lambda: refused(p) == '', what='room')
    for c in cs:
        c.quit()
    p.stop()

with scenario('clients of an address'):
    p = Proxy(cluster, listen={'address': ['127.0.0.1', '::1']}, hba='local all all trust\nhost all all all trust\n', limits={'max_clients_per_address': 3}, workers=2)
    v6 = ('::1', int(re.search(r'listening address=::1 port=(\d+)', p.log()).group(1)))

    def knock(addr, source=None):
        try:
            c = Conn(addr, database=db, source=source)
        except WireError as e:
            return str(e).split()[0]
        except OSError:
            return 'closed'
        return c
    cs = [p.connect(db) for _ in range(3)]
    got = [knock(p.addr) for _ in range(20)]
    is_(set(got), {'53300'}, 'one too many is told so, each time') or diag(got)
    other = knock(p.addr, ('127.0.0.77', 0))
    is_(other.one('select 1'), '1', 'another address has a number of its own')
    is_(p.connect(db, unix=True).one('select 1'), '1', 'a unix socket has none')
    six = [knock(v6) for _ in range(4)]
    is_([x if isinstance(x, str) else 'in' for x in six], ['in'] * 3 + ['53300'], 'IPv6 is counted, too')
    silent = [socket.create_connection(p.addr) for _ in range(40)]
    wait_for(lambda: 'too_many_from_address' in p.log(), what='the log line')
    gone = lambda s: select.select([s], [], [], 0)[0] and not s.recv(1)  # noqa: E731
    wait_for(lambda: sum(bool(gone(s)) for s in silent[8:]) == 32, what='the end of silent connections')
    is_(sum(bool(gone(s)) for s in silent[:8]), 0, 'of those that say nothing, a few may stay, to be told why not; the others are closed')
    is_([c.one('select 1') for c in cs], ['1'] * 3, 'who was there before stays')
    for s in silent:
        s.close()
    cs[0].quit()
    cs[1].reset()
    wait_for(lambda: isinstance(knock(p.addr), Conn), what='room')
    ok(True, 'where one left, another may come')
    p.settings['limits'] = {}
    p.reload()
    for c in [knock(p.addr) for _ in range(9)]:
        c.quit()
    ok(True, 'no limit any more')
    p.stop()

with scenario('waiting'):
    p = Proxy(cluster, workers=1, pool={'size': 1})
    a, b = p.connect(db), p.connect(db)
    is_(b.one('select 1'), '1', 'a client that has only logged in keeps no server')
    for k in (a, b):
        k.quit()
    p.stop()
    p = Proxy(cluster, workers=2, pool={'size': 1, 'query_wait_timeout': '700ms', 'query_wait_notify': '100ms'})
    a, b, c = (p.connect(db) for _ in range(3))
    a.q('begin; select 1')
    got = brief(b.ask(query('select 2')))
    ok(got.startswith('E:') and got.endswith(' Z:I'), f'query_wait_timeout is an ERROR: {got}')
    ok(any('wait' in n['M'] for n in b.notices), 'with a NOTICE before') or diag(b.notices)
    got = brief(c.ask(parse('', 'select 2') + bind('', '') + execute() + sync()))
    ok(got.startswith('E:') and got.endswith(' Z:I'), f'in the extended protocol too: {got}')
    c.q('begin')
    got = brief(c.ask(query('select 2')))
    ok(got.startswith('E:') and got.endswith(' Z:E'), f'in a transaction that was put off: {got}')
    is_(brief(c.ask(query('select 2'))), 'E:25P02 Z:E', 'it has failed')
    is_(brief(c.ask(query('commit'))), 'C:ROLLBACK Z:I', 'and ends')
    a.q('commit')
    is_((b.one('select 3'), c.one('select 4')), ('3', '4'), 'the sessions live')
    for k in (a, b, c):
        k.quit()
    p.stop()

    p = Proxy(cluster, workers=2, pool={'size': 1})
    a = p.connect(db)
    a.one("select nextval('s')")
    p.wait_log(f'catalog_loaded .*database={db} ')  # until then they would wait for what nextval does
    a.q('begin; select 1')
    cs = [p.connect(db) for _ in range(12)]
    for n, c in enumerate(cs):
        c.send(query("select nextval('s')"))
        wait_for(lambda: waiting(p) == n + 1, what=f'waiter {n + 1}')
    a.q('commit')
    order = [int(c.until('Z')[1][1][6:]) for c in cs]
    is_(order, sorted(order), 'who came first is served first, over two workers')
    pids = {c.one('select pg_backend_pid()') for c in cs for _ in range(3)}
    is_(len(pids), 1, 'one server serves the clients of both workers')
    for c in cs[:4]:
        c.send(query('select pg_sleep(0.05)'))
    a.q('begin; select 1')
    for c in cs[4:]:
        c.send(query('select 1'))
        c.reset()
    a.q('commit')
    for c in cs[:4]:
        c.until('Z')
    wait_for(lambda: waiting(p) == 0, what='an empty queue')
    is_(a.one('select 5'), '5', 'waiters that vanish leave no trace')
    p.stop()

with scenario('timeouts'):
    p = Proxy(cluster, workers=2, pool={'size': 1}, limits={'query_timeout': '500ms'}, users={'limited': {'query_timeout': '5s'}})
    a = p.connect(db)
    is_(brief(a.ask(query('select pg_sleep(20)'))), 'E:57014 Z:I', 'query_timeout cancels the statement')
    is_(a.one('select 1'), '1', 'the session lives')
    is_(brief(a.ask(parse('', 'select pg_sleep(20)') + bind('', '') + execute() + sync())), '1 2 E:57014 Z:I', 'in the extended protocol too')
    a.q('begin; insert into t values (1)')
    is_(brief(a.ask(query('select pg_sleep(20)'))), 'E:57014 Z:E', 'in a transaction it fails that')
    is_(brief(a.ask(query('commit'))), 'C:ROLLBACK Z:I', 'which ends as usual')
    for _ in range(5):
        a.q('select pg_sleep(0.2)')
    ok(True, 'it is a statement\'s time, not a session\'s')
    b = p.connect(db, user='limited')
    is_(b.one("select 'slept' from pg_sleep(0.8)"), 'slept', 'a user may have another')
    a.quit()
    b.quit()
    p.stop()

    p = Proxy(cluster, workers=2, pool={'size': 1}, limits={'idle_transaction_timeout': '400ms', 'client_idle_timeout': '1500ms'})
    a, b = p.connect(db), p.connect(db)
    a.q('begin; insert into t values (77)')
    is_(b.one('select count(*) from t where i = 77'), '0', 'idle_transaction_timeout frees the server')
    got = a.until('Z', timeout=5)
    ok(got[-1] is None, 'and ends the client') or diag(brief(got))
    is_(brief(got), 'E:25P03 EOF', 'with PostgreSQL\'s own word')
    start = time.monotonic()
    b.one('select 1')
    got = b.until('Z', timeout=10)
    took = time.monotonic() - start
    ok(brief(got) == 'E:57P05 EOF' and 1.4 < took < 1.5 + 4 * SLOW, f'client_idle_timeout ends an idle client: {brief(got)} after {took:.1f} s')
    c = p.connect(db)
    for _ in range(8):
        c.q('select pg_sleep(0.25)')
    ok(True, 'not one that works')
    c.q('begin')
    is_(brief(c.until('', timeout=10)), 'E:25P03 EOF', 'a transaction that was put off is idle in transaction too')
    p.stop()

    cluster.query('grant insert on t to limited', db)
    for mode in 'transaction', 'session':
        p = Proxy(cluster, workers=2, pool={'size': 1, 'mode': mode, 'reset_timeout': '500ms'}, users={'limited': {'query_timeout': '400ms', 'idle_transaction_timeout': '400ms', 'client_idle_timeout': '3s'}})
        a = p.connect(db, user='limited')
        a.send(query('copy t from stdin'))
        is_(brief(a.until('Z', timeout=10)), 'G E:57014 Z:I', f'{mode} mode: a COPY that gets no rows is a statement, too')
        is_(brief(a.ask(query('select 1; select pg_sleep(20); select 2'))), 'D:1 C:SELECT_1 E:57014 Z:I', 'of several parts the one that lasts too long')
        a.q('begin')
        is_(a.error('select 1/0'), '22012', 'a failed transaction')
        is_(brief(a.until('', timeout=10)), 'E:25P03 EOF', 'is idle in transaction, too')
        is_(brief(p.connect(db, user='limited').until('', timeout=20)), 'E:57P05 EOF', 'who says nothing at all is idle')
        p.stop()

    p = Proxy(cluster, workers=2, pool={'size': 1, 'reset_timeout': '500ms'}, users={'limited': {'query_timeout': '300ms', 'transaction_timeout': 0}, 'plain': {'transaction_timeout': '300ms'}})
    for user in 'limited', 'plain':
        deaf = p.connect(db, user=user)
        deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.send(query("select repeat('x', 1000) from generate_series(1, 100000)"))
        wait_for(lambda: cluster.backends(db, f"and usename = '{user}' and wait_event = 'ClientWrite'") == 1, what='a full socket')
        is_(p.connect(db, user=user).one('select 1'), '1', f'{user}: one that does not read its result keeps no server for longer')
        deaf.sock.close()
    p.stop()

with scenario('transaction_timeout'):
    p = Proxy(cluster, workers=2, pool={'size': 1}, limits={'transaction_timeout': '600ms'}, users={'limited': {'transaction_timeout': 0}})

    def end(c, what):
        got = brief(c.until('', timeout=10 * SLOW))
        is_(got.split()[-2:], ['E:25P04', 'EOF'], what)
    a = p.connect(db)
    a.send(query('select pg_sleep(30)'))
    end(a, 'a statement of its own')
    wait_for(lambda: cluster.backends(db, "and state = 'active' and query like '%pg_sleep(30)%' and pid <> pg_backend_pid()") == 0, what='the end of the statement')
    ok(True, 'it is cancelled on the server')
    a = p.connect(db)
    a.q('begin; insert into t values (99)')
    end(a, 'idle in it')
    is_(p.connect(db).one('select count(*) from t where i = 99'), '0', 'it is rolled back')
    a = p.connect(db)
    a.q('begin')
    end(a, 'before its first statement')
    a = p.connect(db)
    a.q('begin')
    start = time.monotonic()
    with contextlib.suppress(WireError, OSError):
        while time.monotonic() < start + 20 * SLOW:
            a.q('select pg_sleep(0.05)')
    ok(0.4 < time.monotonic() - start < 10 * SLOW, 'many short statements make one long transaction')
    a = p.connect(db)
    for _ in range(30):
        a.q('begin; select pg_sleep(0.03); commit')
    flight = b''.join(parse('', 'select pg_sleep(0.03)') + bind('', '') + execute() + sync() for _ in range(40))
    a.send(flight)
    for _ in range(40):
        a.until('Z')
    is_(a.one('select 1'), '1', 'many short transactions do not, one after the other or in one flight')
    b = p.connect(db, user='limited')
    b.q('begin')
    is_(b.one("select 'long' from pg_sleep(1)"), 'long', 'a user may have another')
    b.q('commit')
    p.settings['limits'] = {'query_timeout': '500ms'}
    p.reload()
    a.send(flight)
    for _ in range(40):
        got = brief(a.until('Z'))
    is_(got, '1 2 D: C:SELECT_1 Z:I', 'query_timeout counts each statement of a flight for itself')
    p.stop()

with scenario('the life of servers'):
    p = Proxy(cluster, workers=2, pool={'size': 2, 'server_idle_timeout': '500ms', 'server_lifetime': '1h'})
    cs = [p.connect(db) for _ in range(2)]
    for c in cs:
        c.q('begin; select 1')
    is_(cluster.backends(db), 2, 'two servers')
    for c in cs:
        c.q('commit')
    wait_for(lambda: cluster.backends(db) == 0, what='the end of idle servers')
    ok(True, 'server_idle_timeout closes them')
    is_(cs[0].one('select 1'), '1', 'and they come back')
    p.stop()
    p = Proxy(cluster, workers=1, pool={'size': 1, 'server_lifetime': '700ms'})
    c = p.connect(db)
    pid = c.one('select pg_backend_pid()')
    wait_for(lambda: c.one('select pg_backend_pid()') != pid, what='another server')
    ok(True, 'server_lifetime replaces a server, which no client notices')
    c.q('begin')
    pid = c.one('select pg_backend_pid()')
    is_(c.one('select pg_backend_pid() from pg_sleep(1.2)'), pid, 'but not in a transaction')
    c.q('commit')
    p.stop()
    p = Proxy(cluster, workers=2, pool={'size': 5, 'min_size': 3})
    c = p.connect(db)
    c.q('select 1')
    wait_for(lambda: cluster.backends(db) == 3, what='min_size servers')
    ok(True, 'min_size keeps servers open')
    p.stop()
    wait_for(lambda: cluster.backends(db) == 0, what='the end')
    p = Proxy(cluster, workers=2, pool={'size': 1, 'reserve_size': 1, 'reserve_timeout': '300ms'})
    a, b, c = (p.connect(db) for _ in range(3))
    a.q('begin; select 1')
    start = time.monotonic()
    b.q('begin; select 1')
    took = time.monotonic() - start
    ok(took > 0.25, f'the reserve opens after reserve_timeout ({took:.2f} s)')
    c.send(query('select 1'))
    wait_for(lambda: waiting(p) == 1, what='a waiter')
    is_(cluster.backends(db), 2, 'and has its end')
    a.q('commit')
    c.until('Z')
    b.q('commit')
    p.stop()

with scenario('sizes'):
    rows = cluster.connect()
    for name, options, users in (
            ('pool size', {'pool': {'size': 3}}, ('postgres',)),
            ('max_connections of a database', {'pool': {'size': 3}, 'databases': {db: {'max_connections': 4}}}, ('postgres', 'plain', 'limited')),
            ('max_connections of a node', {'pool': {'size': 3}, 'node': {'max_connections': 5}}, ('postgres', 'plain', 'limited')),
            ('max_connections of a user', {'pool': {'size': 3}, 'users': {'plain': {'max_connections': 2}}}, ('plain',)),
            ('pool_size of a user', {'pool': {'size': 3}, 'users': {'plain': {'pool_size': 2}}}, ('plain',))):
        bound = {'pool size': 3, 'max_connections of a database': 4, 'max_connections of a node': 5}.get(name, 2)
        wait_for(lambda: cluster.backends(db) == 0, what='the end of what was before')
        p = Proxy(cluster, workers=2, **options)
        stop, most, served = False, 0, [0] * 24

        def watch():
            global most
            while not stop:
                most = max(most, int(rows.one(f"select count(*) from pg_stat_activity where datname = '{db}' and application_name <> 'lunapool'")))

        def client(i):
            global stop
            end = time.monotonic() + 2
            c = p.connect(db, user=users[i % len(users)], timeout=60)
            while time.monotonic() < end:
                c.q('select 1' if served[i] % 3 else 'begin; select pg_sleep(0.001); commit')
                served[i] += 1
                if served[i] % 40 == 0:
                    c.reset() if i % 2 else c.quit()
                    c = p.connect(db, user=users[i % len(users)], timeout=60)
            c.quit()

        w = threading.Thread(target=watch)
        w.start()
        try:
            threads(*[lambda i=i: client(i) for i in range(24)])
        finally:
            stop = True
            w.join()
        ok(0 < most <= bound, f'{name}: at most {most} of {bound} servers for 24 clients of 2 workers')
        ok(min(served) * 12 > max(served), f'nobody starves ({min(served)} to {max(served)} statements)')
        p.stop()
    rows.quit()

with scenario('session mode'):
    p = Proxy(cluster, workers=2, pool={'size': 1, 'mode': 'session'})
    a, b = p.connect(db), p.connect(db)
    pid = a.one('select pg_backend_pid()')
    a.q("create temp table mine (i int); set work_mem = '1MB'; listen x; select pg_advisory_lock(1)")
    b.send(query("select pg_backend_pid()"))
    is_([a.one('select pg_backend_pid()') for _ in range(3)], [pid] * 3, 'a session keeps its server')
    ok(not b.has_input(), 'another one waits for its end')
    a.quit()
    is_(brief(b.until('Z', timeout=10)), f'D:{pid} C:SELECT_1 Z:I', 'then it gets the server')
    is_((b.error('select * from mine'), b.one('show work_mem'), b.one('select count(*) from pg_listening_channels()'), b.one('select count(*) from pg_locks where locktype = \'advisory\' and database = (select oid from pg_database where datname = current_database())')),
        ('42P01', '4MB', '0', '0'), 'in which nothing of the other is left')
    b.quit()
    p.stop()
    p = Proxy(cluster, workers=2, pool={'size': 1}, users={'limited': {'pool_mode': 'session'}}, databases={'*': {}})
    a = p.connect(db, user='limited')
    pid = a.one('select pg_backend_pid()')
    is_(len({a.one('select pg_backend_pid()') for _ in range(5)} | {pid}), 1, 'pool_mode of a user')
    p.stop()

with scenario('statement mode'):
    p = Proxy(cluster, workers=2, pool={'size': 1, 'mode': 'statement'})
    a, b = p.connect(db), p.connect(db)
    is_([k.one('select 1') for k in (a, b) * 5], ['1'] * 10, 'single statements run')
    a.send(query('begin'))
    got = brief(a.until('Z'))
    ok(got.startswith('E:'), f'a transaction block is refused: {got}')
    is_(b.one('select 2'), '2', 'others go on')
    b.q("set work_mem = '3MB'")
    is_(b.one('show work_mem'), '3MB', 'settings are kept here too')
    p.stop()

done()
