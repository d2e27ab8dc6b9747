#!/usr/bin/env -S /usr/bin/python3
"""Where secrets come from: a query, what is remembered of it and for how long, what a stranger can tell from it."""
import base64
import os
import signal
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import msg, startup, z  # noqa: E402

proxy_only()
PASSWORD = 'open sesame'
QUERY = "select rolname, rolpassword, rolvaliduntil from pg_authid where rolname = $1 and rolname like '%query'"
cluster = Cluster()
cluster.query(f"create role clear_user login password '{PASSWORD}'; create role scram login password '{PASSWORD}'; create role asked_query login password '{PASSWORD}'")


def refused(proxy, database, user, secret, **kw):
    """The text behind the SQLSTATE of a refused login; '' when it works."""
    try:
        Conn(proxy.addr, user=user, database=database, secret=secret, **kw).quit()
    except WireError as e:
        return str(e)
    return ''


def sqlstate(*args, **kw):
    return refused(*args, **kw)[:5]


def shown(proxy, user, database='app'):
    """Salt and iterations that a user is shown."""
    payload = b'n,,n=,r=abcdefghijklmnopqrstuvwx'
    c = Conn(proxy.addr, login=False)
    c.send(startup({'user': user, 'database': database}))
    c.recv()
    c.send(msg('p', z('SCRAM-SHA-256') + struct.pack('!i', len(payload)) + payload))
    first = c.recv()[1][4:].decode()
    c.drop()
    return first.split(',')[1:]


with scenario('auth query'):
    cluster.query(f"""create role expired_query login password '{PASSWORD}' valid until '2020-01-01';
        create role dated_query login password '{PASSWORD}' valid until '2099-01-01 10:11:12.5+03'; create role endless_query login password '{PASSWORD}' valid until 'infinity';
        create role past_query login password '{PASSWORD}' valid until '-infinity'; create role bc_query login password '{PASSWORD}' valid until '0044-03-15 BC';
        create role changing_query login password 'first'; create role renewed_query login password 'first'; create role late_query login; create role empty_query login""")
    methods = ('password', 'scram-sha-256')
    p = Proxy(cluster, workers=1, hba=''.join(f'host m_{m} all all {m}\n' for m in methods) + 'host slow all all scram-sha-256\nhost open all all trust\nhost bad all all scram-sha-256\nhost none all all scram-sha-256\nhost two all all scram-sha-256\nhost wrong all all scram-sha-256\n',
              auth={'query': QUERY, 'query_ttl': '1h', 'query_recheck': '1h', 'query_timeout': '5s'}, limits={'auth_failure_delay': '1ms'},
              databases={f'm_{m}': {'dbname': 'postgres'} for m in methods} | {
                  'slow': {'dbname': 'postgres', 'auth_query': 'select rolname, rolpassword, null from pg_authid, pg_sleep(1) where rolname = $1'}, 'open': {'dbname': 'postgres'},
                  'bad': {'dbname': 'postgres', 'auth_query': 'select no_such_column, $1'}, 'none': {'dbname': 'postgres', 'auth_user': 'no_such_role'},
                  'two': {'dbname': 'postgres', 'auth_query': 'select rolname, rolpassword from pg_authid where rolname like $1 || chr(37)'},
                  'wrong': {'dbname': 'postgres', 'auth_query': "select 'someone', rolpassword from pg_authid where rolname = $1"}})
    for m in methods:
        for user, want in (('expired_query', '28P01'), ('past_query', '28P01'), ('bc_query', '28P01'), ('dated_query', ''), ('endless_query', '')):
            is_(sqlstate(p, f'm_{m}', user, PASSWORD), want, f"CVE-2025-2291: {m}: {user}: {'comes in' if not want else 'is refused'}")
    like(p.log(), 'password_expired.*user=expired_query', 'an expired password is told to the log')
    is_(sqlstate(p, 'm_scram-sha-256', 'no_query', PASSWORD), '28P01', 'nobody by that name')
    is_(sqlstate(p, 'm_scram-sha-256', 'empty_query', ''), '28P01', 'one without a password')
    is_(sqlstate(p, 'm_password', 'changing_query', 'first'), '', 'a password')
    cluster.query("alter role changing_query password 'second'")
    is_(sqlstate(p, 'm_password', 'changing_query', 'second'), '', 'changed, it is asked for again and fits (password)')
    is_(sqlstate(p, 'm_password', 'changing_query', 'first'), '28P01', 'the old one does not')
    is_(sqlstate(p, 'm_scram-sha-256', 'renewed_query', 'first'), '', 'a password')
    cluster.query("alter role renewed_query password 'second'")
    sqlstate(p, 'm_scram-sha-256', 'renewed_query', 'second')
    is_(sqlstate(p, 'm_scram-sha-256', 'renewed_query', 'second'), '', 'changed before query_recheck, the second login has the new salt (SCRAM)')
    is_(sqlstate(p, 'm_scram-sha-256', 'renewed_query', 'first'), '28P01', 'the old one does not')
    is_(sqlstate(p, 'm_scram-sha-256', 'late_query', 'now'), '28P01', 'one without a password')
    cluster.query("alter role late_query password 'now'")
    sqlstate(p, 'm_scram-sha-256', 'late_query', 'now')
    is_(sqlstate(p, 'm_scram-sha-256', 'late_query', 'now'), '', 'who gets one comes in: that there was none is not remembered for ever')
    asked = int(cluster.one("select count(*) from pg_stat_activity where application_name = 'lunapool' and query like '%pg_authid%'"))
    ok(asked <= 3, f'few connections ask ({asked})')
    for database, name in (('bad', 'a query that fails'), ('none', 'a role that cannot log in'), ('two', 'a query with two rows'), ('wrong', 'a query that answers for somebody else')):
        user = 'dated_query' if database != 'two' else 'scram'
        like(refused(p, database, user, PASSWORD), '57P03 the user cannot be looked up now', f'{name}: refused, without a word why')
    like(p.log(), 'auth_lookup_failed.*no_such_column', 'the log has it')
    c = p.connect('open')
    waiting = Conn(p.addr, login=False)
    waiting.send(startup({'user': 'dated_query', 'database': 'slow'}))
    for n in range(20):
        c.one('select 1')
    ok(not waiting.has_input(), 'a login that waits for the query holds up nobody in its worker')
    ok(waiting.recv(10)[0] == 'R', 'and goes on')
    c.quit()
    waiting.drop()
    for n in range(5):  # vanish while the question is under way
        w = Conn(p.addr, login=False)
        w.send(startup({'user': f'gone{n}_query', 'database': 'slow'}))
        w.drop()
    is_(sqlstate(p, 'm_password', 'dated_query', PASSWORD), '', 'clients that vanish meanwhile do no harm')
    p.stop()

with scenario('CVE-2025-12819: what a client sets at its start does not reach the query'):
    cluster.query("""create schema evil; create table evil.pg_authid(rolname name, rolpassword text, rolvaliduntil timestamptz); create role intruder_query login password 'unknown';
        insert into evil.pg_authid values ('intruder_query', 'easy', null); grant all on schema evil to public; grant all on evil.pg_authid to public; alter role postgres set search_path = evil""")
    p = Proxy(cluster, hba='host all all all password', auth={'query': QUERY}, databases={'app': {'dbname': 'postgres'}}, limits={'auth_failure_delay': '1ms'})
    for params in ({}, {'search_path': 'evil'}, {'options': '-c search_path=evil'}, {'search_path': 'evil', 'role': 'postgres'}):
        is_(sqlstate(p, 'app', 'intruder_query', 'easy', params=params), '28P01', f'{params}: refused')
    is_(sqlstate(p, 'app', "x' or true --_query", 'easy'), '28P01', 'a name that would be SQL')
    is_(cluster.one("select setting from pg_settings, pg_stat_activity where false") or cluster.one("select count(*) from pg_stat_activity where application_name = 'lunapool' and query ~ 'evil'"), '0', 'nothing of it was ever sent')
    cluster.query('alter role postgres reset search_path')
    p.stop()

with scenario('the end comes while users are asked for'):
    p = Proxy(cluster, hba='host all all all scram-sha-256\n', auth={'query': "select rolname, rolpassword from pg_authid, pg_sleep(60) where rolname = $1", 'query_timeout': '1min'},
              databases={'app': {'dbname': 'postgres'}})
    asking = []
    for i in range(6):
        c = Conn(p.addr, login=False)
        c.send(pgwire.startup({'user': f'asked_{i}', 'database': 'app'}))
        asking.append(c)
    wait_for(lambda: cluster.one("select count(*) from pg_stat_activity where query like '%pg_sleep(60) where%' and pid <> pg_backend_pid()") != '0', what='a question')
    p.stop()
    cluster.query("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(60) where%' and pid <> pg_backend_pid()")

with scenario('a password that changes'):
    cluster.query("create role fresh_query login password 'one'; create role gone_query login password 'one'; create role barred_query login password 'one'")
    p = Proxy(cluster, workers=1, hba='host all all all scram-sha-256\n', auth={'query': QUERY + ' and rolcanlogin', 'query_ttl': '1h', 'query_recheck': '0'}, databases={'app': {'dbname': 'postgres'}}, limits={'auth_failure_delay': '1ms'})
    is_(sqlstate(p, 'app', 'fresh_query', 'one'), '', 'the first')
    for old, new in (('one', 'two'), ('two', 'three')):
        cluster.query(f"alter role fresh_query password '{new}'")
        is_(sqlstate(p, 'app', 'fresh_query', new), '', f'the new one works at its first login ({new})')
        is_(sqlstate(p, 'app', 'fresh_query', old), '28P01', 'the old one does not')
        with Conn(p.addr, user='fresh_query', database='app', secret=new) as c:
            cluster.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'fresh_query'")
            is_(wait_for(lambda: run([tool('psql'), '-XAtqw', '-h', p.host, '-p', str(p.port), '-U', 'fresh_query', '-c', 'select 1', 'app'], env={'PGPASSWORD': new})[1]), '1\n', 'and opens servers, which are logged in to with its keys')
    is_(sqlstate(p, 'app', 'gone_query', 'one'), '', 'a role')
    cluster.query("drop role gone_query; alter role barred_query nologin")
    is_(sqlstate(p, 'app', 'gone_query', 'one'), '28P01', '… that is dropped is out')
    is_(sqlstate(p, 'app', 'barred_query', 'one'), '28P01', '… or may not log in any more')
    p.stop()

with scenario('nobody can be asked'):
    c2 = Cluster()
    c2.query(f"create role known_query login password '{PASSWORD}'; create role other_query login password '{PASSWORD}'")
    p = Proxy(c2, workers=1, hba='host all all all scram-sha-256\n', auth={'query': QUERY, 'query_ttl': '1h', 'query_recheck': '0'}, databases={'app': {'dbname': 'postgres'}}, limits={'auth_failure_delay': '1ms'})
    is_(sqlstate(p, 'app', 'known_query', PASSWORD), '', 'a user is known')
    c2.process[0].send_signal(signal.SIGQUIT)
    c2.process[0].wait()
    for secret, what in (('wrong', 'the user cannot be looked up now'), (PASSWORD, '')):
        c = Conn(p.addr, login=False)
        try:
            c.login('known_query', 'app', {}, secret)
        except WireError as e:
            like(str(e), what or '^57P03|^08|^53300', 'what is known counts: ' + (what or 'the password is right, a server is not there'))
        c.drop()
    like(refused(p, 'app', 'other_query', PASSWORD), '57P03 the user cannot be looked up now', 'who is not known is refused')
    ok('auth_lookup_failed' in p.log(), 'the log tells')
    p.stop()

with scenario('functions that return a row of NULLs'):
    cluster.query("""create function lookup(in i text, out uname text, out phash text) returns record security definer language sql as
        'select rolname, rolpassword from pg_catalog.pg_authid where rolname = i'""")
    is_(cluster.query("select uname, phash from lookup('nobody')"), [[None, None]], 'for nobody it returns one')
    p = Proxy(cluster, workers=1, hba='host all all all scram-sha-256\n', auth={'query': 'select uname, phash from public.lookup($1)'}, databases={'app': {'dbname': 'postgres'}}, limits={'auth_failure_delay': '1ms'})
    is_(refused(p, 'app', 'scram', PASSWORD), '', 'a user')
    is_(refused(p, 'app', 'nobody', PASSWORD), '28P01 password authentication failed for user "nobody"', 'nobody, as if he had a wrong password')
    p.stop()

with scenario('who is listed is not asked for'):
    p = Proxy(cluster, workers=1, hba='host all all all scram-sha-256\n', secrets='"asked_query" ""\n', auth={'query': QUERY}, databases={'app': {'dbname': 'postgres'}}, limits={'auth_failure_delay': '1ms'})
    is_(sqlstate(p, 'app', 'asked_query', PASSWORD), '28P01', 'listed without a secret: has none')
    p.secrets = ''
    p.reload()
    is_(sqlstate(p, 'app', 'asked_query', PASSWORD), '', 'not listed: the query has it')
    p.stop()

with scenario('salts'):
    stored = cluster.one("select rolpassword from pg_authid where rolname = 'scram'")
    secrets = f'"clear_user" "{PASSWORD}"\n"scram" "{stored}"\n'
    base = dict(hba='host all all all scram-sha-256\n', secrets=secrets, databases={'app': {'dbname': 'postgres'}}, limits={'auth_failure_delay': '1ms'})
    seed = {'scram_salt': 'a text that nobody guesses'}
    one, two, alone = Proxy(cluster, auth=seed, **base), Proxy(cluster, auth=seed, **base), Proxy(cluster, **base)
    for user in ('nobody', 'clear_user', 'scram'):
        is_(shown(one, user), shown(two, user), f'scram_salt: {user} is shown the same by every Lunapool')
    ok(shown(one, 'nobody') != shown(alone, 'nobody') and shown(one, 'nobody') != shown(one, 'nobody2'), 'they depend on it, and on the name')
    is_(shown(alone, 'nobody'), shown(alone, 'nobody'), 'without it they are the same while it runs')
    is_(refused(one, 'app', 'clear_user', PASSWORD), '', 'and a clear password fits')
    before = shown(one, 'clear_user')[0]
    one.settings['auth'] = {**seed, 'scram_iterations': 10000}
    one.reload()
    is_([shown(one, u)[1] for u in ('nobody', 'clear_user', 'scram')], ['i=10000', 'i=10000', 'i=4096'], 'scram_iterations')
    is_(shown(one, 'clear_user')[0], before, 'a reload leaves the salt')
    is_(refused(one, 'app', 'clear_user', PASSWORD), '', 'and a clear password fits')
    ok('nobody guesses' not in one.log(), 'the seed is in no log')
    for bad in ('short', 'x' * 15):
        alone.settings['auth'] = {'scram_salt': bad}
        like(alone.reload(), 'reload_refused', f'{len(bad)} characters are not enough')
    for p in (one, two, alone):
        p.stop()

with scenario('secrets that take long to check'):
    slow = 'SCRAM-SHA-256$2000000000:' + base64.b64encode(b's' * 16).decode() + '$' + ':'.join([base64.b64encode(b'k' * 32).decode()] * 2)
    cluster.query(f"create role slow_query login; update pg_authid set rolpassword = '{slow}' where rolname = 'slow_query'; create role quick_query login password '{PASSWORD}'")
    p = Proxy(cluster, workers=1, hba='host all all all password\n', auth={'query': QUERY, 'helper_timeout': '1s'}, databases={'app': {'dbname': 'postgres'}}, limits={'auth_failure_delay': '1ms'}, cluster_options={'cleartext_password': True})
    for n in range(2):
        like(refused(p, 'app', 'slow_query', 'x'), '^57P03', 'two thousand million iterations: refused in time')
        is_(refused(p, 'app', 'quick_query', PASSWORD), '', 'and the next login is heard')
    p.wait_log('password_takes_too_long.*iterations=2000000000')
    p.stop()

cluster.stop()
done()
