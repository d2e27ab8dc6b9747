#!/usr/bin/env -S /usr/bin/python3
"""Session state belongs to the client: never seen by another one, never lost by its own, whatever server it meets."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, brief, execute, flush, parse, query, sync  # noqa: E402

cluster = Cluster.get()
db = cluster.database(setup='create schema s1; create table s1.t as select 1 as v; create sequence seq; create table kept (who text)')
cluster.role('alice')
cluster.role('bob')
cluster.query(f'alter role alice in database "{db}" set work_mem = \'9MB\'; grant all on all tables in schema public to alice, bob', db)
two = Proxy(cluster, workers=2, pool={'size': 2, 'max_pinned': 2})
one = Proxy(cluster, workers=1, pool={'size': 1, 'max_pinned': 1})
DEFAULT = {n: cluster.one(f'show {n}', db) for n in ('work_mem', 'statement_timeout', 'search_path', 'datestyle', 'timezone', 'lock_timeout', 'client_encoding')}


def show(c, name):
    return c.one(f'show {name}')


def told(c, data, want, name):
    return is_(brief(c.ask(data)), want, name)


for p, what in ((two, 'two servers'), (one, 'one server')):
    with scenario('settings'):
        a, b = p.connect(db), p.connect(db)
        a.q("set work_mem = '1234kB'")
        b.q('select 1')
        is_(show(b, 'work_mem'), DEFAULT['work_mem'], f'{what}: a SET is not seen by another client')
        is_(show(a, 'work_mem'), '1234kB', 'nor lost by its own')
        b.q("set statement_timeout = '5min'")
        is_((show(a, 'statement_timeout'), show(b, 'work_mem')), ('0', DEFAULT['work_mem']), 'both ways')
        a.q('reset work_mem')
        is_(show(a, 'work_mem'), DEFAULT['work_mem'], 'RESET')
        a.q("set work_mem = '1MB'; set lock_timeout = '2s'; set search_path = s1")
        is_(a.q('select v from t'), [['1']], 'several SETs in one Query')
        a.q('reset all')
        is_((show(a, 'work_mem'), show(a, 'lock_timeout'), show(a, 'search_path')), (DEFAULT['work_mem'], '0', DEFAULT['search_path']), 'RESET ALL')
        is_(show(b, 'statement_timeout'), '5min', 'of one client only')
        a.q("begin; set local work_mem = '2MB'")
        is_(show(a, 'work_mem'), '2MB', 'SET LOCAL holds in its transaction')
        a.q('commit')
        is_(show(a, 'work_mem'), DEFAULT['work_mem'], 'and ends with it')
        a.q("begin; set work_mem = '3MB'; rollback")
        is_(show(a, 'work_mem'), DEFAULT['work_mem'], 'ROLLBACK undoes a SET')
        a.q("begin; set work_mem = '3MB'; commit")
        is_(show(a, 'work_mem'), '3MB', 'COMMIT keeps it')
        a.q("begin; set work_mem = '4MB'; savepoint s; set work_mem = '5MB'; rollback to s")
        is_(show(a, 'work_mem'), '4MB', 'ROLLBACK TO undoes what came after the savepoint')
        a.q('commit')
        b.q('select 1')
        is_(show(a, 'work_mem'), '4MB', 'and only that')
        a.q("begin; savepoint s; set work_mem = '5MB'; release s; commit")
        is_(show(a, 'work_mem'), '5MB', 'RELEASE keeps it')
        a.q("begin; set local work_mem = '6MB'; set work_mem = '7MB'; commit")
        is_(show(a, 'work_mem'), '7MB', 'SET behind SET LOCAL')
        a.q("begin; set work_mem = '8MB'; set local work_mem = '6MB'; commit")
        is_(show(a, 'work_mem'), '8MB', 'SET LOCAL behind SET')
        is_(a.error("set work_mem = '9MB'; select 1/0"), '22012', 'an error in the same Query')
        is_(show(a, 'work_mem'), '8MB', 'undoes the SET')
        is_(a.error("set work_mem = '9MB'; commit; select 1/0"), '22012', 'not when a COMMIT came between')
        is_(show(a, 'work_mem'), '9MB', 'it has committed')
        a.q("begin")
        a.error("select 1/0")
        told(a, query("set work_mem = '1MB'"), 'E:25P02 Z:E', 'SET in a failed transaction')
        a.q('commit')
        is_(show(a, 'work_mem'), '9MB', 'COMMIT of a failed transaction keeps nothing')
        told(a, query("set work_mem = 'x'"), 'E:22023 Z:I', 'a SET that fails')
        is_(show(a, 'work_mem'), '9MB', 'changes nothing')
        is_(a.x("select set_config('work_mem', $1, false)", ['11MB']), [['11MB']], 'set_config with a parameter')
        b.q('select 1')
        is_(show(a, 'work_mem'), '11MB', 'is kept')
        a.x("select set_config('work_mem', '12MB', true)")
        is_(show(a, 'work_mem'), '11MB', 'set_config that is local ends with its statement')
        a.q('set work_mem to default')
        is_(show(a, 'work_mem'), DEFAULT['work_mem'], 'SET TO DEFAULT')
        a.x("set work_mem = '13MB'")
        a.ask(parse('set', "set work_mem = '14MB'") + sync())
        is_(show(a, 'work_mem'), '13MB', 'SET by the extended protocol')
        a.ask(bind('', 'set') + execute() + sync())
        is_(show(a, 'work_mem'), '14MB', 'takes effect when it is executed')
        told(a, parse('', "set work_mem = '15MB'") + bind('', '') + execute() + parse('', 'select 1/0') + bind('', '') + execute() + sync(), '1 2 C:SET 1 E:22012 Z:I', 'an error')
        is_(show(a, 'work_mem'), '14MB', 'an error in the same segment undoes a SET')
        a.q("set my.setting = 'mine'")
        b.q("set my.other = 'yours'")
        is_(a.one("select current_setting('my.setting')"), 'mine', 'a dotted setting')
        ok(b.one("select current_setting('my.setting', true)") in (None, ''), 'which no other client sees')
        a.q('set application_name = \'it\'\'s "odd" \\ ü\'')
        b.q('select 1')
        is_(show(a, 'application_name'), 'it\'s "odd" \\ ??', 'a value with quotes')
        is_(a.one("select application_name from pg_stat_activity where pid = pg_backend_pid()"), a.one('show application_name'), 'application_name is in pg_stat_activity')
        a.q("set search_path = \"$user\", s1, 'Odd Name'")
        b.q('select 1')
        is_(show(a, 'search_path'), '"$user", s1, "Odd Name"', 'a list with odd names')
        long = ','.join(f'schema_{n}' for n in range(200))
        a.q(f'set search_path = {long}')
        b.q('select 1')
        is_(show(a, 'search_path'), ', '.join(f'schema_{n}' for n in range(200)), 'a long value')
        a.q("set time zone interval '+05:30' hour to minute")
        b.q('select 1')
        is_(show(a, 'timezone'), '<+05:30>-05:30', 'SET TIME ZONE INTERVAL')
        is_(show(b, 'timezone'), DEFAULT['timezone'], 'not seen by another')
        a.q('set session characteristics as transaction isolation level serializable')
        b.q('select 1')
        is_((show(a, 'transaction_isolation'), show(b, 'transaction_isolation')), ('serializable', 'read committed'), 'SESSION CHARACTERISTICS')
        a.q('discard all')
        is_((show(a, 'transaction_isolation'), show(a, 'timezone'), show(a, 'work_mem')), ('read committed', DEFAULT['timezone'], DEFAULT['work_mem']), 'DISCARD ALL')
        is_(a.error('begin; discard all'), '25001', 'refuses a transaction')
        a.q('rollback')
        a.quit()
        b.quit()

    with scenario('ParameterStatus'):
        a, b = p.connect(db), p.connect(db)
        a.q("set datestyle = 'German'; set timezone = 'Asia/Tokyo'; set application_name = 'me'")
        is_([a.parameters[n] for n in ('DateStyle', 'TimeZone', 'application_name')], ['German, DMY', 'Asia/Tokyo', 'me'], f'{what}: a client is told its settings')
        b.q('select 1')
        is_([b.parameters[n] for n in ('DateStyle', 'TimeZone', 'application_name')], [DEFAULT['datestyle'], DEFAULT['timezone'], ''], 'and no other\'s')
        a.q("begin; set datestyle = 'ISO'")
        is_(a.parameters['DateStyle'], 'ISO, DMY', 'told in the transaction')
        a.q('rollback')
        is_(a.parameters['DateStyle'], 'German, DMY', 'told again after ROLLBACK')
        is_(a.one("select date '2024-02-01'"), '01.02.2024', 'and it is so')
        for n, failing in enumerate((query('select 1/0'), parse('', 'select 1/0') + bind('', '') + execute() + sync(), query('begin; select 1/0') + query('rollback'))):
            a.q('select 1')
            c = p.connect(db)
            c.send(failing)
            c.until('Z', 2 if n == 2 else 1)
            is_((c.parameters['DateStyle'], c.parameters['application_name']), (DEFAULT['datestyle'], ''), 'a client whose first statement fails is not told of another one\'s settings')
            c.quit()
        is_(b.one("select date '2024-02-01'"), '2024-02-01', 'for each its own')
        a.q("set client_encoding = 'LATIN1'")
        is_(a.parameters['client_encoding'], 'LATIN1', 'client_encoding')
        b.q('select 1')
        m = a.ask(query("select chr(228)"))
        is_([pgwire.row(x[1]) for x in m if x[0] == 'D'], [[b'\xe4']], 'text comes in the client\'s encoding')
        m = b.ask(query("select chr(228)"))
        is_([pgwire.row(x[1]) for x in m if x[0] == 'D'], [[b'\xc3\xa4']], 'another client has its own')
        a.send(pgwire.msg('Q', b"select length('\xe4')\0"))
        is_(brief(a.until('Z')), 'D:1 C:SELECT_1 Z:I', 'and goes in it')
        a.q("set names 'UTF8'; set role alice")
        is_(a.parameters['is_superuser'], a.one('show is_superuser'), 'is_superuser')
        a.quit()
        b.quit()

    with scenario('roles'):
        a, b = p.connect(db), p.connect(db)
        a.q('set role alice')
        is_(b.one('select current_user'), 'postgres', f'{what}: SET ROLE is not seen by another client')
        is_(a.one('select current_user'), 'alice', 'nor lost by its own')
        is_(a.error('create table s1.x (i int)'), '42501', 'it may do what the role may')
        a.q("insert into kept values (current_user)")
        b.q("insert into kept values (current_user)")
        is_(cluster.query('select who from kept order by 1', db), [['alice'], ['postgres']], 'writes are made as the right role')
        cluster.query('truncate kept', db)
        a.q('set role none')
        is_(a.one('select current_user'), 'postgres', 'SET ROLE NONE')
        a.q('set session authorization bob')
        b.q('select 1')
        is_((a.one('select session_user'), a.one('select current_user'), b.one('select session_user')), ('bob', 'bob', 'postgres'), 'SET SESSION AUTHORIZATION')
        is_(a.error('set role alice'), '42501', 'what it may not become')
        is_(a.one('select current_user'), 'bob', 'it does not')
        a.q('reset session authorization')
        is_(a.one('select session_user'), 'postgres', 'RESET SESSION AUTHORIZATION')
        a.q('begin; set local role alice')
        is_(a.one('select current_user'), 'alice', 'SET LOCAL ROLE')
        a.q('commit')
        is_(a.one('select current_user'), 'postgres', 'ends with the transaction')
        is_(a.error('set role no_such_role'), '22023', 'a role that is not there')
        a.q('set role alice')
        a.q('begin; set role bob; savepoint x; set role none; rollback to x')
        is_(a.one('select current_user'), 'bob', 'roles and savepoints')
        a.q('rollback')
        is_(a.one('select current_user'), 'alice', 'roles and rollback')
        a.q('set role bob; begin; select 1')
        a.q('rollback')
        is_(a.one('select current_user'), 'alice', 'BEGIN takes in what came before it in its Query')
        b.q('create role gone')
        a.q('set role none')
        a.q('set role gone')
        b.q('drop role gone')
        b.q('select 1')
        a.error("insert into kept values ('wrong')")
        is_(cluster.one("select count(*) from kept where who = 'wrong'", db), '0', 'under a role that was dropped meanwhile an INSERT does not run as somebody else')
        a.quit()
        b.quit()

    with scenario('startup options'):
        a = p.connect(db, params={'options': '-c work_mem=2222kB --lock_timeout=3s -c search_path=s1', 'application_name': 'starter', 'DateStyle': 'SQL, DMY'})
        b = p.connect(db)
        is_((show(a, 'work_mem'), show(a, 'lock_timeout'), show(a, 'search_path'), show(a, 'application_name'), show(a, 'datestyle')), ('2222kB', '3s', 's1', 'starter', 'SQL, DMY'),
            f'{what}: startup parameters and options')
        is_((a.parameters['DateStyle'], a.parameters['application_name']), ('SQL, DMY', 'starter'), 'told at login')
        is_((show(b, 'work_mem'), show(b, 'search_path'), show(b, 'application_name')), (DEFAULT['work_mem'], DEFAULT['search_path'], ''), 'not for another client')
        a.q("set work_mem = '1MB'; set lock_timeout = 0")
        a.q('reset work_mem; reset lock_timeout')
        is_((show(a, 'work_mem'), show(a, 'lock_timeout')), ('2222kB', '3s'), 'RESET returns to them')
        a.q("set work_mem = '1MB'")
        a.q('discard all')
        is_((show(a, 'work_mem'), show(a, 'application_name')), ('2222kB', 'starter'), 'DISCARD ALL too')
        a.q("set work_mem = '1MB'; reset all")
        is_(show(a, 'work_mem'), '2222kB', 'RESET ALL too')
        is_(p.psql('show work_mem; show timezone;', db, env={'PGOPTIONS': '-c work_mem=4444kB', 'PGTZ': 'Asia/Tokyo'})[1], '4444kB\nAsia/Tokyo\n', 'PGOPTIONS and PGTZ')
        c = p.connect(db, user='alice')
        is_(show(c, 'work_mem'), '9MB', 'ALTER ROLE … SET')
        c.q("set work_mem = '1MB'; reset work_mem")
        is_(show(c, 'work_mem'), '9MB', 'RESET returns to it')
        d = p.connect(db, params={'options': '-c my.thing=a\\ b'})
        is_(d.one("select current_setting('my.thing')"), 'a b', 'options with a blank')
        a.quit()
        c.quit()
        d.quit()
        for params, name in (({'work_mem': 'x'}, 'a bad value'), ({'nonsense_parameter': '1'}, 'an unknown parameter'), ({'options': '-c nonsense=1'}, 'an unknown option')):
            said = []
            for where in (cluster.connect, p.connect):
                try:
                    where(db, params=params).one('select 1')
                    said.append('fine')
                except WireError as e:
                    said.append(str(e))
            is_(said[1], said[0], f'{name} at startup')
        b.quit()

    with scenario('transactions that are put off'):
        a, b = p.connect(db), p.connect(db)
        told(a, query('begin'), 'C:BEGIN Z:T', f'{what}: BEGIN')
        if not DIRECT:
            for k in (b, p.connect(db), p.connect(db)):
                is_(k.one('select 1'), '1', 'a transaction that has not begun holds no server')
        told(a, query('commit'), 'C:COMMIT Z:I', 'an empty transaction')
        told(a, query('begin') + query('begin'), 'C:BEGIN Z:T', 'BEGIN twice')
        told(a, b'', 'C:BEGIN Z:T', 'is a warning')
        is_(a.notices[-1].get('C'), '25001', 'the right one')
        told(a, query('rollback'), 'C:ROLLBACK Z:I', 'ROLLBACK')
        told(a, query('rollback'), 'C:ROLLBACK Z:I', 'once more')
        is_(a.notices[-1].get('C'), '25P01', 'is another warning')
        told(a, query('savepoint x'), 'E:25P01 Z:I', 'SAVEPOINT outside a transaction')
        told(a, query('begin; select 1'), 'C:BEGIN D:1 C:SELECT_1 Z:T', 'BEGIN and more in one Query')
        told(a, query('select nope'), 'E:42703 Z:E', 'status E')
        told(a, query('select 1'), 'E:25P02 Z:E', '25P02')
        told(a, query('commit'), 'C:ROLLBACK Z:I', 'COMMIT of a failed transaction says ROLLBACK')
        told(a, query('begin'), 'C:BEGIN Z:T', 'BEGIN')
        told(a, query('selekt'), 'E:42601 Z:E', 'an error right behind it')
        told(a, query('rollback and chain'), 'C:ROLLBACK Z:T', 'AND CHAIN')
        told(a, query('select 1'), 'D:1 C:SELECT_1 Z:T', 'is a transaction')
        told(a, query('commit'), 'C:COMMIT Z:I', 'COMMIT')
        told(a, query('commit and chain'), 'E:25P01 Z:I', 'COMMIT AND CHAIN outside one')
        told(a, query('begin isolation level serializable, read only'), 'C:BEGIN Z:T', 'BEGIN with modes')
        is_(a.q('show transaction_isolation; show transaction_read_only'), [['serializable'], ['on']], 'they hold')
        told(a, query('create table nope (i int)'), 'E:25006 Z:E', 'also read only')
        a.q('rollback')
        told(a, query('begin'), 'C:BEGIN Z:T', 'BEGIN')
        told(a, query('set transaction isolation level repeatable read'), 'C:SET Z:T', 'SET TRANSACTION')
        is_(show(a, 'transaction_isolation'), 'repeatable read', 'holds')
        a.q('rollback')
        told(a, parse('', 'begin') + bind('', '') + execute() + sync(), '1 2 C:BEGIN Z:T', 'BEGIN by the extended protocol')
        told(a, parse('', 'insert into kept values (\'t\')') + bind('', '') + execute() + sync(), '1 2 C:INSERT_0_1 Z:T', 'a statement in it')
        told(a, parse('', 'rollback') + bind('', '') + execute() + sync(), '1 2 C:ROLLBACK Z:I', 'ROLLBACK by the extended protocol')
        is_(cluster.one('select count(*) from kept where who = \'t\'', db), '0', 'nothing was kept')
        a.ask(parse('b', 'begin') + parse('c', 'commit') + sync())
        run_one = lambda n: bind('', n) + execute()  # noqa: E731
        told(a, run_one('b') + run_one('c') + sync(), '2 C:BEGIN 2 C:COMMIT Z:I', 'prepared BEGIN and COMMIT in one segment')
        told(a, run_one('b') + sync(), '2 C:BEGIN Z:T', 'prepared BEGIN')
        b.q('select 1')
        told(a, query("insert into kept values ('u')"), 'C:INSERT_0_1 Z:T', 'a write in it')
        a.quit()
        wait_for(lambda: cluster.one("select count(*) from pg_stat_activity where state like 'idle in%' and datname = current_database()", db) == '0', what='the end of a transaction whose client left')
        is_(b.one("select count(*) from kept where who = 'u'"), '0', 'a client that leaves is rolled back')
        b.quit()

with scenario('what cannot be replayed'):
    roomy = Proxy(cluster, workers=2, pool={'size': 4, 'max_pinned': 4})  # each of three clients pins
    for n in range(2):
        a, b, c = (roomy.connect(db) for _ in range(3))
        a.q('create temp table mine as select 1 as x')
        is_((b.error('select * from mine'), c.error('select * from mine')), ('42P01', '42P01'), 'a temporary table is not seen by others')
        is_(a.q('select * from mine'), [['1']], 'nor lost by its own')
        a.q('drop table mine')
        a.q('listen ch')
        b.q("notify ch, 'hello'")
        wait_for(lambda: a.q('select 1') and a.notifications, what='a notification')
        is_((a.notifications, b.notifications, c.notifications), ([('ch', 'hello')], [], []), 'a notification reaches who listens and nobody else')
        b.q("notify ch, 'again'")
        m = a.recv()
        is_(m and m[0], 'A', 'also while it does nothing')
        a.q('unlisten *')
        a.q('select pg_advisory_lock(4711)')
        is_((b.one('select pg_try_advisory_lock(4711)'), c.one('select pg_try_advisory_lock(4711)')), ('f', 'f'), 'an advisory lock is held')
        is_(a.one('select pg_try_advisory_lock(4711)'), 't', 'by its own session')
        is_((a.one('select pg_advisory_unlock(4711)'), a.one('select pg_advisory_unlock(4711)')), ('t', 't'), 'until it is unlocked')
        is_(b.one('select pg_try_advisory_lock(4711)'), 't', 'then another gets it')
        b.q('select pg_advisory_unlock_all()')
        a.q('begin; declare cur cursor with hold for select g from generate_series(1, 9) g; fetch 2 from cur; commit')
        b.q('select 1')
        is_((b.error('fetch cur'), c.error('fetch cur')), ('34000', '34000'), 'a WITH HOLD cursor is not seen by others')
        is_(a.q('fetch 2 from cur'), [['3'], ['4']], 'nor lost')
        a.q('close cur')
        is_(b.error("select currval('seq')"), '55000', 'currval before nextval')
        a.quit()
        b.quit()
        c.quit()
    a, b, c = (roomy.connect(db) for _ in range(3))
    # A session's last value is asked for in the transaction that made it, or of a session that has shown that it asks.
    v = a.one("begin; select nextval('seq')")
    is_(a.one("select currval('seq')"), v, 'currval in the transaction of its nextval')
    is_(a.one('select lastval()'), v, 'lastval too')
    a.q('commit')
    got = [a.error("select currval('seq')")]
    v = a.one("select nextval('seq')")
    others = [k.one("select nextval('seq')") for k in (b, c)]
    got.append(a.one("select currval('seq')"))
    ok(got[0] in ('', '55000'), 'currval later: the value or an ERROR, never another client\'s')
    is_(got[1], v, 'from then on it is kept')
    for k in (a, b, c):
        k.quit()

with scenario('whatever a client left behind'):
    leave = ['create temp table left_behind (i int)', 'listen left_channel', 'select pg_advisory_lock(815)', "set work_mem = '7MB'", 'begin; create table half_done (i int)', 'prepare left_statement as select 1',
             'begin; declare left_cursor cursor with hold for select 1; commit', 'set role alice', "set session authorization bob", "do $$begin perform set_config('work_mem', '66kB', false); end$$", "select set_config('lock_timeout', '55s', false)",
             "update pg_settings set setting = '5000' where name = 'work_mem'", "begin; select pg_advisory_xact_lock(816)", "select set_config(n, '44s', false) from (values ('statement_timeout')) v(n)", "load 'auto_explain'", 'begin; select 1/0']
    for p in (Proxy(cluster, workers=2, pool={'size': 2, 'max_pinned': 2}), Proxy(cluster, workers=1, pool={'size': 1, 'max_pinned': 1})):
        for sql in leave:
            k = p.connect(db)
            k.ask(query(sql))
            k.drop()
            k = p.connect(db)
            ks = [k, p.connect(db)]
            for k in ks:
                seen = [k.error('select * from left_behind'), k.one('select count(*) from pg_listening_channels()'), k.error('execute left_statement'), k.error('fetch left_cursor'), k.error('select * from half_done'),
                        show(k, 'work_mem'), k.one('select current_user'), show(k, 'lock_timeout'), show(k, 'statement_timeout')]
                if seen != ['42P01', '0', '26000', '34000', '42P01', DEFAULT['work_mem'], 'postgres', '0', '0']:
                    ok(False, f'left behind by {sql}: {seen}')
                    break
            else:
                wait_for(lambda: cluster.one(f"select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = '{db}')") == '0', what='the end of its locks')
                ok(True, f'nothing is left of: {sql}')
            for k in ks:
                k.quit()

with scenario('what undoes a transaction does not undo what the server was prepared with'):
    def ext(*texts):
        return b''.join(parse('', t) + bind('', '') + execute() for t in texts) + sync()

    asked = 'show work_mem', "select current_setting('role')"
    mine = 'D:1234kB C:SHOW Z:I D:alice C:SELECT_1 Z:I'
    cases = {
        'a segment that fails': ext('select 1/0') + query(asked[0]) + query(asked[1]),
        'a Query that fails': query('select 1/0') + query(asked[0]) + query(asked[1]),
        'a transaction that fails': query('begin') + query('select 1/0') + query('rollback') + query(asked[0]) + query(asked[1]),
        'a transaction that is rolled back': query('begin') + query('select 1') + query('rollback') + query(asked[0]) + query(asked[1]),
        'COMMIT of one that failed': query('begin') + query('select 1/0') + query('commit') + query(asked[0]) + query(asked[1]),
        'a transaction that is rolled back, extended': ext('begin') + ext('select 1', 'rollback') + query(asked[0]) + query(asked[1]),
        'a SET that is undone with its segment': ext("set work_mem = '99kB'", 'select 1/0') + query(asked[0]) + query(asked[1]),
        'a SET ROLE that is refused': ext("set role 'nobody there'") + query(asked[0]) + query(asked[1]),
        'a transaction that begins with a SET': query('begin') + query("set work_mem = '99kB'") + query('rollback') + query(asked[0]) + query(asked[1]),
        'two segments that fail': query('select 1/0') + bind('', 'nobody') + execute() + sync() + query(asked[0]) + query(asked[1]),
        'two Queries that fail': query('select 1/0') * 2 + query(asked[0]) + query(asked[1]),
        'ROLLBACK in a Query': query('begin') + query('select 1') + query('rollback; ' + asked[0]) + query(asked[1]),
    }
    for k in (two, one):
        for name, data in cases.items():
            a, others = k.connect(db), [k.connect(db) for _ in range(2)]
            a.q("set work_mem = '1234kB'; set role alice")
            for o in others:
                o.q("set work_mem = '77kB'; set role bob")
                o.q('select 1')
            a.send(data + query('select 4711'))
            got = []
            while 'D:4711' not in got:
                got += brief(a.until('Z')).split()
            row = [g for g in got if g in ('D:1234kB', 'D:alice', 'D:77kB', 'D:bob')]
            is_(row, ['D:1234kB', 'D:alice'], f'{name}: what follows in the same flight has its own settings')
            for c in (a, *others):
                c.quit()
        a, o = k.connect(db), k.connect(db)
        a.q("set work_mem = '1234kB'")
        o.q("set work_mem = '77kB'")
        o.q('select 1')
        is_([m for m in brief(a.ask(ext('select 1', 'rollback', asked[0]))).split() if m in ('D:1234kB', 'D:77kB')], ['D:1234kB'], 'ROLLBACK inside a segment')
        o.q('begin')
        o.q('create role leaves; grant leaves to postgres; set role leaves')
        o.q('commit')
        a.q('select 1; reset role; drop role leaves')
        told(o, query('begin') + query('insert into kept values (current_user)') + query('rollback') + query('reset role'), 'C:BEGIN Z:T', 'BEGIN is answered')
        is_(brief(o.until('Z')).split()[-1], 'Z:E', 'a role that is gone fails the transaction')
        is_(brief(o.until('Z', 2)), 'C:ROLLBACK Z:I C:RESET Z:I', 'which is then rolled back')
        is_(cluster.one("select count(*) from kept where who in ('leaves', 'postgres')", db), '0', 'and nothing was done under another role')
        for c in (a, o):
            c.quit()

with scenario('what DISCARD ALL does not end'):
    cluster.query('create extension if not exists dblink', db)
    for p in (two, one):
        for how in ('', 'discard all'):
            k = p.connect(db)
            k.q(f"select dblink_connect('mine', 'host={cluster.host} port={cluster.port} dbname={db} user=postgres')")
            is_(k.one('select dblink_get_connections()'), '{mine}', 'a connection of dblink')
            if how:
                k.q(how)
            k.quit()
            for n in range(3):  # each is pinned by asking
                c = p.connect(db)
                is_(c.one('select dblink_get_connections()'), None, f'is nobody else\'s {how}')
                c.quit()

with scenario('very many settings'):
    for p in (two, one):
        a, b = p.connect(db), p.connect(db)
        for start in range(0, 2000, 400):
            a.q('; '.join(f"set my.n{n} = 'v{n}'" for n in range(start, start + 400)))
            if p is two:
                is_(b.one("select coalesce(current_setting('my.n7', true), '')"), '', 'another client has none of them')
            is_(a.one(f"select current_setting('my.n{start + 399}') || current_setting('my.n7')"), f'v{start + 399}v7', f'{start + 400} settings are kept')
        a.q(f"set my.long = '{'x' * 20000}'")
        is_(a.one("select length(current_setting('my.long'))"), '20000', 'and a long one')
        a.quit()
        is_(b.one("select coalesce(current_setting('my.n7', true), '')"), '', 'the next client has none')
        b.quit()

with scenario('defaults that change'):
    for k in (two, one):
        cluster.role('default_of')
        boss = k.connect(db)
        for value in ('German, DMY', 'ISO, YMD'):
            boss.q(f"alter role default_of set datestyle = '{value}'")
            cs = [k.connect(db, user='default_of') for _ in range(3)]
            is_([c.parameters['DateStyle'] for c in cs], [value] * 3, 'ALTER ROLE SET: new logins are told so')
            is_([show(c, 'datestyle') for c in cs], [value] * 3, 'and have it')
            for c in cs:
                c.quit()
        boss.quit()

with scenario('a client that leaves before its Sync'):
    for p in (Proxy(cluster, workers=2, pool={'size': 2, 'max_pinned': 2}), Proxy(cluster, workers=1, pool={'size': 1, 'max_pinned': 1})):
        k = p.connect(db)
        k.send(parse('', "insert into kept values ('unsynced')") + bind('', '') + execute() + parse('', "select set_config('lock_timeout', '55s', false)") + bind('', '') + execute() + flush())
        k.until('C', 2)
        k.drop()
        k = p.connect(db)
        is_(k.one("select count(*) from kept where who = 'unsynced'"), '0', 'its statements are undone, as PostgreSQL does')
        is_(show(k, 'lock_timeout'), '0', 'and its settings')
        k.q('begin')
        k.error('select 1/0')
        k.q('rollback')
        is_(show(k, 'lock_timeout'), '0', 'also after a transaction that failed')
        k.quit()

if not DIRECT:
    with scenario('max_pinned'):
        p = Proxy(cluster, workers=2, pool={'size': 4, 'max_pinned': 1, 'query_wait_timeout': '600ms', 'query_wait_notify': 0})
        a, b, c = (p.connect(db) for _ in range(3))
        a.q('create temp table mine (i int)')
        e = [m for m in b.ask(query('create temp table yours (i int)')) if m[0] == 'E']
        ok(e, 'a pin beyond max_pinned fails')
        like(pgwire.fields(e[0][1])['M'] + pgwire.fields(e[0][1]).get('D', '') + pgwire.fields(e[0][1]).get('H', '') if e else '', 'pin', 'and says why')
        is_(b.one('select 1'), '1', 'the session lives')
        is_([k.one('select 2') for k in (b, c) * 4], ['2'] * 8, 'other sessions go on')
        told(b, query('begin; create temp table yours (i int) on commit drop; select 5; commit'), 'C:BEGIN C:CREATE_TABLE D:5 C:SELECT_1 C:COMMIT Z:I', 'in a transaction it is let through')
        b.q('begin')
        b.q('select 1')
        told(b, query('create temp table yours (i int)'), 'C:CREATE_TABLE Z:T', 'also when it was begun before')
        b.q('rollback')
        waiting = []
        t = threading.Thread(target=lambda: waiting.append(brief(b.ask(query('create temp table yours (i int)')))))
        t.start()
        a.quit()
        t.join()
        is_(waiting, ['C:CREATE_TABLE Z:I'], 'one that waited gets the pin of one that left')
        console = Conn(p.addr, database='lunapool')
        rows = console.q('show pins')
        ok(len(rows) == 1 and any('temp' in (v or '') for v in rows[0]), 'SHOW PINS tells why') or diag(rows)
        console.quit()
        for k in (b, c):
            k.quit()

done()
