#!/usr/bin/env -S /usr/bin/python3
"""Statements that are long, deep, many or no text at all, on workers' own stacks: answered as PostgreSQL answers them, by the primary, in bounded memory."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, close, execute, fields, parse, query, sync  # noqa: E402

proxy_only()
cluster = Cluster(standbys=1)
db = cluster.database(setup='create table t (a int); insert into t values (1), (2)')
cluster.caught_up(1)
cluster.mark_nodes()
proxy = Proxy(cluster, workers=2, pool={'size': 4}, limits={'client_statement_bytes': '64MB'})
HERE = "current_setting('test.node')"
N, MB10, MB = 10000, 10 << 20, 1 << 20


def nested(head, first, middle, last, n=N):
    return head + first * n + middle + last * n


TEXTS = {
    'parentheses': nested(f'select {HERE}, ', '(', '1', ')'),
    'parentheses that are parsed': nested(f'select {HERE}, pg_backend_pid() > 0, ', '(', '1', ')', 60),
    'a sum': nested(f'select {HERE}, 1', '', '', '+1'),
    'signs': nested(f'select {HERE}, ', '- ', '1', ''),
    'pieces of text': nested(f"select {HERE}, length('a'", '', '', "||'a'") + ')',
    'conditions': nested(f'select {HERE} where true', '', '', ' and true'),
    'UNION ALL': nested(f'select {HERE}', '', '', ' union all select null'),
    'UNION ALL, short': nested(f'select {HERE} || pg_backend_pid() * 0', '', '', ' union all select null', 150),
    'CASE': nested(f'select {HERE}, ', 'case when true then ', '1', ' end'),
    'subqueries': nested(f'select {HERE}, ', '(select ', '1', ')'),
    'queries in FROM': nested(f'select {HERE}, x from (', 'select x from (', 'select 1 as x', ') y') + ') z',
    'WITH': nested('', 'with x as (', f'select {HERE}', ') select * from x'),
    'casts': nested(f'select {HERE}, 1', '', '', '::int'),
    'calls': nested(f'select {HERE}, ', 'abs(', '1', ')'),
    'arrays': nested(f'select {HERE}, ', 'array[', '1', ']'),
    'joins': nested(f'select {HERE} from t', '', '', ' natural join t', 500),
    'EXPLAIN of EXPLAIN': nested('', 'explain ', 'select 1', ''),
    'many statements': 'select 1;' * N + f'select {HERE}',
    'many statements, one of them a write': 'select 1;' * N + f'update t set a = a where a = 1 returning {HERE}',
    'many columns': f'select {HERE}, pg_backend_pid() > 0' + ', 1' * 1600,
    'too many columns': f'select {HERE}' + ', a' * N + ' from t',
    'a long constant': f"select {HERE}, length('{'x' * MB10}')",
    'a long constant, dollars': f"select {HERE}, length($x${'$' * MB}$x$)",
    'a long comment': f"select {HERE} /* {'traced ' * (MB10 // 7)} */",
    'a long gap': f"select {' ' * MB} {HERE}",
    'a long list': f'select {HERE} from t where a in (1' + ', 1234567' * 100000 + ')',
    'a long name': f'select {HERE} as {"n" * MB}',
    'a literal that is left open': "select '" + "''" * (MB // 2),
    'a comment that is left open': '/*' * N,  # PostgreSQL itself takes a time that grows with the square
    'dollars that are left open': f"select $x${'$' * MB}",
    'a write that is deep': nested(f'insert into t select 3 where {HERE} = ', '(', f'{HERE}', ')', 500) + f' returning {HERE}',
    'bytes that are no text': b"select '\xff\xfe\x80'",
    'bytes that are no name': b'select 1 as "\xed\xa0\x80", \xc3\x28',
    'a lone byte': b'\xff',
    'backslashes': f"select {HERE}, e'\\'; delete from t; --', pg_backend_pid() > 0",
    'semicolons': ';' * MB + f'select {HERE}, pg_backend_pid() > 0',
}


def essence(messages):
    """Rows, errors, and how many commands were completed."""
    kept = [(fields(m[1])['C'],) if m[0] == 'E' else m for m in messages if m[0] in 'DE']
    return kept, sum(m[0] in 'CI' for m in messages)


def by_query(c, sql):
    return essence(c.ask(query(sql), timeout=60 * SLOW))


def by_parse(c, sql):
    return essence(c.ask(parse('', sql) + bind('', '') + execute() + sync(), timeout=60 * SLOW))


def by_name(c, sql):
    first = essence(c.ask(parse('n', sql) + sync(), timeout=60 * SLOW))
    if first[0]:
        return first
    return essence(c.ask(bind('', 'n') + execute() + close('S', 'n') + sync(), timeout=60 * SLOW))


with proxy.connect(db) as c:
    wait_for(lambda: c.one(f'select {HERE} from t limit 1') == 'n1', what='a read on the standby')
pid = proxy.process.pid
wrong, expected = [], {}


def ask(what, sql, way):
    with proxy.connect(db) as c:
        got = way(c, sql)
        if got != expected[what, way]:
            wrong.append(f'{what}, {way.__name__}: {str(got)[:300]}, not {str(expected[what, way])[:300]}')
        if c.one('select 1') != '1':
            wrong.append(f'{what}, {way.__name__}: the session is gone')


for what, sql in TEXTS.items():
    for way in (by_query, by_parse, by_name):
        with cluster.at(0, db) as direct:
            expected[what, way] = way(direct, sql)
        ask(what, sql, way)
first = proxy.memory()
if VARIANT == 'release':  # again, since memory is looked at; what a client prepared is gone with it
    for what, sql in TEXTS.items():
        ask(what, sql, by_query)
for line in wrong:
    diag(line)
is_(len(wrong), 0, f'{len(TEXTS)} texts in three ways are answered as PostgreSQL answers them, by the primary, and their sessions live')
is_(proxy.process.poll(), None, 'the process lives')
if VARIANT == 'release':
    ok(proxy.memory() - first < 32 << 20, f'memory does not grow with them ({(proxy.memory() - first) >> 10} kB in the second round)')

with scenario('encodings that hide quotes'):
    for encoding, text, is_text in (('SJIS', b"select '\x83\x5c', %b", True), ('SJIS', b"select '\x83'; delete from t; --', %b", False), ('GBK', b"select '\x95\x5c', %b", True), ('BIG5', b"select '\xa5\x5c', %b", True),
                                    ('SJIS', b"select 'plain', %b, pg_backend_pid() > 0", True)):
        for way in (by_query, by_parse):
            with proxy.connect(db) as c, cluster.at(0, db) as direct:
                for x in (c, direct):
                    x.q(f"set client_encoding = '{encoding}'")
                is_(way(c, text.replace(b'%b', HERE.encode())), way(direct, text.replace(b'%b', HERE.encode())), f'{encoding}: {text}, {way.__name__}')
    is_(cluster.one('select count(*) from t where a < 3', db), '2', 'nothing is deleted')

with scenario('a hundred thousand statements that differ'):
    with proxy.connect(db) as c:
        def some(n, more):
            for at in range(0, n, 500):
                c.send(b''.join(query(f'select a as c{more}_{i} from t where a = {i}') for i in range(at, at + 500)))
                c.until('Z', 500, timeout=60 * SLOW)
        count = 100000 if SLOW == 1 else 20000
        some(count // 2, 'x')
        before = proxy.memory()
        some(count // 2, 'y')
        if VARIANT == 'release':
            ok(proxy.memory() - before < 16 << 20, f'cost bounded memory ({(proxy.memory() - before) >> 10} kB for the second half)')
        is_(c.one('select 1'), '1', 'the session lives')
proxy.stop()
cluster.stop()
done()
