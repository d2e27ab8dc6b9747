#!/usr/bin/env -S /usr/bin/python3
"""TLS with servers: what each mode makes of each kind of server, and that nobody in between can talk us into less."""
import os
import socket
import ssl
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from harness import postgres_user  # noqa: E402
from pgwire import query  # noqa: E402
from pki import Pki  # noqa: E402

proxy_only()
pki, strangers = Pki(owner=postgres_user()), Pki('strangers')
for name in ('server', 'renewed'):
    pki.sign(name, san='DNS:localhost,IP:127.0.0.1')
pki.sign('elsewhere', san='DNS:elsewhere.test')
pki.sign('revoked', san='DNS:localhost')
pki.sign('expired', san='DNS:localhost', days=-1)
pki.revoke('revoked')
mine = Pki('clients')
mine.sign('cert_user')
mine.sign('front', san='DNS:localhost')
mine.ca_for_pg = f'{pki.dir}/clients.crt'
with open(mine.ca) as source, open(mine.ca_for_pg, 'w') as copy:
    copy.write(source.read())
os.chmod(mine.ca_for_pg, 0o644)
cluster = Cluster(extra=f"ssl = on\nssl_cert_file = '{pki.crt('server')}'\nssl_key_file = '{pki.key('server')}'\nssl_ca_file = '{mine.ca_for_pg}'\n")
db = cluster.database()
for role in ('tls_only', 'plain_only', 'cert_user'):
    cluster.role(role)
HBA = '''local all all trust
hostssl all tls_only all trust
host all tls_only all reject
hostnossl all plain_only all trust
host all plain_only all reject
hostssl all cert_user all cert
host all cert_user all reject
host all all all trust
'''
with open(f'{cluster.dir}/n0/pg_hba.conf', 'w') as f:
    f.write(HBA)
cluster.query('select pg_reload_conf()')
proxy = Proxy(cluster, pool={'size': 2}, limits={'login_timeout': '10s'}, node={'host': 'localhost'})


def serve(tls, host='localhost', **options):
    """Reloads with other settings of the cluster."""
    proxy.settings['cluster'] = {'tls': tls, **options}
    proxy.settings['node'] = {'host': host}
    line = proxy.reload()
    if 'refused' in line:
        raise RuntimeError(proxy.log()[-600:])


def pg_certificate(name):
    """From now on the server shows this one."""
    cluster.query(f"alter system set ssl_cert_file = '{pki.crt(name)}'")
    cluster.query(f"alter system set ssl_key_file = '{pki.key(name)}'")
    cluster.query('select pg_reload_conf()')
    with open(pki.crt(name)) as f:
        pem = ssl.PEM_cert_to_DER_cert(f.read())
    wait_for(lambda: shown() == pem, what='the new certificate')


def shown():
    s = socket.create_connection((cluster.host, cluster.port))
    s.sendall(b'\0\0\0\x08\x04\xd2\x16\x2f')
    s.recv(1)
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    s = c.wrap_socket(s)
    der = s.getpeercert(True)
    s.close()
    return der


def sees(user='postgres'):
    """'TLS', 'plain', or the error's SQLSTATE and text, of the server connection that a client gets."""
    try:
        with proxy.connect(db, user) as c:
            return {'t': 'TLS', 'f': 'plain'}[c.one('select ssl from pg_stat_ssl where pid = pg_backend_pid()')]
    except WireError as e:
        return str(e)


MODES = ('off', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full')
CA = {'tls_ca': pki.ca}


def ca_for(mode):
    return CA if mode in ('verify-ca', 'verify-full') else {}


with scenario('modes and what the server wants'):
    for mode, anybody, tls_only, plain_only in (('off', 'plain', '28000', 'plain'), ('allow', 'plain', 'TLS', 'plain'), ('prefer', 'TLS', 'TLS', '28000'),
                                                ('require', 'TLS', 'TLS', '28000'), ('verify-ca', 'TLS', 'TLS', '28000'),
                                                ('verify-full', 'TLS', 'TLS', '28000')):
        serve(mode, **ca_for(mode))
        for user, want in (('postgres', anybody), ('tls_only', tls_only), ('plain_only', plain_only)):
            got = sees(user)
            ok(got.startswith(want), f'{mode}, {user}: {want}') or diag(got)

with scenario('whose certificate it is'):
    for cert, mode, options, want in (('elsewhere', 'require', {}, 'TLS'), ('elsewhere', 'verify-ca', CA, 'TLS'),
                                      ('elsewhere', 'verify-full', CA, 'hostname mismatch'), ('expired', 'require', {}, 'TLS'),
                                      ('expired', 'require', CA, 'certificate has expired'), ('expired', 'verify-ca', CA, 'certificate has expired'),
                                      ('revoked', 'verify-full', CA, 'TLS'), ('revoked', 'verify-full', {**CA, 'tls_crl': pki.crl}, 'certificate revoked'),
                                      ('server', 'verify-full', {**CA, 'tls_crl': pki.crl}, 'TLS'), ('server', 'verify-ca', {'tls_ca': strangers.ca}, 'certificate verify failed')):
        pg_certificate(cert)
        serve(mode, **options)
        got = sees()
        ok(want in got, f'{cert}, {mode}{" and an authority" if options else ""}: {want}') or diag(got)
    serve('verify-full', '127.0.0.1', **CA)
    is_(sees(), 'TLS', 'a host may be an address')

with scenario('unix sockets need none'):
    for mode in ('require', 'verify-full'):
        serve(mode, cluster.dir, **ca_for(mode))
        with proxy.connect(db) as c:
            is_(c.one('select inet_server_addr() is null'), 't', mode)

with scenario('our own certificate'):
    serve('require')
    like(sees('cert_user'), '28000', 'without one')
    serve('require', tls_cert=mine.crt('cert_user'), tls_key=mine.key('cert_user'))
    is_(sees('cert_user'), 'TLS', 'with one')

with scenario('a change of mode replaces servers'):
    serve('off')
    with proxy.connect(db) as c:
        pid, was = c.one('select pg_backend_pid()'), c.one('select ssl from pg_stat_ssl where pid = pg_backend_pid()')
        serve('require')
        is_((was, c.one('select ssl from pg_stat_ssl where pid = pg_backend_pid()')), ('f', 't'), 'the same client, another server')
        pid = c.one('select pg_backend_pid()')
        serve('require')
        is_(c.one('select pg_backend_pid()'), pid, 'a reload that changes nothing keeps servers')

with scenario('what travels'):
    serve('verify-full', **CA)
    status, out, err = proxy.psql("select repeat('0123456789', 2000000)", db)
    is_(len(out), 20000001, '20 MB in one row')
    status, out, err = proxy.tool('pgbench', '-i', '-q', '-s', '3', database=db)
    is_(status, 0, 'pgbench -i')
    status, out, err = proxy.tool('pgbench', '-n', '-S', '-c', '8', '-j', '2', '-t', '300', '-M', 'prepared', database=db)
    like(out, '2400/2400', 'servers travel between workers')
    status, out, err = run([tool('psql'), '-XAt', '-c', 'IDENTIFY_SYSTEM', f'host={proxy.host} port={proxy.port} user=postgres dbname={db} replication=database sslmode=disable'])
    like(out, r'^\d+\|', 'a replication connection') or diag(err)
    with proxy.connect(db) as c:
        c.send(query('select pg_sleep(100)'))
        wait_for(lambda: cluster.one("select count(*) from pg_stat_activity where query = 'select pg_sleep(100)' and state = 'active'") == '1')
        k = Conn(proxy.addr, login=False)
        k.send(pgwire.request(pgwire.CANCEL_REQUEST, c.key))
        is_(pgwire.fields(c.until('E')[-1][1])['C'], '57014', 'a cancel goes the same way')
        c.until('Z')
    ask = "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'lunapool'"
    proxy.psql('create function news() returns int language sql return 1', db)
    wait_for(lambda: cluster.one(ask) == 't', what='TLS of the service role')
    ok(True, 'the service role, too')


class Impostor:
    """Says what it is told to in answer to SSLRequest and keeps what it hears."""

    def __init__(self, answer, then=b''):
        self.answer, self.then, self.heard = answer, then, []
        self.socket = socket.create_server(('127.0.0.1', 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                c, _ = self.socket.accept()
                c.settimeout(10)
                heard = c.recv(8)
                self.heard.append(heard)
                if heard == b'\0\0\0\x08\x04\xd2\x16\x2f':
                    c.sendall(self.answer)
                while b := c.recv(4096):
                    self.heard.append(b)
                    if self.then:
                        c.sendall(self.then)
                c.close()
            except OSError:
                if self.socket.fileno() < 0:
                    return


LOGIN_OK = pgwire.msg('R', b'\0\0\0\0') + pgwire.msg('K', b'\0\0\0\1\0\0\0\2') + pgwire.msg('Z', b'I')
with scenario('CVE-2021-23222 and downgrades: somebody in between'):
    for mode in ('require', 'verify-ca', 'verify-full'):
        for answer, then, sqlstate, what in ((b'N', b'', '0A000', 'says that there is no TLS'), (b'S' + LOGIN_OK, b'', '08P01', 'adds a login behind its answer'),
                                             (b'S' + b'\x16', b'', '08P01', 'adds bytes behind its answer'), (b'S', LOGIN_OK, '08P01', 'answers the handshake in the clear'),
                                             (b'E\0\0\0\x0bMlies\0\0', b'', '08P01', 'answers with an error'), (b'X', b'', '08P01', 'answers nonsense')):
            evil = Impostor(answer, then)
            proxy.settings['node'] = {'host': 'localhost', 'port': evil.port}
            proxy.settings['cluster'] = {'tls': mode, **ca_for(mode)}
            proxy.reload()
            got = sees()
            ok(got.startswith(sqlstate) and 'lies' not in got, f'{mode}: {what}') or diag(got)
            ok(not any(b'user\0' in h for h in evil.heard), 'and hears no login')
            evil.socket.close()
    evil = Impostor(b'N' + LOGIN_OK)
    proxy.settings['node'] = {'host': 'localhost', 'port': evil.port}
    proxy.settings['cluster'] = {'tls': 'prefer'}
    proxy.reload()
    got = sees('plain_only')  # the service role comes by libpq, which goes on
    ok(got.startswith('08P01') and not any(b'plain_only' in h for h in evil.heard), 'prefer: bytes behind the answer that there is no TLS') or diag(got)
    evil.socket.close()

with scenario('a server without TLS'):
    cluster.query('alter system set ssl = off')
    cluster.query('select pg_reload_conf()')

    def has_none():
        with socket.create_connection((cluster.host, cluster.port)) as s:
            s.sendall(b'\0\0\0\x08\x04\xd2\x16\x2f')
            return s.recv(1) == b'N'
    wait_for(has_none)
    proxy.settings['node'] = {'host': 'localhost'}
    for mode in MODES:
        serve(mode, **ca_for(mode))
        got, want = sees(), 'plain' if mode in ('off', 'allow', 'prefer') else '0A000'
        ok(got.startswith(want), f'{mode}: {want}') or diag(got)

with scenario('direct TLS, from one Lunapool to another'):
    server = Proxy(cluster, listen={'tls': 'require', 'tls_cert': mine.crt('front'), 'tls_key': mine.key('front'), 'address': 'localhost'},
                   cluster_options={'tls': 'off'})
    proxy.settings['node'] = {'host': 'localhost', 'port': server.port}
    for how in ('direct', 'postgres'):
        proxy.settings['cluster'] = {'tls': 'verify-full', 'tls_negotiation': how, 'tls_ca': mine.ca}
        proxy.reload()
        with proxy.connect(db) as c:
            is_(c.one('select 1'), '1', f'tls_negotiation = {how}')
            c.send(query('select pg_sleep(100)'))
            wait_for(lambda: cluster.one("select count(*) from pg_stat_activity where query = 'select pg_sleep(100)' and state = 'active'") == '1')
            k = Conn(proxy.addr, login=False)
            k.send(pgwire.request(pgwire.CANCEL_REQUEST, c.key))
            is_(pgwire.fields(c.until('E')[-1][1])['C'], '57014', 'and its cancel requests')
            c.until('Z')
    server.stop()
    proxy.settings['node'] = {'host': 'localhost'}

with scenario('combinations that make no sense'):
    for options, why in (({'tls': 'verify-full'}, 'needs tls_ca'), ({'tls': 'prefer', 'tls_ca': pki.ca}, 'verifies nothing'),
                         ({'tls': 'prefer', 'tls_negotiation': 'direct'}, 'needs tls = require'), ({'tls': 'require', 'tls_crl': pki.crl}, 'without tls_ca'),
                         ({'tls': 'require', 'tls_cert': pki.crt('server')}, 'go together'), ({'tls': 'off', 'tls_ca': pki.ca}, 'no effect while tls = off')):
        proxy.settings['cluster'] = options
        at = len(proxy.log())
        like(proxy.reload(), 'reload_refused|config_error', 'refused')
        like(proxy.log()[at:], why, why)

done()
