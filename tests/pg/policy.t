#!/usr/bin/env -S /usr/bin/python3
"""A policy decides where statements run and who comes in; one that fails is done without (policy_faults.t has all kinds of those)."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
import pgwire as w  # noqa: E402

proxy_only()
cluster = Cluster(standbys=2)
db = cluster.database(setup='create table t (i int primary key); insert into t select generate_series(1, 100)')
cluster.mark_nodes()
HERE = "select current_setting('test.node') from t where i = 7"
LOCKED = f'{HERE} for update'


def rows(admin, what):
    answer = admin.ask(w.query(what))
    names = [c[0] for m in answer if m[0] == 'T' for c in w.columns(m[1])]
    return [dict(zip(names, w.text_row(m[1]))) for m in answer if m[0] == 'D']


def policy(text):
    return 'local lp = require "lunapool"\nlocal M = { api = 1 }\n' + text + '\nreturn M\n'


def to(node):
    return policy(f'function M.route(query, cluster)\n  if query.is_read then return cluster:node("{node}"), "all to {node}" end\nend')


stored = cluster.one("select rolpassword from pg_authid where rolname = 'scram_user'")
p = Proxy(cluster, workers=2, pool={'size': 8}, databases={db: {}, 'batch': {'dbname': db, 'pool_size': 3, 'max_client_connections': 2}},
          hba='host all scram_user all scram-sha-256\nhost all all all trust\n', secrets=f'"scram_user" "{stored}"\n', cluster_options={'policy': 'main.lua'}, files={'main.lua': to('n1')})
admin = p.connect('lunapool')
wait_for(lambda: sum(n['fit'] == 'yes' for n in rows(admin, 'SHOW NODES')) == 2, what='two standbys that are fit')


def where(c, sql=HERE):
    return c.one(sql)


def put(text):
    p.files['main.lua'] = text
    return p.reload()


with scenario('a policy decides'):
    c = p.connect(db)
    wait_for(lambda: where(c) == 'n1', what='the catalogue is known, so that this is a read')
    is_([where(c) for _ in range(20)], ['n1'] * 20, 'reads run where it says')
    is_(where(c, LOCKED), 'n0', 'what is no read runs on the primary, whatever it says')
    put(to('n2'))
    wait_for(lambda: where(c) == 'n2', what='another policy')
    is_([where(c) for _ in range(20)], ['n2'] * 20, 'after a reload they run where the new one says')
    put(policy('function M.route(query, cluster)\n  if query.application == "closed" then return lp.reject("come back later", "57P03") end\n'
               '  return cluster.primary\nend'))
    wait_for(lambda: where(c) == 'n0', what='another policy')
    closed = p.connect(db, params={'application_name': 'closed'})
    is_(closed.error(HERE), '57P03', 'lp.reject() is the answer to that statement')
    is_(closed.error('select 1 from nothing'), '57P03', '… to each')
    is_(where(c), 'n0', '… and to nobody else')

with scenario('a policy fails'):
    put(policy('function M.route(query, cluster)\n  while true do end\nend'))
    wait_for(lambda: int(rows(admin, 'SHOW POLICY')[0]['calls']) == 0, what='the policy in force')
    for _ in range(8):
        c.q(HERE)
    state = rows(admin, 'SHOW POLICY')[0]
    is_((state['breaker'], state['errors'], state['calls']), ('open', '5', '5'), 'an endless loop: stopped five times, then left alone')
    like(state['last_error'], r'main\.lua:4: it ran longer than 5 ms', '… SHOW POLICY has file and line')
    like(p.log(), r'policy_failed cluster=main hook=route error=".*main\.lua:4: it ran', '… and so has the log')
    like(p.log(), r'policy_off cluster=main', '… which says that it is left alone')
    p.reload()
    is_(rows(admin, 'SHOW POLICY')[0]['breaker'], 'closed', 'RELOAD of the same words closes the breaker')
    c.q(HERE)
    again = rows(admin, 'SHOW POLICY')[0]
    is_((again['errors'], again['generation']), ('6', state['generation']), '… of the same generation, which is asked again at once')
    put(policy('function M.route(query, cluster)\n  local t = {}\n  while true do t[#t + 1] = ("x"):rep(1e6) .. #t end\nend'))
    is_(c.one('select 1'), '1', 'a memory bomb costs nothing but its call')
    put(to('n1'))
    wait_for(lambda: where(c) == 'n1', what='a good policy again')
    is_(rows(admin, 'SHOW POLICY')[0]['breaker'], 'closed', 'a good one is in force at once')

with scenario('who comes in'):
    put(policy('function M.admit(client)\n  if client.application == "nobody" then return lp.reject("not you, " .. client.user, "28000") end\n'
               '  return { class = client.application }\nend\n'
               'function M.route(query, cluster)\n  if query.class == "reports" then return cluster:node("n2") end\n  return cluster.primary\nend'))
    wait_for(lambda: where(c) == 'n0', what='the policy in force')
    try:
        p.connect(db, params={'application_name': 'nobody'})
        ok(False, 'a client that admit() refuses')
    except Exception as e:  # noqa: BLE001
        like(str(e), 'not you, postgres', 'a client that admit() refuses is told why')
    is_(where(p.connect(db, params={'application_name': 'reports'})), 'n2', 'a class that admit() gave is what route() sees')
    is_(where(p.connect(db, params={'application_name': 'others'})), 'n0', '… of that session only')

with scenario('another database than he asked for'):
    put(policy('function M.admit(client)\n  local to = client.application:match("^to (.*)")\n  if to then return { database = to, class = to } end\nend\n'
               f'function M.route(query, cluster)\n  if query.database == "batch" then return cluster:node("n2"), query.class end\n  return cluster.primary\nend'))
    wait_for(lambda: where(c) == 'n0', what='the policy in force')

    def come(to, **kw):
        return p.connect(db, params={'application_name': f'to {to}'}, **kw)

    batch = come('batch')
    wait_for(lambda: where(batch) == 'n2', what='the catalogue is known')
    is_(batch.one('select current_database()'), db, 'its dbname is what counts on the servers')
    is_([r['database'] for r in rows(admin, 'SHOW CLIENTS') if r['application_name'] == 'to batch'], ['batch'], 'the client is in it')
    is_([r['pool_size'] for r in rows(admin, 'SHOW DATABASES') if r['name'] == 'batch'], ['3'], '… and its pools are those of that block')
    ok(any(r['database'] == 'batch' and r['cl_active'] != '0' for r in rows(admin, 'SHOW POOLS')), '… where he is counted')
    scram = come('batch', user='scram_user', secret='scram secret')
    is_(scram.one('select current_user'), 'scram_user', 'what he has shown lets him in there, too')
    try:
        come('batch').q('select 1')
        ok(False, 'max_client_connections of that database')
    except Exception as e:  # noqa: BLE001
        like(str(e), 'too many connections for database "batch"', 'max_client_connections of that database')
    errors = int(rows(admin, 'SHOW POLICY')[0]['errors'])
    is_(come('nothing').one('select current_database()'), db, 'one that does not exist: he comes in as he asked')
    is_(come('lunapool').one('select current_database()'), db, '… nor is anybody put into the console')
    state = rows(admin, 'SHOW POLICY')[0]
    is_(int(state['errors']) - errors, 2, '… which are errors of the policy')
    like(state['last_error'], r'main.lua:3: there is no database "lunapool" for clients', '… that say what is wrong')

p.stop()
done()
