#!/usr/bin/env -S /usr/bin/python3
"""The drivers that applications use, each with a program of its own: types, transactions, prepared statements, errors, COPY, NOTIFY, and eight
connections over a pool of three; then pg_dump and pg_restore."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403

HERE = f'{ROOT}/tests/pg/drivers'
JAR = '/usr/share/java/postgresql.jar'
NODE = f'{ROOT}/build/npm'
GO = {'GO111MODULE': 'off', 'GOPATH': '/usr/share/gocode', 'GOCACHE': f'{ROOT}/build/gocache', 'GOFLAGS': '-p=2', 'CGO_ENABLED': '0'}
PROGRAMS = {
    'psycopg2': ['/usr/bin/python3', f'{HERE}/psycopg2_check.py'],
    'psycopg 3': ['/usr/bin/python3', f'{HERE}/psycopg3_check.py'],
    'asyncpg': ['/usr/bin/python3', f'{HERE}/asyncpg_check.py'],
    'DBD::Pg': ['perl', f'{HERE}/dbd_pg_check.pl'],
    'lib/pq': [f'{ROOT}/build/tests/lib_pq_check'],
    'JDBC': ['java', '-XX:TieredStopAtLevel=1', '-cp', JAR, f'{HERE}/JdbcCheck.java'],
    'node-postgres': ['node', f'{HERE}/node_postgres_check.js'],
}


def prepare(driver):
    """What a driver needs before its program runs."""
    if driver == 'lib/pq':
        return run(['go', 'build', '-o', f'{ROOT}/build/tests/lib_pq_check', f'{HERE}/lib_pq_check.go'], env=GO, timeout=300)
    if driver == 'node-postgres' and not os.path.exists(f'{NODE}/node_modules/pg/package.json'):
        os.makedirs(NODE, exist_ok=True)
        return run(['npm', 'install', '--prefix', NODE, '--no-audit', '--no-fund', '--silent', 'pg@8'], timeout=300)
    return 0, '', ''


def check(driver, proxy, db):
    rc, out, err = prepare(driver)
    if rc:
        ok(False, f'{driver}: is built')
        diag(out + err)
        return
    env = {'PGSSLMODE': 'disable', 'PYTHONDONTWRITEBYTECODE': '1', 'NODE_PG': f'{NODE}/node_modules/pg'}
    rc, out, err = run(PROGRAMS[driver], env={**proxy.env(db), **env}, timeout=120)
    lines = [line for line in out.split('\n') if line.startswith(('ok ', 'not ok '))]
    for line in lines:
        ok(line.startswith('ok '), f"{driver}: {line.split('ok ', 1)[1]}")
    is_(rc, 0, f'{driver}: runs to its end') or diag(err[-3000:])


def schema(of, database):
    rc, out, err = of.tool('pg_dump', database=database)
    ok(rc == 0 and len(out) > 1000, f'pg_dump of {database}') or diag(err)
    return re.sub(r'(?m)^\\(un)?restrict .*$', '', out)  # a random word


def dump_and_restore(cluster, proxy, name):
    """Everything that comes out of a dump, through the proxy both ways, is as it was."""
    source = cluster.database(f'{name}_source', FILL)
    want = schema(proxy, source)
    d = temp_dir()
    for how, dump, restore in (
            ('custom', ['-Fc', '-f', f'{d}/custom'], ['pg_restore', '-d', '%s', f'{d}/custom']),
            ('directory, two jobs', ['-Fd', '-j', '2', '-f', f'{d}/dir'], ['pg_restore', '-j', '2', '-d', '%s', f'{d}/dir']),
            ('plain', ['-f', f'{d}/plain'], ['psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', '%s', '-f', f'{d}/plain'])):
        target = cluster.database(f'{name}_target')
        rc, out, err = proxy.tool('pg_dump', *dump, database=source)
        ok(rc == 0, f'pg_dump, {how}') or diag(err)
        rc, out, err = proxy.tool(*[a.replace('%s', target) for a in restore])
        ok(rc == 0 and 'ERROR' not in err, f'restored, {how}') or diag(err)
        ok(schema(proxy, target) == want, f'{how}: a dump of the copy is the same')


FILL = """create schema s; create type s.mood as enum ('sad', 'happy'); create sequence s.q start 7;
create table s.t (id int primary key default nextval('s.q'), m s.mood, t text, b bytea, at timestamptz default '2024-01-01');
insert into s.t (m, t, b) select case when g % 2 = 0 then 'sad' else 'happy' end::s.mood, repeat('t' || g, 10), decode(md5(g::text), 'hex')
from generate_series(1, 5000) g; create index on s.t (t); create view s.v as select id, upper(t) as t from s.t where m = 'happy';
create table s.u (t int references s.t, x numeric check (x > 0)) partition by range (t); create table s.u1 partition of s.u for values from (0) to (10000);
insert into s.u select id, id from s.t limit 1000; select lo_from_bytea(4711, 'large object');
create function s.f(n int) returns int language plpgsql as $$begin return n + 1; end$$;"""

cluster = Cluster.get()
proxy = Proxy(cluster, workers=2, pool={'size': 3})
for driver in PROGRAMS:
    with scenario(driver):
        db = cluster.database(f't_drivers_{re.sub(r"[^a-z0-9]", "", driver.lower())}')
        check(driver, proxy, db)
        if not DIRECT:
            ok(cluster.backends(db) <= 3, f'{driver}: the pool kept its size')
with scenario('pg_dump'):
    dump_and_restore(cluster, proxy, 't_drivers')
done()
