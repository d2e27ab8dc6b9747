#!/usr/bin/env -S /usr/bin/python3
"""Who may come in over what: rules for TLS and for plain connections, certificates and their names, channel binding on both sides."""
import concurrent.futures
import os
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from harness import postgres_user  # noqa: E402
from authmatrix import expected  # noqa: E402
from middleman import Middleman  # noqa: E402
from pki import Pki  # noqa: E402

proxy_only()
PASSWORD = 'open sesame'
SERVERS = ('trust', 'password', 'md5', 'scram', 'cert')
SOURCES = ('clear', 'scram', 'query')  # where we know the secret from
AGAIN = bool(ENGINE)  # the whole was run before: the engine says nothing about methods


def role(server, source):
    return f's_{server}' + ('' if source == 'clear' else f'_{source}')


ROLES = [(role(server, source), server, source) for server in SERVERS for source in SOURCES]
pki, strangers = Pki(owner=postgres_user()), Pki('strangers')
pki.sign('server', san='DNS:localhost,IP:127.0.0.1')
front = Pki('front')
front.sign('server', san='DNS:localhost,IP:127.0.0.1')
for name in [r for r, _, _ in ROLES] + ['ann@example.com', 'nobody']:
    front.sign(name)
strangers.sign('s_trust')
pki.sign('client', cn='s_cert')
for path in (pki.key('client'), pki.crt('client')):  # Lunapool's, not the server's
    os.chown(path, os.getuid(), os.getgid())
cluster = Cluster(extra=f"ssl = on\nssl_cert_file = '{pki.crt('server')}'\nssl_key_file = '{pki.key('server')}'\nssl_ca_file = '{pki.ca}'\n")
for stored in ('md5', 'scram-sha-256'):
    cluster.query(f"set password_encryption = '{stored}';" + ''.join(f"create role {r} login password '{PASSWORD}';" for r, server, _ in ROLES if (server == 'md5') == (stored == 'md5')))
with open(f'{cluster.dir}/n0/pg_hba.conf', 'w') as f:
    f.write(''.join(f"{'hostssl' if s == 'cert' else 'host'} all {','.join(role(s, source) for source in SOURCES)} 127.0.0.1/32 { {'scram': 'scram-sha-256', 'cert': 'cert map=ours'}.get(s, s)}\n" for s in SERVERS) + 'local all all trust\nhost all postgres 127.0.0.1/32 trust\n')
with open(f'{cluster.dir}/n0/pg_ident.conf', 'w') as f:
    f.write(''.join(f'ours s_cert {role("cert", source)}\n' for source in SOURCES))
cluster.query('select pg_reload_conf()')
wait_for(lambda: run([tool('psql'), '-h', '127.0.0.1', '-p', str(cluster.port), '-U', 's_scram', '-w', '-c', '', 'postgres'])[0] != 0, what='the new pg_hba.conf')

# database: its rules. What each makes of a client that comes plain, with TLS, with TLS and a certificate of its own name: '' lets it prove itself.
RULES = {
    'any_trust': ('host {} all all trust', ('', '', '')),
    'any_password': ('host {} all all password', ('', '', '')),
    'any_md5': ('host {} all all md5', ('', '', '')),
    'any_scram': ('host {} all all scram-sha-256', ('', '', '')),
    'ssl_scram': ('hostssl {} all all scram-sha-256', ('no pg_hba.conf entry', '', '')),
    'plain_scram': ('hostnossl {} all all scram-sha-256', ('', 'no pg_hba.conf entry', 'no pg_hba.conf entry')),
    'ssl_or_reject': ('hostssl {} all all trust\nhost {} all all reject', ('pg_hba.conf rejects', '', '')),
    'cert': ('hostssl {} all all cert', ('no pg_hba.conf entry', 'connection requires a valid client certificate', '')),
    'ca_scram': ('hostssl {} all all scram-sha-256 clientcert=verify-ca', ('no pg_hba.conf entry', 'connection requires a valid client certificate', '')),
    'full_scram': ('hostssl {} all all scram-sha-256 clientcert=verify-full', ('no pg_hba.conf entry', 'connection requires a valid client certificate', '')),
}
HBA = ''.join(rule.replace('{}', name) + '\n' for name, (rule, _) in RULES.items()) + '''hostssl mapped all all cert map=m
hostssl dn all all cert clientname=DN map=d
hostssl ca_trust all all trust clientcert=verify-ca
'''
METHODS = {d: 'trust' if d in ('any_trust', 'ssl_or_reject', 'cert') else 'password' if d == 'any_password' else 'md5' if d == 'any_md5' else 'scram-sha-256' for d in RULES}
STORED = dict(cluster.query('select rolname, rolpassword from pg_authid where rolpassword is not null'))
LISTED = {r: PASSWORD if source == 'clear' else STORED[r] if server != 'md5' else STORED['s_scram'] for r, server, source in ROLES if source != 'query'}
SECRETS = ''.join(f'"{name}" "{secret}"\n' for name, secret in LISTED.items())
QUERY = "select rolname, rolpassword from pg_authid where rolname = $1 and rolname like '%query'"
SERVER_TLS = {'off': {'tls': 'off'}, 'require': {'tls': 'require', 'tls_cert': pki.crt('client'), 'tls_key': pki.key('client')}, 'verify-full': {'tls': 'verify-full', 'tls_ca': pki.ca}}


def make(workers=2, secrets=SECRETS, node=None, **cluster_options):
    return Proxy(cluster, workers=workers, hba=HBA, secrets=secrets, databases={d: {'dbname': 'postgres'} for d in [*RULES, 'mapped', 'dn', 'ca_trust']}, limits={'auth_failure_delay': '1ms'},
                 listen={'tls': 'allow', 'tls_cert': front.crt('server'), 'tls_key': front.key('server'), 'tls_ca': front.ca}, auth={'ident_file': 'ident.conf', 'query': QUERY},
                 files={'ident.conf': 'm /^(.*)@example\\.com$ s_trust\nm nobody s_scram\nd "CN=s_trust" s_trust\n'}, cluster_options={'service_user': 'postgres', **cluster_options}, node={'host': 'localhost', **(node or {})})


def come(proxy, database, user, mode, cert=None, by=front, secret=PASSWORD, **env):
    """'' or why not."""
    own = {'PGSSLCERT': by.crt(cert), 'PGSSLKEY': by.key(cert)} if cert else {'PGSSLCERT': '/none', 'PGSSLKEY': '/none'}
    rc, out, err = proxy.psql('select current_user', database, '-w', user=user, env={'PGSSLMODE': mode, 'PGSSLROOTCERT': front.ca, 'PGPASSWORD': secret, **own, **env})
    return err.strip() or out if rc or out != user + '\n' else ''


def wanted(database, server, source, how, tls):
    """The SQLSTATE, '' when it works."""
    if RULES[database][1][how]:
        return '28000'
    stored = 'md5' if server == 'md5' else 'scram'
    client = expected(METHODS[database], 'trust', stored, source)
    if client or server == 'cert':
        return client or ('' if tls == 'require' else '28000')  # only then have we a certificate to show
    return expected(METHODS[database], server, stored, source, private=tls == 'verify-full')


contexts = {}


def context(cert):
    """For one client without verification of ours: psql does that."""
    if cert not in contexts:
        c = contexts[cert] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
        if cert:
            c.load_cert_chain(front.crt(cert), front.key(cert))
    return contexts[cert]


def refused(proxy, database, user, how):
    """SQLSTATE and text, '' when it works."""
    c = Conn(proxy.addr, login=False)
    try:
        if how:
            c.send(pgwire.request(pgwire.SSL_REQUEST))
            c.recv_byte()
            c.sock = context(user if how == 2 else None).wrap_socket(c.sock)
        c.login(user, database, {}, PASSWORD)
        good = c.one('select current_user')
        return '' if good == user else good
    except WireError as e:
        return str(e)
    finally:
        c.drop()


def matrix(workers, tls):
    proxy = make(workers, **SERVER_TLS[tls])

    def one(row):
        database, (user, server, source), how = row
        want = wanted(database, server, source, how, tls)
        name = f"{workers} worker{'s' * (workers > 1)}: {database}, {('plain', 'TLS', 'TLS and certificate')[how]}; server {server}, tls {tls}, known from {source}: {want or 'works'}"
        said = refused(proxy, database, user, how)
        out = [(name, said[:5], want)]
        if RULES[database][1][how]:
            out.append((f'{name}: in words', RULES[database][1][how] in said, True))
        if want == '' and source == 'clear' and not AGAIN:
            out.append((f'psql, {name}', come(proxy, database, user, 'disable' if how == 0 else 'verify-full', user if how == 2 else None), ''))
        return out
    rows = [(d, r, h) for d in RULES for r in ROLES for h in range(3)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for results in pool.map(one, rows):
            for name, got, want in results:
                is_(got, want, name)
    proxy.stop()


with scenario('the matrix'):
    for n in (2,) if AGAIN else (1, 2):
        for tls in SERVER_TLS:
            matrix(n, tls)

with scenario('channel binding to servers'):
    for tls in ('require', 'verify-full'):
        proxy = make(1, **SERVER_TLS[tls], require_channel_binding=True)
        for server in SERVERS:
            want = '' if server == 'scram' else 'channel binding is required|requires a valid client certificate' if server == 'cert' else 'channel binding is required'
            got = come(proxy, 'any_trust', f's_{server}', 'disable')
            ok(re.search(want, got) if want else got == '', f'required, tls {tls}, server {server}') or diag(got)
        proxy.stop()

with scenario("channel binding of Lunapool's own questions"):
    # A server that proves nothing must not say what users' secrets are; postgres is trusted there.
    for required, want in ((False, ''), (True, '57P03 the user cannot be looked up now')):
        proxy = make(1, **SERVER_TLS['require'], **({'require_channel_binding': True} if required else {}))
        is_(refused(proxy, 'any_scram', 's_scram_query', 1), want, f"required: {required}: {want or 'works'}")
        proxy.stop()
    cluster.query(f"create role asker superuser login password '{PASSWORD}'")
    with open(f'{cluster.dir}/n0/pg_hba.conf', 'r+') as f:
        text = f.read()
        f.seek(0)
        f.write('host all asker 127.0.0.1/32 scram-sha-256\n' + text)
    cluster.query('select pg_reload_conf()')
    wait_for(lambda: run([tool('psql'), '-h', '127.0.0.1', '-p', str(cluster.port), '-U', 'asker', '-w', '-c', '', 'postgres'], env={'PGPASSWORD': PASSWORD})[0] == 0, what='the new pg_hba.conf')
    proxy = make(1, **SERVER_TLS['require'], require_channel_binding=True, service_user='asker', service_password=PASSWORD)
    is_(refused(proxy, 'any_scram', 's_scram_query', 1), '', 'with a password, and bound')
    proxy.stop()

with scenario('channel binding of clients'):
    proxy = make()
    for database, mode, binding, want in (('any_scram', 'require', 'require', ''), ('any_scram', 'require', 'disable', ''), ('any_scram', 'disable', 'require', 'channel binding'), ('any_scram', 'disable', 'prefer', ''),
                                          ('any_md5', 'require', 'require', 'channel binding'), ('any_trust', 'require', 'require', 'channel binding'), ('any_password', 'require', 'require', 'channel binding'),
                                          ('cert', 'require', 'require', 'channel binding')):
        got = come(proxy, database, 's_trust', mode, 's_trust' if database == 'cert' else None, PGCHANNELBINDING=binding)
        ok(want in got if want else got == '', f'{database}, sslmode={mode}, channel_binding={binding}: ' + (want and 'psql itself refuses' or 'works')) or diag(got)
    like(come(proxy, 'any_scram', 's_trust', 'require', secret='wrong', PGCHANNELBINDING='require'), 'password authentication failed', 'a wrong password')
    like(come(proxy, 'any_scram', 'nobody', 'require', PGCHANNELBINDING='require'), 'password authentication failed', 'nobody')
    is_(come(proxy, 'any_scram', 's_scram', 'require', PGCHANNELBINDING='require'), '', 'bound here, bound there')

    with scenario('names in certificates'):
        like(come(proxy, 'cert', 's_scram', 'require', 's_trust'), 'certificate authentication failed for user "s_scram"', "another user's")
        like(come(proxy, 'full_scram', 's_scram', 'require', 's_trust'), 'password authentication failed', "another user's, before the password")
        is_(come(proxy, 'ca_scram', 's_scram', 'require', 's_trust'), '', 'verify-ca does not look at the name')
        is_(come(proxy, 'ca_trust', 's_scram', 'require', 'nobody'), '', 'verify-ca with trust')
        like(come(proxy, 'ca_scram', 's_scram', 'require', 's_trust', secret='wrong'), 'password authentication failed', 'but the password counts')
        is_(come(proxy, 'mapped', 's_trust', 'require', 'ann@example.com'), '', 'a map')
        is_(come(proxy, 'mapped', 's_scram', 'require', 'nobody'), '', 'its second line')
        like(come(proxy, 'mapped', 's_scram', 'require', 'ann@example.com'), 'certificate authentication failed', 'a map that says no')
        like(come(proxy, 'mapped', 's_trust', 'require', 's_trust'), 'certificate authentication failed', 'a map says no to the same name, too')
        is_(come(proxy, 'dn', 's_trust', 'require', 's_trust'), '', 'the whole name')
        like(come(proxy, 'dn', 's_trust', 'require', 'nobody'), 'certificate authentication failed', 'another whole name')
        bad = come(proxy, 'cert', 's_trust', 'require', 's_trust', by=strangers)
        ok(bad, 'a certificate of somebody else') and like(bad, 'unknown ca|certificate|closed', 'is refused')
    proxy.stop()

with scenario('pass-through with channel binding'):
    stored = cluster.one("select rolpassword from pg_authid where rolname = 's_scram'")
    proxy = make(secrets=f'"s_scram" "{stored}"\n', **SERVER_TLS['verify-full'], require_channel_binding=True)
    is_(come(proxy, 'any_scram', 's_scram', 'require', PGCHANNELBINDING='require'), '', 'no clear password anywhere, both sides bound')
    proxy.stop()

with scenario('rules that could never match'):
    for hba, listen, why in (('hostssl all all all trust\n', {}, 'listen.tls is off'), ('hostssl all all all cert\n', {'tls': 'allow', 'tls_cert': front.crt('server'), 'tls_key': front.key('server')}, 'listen.tls_ca')):
        p = Proxy(cluster, hba=hba, listen=listen, start=False)
        status, out, err = run([PROGRAM, '--check', '-c', p.path])
        ok(status != 0 and why in out + err, f'refused: {why}') or diag(out + err)

cluster.stop()
done()
