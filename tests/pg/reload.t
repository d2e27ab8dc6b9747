#!/usr/bin/env -S /usr/bin/python3
"""A reload changes what has changed, at once or not at all, and costs no client an error that it did not have to."""
import os
import re
import shutil
import ssl
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import SSL_REQUEST, bind, brief, execute, parse, query, request, sync  # noqa: E402
from pki import Pki  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database('t_changes', setup='create table t (i int)')

with scenario('a database is gone while a session keeps a server of its pool'):
    for mode, keep in (('transaction', 'listen x'), ('session', 'select 1')):
        p = Proxy(cluster, workers=2, pool={'mode': mode}, databases={'alias': {'dbname': db}, '*': {}})
        pinned, idle = p.connect('alias'), p.connect('alias')
        idle.q('select 1')
        idle.quit()
        pinned.q(keep)
        pid = pinned.one('select pg_backend_pid()')
        idle = p.connect('alias')
        del p.settings['databases']['alias']
        like(p.reload(), 'reloaded', f'{mode} mode: the block is gone')
        is_(brief(idle.ask(query('select 1'), timeout=15)), 'E:3D000 Z:I', 'a statement that needs a server is told why there is none')
        is_(pinned.one('select pg_backend_pid()'), pid, 'the session that keeps its server goes on')
        p.settings['databases']['alias'] = {'dbname': db}
        p.reload()
        is_(idle.one('select 1'), '1', 'the block is back, and the other goes on, too')
        p.stop()

with scenario('nothing changed, something changed, something is wrong'):
    p = Proxy(cluster, options={'workers': 2})
    admin = p.connect('lunapool')
    config = lambda: {row[0]: row[1] for row in admin.q('SHOW CONFIG')}  # noqa: E731
    first = re.search(r'generation=(\d+)', p.reload()).group(1)
    like(p.reload(), f'reloaded .*generation={first}$', 'the same file again changes nothing, not even the generation')
    p.settings['databases']['x'] = {'dbname': db, 'pool_size': 3}
    p.settings['limits'] = {'query_timeout': '7s'}
    at = len(p.log())
    p.reload()
    is_(re.findall(r'changed what="(.*?)"\n', p.log()[at:].replace('\\"', "'")), [f"database x is new: cluster = main, dbname = {db}, pool_size = 3", 'limits: query_timeout 0 -> 7s'],
        'what changes is said in words')
    wait_for(lambda: config()['limits.query_timeout'] == '7s', what='the new value')
    before = config()
    for what, block in (('a wrong value', {'databases': {'x': {'pool_size': 'many'}}}), ('an unknown cluster', {'databases': {'x': {'cluster': 'none'}}}),
                        ('a port that is taken', {'listen': {'port': cluster.port}})):
        kept = dict(p.settings)
        p.settings |= {'limits': {'query_timeout': '9s'}} | block
        at = len(p.log())
        like(p.reload(), 'reload_refused', f'{what}: refused')
        p.settings = kept
        ok('changed what' not in p.log()[at:], '… and nothing is applied')
    with open(f'{p.dir}/hba.conf', 'w') as f:
        f.write('local all all perhaps\n')
    p.hba = 'local all all perhaps\n'
    like(p.reload(), 'reload_refused', 'a broken hba file: refused')
    is_(config(), before, 'all settings are what they were')
    p.hba = OPEN
    p.reload()
    is_(p.connect('x').one('select 1'), '1', 'and logins, too')
    p.stop()


class Load:
    """Clients that work until told to stop; any error is one too many."""

    def __init__(self, p, databases, connect=None):
        self.connect = connect or (lambda name: p.connect(name, timeout=60))
        self.p, self.stop, self.served, self.databases = p, False, 0, databases
        self.workers = [threading.Thread(target=self.guard, args=(w, i)) for i, w in enumerate((self.steady, self.steady, self.extended, self.extended, self.fresh, self.fresh))]
        self.errors = []
        for w in self.workers:
            w.start()

    def guard(self, work, i):
        try:
            work(self.databases[i % len(self.databases)], i)
        except Exception as e:
            self.errors.append(f'{work.__name__}: {type(e).__name__}: {e}')

    def steady(self, name, i):
        with self.connect(name) as c:
            c.q(f"set application_name = 'load{i}'")
            while not self.stop:
                c.q('begin')
                pid = c.one('select pg_backend_pid()')
                assert c.one('select pg_backend_pid()') == pid
                c.q('commit')
                assert c.one('show application_name') == f'load{i}'
                self.served += 4

    def extended(self, name, i):
        with self.connect(name) as c:
            c.ask(parse('mine', f'select {i}') + sync())
            while not self.stop:
                got = brief(c.ask(bind('', 'mine') + execute() + sync()))
                assert got == f'2 D:{i} C:SELECT_1 Z:I', got
                self.served += 1

    def fresh(self, name, i):
        while not self.stop:
            with self.connect(name) as c:
                c.one('select 1')
                self.served += 1

    def end(self):
        self.stop = True
        for w in self.workers:
            w.join()


def reloads(name, count, names, change, paced=False, **options):
    """Reloads COUNT times under load; CHANGE(settings, i) makes each different. PACED: statements run between any two."""
    with scenario(name):
        p = Proxy(cluster, workers=2, **options)
        load = Load(p, names)
        wait_for(lambda: load.served or load.errors, what='a statement')
        refused = 0
        for i in range(count):
            change(p.settings, i)
            served = load.served
            refused += 'reload_refused' in p.reload()
            if paced:
                wait_for(lambda: load.served > served or load.errors, what='a statement')
        load.end()
        is_(refused, 0, f'{name}: {count} reloads')
        is_(load.errors, [], f'no client has an error ({load.served} statements)')
        ok(load.served > count, 'the clients have worked all the time')
        p.stop()


count = 5000 if LONG else 200 // SLOW


def sizes(s, i):
    s['pool'] = {'size': 1 + i % 5, 'mode': 'transaction', 'max_server_statements': 10 + i % 3}
    s['limits'] = {'query_timeout': f'{60 + i % 7}s', 'max_clients': 100 + i}
    s['users'] = {f'u{i % 4}': {'pool_size': 1 + i % 3}}


def databases(s, i):
    s['databases'] = {'*': {}, 'load': {'dbname': db, 'max_connections': 3 + i % 3}, f'other{i % 9}': {'dbname': 'postgres'}}
    if i % 2:
        s['databases']['load']['pool_size'] = 4


def nodes(s, i):
    s['node'] = {'host': '127.0.0.1' if i % 2 else 'localhost', 'max_connections': 8 + i % 4}


reloads('sizes and limits change', count, [db], sizes)
reloads('databases come and go', count, ['load', db], databases, databases={'*': {}, 'load': {'dbname': db}})
reloads('the node is another', count // 4, [db], nodes, paced=True)

pki = Pki()
for name in ('a', 'b'):
    pki.sign(name, san='IP:127.0.0.1')
trust = ssl.create_default_context(cafile=pki.ca)


def secured(p, name):
    """A client that comes with TLS, looks at the certificate and has a password."""
    c = Conn(p.addr, login=False, timeout=60)
    c.send(request(SSL_REQUEST))
    assert c.recv_byte() == b'S'
    c.sock = trust.wrap_socket(c.sock, server_hostname='127.0.0.1')
    c.login('postgres', name, {}, secret='right')
    return c


def shows(p, name):
    for kind in ('crt', 'key'):
        shutil.copy(f'{pki.dir}/{name}.{kind}', f'{p.dir}/shown.{kind}')


def certificate(p, i):
    shows(p, 'ab'[i // 10 % 2])


def broken_key(p, i):
    shutil.copy(pki.key('ab'[(i // 10 + 1) % 2]), f'{p.dir}/shown.key')


def secrets(p, i):
    p.secrets = f'"postgres" "right"\n"somebody{i}" "else"\n'


def rules(p, i):
    p.hba = f'local all all trust\nhost all stranger{i} all reject\nhostssl all all 127.0.0.1/32 scram-sha-256\n'


def server_tls(p, i):
    p.settings['cluster'] = {'tls': ('off', 'prefer')[i // 10 % 2]}


def wrong(p, i):
    p.settings['pool'] = {'sise': i}


KINDS = [lambda p, i: sizes(p.settings, i), lambda p, i: databases(p.settings, i), lambda p, i: nodes(p.settings, i), certificate, secrets, rules, server_tls, broken_key, wrong]
count = 1250 if LONG else 90 // SLOW
for workers in 2, 1:
    with scenario('everything changes'):
        p = Proxy(cluster, workers=workers, start=False, databases={'*': {}, 'load': {'dbname': db}}, listen={'tls': 'require', 'tls_cert': 'shown.crt', 'tls_key': 'shown.key', 'tls_ca': pki.ca})
        shows(p, 'a')
        rules(p, 0)
        secrets(p, 0)
        p.write_config()
        p.start()
        load = Load(p, ['load', db], lambda name: secured(p, name))
        wait_for(lambda: load.served > 20 or load.errors, what='a statement')
        got = {'reloaded': 0, 'reload_refused': 0}
        for i in range(count):
            KINDS[i % len(KINDS)](p, i)
            got[re.search('reloaded|reload_refused', p.reload()).group(0)] += 1
            if 'sise' in p.settings['pool']:
                p.settings['pool'] = {}
        load.end()
        is_(got, {'reloaded': count - count // 9, 'reload_refused': count // 9}, f'{workers} workers: nodes, pools, databases, users, hba, certificates, TLS, limits: the broken file is refused')
        is_(load.errors, [], f'no client of TLS has an error ({load.served} statements)')
        is_(len(re.findall('tls_not_renewed', p.log())) > 0, True, 'a key that does not match changes nothing')
        p.stop()

done()
