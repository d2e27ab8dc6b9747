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

SAMPLES = {  # for each type of argument, constants to call functions with
    'smallint': ['3::int2'], 'integer': ['2', '-1'], 'bigint': ['5::int8'], 'numeric': ['1.5', '2'], 'real': ['1.25::float4'], 'double precision': ['0.5::float8'], 'boolean': ['true'], 'oid': ["'t'::regclass::oid"],
    'text': ["'x1'", "'public'"], 'name': ["'t'::name"], 'character varying': ["'v'::varchar"], 'character': ["'c'::bpchar"], '"char"': ["'c'::\"char\""], 'bytea': ["'\\x01ff'::bytea"], 'cstring': ["'1'::cstring"],
    'date': ["'2020-02-03'::date"], 'time without time zone': ["'10:11'::time"], 'time with time zone': ["'10:11+00'::timetz"], 'timestamp without time zone': ["'2020-02-03 10:11'::timestamp"],
    'timestamp with time zone': ["'2020-02-03 10:11+00'::timestamptz"], 'interval': ["'1 day'::interval"], 'json': ["'{\"a\": [1]}'::json", "'[1, 2]'::json"], 'jsonb': ["'{\"a\": [1]}'::jsonb", "'[1, 2]'::jsonb"],
    'jsonpath': ["'$.a'::jsonpath"], 'xml': ["'<a/>'::xml"], 'uuid': ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid"], 'inet': ["'10.0.0.1/8'::inet"], 'cidr': ["'10.0.0.0/8'::cidr"], 'macaddr': ["'08:00:2b:01:02:03'::macaddr"],
    'point': ["'(1,2)'::point"], 'box': ["'((0,0),(1,1))'::box"], 'circle': ["'<(0,0),1>'::circle"], 'path': ["'((0,0),(1,1))'::path"], 'polygon': ["'((0,0),(1,1))'::polygon"], 'lseg': ["'((0,0),(1,1))'::lseg"], 'line': ["'{1,2,3}'::line"],
    'bit': ["b'101'"], 'bit varying': ["b'101'::varbit"], 'money': ["'1.5'::money"], 'regclass': ["'t'::regclass"], 'regproc': ["'now'::regproc"], 'regtype': ["'int'::regtype"], 'regrole': ["'postgres'::regrole"],
    'regnamespace': ["'public'::regnamespace"], 'regconfig': ["'simple'::regconfig"], 'regdictionary': ["'simple'::regdictionary"], 'tsvector': ["'a:1 b:2'::tsvector"], 'tsquery': ["'a & b'::tsquery"], 'xid': ["'7'::xid"], 'xid8': ["'7'::xid8"], 'cid': ["'0'::cid"],
    'tid': ["'(0,1)'::tid"], 'pg_lsn': ["'0/100'::pg_lsn"], 'txid_snapshot': ["'10:20:10'::txid_snapshot"], 'pg_snapshot': ["'10:20:10'::pg_snapshot"], 'int4range': ["'[1,3)'::int4range"], 'int4multirange': ["'{[1,3)}'::int4multirange"],
    '"any"': ["'a'::text"], 'anyelement': ['1'], 'anynonarray': ['1'], 'anyarray': ['array[1,2]'], 'anycompatible': ['1'], 'anycompatiblearray': ['array[1,2]'], 'anycompatiblenonarray': ['1'], 'anyrange': ["'[1,3)'::int4range"],
    'anymultirange': ["'{[1,3)}'::int4multirange"], 'anyenum': ['null'], 'record': ["row(1, 'a')"], 'text[]': ["array['a','b']"], 'integer[]': ['array[1,2]'], 'oid[]': ["array['t'::regclass::oid]"], 'aclitem': ["'=r/postgres'::aclitem"],
    'aclitem[]': ["array['=r/postgres'::aclitem]"], 'refcursor': ["'c'::refcursor"], 'int2vector': ["'1 2'::int2vector"], 'oidvector': ["'1 2'::oidvector"], 'double precision[]': ["'{1,2}'::float8[]"], 'bigint[]': ["'{1,2}'::int8[]"],
}

with scenario('functions that are called'):
    calls = []
    for name, arguments, set_returning in cluster.query("""select p.proname, coalesce((select string_agg(format_type(t, null), '|' order by n) from unnest(p.proargtypes) with ordinality a(t, n)), ''), p.proretset
            from pg_proc p where p.oid < 16384 and p.prokind = 'f' and p.pronamespace = 'pg_catalog'::regnamespace and p.prorettype not in ('internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype) order by p.oid""", db):
        types = arguments.split('|') if arguments else []
        if all(t in SAMPLES for t in types):
            for n in range(max([len(SAMPLES[t]) for t in types] or [1])):
                shown = ', '.join(SAMPLES[t][n % len(SAMPLES[t])] for t in types)
                calls.append((name, f'SELECT {"* FROM " if set_returning == "t" else ""}pg_catalog."{name}"({shown})'))
    ok(len(calls) > 2200, f'{len(calls)} calls of functions of PostgreSQL')
    verdicts = classified([sql for _, sql in calls])
    wrong, refused, reads = [], [], 0
    with cluster.at(0, db) as primary, cluster.at(1, db) as standby:
        for c in (primary, standby):
            c.q('SET statement_timeout = 2000')
        for (name, sql), verdict in zip(calls, verdicts):
            if verdict[0] != 'any':
                continue
            reads += 1
            there, here = ([f"E {fields(m[1])['C']} {fields(m[1])['M']}" if m[0] == 'E' else m for m in c.ask(query(sql)) if m[0] in 'DEC'] for c in (primary, standby))
            if here != there and table.get(name) not in ('FRESH', 'TIME') and name != 'statement_timestamp':
                wrong.append((sql, here, there))
            refused += [(sql, m) for m in here if isinstance(m, str) and (m.startswith('E 25006') or 'recovery' in m)]
    is_(wrong, [], f'… of which {reads} are reads: the standby answers what the primary answers')
    is_(refused, [], '… and refuses none')

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
