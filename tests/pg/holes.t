#!/usr/bin/env -S /usr/bin/python3
"""What other routers send to the wrong node, by name: each runs where it must, and answers as PostgreSQL itself does.

A step is what one session sends: text (as a Query and, where it can be, in the extended protocol), or messages.  In front of it stands where it
runs: p the primary, s a standby, n no server, . anywhere; and in front of that, where it matters, > for another session.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, describe, execute, fields, flush, parse, query, sync  # noqa: E402
from statements import SETUP  # noqa: E402

proxy_only()
cluster = Cluster(standbys=2, extra="log_statement = all\nlog_min_messages = log\n")
twin = Cluster()  # is asked the same directly
MORE = r"""
create view v_deep as select * from (select * from v_nextval) x where true;
create view v_barrier with (security_barrier) as select a from t where volatile_f(a) > 0;
create view v_union as select 1 x union all select 2 union all select nextval('s')::int;
create view v_lateral as select y.f from t x, lateral (select volatile_f(x.a) f) y;
create function reads_only(int) returns int stable language sql as 'select $1';
create table guarded_by_volatile (a int); alter table guarded_by_volatile enable row level security; create policy p on guarded_by_volatile using (volatile_f(a) > 0);
create table guarded_by_plain (a int); alter table guarded_by_plain enable row level security; create policy p on guarded_by_plain using (reads_only(a) > 0);
create table indexed (a int); insert into indexed select i from generate_series(1, 9) i; create index on indexed (immutable_f(a));
create table by_default (a int default nextval('s'), b int); create table triggered (a int); create table ruled (a int);
create function on_triggered() returns trigger language plpgsql as 'begin new.a := nextval(''s''); return new; end';
create trigger tr before insert on triggered for each row execute function on_triggered();
create rule ru as on insert to ruled do instead insert into triggered values (new.a) returning a;
create schema other; create schema my;
create function my.count(text) returns text language sql as 'select ''volatile''';
create function other.lower(text) returns text language sql as 'select ''mine''';
create function my.length(text) returns int stable language sql as 'select -1';
create table other.pg_locks as select 'mine' who; create table other.shadowed as select 'other' who; create table shadowed as select 'public' who;
create unlogged table my.t (a int); alter table my.t rename to only_mine; create table only_mine_too (a int);
create table shadow as select 'permanent' who;
create materialized view m_empty as select 1 x with no data;
create function sums_up(int, int) returns int language sql as 'select $1 + $2'; create aggregate sum_of(int) (sfunc = sums_up, stype = int, initcond = 0);
create function sets_path() returns void language plpgsql as 'begin perform set_config(''search_path'', ''other'', false); end';
create function plans_config(int) returns int immutable language plpgsql as 'begin perform set_config(''app.planned'', ''leaked'', false); return 1; end';
create table written (a int);
create view v_written as select a from written; create rule w_up as on update to v_written do instead update written set a = new.a where a = old.a;
create function lo_made(oid) returns bool language sql as 'select lo_create($1) = $1';
create foreign table my.remote (a int) server files options (program 'echo 5'); create view v_remote as select a from my.remote;
create table "größe" (a int); insert into "größe" values (3); create view "überblick" as select volatile_f(1);
"""
db = cluster.database('t_holes', SETUP + MORE)
twin.database('t_holes', SETUP + MORE)
for i in (1, 2):
    cluster.caught_up(i)
proxy = Proxy(cluster, workers=2, pool={'size': 4}, options={'catalog_refresh': '1h'})
ANALYZE = 'COSTS off, TIMING off, SUMMARY off'
LATIN = 'größe'.encode('latin1')

HOLES = [
    # reference: Pgpool-II's rules, and what they do not see
    ('COPY of a function that writes', "p COPY (SELECT nextval('s')) TO STDOUT", 'p COPY (SELECT volatile_f(a) FROM t ORDER BY a) TO STDOUT', '>s COPY (SELECT immutable_f(a) FROM t ORDER BY a) TO STDOUT'),
    ('… in a transaction', 'n BEGIN', "p COPY (SELECT nextval('s')) TO STDOUT", 'p ROLLBACK'),
    ('a view that takes a value of a sequence', 'p SELECT * FROM v_nextval'),
    ('a view of a view of it', 'p SELECT * FROM v_deep'),
    ('a view whose third row takes one', 'p SELECT * FROM v_union'),
    ('a view with a barrier in front of a volatile function', 'p SELECT * FROM v_barrier ORDER BY 1'),
    ('a view with LATERAL', 'p SELECT * FROM v_lateral ORDER BY 1'),
    ('a view of a foreign table', 'p SELECT * FROM v_remote'),
    ('a view of tables only', 's SELECT * FROM v ORDER BY a'),
    ('an operator', 'p SELECT a <~~> 1 FROM t ORDER BY a'),
    ('a cast', 'p SELECT b::int FROM boxes', 'p SELECT CAST(b AS integer) FROM boxes'),
    ('a domain', "p SELECT '5'::dom", "p SELECT dom '5'", "p SELECT '{5,6}'::dom[]", "p SELECT (json_populate_record(null::comp, '{\"d\": 4}')).d"),
    ('the default of a column', 'p INSERT INTO by_default (b) VALUES (1) RETURNING a'),
    ('a policy for rows', 's SELECT a FROM guarded_by_plain', 'p SELECT a FROM guarded_by_volatile'),
    ('the expression of an index', 's SELECT a FROM indexed WHERE immutable_f(a) = 3', 'p INSERT INTO indexed VALUES (10)'),
    ('a trigger', 'p INSERT INTO triggered VALUES (1) RETURNING a'),
    ('a rule', 'p INSERT INTO ruled VALUES (1) RETURNING a', 'p UPDATE v_written SET a = 2'),
    ('an aggregate over a volatile function', 'p SELECT sum_of(a) FROM t'),
    ('a window over one', 'p SELECT sum_of(a) OVER (ORDER BY a) FROM t ORDER BY a'),
    ('a function that only a row names', 'p SELECT t.row_f FROM t', 'p SELECT (x).row_f FROM t x', 'p SELECT x.row_f FROM (SELECT * FROM t) x, t y WHERE x.a = y.a'),
    ("a function of PostgreSQL without parentheses", 'p SELECT (815::bigint).pg_advisory_lock', 'p SELECT (815::bigint).pg_advisory_unlock', "p SELECT ('s'::regclass).nextval", ">s SELECT ('x'::text).upper"),
    ('a volatile function of the name of a built-in one', 'p SELECT count(*) FROM t', "p SELECT my.count('x')"),
    ('a stable function of the name of a built-in one', "s SELECT length('abc'), my.length('abc')"),
    ("a user's function in front of the catalogue's", 'n SET search_path = other, pg_catalog, public', "p SELECT lower('ABC')", 'n RESET search_path', ". SELECT pg_catalog.lower('ABC')"),
    ("a user's table of the name of a server's view", 's SELECT who FROM other.pg_locks', 'n SET search_path = other, pg_catalog', 'p SELECT who FROM pg_locks'),
    ('a table of the name of an unlogged one', 's SELECT a FROM only_mine_too', 'p SELECT a FROM my.only_mine'),
    ('a path of schemas', 'n SET search_path = other, public', 's SELECT who FROM shadowed', 'n RESET search_path', 's SELECT who FROM shadowed'),
    ('a prepared statement over a temporary table', "p CREATE TEMP TABLE shadow AS SELECT 'temporary' AS who", 'p PREPARE q AS SELECT who FROM shadow', 'p EXECUTE q', 'p SELECT who FROM shadow', '>s SELECT who FROM shadow',
     'p DROP TABLE pg_temp.shadow', '. SELECT who FROM shadow'),
    ("a table's name in a text", "p SELECT pg_relation_size('t') >= 0", ">s SELECT to_regclass('t') IS NOT NULL", "p SELECT nextval('s'::text) > 0", "p SELECT query_to_xml('delete from written', true, true, '')::text"),
    ('advisory locks', 'p SELECT pg_advisory_lock(77)', '>p SELECT pg_try_advisory_lock(77)', 'p SELECT pg_advisory_unlock(77)', '>p SELECT pg_try_advisory_lock(77)', '>p SELECT pg_advisory_unlock_all()'),
    ('settings by set_config()', "p SELECT set_config('search_path', 'other', false)", '. SELECT who FROM shadowed', ". SELECT who FROM shadowed WHERE true"),
    ('settings by a function', 'p SELECT sets_path()', 'p SELECT who FROM shadowed', '>s SELECT who FROM shadowed'),
    ('settings by a function while planning', 'p EXPLAIN (COSTS off) SELECT plans_config(1)', "p SELECT current_setting('app.planned', true)", ">s SELECT coalesce(nullif(current_setting('app.planned', true), ''), 'no')"),
    ('a setting of the session', "n SET TimeZone = 'Asia/Tokyo'", "s SELECT '2020-01-01 00:00+00'::timestamptz::text", 's SHOW TimeZone'),
    # its flag for writes
    ('ROLLBACK TO is no ROLLBACK', 'n BEGIN', 'p INSERT INTO written VALUES (1)', 'p SAVEPOINT x', 'p INSERT INTO written VALUES (2)', 'p ROLLBACK TO SAVEPOINT x', 'p SELECT a FROM written ORDER BY a', 'p ROLLBACK'),
    ('a transaction that sets and reads', 'n BEGIN', "n SET LOCAL search_path = other", '. SELECT who FROM shadowed', '. ROLLBACK', '. SELECT who FROM shadowed'),
    ('a transaction that failed', 'n BEGIN', '. SELECT 1/0 FROM t', '. SELECT 1', '. COMMIT', '. SELECT 2'),
    ('what was written is read', 'p INSERT INTO written VALUES (7)', '. SELECT count(*) FROM written WHERE a = 7', 'p DELETE FROM written WHERE a = 7', '. SELECT count(*) FROM written WHERE a = 7'),
    ('… by a prepared statement, in the same transaction', ('.', parse('w', 'SELECT count(*) FROM written /* %s */') + bind('', 'w') + execute() + sync()), 'n BEGIN', 'p INSERT INTO written VALUES (8)',
     ('p', bind('', 'w') + execute() + sync()), 'p ROLLBACK', ('.', bind('', 'w') + execute() + sync())),
    ('… in one segment', ('p', parse('', 'INSERT INTO written VALUES (9) /* %s */') + bind('', '') + execute() + parse('', 'SELECT count(*) FROM written WHERE a = 9') + bind('', '') + execute() + sync())),
    # its texts
    ('a comment in front', 's /* trace 7 */ SELECT a FROM t ORDER BY a', "s /*controller='x',action='y'*/ /* nested /* one */ */ -- and a line\n SELECT a FROM t ORDER BY a", "s SELECT a FROM t ORDER BY a -- behind"),
    ('a comment that hides nothing', 'p /* SELECT 1 */ DELETE FROM written', 'p -- SELECT\nDELETE FROM written', ">s SELECT '/*' || b || '*/' FROM t ORDER BY a"),
    ('VALUES, TABLE, parentheses, semicolons', 's VALUES (1), (2)', 's TABLE v ORDER BY a', 's ((SELECT a FROM t ORDER BY a LIMIT 1))', 's  ;; SELECT a FROM t ORDER BY a;; ', 's ;SELECT 1;SELECT 2;'),
    ('EXPLAIN', 's EXPLAIN (COSTS off) SELECT a FROM t', f's EXPLAIN (ANALYZE, {ANALYZE}) SELECT a FROM t', f's EXPLAIN (ANALYZE false, COSTS off) SELECT a FROM t', 'p EXPLAIN (COSTS off) DELETE FROM t'),
    ('EXPLAIN that writes, however it is spelled', f'p EXPLAIN (ANALYZE, {ANALYZE}) DELETE FROM written', f'p EXPLAIN (analyze true, {ANALYZE}) DELETE FROM written', f'p EXPLAIN ({ANALYZE}, VERBOSE, "analyze" on) DELETE FROM written',
     f"p EXPLAIN (ANALYZE 'on', {ANALYZE}) WITH x AS (INSERT INTO written VALUES (1) RETURNING a) SELECT a FROM x", f'p EXPLAIN (ANALYZE 1, {ANALYZE}) SELECT volatile_f(1)', f'p EXPLAIN (ANALYZE off, ANALYZE, {ANALYZE}) CREATE TABLE made AS SELECT 1'),
    ('a write inside a query', 'p WITH x AS (INSERT INTO written VALUES (3) RETURNING a) SELECT a FROM x', 'p WITH y AS (WITH z AS (SELECT 1) SELECT * FROM z), x AS (DELETE FROM written RETURNING a) SELECT count(*) > 0 FROM x',
     'p SELECT a INTO made_too FROM t', "p COPY (DELETE FROM written RETURNING a) TO STDOUT", "p SELECT * FROM (SELECT nextval('s') > 0) x", "p SELECT 1 WHERE EXISTS (SELECT nextval('s'))", "p SELECT CASE WHEN nextval('s') > 0 THEN 1 END",
     "p SELECT a FROM t ORDER BY nextval('s') * 0, a", "p SELECT a FROM t LIMIT nextval('s') * 0 + 1", "p VALUES (nextval('s') > 0)", "p SELECT count(*) FILTER (WHERE nextval('s') > 0) FROM t"),
    ('rows that are locked', 'p SELECT a FROM t ORDER BY a FOR UPDATE', 'p SELECT a FROM (SELECT a FROM t FOR SHARE) x ORDER BY 1', 'p WITH x AS (SELECT a FROM t FOR KEY SHARE) SELECT a FROM x ORDER BY 1', 'p SELECT a FROM v_locking ORDER BY 1',
     'p SELECT 1 WHERE 1 IN (SELECT a FROM t FOR NO KEY UPDATE SKIP LOCKED)'),
    ('quoted and escaped names', 'p SELECT "nextval"(\'s\') > 0', 'p SELECT pg_catalog."nextval"(\'s\') > 0', "p SELECT U&\"next\\0076al\"('s') > 0", "p SELECT U&\"n!0065xtval\" UESCAPE '!' ('s') > 0", 'p SELECT * FROM U&"v_nextv\\0061l"', "p SELECT NextVal('s') > 0",
     "p SELECT U&\"\\0073et_config\"('app.a', '1', false)"),
    ('literals that look like statements', "s SELECT '; DELETE FROM written; --'", "s SELECT e'\\'; DELETE FROM written; --'", "s SELECT $$; DELETE FROM written; $$, $x$ $$ '; $x$", "s SELECT U&'\\0027; DELETE'", "s SELECT 'a'\n'; b'", 'p SELECT 1; DELETE FROM written',
     "p SELECT e'\\\\'; DELETE FROM written; --'"),
    ('backslashes of old', 'n SET standard_conforming_strings = off', "s SELECT 'plain'", "p SELECT 'a\\'; DELETE FROM written; --'", "p SELECT '\\\\'"),
    ('texts in SJIS', "n SET client_encoding = 'SJIS'", 's SELECT 1 FROM t LIMIT 1', ('p', query(b"SELECT '\x83\x5c' /* %s */"))),
    ('texts in LATIN1', "s SELECT a FROM größe", "p SELECT * FROM überblick", "n SET client_encoding = 'LATIN1'", ('p', query(b'SELECT a FROM ' + LATIN + b' /* %s */')), '>s SELECT 1 FROM t LIMIT 1'),
    ('bytes that are no text', ('.', query(b"SELECT '\xff\xfe' /* %s */")), ('.', query(b'SELECT 1 FROM "\xed\xa0\x80" /* %s */')), '. SELECT 1'),
    ('several statements', 's SELECT 1; SELECT a FROM t ORDER BY a', '. BEGIN; SELECT a FROM t ORDER BY a; COMMIT', 'p SELECT 1; INSERT INTO written VALUES (4)', 'p BEGIN; INSERT INTO written VALUES (5); SELECT count(*) > 0 FROM written; ROLLBACK',
     "p SET search_path = other; SELECT who FROM shadowed", '. SELECT who FROM shadowed'),
    ('a BEGIN inside of a text', '. SELECT 1; BEGIN; SELECT 2', 'p INSERT INTO written VALUES (6)', 'p SELECT count(*) FROM written WHERE a = 6', 'p ROLLBACK'),
    ('what nobody can read', '. SELEKT 1', '. SELECT 1 FROM t WHERE', '. SELECT 1; SELEKT'),
    # commands
    ('PREPARE and EXECUTE of a write', 'p PREPARE w AS INSERT INTO written VALUES ($1) RETURNING a', 'p EXECUTE w(1)', 'p EXPLAIN (COSTS off) EXECUTE w(1)', '. DEALLOCATE w', '. EXECUTE w(1)'),
    ('EXECUTE of nothing', '. EXECUTE no_such_statement', '. DEALLOCATE no_such_statement'),
    ('cursors', 'n BEGIN', '. DECLARE c SCROLL CURSOR FOR SELECT a FROM t ORDER BY a', '. FETCH 2 FROM c', '. MOVE 1 FROM c', '. FETCH BACKWARD 1 FROM c', '. CLOSE c', '. COMMIT', '. FETCH 1 FROM c'),
    ('a cursor over a write', 'n BEGIN', "p DECLARE c CURSOR FOR SELECT nextval('s') > 0 FROM t", 'p FETCH 1 FROM c', 'p COMMIT'),
    ('a cursor that is held', 'n BEGIN', 'p DECLARE c CURSOR WITH HOLD FOR SELECT a FROM t ORDER BY a', 'p COMMIT', 'p FETCH 1 FROM c', 'p SELECT a FROM t ORDER BY a', 'p CLOSE c'),
    ('code', "p DO $$ begin insert into written values (1); end $$", 'p CALL procedure_p()', "p LOAD 'plpgsql'"),
    ('locks of tables', 'n BEGIN', 'p LOCK TABLE written IN ACCESS SHARE MODE', 'p COMMIT', '. LOCK TABLE written'),
    ('notifications', 'p LISTEN holes', "p NOTIFY holes, 'x'", "p SELECT pg_notify('holes', 'y')", 'p UNLISTEN *'),
    ('two-phase commit', 'n BEGIN', 'p INSERT INTO written VALUES (99)', "p PREPARE TRANSACTION 'holes'", ". SELECT count(*) FROM written WHERE a = 99", "p COMMIT PREPARED 'holes'", '. SELECT count(*) FROM written WHERE a = 99'),
    ('large objects', 'n BEGIN', "p SELECT lo_made(4242)", "p SELECT lo_put(4242, 0, 'abc')", 'p SELECT lo_get(4242)', 'p COMMIT', 'p SELECT lo_get(4242)', 'p SELECT lo_unlink(4242)'),
    ('ids of transactions', 'n BEGIN', 'p SELECT txid_current() = txid_current()', 'p SELECT pg_current_xact_id_if_assigned() IS NOT NULL', 'p COMMIT', 'p SELECT txid_current_snapshot() IS NOT NULL'),
    ('a materialized view without rows', '. SELECT * FROM m_empty'),
    ('what reads only, by mode', '. BEGIN READ ONLY', 's SELECT a FROM t ORDER BY a', "p SELECT nextval('s')", '. ROLLBACK'),
    ('what may not write, by mode', 'n BEGIN READ ONLY', 'p INSERT INTO written VALUES (1)', '. ROLLBACK', '. SET default_transaction_read_only = on', 'p INSERT INTO written VALUES (1)', '. SELECT a FROM t ORDER BY a', '. SHOW default_transaction_read_only'),
    ('a transaction that only reads', '. BEGIN READ ONLY', 's SELECT a FROM t ORDER BY a', '. SELECT stable_f(a) FROM t ORDER BY 1', '. COMMIT'),
    ('serializable', 'n BEGIN ISOLATION LEVEL SERIALIZABLE', 'p SELECT a FROM t ORDER BY a', 'p COMMIT', "n SET default_transaction_isolation = 'serializable'", '. SELECT a FROM t ORDER BY a', '. SHOW transaction_isolation'),
    ('errors of a read', '. SELECT a / 0 FROM t', '. SELECT nothing FROM t', '. SELECT * FROM no_such_table', '. SELECT no_such_f(1)', ". SELECT 'x'::int", '. SELECT a FROM t WHERE'),
    # the extended protocol
    ('rows in portions', 'n BEGIN', ('.', parse('', 'SELECT a FROM t ORDER BY a /* %s */') + bind('p', '') + execute('p', 2) + sync()), ('.', execute('p', 2) + sync()), ('.', execute('p', 2) + sync()), '. COMMIT'),
    ('rows in portions outside', ('.', parse('', 'SELECT a FROM t ORDER BY a /* %s */') + bind('', '') + execute('', 2) + execute('', 2) + sync())),
    ('statements that are not there', ('.', bind('', 'nobody') + execute() + sync()), ('.', describe('S', 'nobody') + sync()), ('.', describe('P', 'nobody') + sync()), ('.', execute('nobody') + sync()), '. SELECT 1'),
    ('parameters', ('s', parse('', 'SELECT a FROM t WHERE a = $1 /* %s */') + bind('', '', [3]) + describe('P') + execute() + sync()), ('p', parse('', 'SELECT volatile_f($1) /* %s */') + bind('', '', [3]) + execute() + sync())),
    ('set_config() by parameters', ('p', parse('', 'SELECT set_config($1, $2, false) /* %s */') + bind('', '', ['search_path', 'other']) + execute() + sync()), '. SELECT who FROM shadowed'),
    ('a read and a write in one segment', ('p', parse('', 'SELECT a FROM t ORDER BY a /* %s */') + bind('', '') + execute() + parse('', 'INSERT INTO written VALUES (1)') + bind('', '') + execute() + sync())),
    ('a Parse alone', ('.', parse('alone', 'SELECT a FROM t ORDER BY a /* %s */') + describe('S', 'alone') + sync()), ('.', bind('', 'alone') + execute() + sync())),
    ('a Query behind messages without a Sync', ('.', parse('', 'SELECT 1') + bind('', '') + execute() + query('SELECT 2'))),
]


def essence(messages):
    return [(fields(m[1])['C'],) if m[0] == 'E' else m for m in messages if m[0] in 'DdCEIsTtn']


def log(i):
    with open(f'{cluster.dir}/n{i}.log', errors='replace') as f:
        return f.read()


def marked(sql, mark):
    """With a comment behind it: what stands behind a line's comment is in that."""
    return sql + ('' if sql.endswith('\n') else ' ') + f'/* {mark} */'


def data_of(step, mark, protocol):
    if isinstance(step, tuple):
        return step[1].replace(b'/* %s */', f'/*{mark}*/'.encode())  # as long: what says how long it is stays right
    sql = marked(step.lstrip('>')[2:], mark)
    return parse('', sql) + bind('', '') + execute() + sync() if protocol == 'x' else query(sql)


class Side:
    """Two sessions on one of the two."""
    def __init__(self, connect):
        self.connect, self.sessions = connect, {}

    def ask(self, other, data):
        if other not in self.sessions:
            self.sessions[other] = self.connect()
        return essence(self.sessions[other].ask(data))

    def close(self):
        for c in self.sessions.values():
            c.drop()


with proxy.connect('lunapool') as admin:
    wait_for(lambda: sum(r.count('yes') for r in map(list, admin.q('SHOW NODES'))) >= 2, what='standbys that are fit')
with proxy.connect(db) as c:
    def is_away():
        c.q('SELECT a /* first */ FROM t')
        return '/* first */' in log(1) + log(2)
    wait_for(is_away, what='a read on a standby')

ran = []  # name, protocol, step, where, mark
wrong = []
for name, *steps in HOLES:
    for protocol in ('q', 'x'):
        if protocol == 'x' and all(isinstance(s, tuple) for s in steps):
            continue
        here, there = Side(lambda: proxy.connect(db)), Side(lambda: twin.connect('t_holes'))
        for step in steps:
            mark = f'{len(ran):04x}'
            is_other = not isinstance(step, tuple) and step.startswith('>')
            how = 'q' if isinstance(step, tuple) or ';' in re.sub(r"'[^']*'", '', step) else protocol
            data = data_of(step, f'.{mark[1:]}', how) if isinstance(step, tuple) else data_of(step, f'holes.{mark}.', how)
            got, expected = here.ask(is_other, data), there.ask(is_other, data)
            where = step[0] if isinstance(step, tuple) else step.lstrip('>')[0]
            ran.append((name, protocol, step, where, f'.{mark[1:]}*/' if isinstance(step, tuple) else f'holes.{mark}.', isinstance(step, tuple) and b'%s' not in step[1]))
            if got != expected:
                wrong.append(f'{name}: {step} ({protocol}): {got}, not {expected}')
        here.close()
        there.close()
for line in wrong[:50]:
    diag(line)
is_(len(wrong), 0, f'the answers to {len(ran)} steps of {len(HOLES)} holes are those of PostgreSQL itself')

logs = [log(i) for i in range(3)]
bad = []
for name, protocol, step, where, mark, is_bare in ran:
    nodes = [i for i in range(3) if mark in logs[i]]
    if not is_bare and nodes not in {'p': ([0],), 's': ([1], [2]), 'n': ([], [0]), '.': (nodes,)}[where]:
        bad.append(f'{name}: {step} ({protocol}) ran on {nodes}')
for line in bad[:50]:
    diag(line)
is_(len(bad), 0, '… and each ran where it must')

with scenario('what changes while nobody tells us'):
    ddl = """create or replace function changes(int) returns bigint stable language sql as 'select $1::bigint'; create table changes_too (a int); insert into changes_too values (1);
        create view changes_view as select 1::bigint x"""
    with proxy.connect(db) as c:
        c.q(ddl)
    for i in (1, 2):
        cluster.caught_up(i)
    reader = proxy.connect(db)
    wait_for(lambda: reader.q('select changes(1) /* known */') and '/* known */' in log(1) + log(2), what='a catalogue that is known')
    cluster.query("""create or replace function changes(int) returns bigint volatile language sql as 'select nextval(''s'')'; alter table changes_too set unlogged; create or replace view changes_view as select nextval('s') x""", db)
    for i in (1, 2):
        cluster.caught_up(i)
    for protocol in (reader.q, reader.x):
        ok(int(protocol('select changes(1)')[0][0]) > 0, 'a function that writes since then: a standby refuses it, the primary answers')
        is_(protocol('select a from changes_too'), [['1']], '… a table that is unlogged since then')
        ok(int(protocol('select x from changes_view')[0][0]) > 0, '… a view that takes values since then')
    reader.quit()

with scenario('a prepared statement is routed anew each time'):
    with proxy.connect(db) as c:
        c.ask(parse('often', 'SELECT a FROM t /* often */') + sync())
        wait_for(lambda: c.ask(bind('', 'often') + execute() + sync()) and '/* often */' in log(1) and '/* often */' in log(2), what='both standbys')
        cluster.pause_node(1)
        cluster.pause_node(2)
        c.ask(parse('counts', 'SELECT count(*) FROM written') + sync())
        c.q('INSERT INTO written VALUES (1000)')
        before = int(cluster.one('SELECT count(*) FROM written', db))
        is_([c.ask(bind('', 'counts') + execute() + sync())[1][1][6:] for _ in range(20)], [str(before).encode()] * 20, 'it sees what its session has written, when standbys do not')
        cluster.pause_node(1, False)
        cluster.pause_node(2, False)

proxy.stop()
cluster.stop()
twin.stop()
done()
