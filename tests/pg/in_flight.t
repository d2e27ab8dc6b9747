#!/usr/bin/env -S /usr/bin/python3
"""Row 83: the way to the server is cut under a statement.  Who cannot have committed anything is told that it can be repeated (40001), who may have is
told that nobody knows (08007); what is there afterwards agrees; the session lives, and its transaction has failed or is over."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, brief, execute, parse, query, sync  # noqa: E402
from relay import Relay  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database(setup='create table t (id int, how text)')
relay = Relay(cluster.host, cluster.port)
p = Proxy(cluster, workers=1, pool={'size': 3}, nodes={'n0': {'port': relay.port}})


def message(sql, how):
    """One statement, or a list that is pipelined, as HOW has it."""
    if how == 'simple':
        return query(sql)
    return b''.join(parse('', s) + bind('', '') + execute() for s in ([sql] if isinstance(sql, str) else sql)) + sync()


def there(n):
    return cluster.one(f'select count(*) from t where id = {n}', db) != '0'


def prepared():
    return cluster.one(f"select count(*) from pg_prepared_xacts where database = '{db}'") != '0'


def is_done(text):
    return cluster.backends(db, f"and state <> 'active' and query = '{text.replace(chr(39), chr(39) * 2)}'") > 0


def waits():
    return cluster.backends(db, "and wait_event_type = 'Lock'") > 0


ALL, SIMPLE, EXTENDED = ('simple', 'extended'), ('simple',), ('extended',)
X, Y = "insert into t values (%, 'x')", "insert into t values (%, 'y')"
ROWS = (  # name, what was done before, what is in flight, in which protocols, whether it waits for a lock, what is said, what status follows
    ('an insert', [], X, ALL, False, '08007', 'I'),
    ('an insert that waits', [], X, ALL, True, '08007', 'I'),
    ('a statement of a transaction', ['begin', X], Y, ALL, False, '40001', 'E'),
    ('the first one of a transaction', ['begin'], X, ALL, True, '40001', 'E'),
    ('BEGIN and more in one message', [], f'begin; {X}', SIMPLE, True, '40001', 'E'),
    ('BEGIN and more, pipelined', [], ['begin', X], EXTENDED, True, '40001', 'E'),
    ('a whole transaction in one message', [], f'begin; {X}; commit', SIMPLE, False, '08007', 'I'),
    ('COMMIT', ['begin', X], 'commit', ALL, False, '08007', 'I'),
    ('COMMIT AND CHAIN', ['begin', X], 'commit and chain', ALL, False, '08007', 'E'),
    ('a statement and COMMIT, pipelined', ['begin', X], [Y, 'commit'], EXTENDED, False, '08007', 'I'),
    ('COMMIT of a transaction that has failed', ['begin', X, 'select 1/0'], 'commit', ALL, False, '40001', 'I'),
    ('ROLLBACK', ['begin', X], 'rollback', ALL, False, '40001', 'I'),
    ('ROLLBACK and an insert behind it', ['begin', X], f'rollback; {Y}', SIMPLE, False, '08007', 'I'),
    ('PREPARE TRANSACTION', ['begin', X], "prepare transaction 'in flight'", ALL, False, '08007', 'I'),
)
ids = iter(range(1, 10 ** 6))


def filled(sql, n):
    return sql.replace('%', str(n)) if isinstance(sql, str) else [s.replace('%', str(n)) for s in sql]


def cut_under(row, protocol, how):
    what, before, sql, _, is_blocked, want, status = row
    n, name = next(ids), f'{what}, {protocol}, {how}'
    sql = filled(sql, n)
    with p.connect(db) as c, cluster.connect(db) as other:
        for text in before:
            c.ask(query(filled(text, n)))
        if is_blocked:
            other.q('begin; lock table t')
        relay.stall(to_server=False)
        c.send(message(sql, protocol))
        wait_for(waits if is_blocked else lambda: is_done(sql if isinstance(sql, str) else sql[-1]), what='it to be there')
        relay.cut(how)
        relay.flow()
        like(brief(c.until('Z')), f'^(1 2 C:BEGIN )?E:{want} Z:{status}$', f'row 83: {name}')  # a BEGIN may be answered before it is sent
        other.q('rollback')
        wait_for(lambda: cluster.backends(db) == 1, what='the server to have ended it')
        if want == '40001':
            ok(not there(n), f'{name}: nothing was committed')
        elif not is_blocked:
            ok(there(n) or prepared(), f'{name}: it was committed')
        if status == 'E':
            is_(brief(c.ask(query(filled(X, -1)))), 'E:25P02 Z:E', f'{name}: what follows is not done alone')
            is_(brief(c.ask(query('rollback'))), 'C:ROLLBACK Z:I', f'{name}: and it ends')
        is_(c.one('select 1'), '1', f'{name}: the session goes on')
        if prepared():
            other.q("rollback prepared 'in flight'")
    wait_for(lambda: cluster.backends(db, "and state <> 'idle'") == 0)


for row in ROWS:
    for protocol in row[3]:
        for how in ('rst', 'fin'):
            with scenario(row[0]):
                cut_under(row, protocol, how)
p.stop()
relay.stop()
done()
