#!/usr/bin/env -S /usr/bin/python3
"""What a function does to the session is known from the catalogue: what changes it pins, what does not does not, and nothing leaks."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, brief, execute, parse, query, sync  # noqa: E402

proxy_only()
cluster = Cluster.get()
SETUP = r"""
create table orders (i int);
create table audit (i int);
create table plain (i serial, t text);
create function set_it(v text) returns void language plpgsql as $$ begin perform set_config('work_mem', v, false); end $$;
create function set_it_local(v text) returns text language plpgsql as $$ begin perform set_config('work_mem', v, true); return current_setting('work_mem'); end $$;
create function set_by_sql(v text) returns text language sql as $$ select set_config('lock_timeout', v, false) $$;
create function set_atomic(v text) returns text begin atomic select set_config('lock_timeout', v, false); end;
create function set_by_statement() returns void language plpgsql as $$ begin set statement_timeout = '77s'; end $$;
create function set_clause() returns text language plpgsql set work_mem = '65kB' as $$ begin return current_setting('work_mem'); end $$;
create function make_temp() returns void language plpgsql as $$ begin create temp table left_behind as select 1 as x; end $$;
create function take_lock(i int) returns void language plpgsql as $$ begin perform pg_advisory_lock(i); end $$;
create function listen_to() returns void language plpgsql as $$ begin execute 'listen left_channel'; end $$;
create function harmless(i int) returns int language plpgsql as $$ declare temp int; begin -- set role nobody; select set_config('a', 'b', false)
  temp := i; update plain set t = 'set' where false; return temp + 1; end $$;
create function harmless_sql(i int) returns int language sql as $$ select i + 1 $$;
create function outer_of_set(v text) returns void language plpgsql as $$ begin perform set_it(v); end $$;
create function sum_setting_step(int, int) returns int language plpgsql as $$ begin perform set_config('work_mem', '71kB', false); return $1 + $2; end $$;
create aggregate sum_setting(int) (sfunc = sum_setting_step, stype = int, initcond = 0);
create function same_name(i int) returns int language sql as $$ select 1 $$;
create schema other;
create function other.same_name(t text) returns text language sql as $$ select set_config('work_mem', t, false) $$;
create function exempt(v text) returns text language sql as $$ select set_config('my.exempt', v, false) $$;
create function new_value() returns bigint language plpgsql as $$ begin return nextval('plain_i_seq'); end $$;
create function on_audit() returns trigger language plpgsql as $$ begin perform set_config('work_mem', '72kB', false); return new; end $$;
create trigger audit_it before insert or update on audit for each row execute function on_audit();
create function on_orders() returns trigger language plpgsql as $$ begin new.i := new.i + 1; return new; end $$;
create trigger orders_it before insert on orders for each row execute function on_orders();
create table by_default (i int, t text default set_config('work_mem', '73kB', false));
create function set_default() returns text language sql as $$ select set_config('work_mem', '74kB', false) $$;
create table by_function (i int, t text default set_default());
create view seen as select set_default() as x;
create view seen_twice as select * from seen;
create function op_set(int, int) returns int language plpgsql as $$ begin perform set_config('work_mem', '75kB', false); return 1; end $$;
create operator <~~> (leftarg = int, rightarg = int, function = op_set);
create function is_fine(v int) returns boolean language plpgsql as $$ begin perform set_config('work_mem', '76kB', false); return true; end $$;
create domain checked as int check (is_fine(value));
create table has_domain (c checked);
create table parent (i int primary key);
create table child (i int references parent on delete cascade);
create function on_child() returns trigger language plpgsql as $$ begin perform set_config('work_mem', '78kB', false); return old; end $$;
create trigger child_it before delete on child for each row execute function on_child();
create procedure harmless_call(i int) language plpgsql as $$ begin update plain set t = 'a' where false; commit; end $$;
create procedure set_call(v text) language plpgsql as $$ begin perform set_config('work_mem', v, false); end $$;
create function builtin_in_c(text, text, boolean) returns text language internal as 'set_config_by_name';
create extension pgcrypto; create extension citext; create extension tablefunc; create extension dblink;
"""
db = cluster.database(setup=SETUP)
DEFAULT = cluster.one('show work_mem', db)


def pins(p):
    with Conn(p.addr, database='lunapool') as console:
        return [(row[2], row[3]) for row in console.q('show pins') if row[2] == db or row[2].startswith('t_functions')]


def reason(p):
    return ' '.join(r for _, r in pins(p))


def pinned_by(p, sql, database=db, extended=False):
    """Why a client that has run SQL keeps its server; '' when it does not."""
    with p.connect(database) as c:
        got = c.x(sql) if extended else c.ask(query(sql))
        why = reason(p)
        if not extended:
            errors = [pgwire.fields(m[1])['M'] for m in got if m[0] == 'E']
            if errors:
                diag(f'{sql}: {errors}')
    wait_for(lambda: not pins(p), what='the end of a pin')
    return why


p = Proxy(cluster, workers=2, pool={'size': 4, 'max_pinned': 4, 'safe_functions': ['exempt']}, options={'catalog_refresh': '1h'})

with scenario('what changes the session pins, and says why'):
    for sql, why in (("select set_it('66kB')", 'opaque (set_it)'),
                     ("select set_by_sql('66s')", 'opaque (set_by_sql)'),
                     ("select set_atomic('66s')", 'opaque (set_atomic)'),
                     ('select set_by_statement()', 'opaque (set_by_statement)'),
                     ('select make_temp()', 'temp (make_temp)'),
                     ('select take_lock(815)', 'advisory_lock (take_lock)'),
                     ('select listen_to()', 'opaque (listen_to)'),
                     ("select outer_of_set('66kB')", 'opaque (outer_of_set)'),
                     ('select sum_setting(g) from generate_series(1, 3) g', 'opaque (sum_setting)'),
                     ('select same_name(1)', 'opaque (same_name)'),
                     ("select builtin_in_c('work_mem', '66kB', false)", 'opaque (builtin_in_c)'),
                     ("with x as (select set_it('66kB')) select count(*) from x where true", 'opaque (set_it)'),
                     ('insert into audit values (1)', 'opaque (on_audit)'),
                     ('insert into by_function values (1)', 'opaque (set_default)'),
                     ('select * from seen', 'opaque (set_default)'),
                     ('select * from seen_twice', 'opaque (set_default)'),
                     ('select 1 <~~> 2', 'opaque (op_set)'),
                     ('select 1::checked', 'opaque (is_fine)'),
                     ('insert into has_domain values (1)', 'opaque (is_fine)'),
                     ('delete from parent', 'opaque (on_child)'),
                     ("call set_call('66kB')", 'opaque (set_call)'),
                     ('call harmless_call(same_name(1))', 'opaque (same_name)'),
                     ('do $$ begin end $$', 'opaque'),
                     ("select * from crosstab('select 1, 2, 3') as t(a int, b int)", 'opaque (crosstab)')):
        is_(pinned_by(p, sql), why, f'simple: {sql}')
    for sql, why in (("select set_it('66kB')", 'opaque (set_it)'), ('insert into audit values (1)', 'opaque (on_audit)'), ('select * from seen', 'opaque (set_default)')):
        is_(pinned_by(p, sql, extended=True), why, f'extended: {sql}')
    for sql in ("prepare x as select set_it('66kB'); execute x", "explain analyze select set_it('66kB')", "create temp table t1 as select set_by_sql('66s')",
                "begin; declare c cursor for select set_it('66kB'); fetch c; commit"):
        like(pinned_by(p, sql), r'opaque', sql)

with scenario('what does not, does not'):
    for sql in ('select harmless(1), harmless_sql(2)', "select set_it_local('66kB')", 'select set_clause()', "select exempt('1')", 'insert into orders values (1)', 'call harmless_call(1)', "insert into plain (t) values ('a')",
                "select crypt('a', gen_salt('md5')), gen_random_uuid()", "select 'A'::citext = 'a'::citext", 'select new_value()', 'select count(*) from orders', "explain select set_it('66kB')",
                'select normal_rand(1, 2, 3)', 'select information_schema._pg_char_max_length(1, 2)', 'create view v2 as select set_default()', 'delete from child where false or true; select 1'):
        want = 'opaque (on_child)' if 'child' in sql else ''
        is_(pinned_by(p, sql), want, f'simple: {sql}')
        if ';' not in sql and 'create' not in sql:
            is_(pinned_by(p, sql, extended=True), '', f'extended: {sql}')

with scenario('long texts and calls without a text'):
    for n in (20000, 400000):
        values = ', '.join(f'({i})' for i in range(n // 7))
        is_(pinned_by(p, f'insert into audit values {values}'), 'opaque (on_audit)', f'an INSERT of {n // 1000} kB into a table with a trigger')
        is_(pinned_by(p, f'insert into orders values {values}'), '', 'and with a harmless one')
        is_(pinned_by(p, f"select set_it('66kB'), '{'x' * n}'"), 'opaque (set_it)', f'a SELECT of {n // 1000} kB')
        with p.connect(db) as c:
            c.ask(parse('long', f"select set_by_sql('66s'), array[{values.replace('(', '').replace(')', '')}]") + bind('', 'long') + execute() + sync())
            is_(reason(p), 'opaque (set_by_sql)', f'a prepared statement of {n // 1000} kB')
        wait_for(lambda: not pins(p), what='the end of a pin')
    oid = int(cluster.one("select 'set_by_sql'::regproc::oid", db))
    for fn, why in ((oid, f'opaque (oid {oid})'), (2078, 'opaque (oid 2078)'), (1317, '')):  # 1317: length()
        with p.connect(db) as c:
            args = [b'a.b', b'c', b't'][:{oid: 1, 2078: 3, 1317: 1}[fn]]
            if fn == oid:
                args = [b'66s']
            body = b''.join(len(x).to_bytes(4, 'big') + x for x in args)
            got = c.ask(pgwire.msg('F', fn.to_bytes(4, 'big') + (0).to_bytes(2, 'big') + len(args).to_bytes(2, 'big') + body + (0).to_bytes(2, 'big')))
            like(brief(got), r'^V\S* Z:I', f'FunctionCall of {fn}')
            is_(reason(p), why, f'is {why or "harmless"}')
        wait_for(lambda: not pins(p), what='the end of a pin')

with scenario('nothing leaks'):
    small = Proxy(cluster, workers=1, pool={'size': 1, 'max_pinned': 1})
    for sql in ("select set_it('66kB')", "select set_by_sql('66s')", 'select set_by_statement()', 'select make_temp()', 'select take_lock(815)', 'select listen_to()', 'insert into audit values (1)', 'select * from seen_twice',
                'delete from parent', 'select 1 <~~> 2'):
        with small.connect(db) as k:
            k.ask(query(sql))
        with small.connect(db) as k:
            seen = [k.one('show work_mem'), k.one('show lock_timeout'), k.one('show statement_timeout'), k.error('select * from left_behind'), k.one('select count(*) from pg_listening_channels()'),
                    k.one("select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()")]
            is_(seen, [DEFAULT, '0', '0', '42P01', '0', '0'], f'nothing is left of: {sql}')
    with small.connect(db) as a, small.connect(db) as b:
        is_(a.q("begin; select set_it_local('79kB')"), [['79kB']], 'a local setting holds in its statement')
        is_(a.one('show work_mem'), '79kB', 'and its transaction')
        a.q('commit')
        is_((a.one('show work_mem'), b.one('show work_mem')), (DEFAULT, DEFAULT), 'and no longer')
        a.q("set timezone = 'Asia/Tokyo'")
        is_(b.one('show timezone'), cluster.one('show timezone', db), 'settings go on as before')
        is_(a.one('show timezone'), 'Asia/Tokyo', 'for both')
    small.stop()

with scenario('DDL that passes is heeded at once'):
    with p.connect(db) as a:
        a.q("create function made_later() returns int language sql as 'select 1'")
        is_(reason(p), '', 'a function that is made')
        for n in range(3):
            a.q('select made_later()')
        is_(reason(p), '', 'and is harmless')
        a.q("create or replace function made_later() returns int language plpgsql as $$ begin perform set_config('work_mem', '80kB', false); return 1; end $$")
    is_(pinned_by(p, 'select made_later()'), 'opaque (made_later)', 'until it is replaced')
    with p.connect(db) as a:
        a.q("create or replace function made_later() returns int language sql as 'select 2'")
    is_(pinned_by(p, 'select made_later()'), '', 'and again')
    with p.connect(db) as a:
        a.q('create table later (i int); create trigger x before insert on later for each row execute function on_audit()')
    is_(pinned_by(p, 'insert into later values (1)'), 'opaque (on_audit)', 'a trigger that is made')
    with p.connect(db) as a:
        a.q('alter table later disable trigger x')
    is_(pinned_by(p, 'insert into later values (1)'), '', 'and disabled')
    with p.connect(db) as a:
        a.q("begin; create function in_tx() returns text language sql as $$ select set_config('work_mem', '81kB', false) $$; select in_tx(); commit")
        like(reason(p), r'opaque \(in_tx\)', 'one that is made and called in one transaction')
    wait_for(lambda: not pins(p), what='the end of a pin')
    with p.connect(db) as a:
        a.q('begin')
        a.q("create or replace function harmless(i int) returns int language sql as $$ select set_config('work_mem', '81kB', false); select 1 $$")
        a.q('select harmless(1)')
        like(reason(p), r'opaque \(harmless\)', 'one that is replaced and called in a transaction')
        a.q('rollback')
    wait_for(lambda: not pins(p), what='the end of a pin')
    is_(pinned_by(p, 'select harmless(1)'), '', 'and rolled back')

with scenario('what changes behind our back is seen in time'):
    q = Proxy(cluster, workers=2, pool={'size': 4, 'max_pinned': 4}, options={'catalog_refresh': '100ms'})
    cluster.query("create function behind() returns int language sql as 'select 1'", db)
    is_(pinned_by(q, 'select behind()'), '', 'harmless')
    at = len(q.log())
    cluster.query("create or replace function behind() returns int language sql as $$ select set_config('work_mem', '82kB', false); select 1 $$", db)
    q.wait_log('catalog_loaded', start=at)
    is_(pinned_by(q, 'select behind()'), 'opaque (behind)', 'replaced')
    at = len(q.log())
    cluster.query("create function brand_new() returns int language sql as 'select 1'", db)
    q.wait_log('catalog_loaded', start=at)
    is_(pinned_by(q, 'select brand_new()'), '', 'new')
    q.stop()

with scenario('sequences'):
    q = Proxy(cluster, workers=1, pool={'size': 2, 'max_pinned': 2})
    with q.connect(db) as a:
        v = a.one("begin; insert into plain (t) values ('x') returning i")
        is_(a.one('select lastval()'), v, 'lastval in the transaction of an INSERT that took a value')
        a.q('commit')
        a.q('begin; select new_value()')
        ok(a.one("select currval('plain_i_seq')"), 'and of a function that did')
        a.q('commit')
        is_(a.error('select lastval()'), '55000', 'outside it is not known the first time')
    with q.connect(db) as a, q.connect(db) as b:
        v = a.one("insert into plain (t) values ('x') returning i")
        b.q("insert into plain (t) values ('y')")
        is_(a.one('select lastval()'), v, 'from then on it is kept')
    q.stop()

with scenario('reload of safe_functions'):
    p.settings['pool']['safe_functions'] = ['set_by_sql', 'on_audit']
    at = len(p.log())
    p.reload()
    p.wait_log('catalog_loaded', start=at)
    is_([pinned_by(p, sql) for sql in ("select set_by_sql('0')", 'insert into audit values (1)', "select exempt('1')")], ['', '', 'opaque (exempt)'], 'takes effect')

with scenario('what cannot be known is opaque'):
    q = Proxy(cluster, workers=1, pool={'size': 4, 'max_pinned': 4, 'safe_functions': ['harmless_sql']}, cluster_options={'service_user': 'no_such_role'})
    is_([pinned_by(q, sql) for sql in ('select harmless(1)', 'select harmless_sql(1), lower(\'A\')', 'select 1 from orders')], ['opaque (harmless)', '', ''], 'functions that are not known')
    log = q.log()
    ok(log.count('warn catalog_unknown') == 1 and 'no_such_role' in log and 'safe_functions' in log, 'the log says so once, and what to do') or diag(log)
    q.stop()
    q = Proxy(cluster, workers=1, pool={'size': 4, 'max_pinned': 4}, cluster_options={'service_user': ''})
    is_([pinned_by(q, sql) for sql in ('select harmless(1)', "select set_it('66kB')")], ['', 'opaque (set_it)'], 'without a service role, the client\'s is used')
    q.stop()

with scenario('what is being read is waited for'):
    with cluster.connect(db) as lock:
        lock.q('begin; lock table pg_catalog.pg_policy in access exclusive mode')  # the loader reads it, the statements below do not
        q = Proxy(cluster, workers=2, pool={'size': 4, 'max_pinned': 4}, options={'catalog_wait': '1min'})
        states = lambda: [v for r in Conn(q.addr, database='lunapool').q('show clients') if r[2] == db for v in r]  # noqa: E731
        a, b, gone = q.connect(db), q.connect(db), q.connect(db)
        is_(a.one('select 1'), '1', 'a statement that calls nothing goes on')
        a.send(query('select harmless(1)'))
        b.send(parse('', 'select harmless(2)') + bind('', '') + execute() + sync())
        gone.send(query('select harmless(3)'))
        wait_for(lambda: states().count('waiting_catalog') == 3, what='three that wait')
        gone.drop()
        b.cancel()
        is_(brief(b.until('Z')), 'E:57014 Z:I', 'one that waits can be cancelled')
        b.send(query('select harmless(4)'))
        lock.q('rollback')
        is_((brief(a.until('Z')), brief(b.until('Z'))), ('D:2 C:SELECT_1 Z:I', 'D:5 C:SELECT_1 Z:I'), 'the others go on')
        is_(reason(q), '', 'without a pin')
        for k in (a, b):
            k.quit()
        q.stop()
        lock.q('begin; lock table pg_catalog.pg_policy in access exclusive mode')
        q = Proxy(cluster, workers=1, pool={'size': 4, 'max_pinned': 4}, options={'catalog_wait': '50ms'})
        with q.connect(db) as a:
            is_(a.one('select harmless(1)'), '2', 'after catalog_wait it goes on')
            is_(reason(q), 'opaque (harmless)', 'with one')
        lock.q('rollback')
        wait_for(lambda: 'catalog_loaded' in q.log(), what='a load')
        is_(pinned_by(q, 'select harmless(1)'), '', 'later ones need none')
        q.stop()

with scenario('ten thousand functions'):
    big = cluster.database('t_functions_big', setup="""do $do$ begin for i in 1..10000 loop execute format($q$create function f%s(a int, b text) returns int language plpgsql as $f$
        declare x int; begin select count(*) into x from pg_class where relname = b and relkind = 'r'; if x > a then update nothing set a = %s where false; end if;
        perform f%s(a, b); return x; end $f$ $q$, i, i, i - 1); end loop; end $do$; create function f0(int, text) returns int language sql as $$ select 1 $$;
        create function g() returns text language sql as $$ select set_config('work_mem', '83kB', false) $$""")
    q = Proxy(cluster, workers=2, pool={'size': 4, 'max_pinned': 4}, options={'catalog_wait': '1min'})
    before = q.memory()
    is_((pinned_by(q, 'select g()', big), pinned_by(q, "select f77(1, 'x')", big)), ('opaque (g)', ''), 'two of them')
    grown = (q.memory() - before) / 1e6
    m = re.search(r'catalog_loaded.*functions=(\d+) opaque=(\d+) ms=(\d+)', q.log())
    diag(f'{m.group(0)}, {grown:.1f} MB' if m else q.log())
    ok(m and m.group(2) == '1', 'are told apart')
    ok(grown < 64 * (1 if SLOW == 1 else 4), 'are held in bounded memory')
    q.stop()
    cluster.query('drop database t_functions_big with (force)')

done()
