#!/usr/bin/env -S /usr/bin/python3
"""Every statement of docs/statements.md through Lunapool, alone and in transactions, in each protocol: it runs where the page says, and answers as PostgreSQL does."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, copy_done, execute, fields, parse, query, sync  # noqa: E402
from statements import SETUP, statements  # noqa: E402

proxy_only()
cluster = Cluster(standbys=2, extra="log_statement = all\nlog_min_messages = log\n")
twin = Cluster()  # is asked the same directly, and so has the same in it
db = cluster.database('t_matrix', SETUP)
twin.database('t_matrix', SETUP)
for i in (1, 2):
    cluster.caught_up(i)
proxy = Proxy(cluster, workers=2, pool={'size': 4}, databases={'*': {}, 'until': {'dbname': db, 'read_until_write': True}})

# What writes a file, or takes what must not be taken.
LEFT_OUT = re.compile(r"COPY t TO '/tmp|SELECT pg_terminate_backend")
# Answers that nobody else gives: only their form is compared.
OWN_NAME = re.compile(r'v_pid|v_activity|by_default_f|SHOW ALL|EXPLAIN ANALYZE')
OWN_ANSWER = ('asks about the server that it runs on, or acts upon it', 'asks for the ids or snapshots of transactions', 'works on large objects')
IN_TRANSACTION_ONLY = re.compile(r'(ALTER|CREATE|DROP|GRANT|COMMENT|SECURITY|IMPORT|REASSIGN|TRUNCATE)', re.I)
EXECUTES = re.compile(r'(EXPLAIN )?EXECUTE named$')  # outside a transaction it is what it executes: a read
# The statements that one needs in front of it, in the same session.
BEFORE = ((r'(FETCH|MOVE|CLOSE)', ['BEGIN', 'DECLARE c CURSOR FOR SELECT a FROM t ORDER BY a']),
          (r'(RELEASE|ROLLBACK TO)', ['BEGIN', 'SAVEPOINT x']),
          (r'SET (LOCAL|TRANSACTION|CONSTRAINTS)|SAVEPOINT|DECLARE|LOCK', ['BEGIN']),
          (r'EXECUTE named\b|DEALLOCATE named|EXPLAIN EXECUTE|CREATE TABLE t_new AS EXECUTE', ['PREPARE named AS SELECT a FROM t ORDER BY a']),
          (r'EXECUTE named_with', ['PREPARE named_with(int) AS SELECT $1']))
# What returns rows by itself: what begins, ends or prepares something is answered here, or follows its session.
QUERY = re.compile(r'(\(|/\*|SELECT|WITH|VALUES|TABLE|EXPLAIN|SHOW|COPY)', re.I)


def essence(messages):
    """Rows, tags and errors."""
    return [(fields(m[1])['C'],) if m[0] == 'E' else m for m in messages if m[0] in 'DdCEI']


def form(messages):
    """How it ends; how many rows a sample has is chance."""
    return [m if len(m) == 1 else m[0] for m in messages if m[0] != 'D']


def ending(sql):
    return copy_done() if 'FROM STDIN' in sql else b''


def simple(c, sql):
    return essence(c.ask(query(sql) + ending(sql)))


def extended(c, sql):
    return essence(c.ask(parse('', sql) + bind('', '') + execute() + ending(sql) + sync()))


def named(c, sql):
    first = essence(c.ask(parse('named_here', sql) + sync()))
    return first or essence(c.ask(bind('', 'named_here') + execute() + ending(sql) + sync()))


def in_transaction(c, sql):
    c.q('BEGIN')
    got = simple(c, sql)
    return got + simple(c, 'ROLLBACK')


def extended_in_transaction(c, sql):
    c.q('BEGIN')
    got = extended(c, sql)
    return got + simple(c, 'ROLLBACK')


def in_read_only(c, sql):
    c.q('BEGIN READ ONLY')
    got = simple(c, sql)
    return got + simple(c, 'COMMIT')


def in_repeatable_read(c, sql):
    c.q('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    got = simple(c, 'SELECT a FROM t WHERE a = 1') + simple(c, sql)
    return got + simple(c, 'COMMIT')


def until_it_writes(c, sql):
    c.q('BEGIN')
    got = simple(c, 'SELECT 1') + extended(c, sql)  # what other sessions have written a standby may show later
    return got + simple(c, 'ROLLBACK')


def ways(sql, where):
    needs = [s for pattern, s in BEFORE if re.match(pattern, sql)]
    if not IN_TRANSACTION_ONLY.match(sql):
        yield from (simple,) if ';' in sql else (simple, extended, named)
    if ';' in sql or re.match('BEGIN|START|COMMIT|ROLLBACK', sql) or any(s[0] == 'BEGIN' for s in needs):
        return
    yield from (in_transaction, extended_in_transaction, until_it_writes)
    if where.startswith('any'):
        yield from (in_read_only, in_repeatable_read)


def answer(c, sql, way):
    for pattern, statements_before in BEFORE:
        if re.match(pattern, sql):
            for s in statements_before:
                c.q(s)
    return way(c, sql)


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
    for n, (sql, where, why) in enumerate(statements()):
        if not where.startswith(order) or LEFT_OUT.match(sql):
            continue
        for way in ways(sql, where):
            mark = f'm{n}.{way.__name__}.'
            with proxy.connect('until' if way is until_it_writes else db) as c, twin.connect(db) as direct:
                got, expected = answer(c, f'{sql} /* {mark} */', way), answer(direct, f'{sql} /* {mark} */', way)
            ran.append((mark, sql, where, way.__name__))
            if where == 'any, fresh' or why in OWN_ANSWER or OWN_NAME.search(sql):
                got, expected = form(got), form(expected)
            if got != expected:
                wrong.append(f'{way.__name__}: {sql}: {got}, not {expected}')
for line in wrong[:50]:
    diag(line)
is_(wrong[:3], [], 'all answers are those of PostgreSQL itself')
ok(len(ran) >= 1000, f'{len(ran)} statements')

logs = read_logs()
alone = ('simple', 'extended')
is_([(sql, way) for mark, sql, where, way in ran if where == 'primary' and not EXECUTES.match(sql) and seen(mark) not in ([0], [])], [], 'what is for the primary ran there and nowhere else')
is_([(sql, way, seen(mark)) for mark, sql, where, way in ran if where.startswith('any') and way in alone and QUERY.match(sql) and seen(mark) not in ([1], [2])], [],
    'what is for any ran on one standby')
is_([(sql, way, seen(mark)) for mark, sql, where, way in ran if way in ('in_read_only', 'in_repeatable_read') and QUERY.match(sql) and seen(mark) not in ([1], [2])], [],
    '… and in a transaction that only reads')
is_([(sql, way, seen(mark)) for mark, sql, where, way in ran if way == 'until_it_writes' and len(seen(mark)) > 1], [], 'a transaction that moves runs no statement twice')
is_([(sql, way, seen(mark)) for mark, sql, where, way in ran if 'in_transaction' in way and seen(mark) not in ([0], [])], [], '… on the primary in one that may write')
is_([(sql, way, seen(mark)) for mark, sql, where, way in ran if where.startswith('any') and way == 'named' and QUERY.match(sql) and not {1, 2} & set(seen(mark))], [],
    '… on a standby when it was prepared, too')
ok(all(any(seen(mark) == [i] for mark, *_ in ran) for i in (1, 2)), 'both standbys had some')
is_([line for i in (1, 2) for line in logs[i].splitlines() if 'during recovery' in line], [], 'no standby had to refuse any')
proxy.stop()
cluster.stop()
twin.stop()
done()
