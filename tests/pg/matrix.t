#!/usr/bin/env -S /usr/bin/python3
"""Every statement of docs/statements.md through Lunapool, in four ways: it runs where the page says, and its answer is that of the primary."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, execute, fields, parse, query, sync  # noqa: E402
from statements import SETUP, statements  # noqa: E402

proxy_only()
cluster = Cluster(standbys=2, extra="log_statement = all\nlog_min_messages = log\n")
db = cluster.database('t_matrix', SETUP)
for i in (1, 2):
    cluster.caught_up(i)
proxy = Proxy(cluster, workers=2, pool={'size': 4})

# What returns rows by itself; what begins, ends or prepares something is answered here, or follows its session.
QUERY = re.compile(r'(\(|/\*|SELECT|WITH|VALUES|TABLE|EXPLAIN|SHOW|COPY)', re.I)
# What would wait for more, write a file, or take what other tests need.
LEFT_OUT = re.compile(r"COPY .* FROM|COPY t TO '|CREATE DATABASE|ALTER SYSTEM|CREATE ROLE|DROP|PREPARE TRANSACTION|SELECT last_value FROM pg_seq", re.I)


def essence(messages):
    """Rows, tags and errors."""
    return [(fields(m[1])['C'],) if m[0] == 'E' else m for m in messages if m[0] in 'DdCEI']


def simple(c, sql):
    return essence(c.ask(query(sql)))


def extended(c, sql):
    return essence(c.ask(parse('', sql) + bind('', '') + execute() + sync()))


def named(c, sql):
    c.ask(parse('named_here', sql) + sync())
    return essence(c.ask(bind('', 'named_here') + execute() + sync()))


def in_transaction(c, sql):
    c.q('BEGIN')
    got = essence(c.ask(query(sql)))
    c.q('ROLLBACK')
    return got


def in_read_only(c, sql):
    c.q('BEGIN READ ONLY')
    got = essence(c.ask(query(sql)))
    c.q('COMMIT')
    return got


def ways(sql, where):
    yield from (simple,) if ';' in sql else (simple, extended, named)
    if ';' not in sql and not re.match('BEGIN|START|COMMIT|ROLLBACK', sql):
        yield in_read_only if where.startswith('any') else in_transaction


def seen(mark):
    """The nodes whose logs have it."""
    return [i for i in range(3) if mark in logs[i]]


def read_logs():
    return [open(f'{cluster.dir}/n{i}.log', errors='replace').read() for i in range(3)]


with proxy.connect('lunapool') as admin:
    wait_for(lambda: sum(r.count('yes') for r in map(list, admin.q('SHOW NODES'))) >= 2, what='standbys that are fit')
with proxy.connect(db) as c:  # what is known of the catalogue: until then the primary is asked
    def is_away():
        c.q('SELECT a /* first */ FROM t')
        return any('/* first */' in open(f'{cluster.dir}/n{i}.log').read() for i in (1, 2))
    wait_for(is_away, what='a read on a standby')

ran = []  # mark, statement, where, way
wrong = []
for order in ('any', 'primary'):  # whoever has written reads what he wrote: reads come first
    for n, (sql, where, _) in enumerate(statements()):
        if not where.startswith(order) or LEFT_OUT.match(sql) or (order == 'any' and not QUERY.match(sql)):
            continue
        for way in ways(sql, where):
            mark = f'm{n}.{way.__name__}.'
            with proxy.connect(db) as c, cluster.at(0, db) as direct:
                got, expected = way(c, f'{sql} /* {mark} */'), way(direct, sql) if where == 'any' else None
            ran.append((mark, sql, where, way.__name__))
            if where == 'any' and got != expected:
                wrong.append(f'{way.__name__}: {sql}: {got}, not {expected}')
is_(wrong, [], 'all answers are those of the primary')
ok(len(ran) >= 500, f'{len(ran)} statements')

logs = read_logs()
is_([(sql, way) for mark, sql, where, way in ran if where == 'primary' and seen(mark) not in ([0], [])], [], 'what is for the primary ran there and nowhere else')
is_([(sql, way, seen(mark)) for mark, sql, where, way in ran if where.startswith('any') and way in ('simple', 'extended') and seen(mark) not in ([1], [2])], [],
    'what is for any ran on one standby')
is_([(sql, way, seen(mark)) for mark, sql, where, way in ran if way == 'in_read_only' and len(seen(mark)) != 1], [], '… on one node in a transaction that only reads')
is_([(sql, way, seen(mark)) for mark, sql, where, way in ran if where.startswith('any') and way == 'named' and not {1, 2} & set(seen(mark))], [],
    '… when it was prepared, too')
ok(all(any(seen(mark) == [i] for mark, *_ in ran) for i in (1, 2)), 'both standbys had some')
proxy.stop()
cluster.stop()
done()
