#!/usr/bin/env -S /usr/bin/python3
"""Who may come in over what: rules for TLS and for plain connections, certificates and their names, channel binding on both sides."""
import concurrent.futures
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from harness import postgres_user  # noqa: E402
from middleman import Middleman  # noqa: E402
from pki import Pki  # noqa: E402

proxy_only()
PASSWORD = 'open sesame'
SERVERS = ('trust', 'password', 'md5', 'scram', 'cert')
pki, strangers = Pki(owner=postgres_user()), Pki('strangers')
pki.sign('server', san='DNS:localhost,IP:127.0.0.1')
front = Pki('front')
front.sign('server', san='DNS:localhost,IP:127.0.0.1')
for name in [f's_{s}' for s in SERVERS] + ['ann@example.com', 'nobody']:
    front.sign(name)
strangers.sign('s_trust')
pki.sign('client', cn='s_cert')
for path in (pki.key('client'), pki.crt('client')):  # Lunapool's, not the server's
    os.chown(path, os.getuid(), os.getgid())
cluster = Cluster(extra=f"ssl = on\nssl_cert_file = '{pki.crt('server')}'\nssl_key_file = '{pki.key('server')}'\nssl_ca_file = '{pki.ca}'\n")
cluster.query(''.join(f"create role s_{s} login password '{PASSWORD}';" for s in SERVERS if s != 'md5') + f"set password_encryption = 'md5'; create role s_md5 login password '{PASSWORD}'")
with open(f'{cluster.dir}/n0/pg_hba.conf', 'w') as f:
    f.write(''.join(f"{'hostssl' if s == 'cert' else 'host'} all s_{s} 127.0.0.1/32 {'scram-sha-256' if s == 'scram' else s}\n" for s in SERVERS) + 'local all all trust\nhost all postgres 127.0.0.1/32 trust\n')
cluster.query('select pg_reload_conf()')
wait_for(lambda: run([tool('psql'), '-h', '127.0.0.1', '-p', str(cluster.port), '-U', 's_scram', '-w', '-c', '', 'postgres'])[0] != 0, what='the new pg_hba.conf')

# database: its rules. What each makes of a client that comes plain, with TLS, with TLS and a certificate of its own name.
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
SECRETS = ''.join(f'"s_{s}" "{PASSWORD}"\n' for s in SERVERS)
SERVER_TLS = {'off': {'tls': 'off'}, 'require': {'tls': 'require', 'tls_cert': pki.crt('client'), 'tls_key': pki.key('client')}, 'verify-full': {'tls': 'verify-full', 'tls_ca': pki.ca}}


def make(workers=2, secrets=SECRETS, node=None, **cluster_options):
    return Proxy(cluster, workers=workers, hba=HBA, secrets=secrets, databases={d: {'dbname': 'postgres'} for d in [*RULES, 'mapped', 'dn', 'ca_trust']}, limits={'auth_failure_delay': '1ms'},
                 listen={'tls': 'allow', 'tls_cert': front.crt('server'), 'tls_key': front.key('server'), 'tls_ca': front.ca}, auth={'ident_file': 'ident.conf'},
                 files={'ident.conf': 'm /^(.*)@example\\.com$ s_trust\nm nobody s_scram\nd "CN=s_trust" s_trust\n'}, cluster_options={'service_user': 'postgres', **cluster_options}, node={'host': 'localhost', **(node or {})})


def come(proxy, database, user, mode, cert=None, by=front, secret=PASSWORD, **env):
    """'' or why not."""
    own = {'PGSSLCERT': by.crt(cert), 'PGSSLKEY': by.key(cert)} if cert else {'PGSSLCERT': '/none', 'PGSSLKEY': '/none'}
    rc, out, err = proxy.psql('select current_user', database, '-w', user=user, env={'PGSSLMODE': mode, 'PGSSLROOTCERT': front.ca, 'PGPASSWORD': secret, **own, **env})
    return err.strip() or out if rc or out != user + '\n' else ''


def server_says(server, tls, binding):
    if binding:
        return '' if server == 'scram' and tls != 'off' else 'channel binding is required'
    if server == 'password' and tls == 'off':
        return 'clear text, over a connection'
    if server == 'cert':
        return '' if tls == 'require' else 'no pg_hba.conf entry' if tls == 'off' else 'requires a valid client certificate'
    return ''


def matrix(workers, tls, binding):
    proxy = make(workers, **SERVER_TLS[tls], **({'require_channel_binding': True} if binding else {}))

    def one(row):
        database, server, how = row
        client = RULES[database][1][how]
        want = client or server_says(server, tls, binding)
        got = come(proxy, database, f's_{server}', 'disable' if how == 0 else 'verify-full', f's_{server}' if how == 2 else None)
        name = f"{workers} worker{'s' * (workers > 1)}: {database}, {('plain', 'TLS', 'TLS and certificate')[how]}; server {server}, tls {tls}{', binding' * binding}: {want or 'works'}"
        return name, got, want
    rows = [(d, s, h) for d in RULES for s in SERVERS for h in range(3)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for name, got, want in pool.map(one, rows):
            ok(want in got if want else got == '', name) or diag(got)
    proxy.stop()


with scenario('the matrix'):
    matrix(1, 'off', False)
    matrix(2, 'require', False)
    matrix(1, 'verify-full', False)

with scenario('channel binding to servers'):
    for tls in ('require', 'verify-full'):
        proxy = make(1, **SERVER_TLS[tls], require_channel_binding=True)
        for server in SERVERS:
            want = '' if server == 'scram' else 'channel binding is required|requires a valid client certificate' if server == 'cert' else 'channel binding is required'
            got = come(proxy, 'any_trust', f's_{server}', 'disable')
            ok(re.search(want, got) if want else got == '', f'required, tls {tls}, server {server}') or diag(got)
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
