#!/usr/bin/env -S /usr/bin/python3
"""Every line of docs/statements.md is true: a read answers on a hot standby what the primary answers, and nothing else is called a read."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import fields, query  # noqa: E402
from statements import SETUP, statements  # noqa: E402

proxy_only()
classes = f"{ROOT}/build/{os.environ.get('VARIANT', 'release')}/classes"
rc, out, err = run(['make', '-s', '-C', ROOT, f"VARIANT={os.environ.get('VARIANT', 'release')}", classes[len(ROOT) + 1:]], timeout=600)
is_(rc, 0, 'tests/pg/classes.c is built') or diag(err)
cluster = Cluster(standbys=1)
db = cluster.database('t_reach', SETUP)
cluster.caught_up(1)


def classified(statements, database=db):
    """For each: where, bound, why, blamed."""
    rc, out, err = run([classes, cluster.host, str(cluster.port), database, 'postgres'], stdin='\n'.join(statements) + '\n')
    if rc or err:
        diag(f'classes: {rc} {err}')
    lines = [line.split('\t') for line in out.splitlines()]
    assert len(lines) == len(statements), (len(lines), len(statements), err)
    return lines


def answer(node, sql, before=()):
    """What comes back for SQL: every message but what tells of the connection; or the error."""
    with cluster.at(node, db) as c:
        for other in before:
            c.q(other)
        got = c.ask(query(sql))
    errors = [fields(m[1]) for m in got if m[0] == 'E']
    return [f"{e['C']} {e['M']}" for e in errors] or [m for m in got if m[0] not in 'SZN']


BEFORE = (  # what a statement needs to have been run before it
    (r'(FETCH|MOVE|CLOSE)', ['BEGIN', 'DECLARE c CURSOR FOR SELECT a FROM t ORDER BY a']),
    (r'(RELEASE|ROLLBACK TO)', ['BEGIN', 'SAVEPOINT x']),
    (r'(SAVEPOINT|DECLARE)', ['BEGIN']),
    (r'DISCARD ALL', []),
    (r'DEALLOCATE', ['BEGIN READ ONLY', 'PREPARE named AS SELECT 1']),
)


def before(sql, where):
    for pattern, statements in BEFORE:
        if re.match(pattern, sql):
            return statements
    return ['BEGIN READ ONLY'] if where == 'primary, stays' else []


rows = statements()

with scenario('the table'):
    ok(len(rows) > 180, f'docs/statements.md tells of {len(rows)} statements')
    wrong = []
    for (sql, where, why), (is_where, _, is_why, blamed) in zip(rows, classified([sql for sql, _, _ in rows])):
        if (is_where, is_why) != (where.replace('any, fresh', 'any'), why):
            wrong.append(f'{sql}: {is_where}, {is_why} ({blamed}), not {where}, {why}')
    is_(wrong, [], 'each statement is classified as the table says')

with scenario('on the standby'):
    wrong = []
    for sql, where, _ in rows:
        if where == 'primary':
            continue
        here, there = answer(1, sql, before(sql, where)), answer(0, sql, before(sql, where))
        if here and isinstance(here[0], str):
            wrong.append(f'{sql}: {here}')
        elif where == 'any' and here != there:
            wrong.append(f'{sql}: {here}, not {there}')
    is_(wrong, [], 'each read answers there what the primary answers')

with scenario('on the primary'):
    wrong = []
    for sql, where, _ in rows:
        if where != 'primary' or re.match('COPY .* FROM|SELEKT|SELECT 1; SELEKT|CREATE DATABASE|PREPARE TRANSACTION', sql):
            continue
        got = answer(0, sql, ['BEGIN'])
        if got and isinstance(got[0], str) and got[0][:5] in ('42601', '42P01') and 'pg_temp' not in sql:
            wrong.append(f'{sql}: {got}')
    is_(wrong, [], 'all others are statements, too')

with scenario('nothing is known'):
    named = [sql for sql, where, _ in rows if where.startswith('any')]
    without = [sql for sql, c in zip(named, classified(named, '')) if c[0] == 'any']
    calls = re.compile(r'\b(FROM (?!c$)|\w+\(|TABLE|COPY|AS SELECT|CURRENT_\w+, SESSION)', re.I)
    is_([sql for sql in without if calls.search(sql.replace('VALUES (', ''))], [], 'what calls or names anything is no read')
    ok('SELECT 1; SELECT a FROM t; SELECT 2' not in without and 'TABLE t' not in without, 'a table is something')
    ok('BEGIN' in without and 'SHOW search_path' in without, 'what needs no catalogue is a read in any case')

READS = ('READ', 'FRESH', 'FIXED', 'TIME')
table = dict(re.findall(r'^BUILTIN\((\w+), (\w+)\)', open(f'{ROOT}/include/tbl/builtins.h').read(), re.M))

with scenario('functions'):
    procs = {}
    for name, volatility in cluster.query("select proname, string_agg(distinct provolatile, '') from pg_proc where oid < 16384 group by 1", db):
        procs[name] = volatility
    is_(sorted(n for n, v in procs.items() if 'v' in v and n not in table), [], 'tbl/builtins.h has every volatile function')
    is_(sorted(n for n, v in procs.items() if 'v' in v and table.get(n) == 'READ'), [], '… and says of each read why it is one')
    is_(sorted(n for n in table if table[n] in ('FRESH', 'FIXED') and 'v' not in procs.get(n, 'v')), [], '… and of no other')
    names = sorted(n for n in procs if n not in ('current_setting', 'dblink'))
    wrong = []
    for name, c in zip(names, classified([f'SELECT pg_catalog."{n}"()' for n in names])):
        may = table[name] in READS if name in table else procs[name] == 'i'
        if (c[0] == 'any') != may:
            wrong.append(f'{name} ({procs[name]}, {table.get(name)}): {c}')
    is_(wrong, [], f'{len(names)} functions are for whom they should be')

with scenario('views'):
    harmless = ('_pg_index_position', 'pg_my_temp_schema')  # of information_schema; sessions with temporary relations keep their server
    uses = {}  # view -> functions and relations
    for kind, view, used in cluster.query(r"""with u as (select r.ev_class, m[1] what, m[2]::oid called from pg_rewrite r,
            regexp_matches(r.ev_action::text, '(:funcid|:aggfnoid|:winfnoid|:relid) (\d+)', 'g') m where r.oid < 16384)
            select 'f', ev_class::regclass::text, proname from u join pg_proc p on p.oid = called where what <> ':relid' and provolatile <> 'i'
            union select 'r', ev_class::regclass::text, called::regclass::text from u where what = ':relid'""", db):
        uses.setdefault(view, set()).add((kind, used))

    def tells_of_server(view, seen=()):
        return any(table.get(name) not in READS and name not in harmless if kind == 'f' else name not in seen and tells_of_server(name, seen + (view,))
                   for kind, name in uses.get(view, ()) if name != view)

    def full(view):
        return view if '.' in view else f'pg_catalog.{view}'

    views = sorted(uses)
    got = {view: c[0] for view, c in zip(views, classified([f'TABLE {full(v)}' for v in views]))}
    is_([v for v in views if tells_of_server(v) and got[v] == 'any'], [], f'{len(views)} views of PostgreSQL: who tells of the server is no read')
    wrong = []
    with cluster.at(0, db) as primary, cluster.at(1, db) as standby:
        for view in views:
            if got[view] != 'any':
                continue
            one, other = (sorted(map(str, c.q(f'TABLE {full(view)}'))) for c in (primary, standby))
            if one != other:
                wrong.append(view)
    is_(wrong, [], '… and the others are the same on a standby')

cluster.stop()
done()
