#!/usr/bin/env -S /usr/bin/python3
"""What a statement does to its session reaches no other, however it is called: unnamed, while planning, by a definition made in the same text, or before it failed."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, brief, copy_data, copy_done, describe, execute, parse, query, sync  # noqa: E402

proxy_only()
cluster = Cluster.get()
SETS = "perform set_config('work_mem', '75kB', false);"
db = cluster.database(setup=f"""
create table t (a int); insert into t select i from generate_series(1, 5) i;
create function planned(int) returns int immutable language plpgsql as $$ begin {SETS} return 1; end $$;
create function op_set(int, int) returns int language plpgsql as $$ begin {SETS} return 1; end $$;
create operator <!!> (leftarg = int, rightarg = int, function = op_set);
create function row_set(t) returns int language plpgsql as $$ begin {SETS} return 1; end $$;
create function locks(int) returns int language plpgsql as 'begin perform pg_advisory_lock($1); return 1 / ($1 - 2); end';
create table by_default (i int, t text default set_config('work_mem', '73kB', false));
create table when_t (i int); create function nothing() returns trigger language plpgsql as 'begin return new; end';
create trigger when_it before insert on when_t for each row when (set_config('work_mem', '73kB', false) = 'x') execute function nothing();
create domain by_domain as text default set_config('work_mem', '73kB', false); create table has_domain (i int, d by_domain);
create domain checked as int check (set_config('work_mem', '73kB', false) <> ''); create type has_checked as (c checked);
create table checks (i int check (set_config('work_mem', '73kB', false) = '73kB'));
create table ruled (i int); create rule r as on insert to ruled do also select set_config('work_mem', '73kB', false);
create table indexed (i int); create index on indexed (planned(i));
create table parts (i int) partition by list (planned(i)); create table part_1 partition of parts default;
create function argument(text default set_config('work_mem', '73kB', false)) returns int language sql as 'select 1';
create function inlined() returns int language sql volatile as 'select planned(1)';
create table plain (i int); insert into plain values (1);
""")
many = 'array[' + ', '.join(f'a{i}' for i in range(1600)) + '] from (select ' + ', '.join(f'{i} as a{i}' for i in range(1600)) + ') z'


def copied(c, sql):
    c.send(query(sql))
    c.until('G')
    return c.ask(copy_data(b'1\n') + copy_done())


WAYS = [
    *(parse('', 'select planned(1)') + bind('', '') + more + sync() for more in (b'', describe('P'))),
    *(query(sql) for sql in (
        'explain select planned(1)', 'prepare p as select planned(1); explain execute p', 'explain select inlined()', 'begin; declare c cursor for select planned(1); commit',
        'select (5::bigint).pg_advisory_lock', 'select t.row_set from t', 'select (x).row_set from t x', 'select 1 <!!> 2', f'select (5::bigint).pg_advisory_lock, {many}', f'select 1 <!!> 2, {many}', f'select t.row_set, {many}, t',
        'insert into by_default (i) values (1)', 'insert into when_t values (1)', 'insert into has_domain (i) values (1)', 'insert into checks values (1)', 'insert into ruled values (1)', 'insert into indexed values (1)',
        'insert into parts values (1)', "select '(1)'::has_checked", "select '{1}'::checked[]", "select * from json_populate_record(null::has_checked, '{\"c\": 1}')", 'select argument()', 'values (planned(1))',
        'merge into plain using t on t.a = plain.i when not matched then insert values (planned(1))', 'create index on plain (planned(i))', "alter table plain add j text default set_config('work_mem', '74kB', false)",
        'alter table plain add check (planned(2) > 0)', 'alter table plain alter i type bigint using planned(i)', 'vacuum indexed', 'reindex table indexed', 'truncate indexed',
        'create table n1 (i int default planned(3)); insert into n1 default values', 'create view n2 as select planned(1); explain select * from n2', "create function n3() returns int language sql as 'select planned(1)'; explain select n3()",
        'create table n4 (a int, b int generated always as (planned(a)) stored); insert into n4 values (1)', 'create table n5 (like by_default including all); insert into n5 (i) values (1)', 'create table n6 as select planned(1)',
        'create table n7 partition of parts for values in (7); insert into n7 values (1)', "create procedure n8(int default planned(1)) language sql as 'select 1'; call n8()",
        'select pg_advisory_lock(a), 1 / (a - 2) from t order by a', 'select pg_advisory_lock(3); select 1 / 0', 'begin; select pg_advisory_lock(3); rollback', 'select locks(a) from t order by a',
        'copy (select pg_advisory_lock(a), 1 / (a - 2) from t order by a) to stdout', 'begin; declare c cursor for select pg_advisory_lock(a), 1 / (a - 2) from t order by a; fetch 1 from c; fetch 1 from c',
        "set statement_timeout = '100ms'; select pg_advisory_lock(3), pg_sleep(100)", 'do $$ begin perform pg_advisory_lock(4); perform 1 / 0; end $$')),
    parse('', 'select pg_advisory_lock(a), 1 / (a - 2) from t order by a') + bind('', '') + execute() + sync(),
    parse('', 'select pg_advisory_lock(a) from t order by a') + bind('', '') + execute('', 1) + sync(),
]
proxy = Proxy(cluster, workers=1, pool={'size': 1, 'max_pinned': 1})


def state(c):
    return [c.one('show work_mem'), c.one('show statement_timeout'), c.one("select count(*) from pg_locks where locktype = 'advisory'")]


with proxy.connect(db) as c:
    c.q('select a from t')
    wait_for(lambda: 'catalog_loaded' in proxy.log(), what='the catalogue')
    CLEAN = state(c)
wrong = []
for data in WAYS:
    with proxy.connect(db) as c:
        got = brief(c.ask(data))
    with proxy.connect(db) as c:
        left = state(c)
    if left != CLEAN:
        wrong.append(f'{data[:200]}: {got[:100]} left {left}')
for sql in ('copy by_default (i) from stdin', 'copy plain (i) from stdin where planned(1) > 0'):
    with proxy.connect(db) as c:
        copied(c, sql)
    with proxy.connect(db) as c:
        if state(c) != CLEAN:
            wrong.append(sql)
for line in wrong:
    diag(line)
is_(len(wrong), 0, f'nothing is left behind by {len(WAYS) + 2} ways to change a session')
is_(CLEAN[1:], ['0', '0'], 'so it was before')

with scenario('errors that need no pin'):
    with proxy.connect(db) as c:
        for sql in ('select no_such_function(1)', 'select pg_advisory_lock(no_such_column)', 'do $$ begin', 'begin', 'select 1/0', "select pg_advisory_lock(1)", 'rollback'):
            c.ask(query(sql))
        with proxy.connect('lunapool') as console:
            is_([row for row in console.q('show pins') if row[2] == db], [], 'what was refused as it stands leaves nothing')
proxy.stop()
done()
