#!/usr/bin/env -S /usr/bin/python3
"""TLS with clients: who gets it, who must have it, what is refused, and what a reload changes."""
import os
import re
import shutil
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import GSS_REQUEST, SSL_REQUEST, CANCEL_REQUEST, query, request, startup  # noqa: E402
from pki import Pki  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database()
pki, strangers = Pki(), Pki('strangers')
pki.sign('server', san='DNS:localhost,IP:127.0.0.1')
pki.sign('other', san='DNS:localhost,IP:127.0.0.1')
pki.sign('rsa', san='DNS:localhost,IP:127.0.0.1', kind='rsa')
for name in ('client', 'revoked'):
    pki.sign(name)
pki.sign('expired', days=-1)
strangers.sign('stranger')
pki.revoke('revoked')
CERT = {'tls_cert': pki.crt('server'), 'tls_key': pki.key('server')}
proxy = Proxy(cluster, pool={'size': 4}, limits={'login_timeout': '3s'}, listen={'tls': 'allow', **CERT})
USER = {'user': 'postgres', 'database': db}


def listen(**options):
    """Reloads with other settings of the block listen; the reload's log line."""
    proxy.settings['listen'] = options
    return proxy.reload()


def visit(mode, name=None, by=pki, **env):
    """What psql with PGSSLMODE finds: plain, TLS or its error."""
    own = {'PGSSLCERT': by.crt(name), 'PGSSLKEY': by.key(name)} if name else {'PGSSLCERT': '/none', 'PGSSLKEY': '/none'}
    status, out, err = proxy.psql('\\conninfo', db, env={'PGSSLMODE': mode, 'PGSSLROOTCERT': pki.ca, **own, **env})
    return err.strip() if status else 'TLS' if 'SSL connection' in out else 'plain'


def context(alpn=None, **options):
    c = ssl.create_default_context(cafile=pki.ca)
    if alpn:
        c.set_alpn_protocols(alpn)
    for k, v in options.items():
        setattr(c, k, v)
    return c


def secured(ctx=None, direct=False):
    """A connection that speaks TLS and has said nothing else yet."""
    c = Conn(proxy.addr, login=False)
    if not direct:
        c.send(request(SSL_REQUEST))
        if c.recv_byte() != b'S':
            raise WireError('no TLS')
    c.sock = (ctx or context()).wrap_socket(c.sock, server_hostname='localhost')
    return c


def with_certificate(name, **options):
    c = context(**options)
    c.load_cert_chain(pki.crt(name), pki.key(name))
    return c


def certificate():
    """The serial number of what is shown."""
    c = secured()
    serial = c.sock.getpeercert()['serialNumber']
    c.drop()
    return serial


with scenario('modes'):
    plain = {'disable': 'plain', 'allow': 'plain', 'prefer': 'plain'}
    refused = 'server does not support SSL, but SSL was required'
    need = 'FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "postgres", database "' + db + '", no encryption'
    nothing = {'disable': need, 'allow': 'TLS', 'prefer': 'TLS', 'require': 'TLS', 'verify-ca': 'TLS', 'verify-full': 'TLS'}
    for tls, expected in (('off', {**plain, 'require': refused, 'verify-full': refused}),
                          ('allow', {**plain, 'prefer': 'TLS', 'require': 'TLS', 'verify-ca': 'TLS', 'verify-full': 'TLS'}),
                          ('require', nothing)):
        listen(tls=tls, **(CERT if tls != 'off' else {}))
        for mode, what in expected.items():
            got = visit(mode)
            ok(what in got, f'{tls} and sslmode={mode}: {what[:40]}') or diag(got)
    is_(proxy.psql('select 1', db, env={'PGHOST': proxy.socket_dir, 'PGSSLMODE': 'prefer'})[1], '1\n', 'the unix socket needs none')
    c = Conn(proxy.unix, login=False)
    c.send(request(SSL_REQUEST))
    is_(c.recv_byte(), b'N', 'and has none')
    c.drop()
    listen(tls='verify', tls_ca=pki.ca, **CERT)
    ok('certificate required' in visit('require') or 'handshake failure' in visit('require'), 'verify and no certificate: refused')
    is_(visit('require', 'client'), 'TLS', 'verify and a good one')

with scenario('certificates of clients'):
    listen(tls='allow', tls_ca=pki.ca, tls_crl=pki.crl, **CERT)
    is_(visit('require'), 'TLS', 'none is needed')
    is_(visit('require', 'client'), 'TLS', 'a good one')
    for name, by, why in (('expired', pki, 'certificate has expired'), ('revoked', pki, 'certificate revoked'), ('stranger', strangers, 'certificate')):
        at = len(proxy.log())
        ok('alert' in visit('require', name, by), f'one that is {name} is refused, and its owner is told in an alert')
        proxy.wait_log(f'client_tls_failed.*{why}', start=at)
    ok('plain' == visit('disable', 'revoked'), 'who comes without TLS shows none')
    VERIFY = {'tls': 'verify', 'tls_ca': pki.ca, 'tls_crl': pki.crl, **CERT}
    pki.sign('late')
    listen(**VERIFY)
    stays = secured(with_certificate('late'))
    stays.login('postgres', db, {})
    pki.revoke('late')
    is_(visit('require', 'late'), 'TLS', 'one that is revoked while we run, before a reload')
    listen(**VERIFY)
    at = len(proxy.log())
    ok('alert' in visit('require', 'late') and visit('require', 'client') == 'TLS', 'and after it')
    proxy.wait_log('client_tls_failed.*certificate revoked', start=at)
    is_(stays.one('select 1'), '1', 'who is there stays')
    stays.drop()
    pki.let_crl_expire()
    listen(**VERIFY)
    at = len(proxy.log())
    ok('alert' in visit('require', 'client'), 'a list that has expired lets nobody in')
    proxy.wait_log('client_tls_failed.*CRL has expired', start=at)
    for what in (pki.ca, pki.crt('server')):
        shutil.copy(what, f'{proxy.dir}/list.crl')
        like(listen(**VERIFY | {'tls_crl': 'list.crl'}), 'reload_refused.*revocation list', 'a certificate is no list')
    pki._crl()

with scenario('what travels'):
    listen(tls='require', **CERT)
    status, out, err = proxy.psql("select repeat('0123456789', 2000000)", db, env={'PGSSLMODE': 'require'})
    is_(len(out), 20000001, '20 MB in one row')
    status, out, err = proxy.psql("copy (select i, md5(i::text) from generate_series(1, 300000) i) to stdout", db, env={'PGSSLMODE': 'require'})
    lines = out
    is_(lines.count('\n'), 300000, 'COPY TO')
    proxy.psql('create table copied (i int, t text)', db, env={'PGSSLMODE': 'require'})
    path = f'{proxy.dir}/rows'
    with open(path, 'w') as f:
        f.write(lines)
    status, out, err = proxy.psql(f"\\copy copied from '{path}'\nselect count(*), count(*) filter (where t = md5(i::text)) from copied", db, env={'PGSSLMODE': 'require'})
    is_(out, '300000|300000\n', 'COPY FROM')
    status, out, err = proxy.tool('pgbench', '-i', '-q', database=db, env={'PGSSLMODE': 'require'})
    status, out, err = proxy.tool('pgbench', '-n', '-S', '-c', '8', '-j', '2', '-t', '200', '-M', 'prepared', database=db, env={'PGSSLMODE': 'require'})
    like(out, r'1600/1600', 'many at once')
    status, out, err = proxy.tool('pgbench', '-n', '-S', '-c', '4', '-t', '20', '-C', database=db, env={'PGSSLMODE': 'require'})
    like(out, r'80/80', 'a connection for each transaction')
    c = secured()
    c.login('postgres', db, {})
    c.send(query('select 1') + query('select 2'))
    c.until('Z', 2)
    ok(c.sock.version() == 'TLSv1.3', 'version 1.3')
    c.send(b'X\0\0\0\4')
    is_(c.recv(), None, 'Terminate, then a clean end of TLS')
    old = context(maximum_version=ssl.TLSVersion.TLSv1_2)
    c = secured(old)
    c.login('postgres', db, {})
    is_((c.sock.version(), c.one('select 1')), ('TLSv1.2', '1'), 'version 1.2')
    is_((c.sock.session.has_ticket, c.sock.session.id), (False, b''), 'without sessions that a key of ours could open later')
    c.drop()

with scenario('CVE-2021-23222, CVE-2021-23214: bytes in the clear behind the request'):
    for behind in (b'', b'\x16\x03\x01'):
        c = Conn(proxy.addr, login=False)
        c.send(request(SSL_REQUEST) + (behind or startup(USER) + query('select 1')))
        m = c.recv()
        is_((m[0], pgwire.fields(m[1])['C'], pgwire.fields(m[1])['M']), ('E', '08P01', 'received unencrypted data after SSL request'),
            'refused in the clear' + (', also where they look like TLS' if behind else ''))
        is_(c.recv(), None, 'and closed')
    c = Conn(proxy.addr, login=False)
    c.send(request(SSL_REQUEST))
    is_(c.recv_byte(), b'S', 'TLS is offered')
    c.send(startup(USER) + query('select 1'))
    got = b''
    while (b := c.recv_byte()) is not None:
        got += b
    ok(b'R\0\0\0' not in got and b'postgres' not in got, 'a login in the clear behind the offer is not heard')

with scenario('requests for encryption in the wrong place'):
    c = secured()
    c.send(request(SSL_REQUEST))
    m = c.recv()
    is_(pgwire.fields(m[1])['C'], '08P01', 'again, inside TLS')
    c = Conn(proxy.addr, login=False)
    c.send(request(GSS_REQUEST))
    is_(c.recv_byte(), b'N', 'GSSENCRequest first')
    c.send(request(SSL_REQUEST))
    is_(c.recv_byte(), b'S', 'then SSLRequest')
    c.sock = context().wrap_socket(c.sock, server_hostname='localhost')
    c.login('postgres', db, {})
    is_(c.one('select 1'), '1', 'as libpq does with gssencmode=prefer')
    c.drop()

with scenario('direct TLS'):
    c = secured(context(['postgresql']), direct=True)
    is_(c.sock.selected_alpn_protocol(), 'postgresql', 'ALPN is agreed')
    c.login('postgres', db, {})
    is_(c.one('select 1'), '1', 'and the login follows at once')
    c.drop()
    at = len(proxy.log())
    try:
        c = secured(context(), direct=True)
        ended = c.recv() is None
    except (OSError, ssl.SSLError):
        ended = True
    ok(ended, 'without ALPN it ends')
    proxy.wait_log('client_tls_failed.*without ALPN', start=at)
    try:
        secured(context(['http/1.1']), direct=True)
        ok(False, 'ALPN for something else is refused')
    except ssl.SSLError as e:
        like(str(e), 'no application protocol', 'ALPN for something else is refused')
    listen(tls='off')
    try:
        secured(context(['postgresql']), direct=True)
        ok(False, 'where there is no TLS it is refused')
    except (OSError, ssl.SSLError):
        ok(True, 'where there is no TLS it is refused')
    listen(tls='require', **CERT)

with scenario('cancel requests'):
    for how in ('TLS', 'direct TLS', 'the clear'):
        victim = secured()
        victim.login('postgres', db, {})
        victim.send(query('select pg_sleep(100)'))
        wait_for(lambda: cluster.one("select count(*) from pg_stat_activity where query like '%pg_sleep(100)%' and state = 'active' and pid <> pg_backend_pid()") == '1')
        c = Conn(proxy.addr, login=False) if how == 'the clear' else secured(context(['postgresql']), how == 'direct TLS')
        c.send(request(CANCEL_REQUEST, victim.key))
        is_(pgwire.fields(victim.until('E')[-1][1])['C'], '57014', f'one in {how}')
        is_(c.recv(), None, 'is closed when it is done')
        victim.drop()

with scenario('a handshake that does not go on'):
    c = Conn(proxy.addr, login=False)
    c.send(request(SSL_REQUEST))
    c.recv_byte()
    is_(c.recv(10), None, 'ends with login_timeout')
    c = secured()
    m = c.recv(10)
    is_(m and m[0] in 'E' or m is None, True, 'also where it was done and nothing followed')
    c.drop()
    at = len(proxy.log())
    c = Conn(proxy.addr, login=False)
    c.send(request(SSL_REQUEST))
    c.recv_byte()
    c.send(b'GET / HTTP/1.1\r\n\r\n')
    c.until('Z')
    proxy.wait_log('client_tls_failed', start=at)
    ok(True, 'garbage is told in the log')
    before = proxy.descriptors()
    for i in range(200):
        c = Conn(proxy.addr, login=False)
        c.send(request(SSL_REQUEST))
        c.recv_byte()
        c.send(b'\x16\x03\x01\x02\x00\x01' if i % 2 else b'')
        c.drop()
    wait_for(lambda: proxy.descriptors() <= before, what='the end of those who left in the middle')
    ok(True, 'who leaves in the middle leaves nothing')

with scenario('sessions that go on'):
    ctx = context()
    c = secured(ctx)
    c.login('postgres', db, {})
    is_((c.sock.session_reused, c.one('select 1')), (False, '1'), 'the first is new')
    kept = c.sock.session
    c.send(b'X\0\0\0\4')
    c.recv()
    c = Conn(proxy.addr, login=False)
    c.send(request(SSL_REQUEST))
    c.recv_byte()
    c.sock = ctx.wrap_socket(c.sock, server_hostname='localhost', session=kept)
    c.login('postgres', db, {})
    is_((c.sock.session_reused, c.one('select 1')), (True, '1'), 'the second goes on, and must log in all the same')
    c.drop()
    for ca, ctx in ((pki.ca, ctx), (strangers.ca, with_certificate('client'))):
        listen(tls='require', **CERT)
        c = secured(ctx)
        c.login('postgres', db, {})
        kept = c.sock.session
        c.drop()
        listen(tls='verify', tls_ca=ca, **CERT)
        c = Conn(proxy.addr, login=False)
        c.send(request(SSL_REQUEST))
        c.recv_byte()
        try:
            c.sock = ctx.wrap_socket(c.sock, server_hostname='localhost', session=kept)
            c.login('postgres', db, {})
            ok(False, 'a session from before certificates were asked for lets nobody in')
        except (OSError, WireError):
            ok(True, 'a session from before certificates were asked for lets nobody in')
    listen(tls='require', **CERT)

with scenario('a reload'):
    first = certificate()
    stays = secured()
    stays.login('postgres', db, {})
    for kind in ('crt', 'key'):
        shutil.copy(f'{pki.dir}/server.{kind}', f'{pki.dir}/renewed.{kind}')
    RENEWED = {'tls_cert': pki.crt('renewed'), 'tls_key': pki.key('renewed')}
    listen(tls='require', **RENEWED)
    is_(certificate(), first, 'other paths, the same certificate')
    for kind in ('crt', 'key'):
        shutil.copy(f'{pki.dir}/other.{kind}', f'{pki.dir}/renewed.{kind}')
    is_(run([PROGRAM, '--dry-run', '-c', proxy.path]), (0, 'listen: TLS is another, by its settings or files; it holds for clients from now on\n', ''), 'a dry run says that it was renewed')
    is_(certificate(), first, '… and renews nothing')
    at = len(proxy.log())
    listen(tls='require', **RENEWED)
    second = certificate()
    ok(second != first, 'a renewed certificate is shown')
    proxy.wait_log('tls_renewed', start=at)
    is_(stays.one('select 1'), '1', 'who was there stays')
    shutil.copy(pki.key('server'), pki.key('renewed'))
    at = len(proxy.log())
    like(listen(tls='require', **RENEWED), 'reloaded', 'a key that does not match does not stop a reload')
    proxy.wait_log('tls_not_renewed.*key values mismatch', start=at)
    is_(certificate(), second, 'the certificate and key of before stay in force')
    os.chmod(pki.key('renewed'), 0o644)
    at = len(proxy.log())
    listen(tls='require', **RENEWED)
    proxy.wait_log('tls_not_renewed.*group or world access', start=at)
    ok(True, 'a key that others may read is not taken')
    shutil.copy(pki.key('other'), pki.key('renewed'))
    line = listen(tls='require', tls_ca='/none', **RENEWED)
    like(line, 'reload_refused.*/none', 'a setting that is no good refuses the reload')
    is_(certificate(), second, 'and nothing has changed')
    stays.drop()
    listen(tls='require', **RENEWED)
    rc, out, err = run([PROGRAM, '--check', '-c', proxy.path])
    is_(rc, 0, '--check: good')
    os.truncate(pki.crt('renewed'), 0)
    rc, out, err = run([PROGRAM, '--check', '-c', proxy.path])
    ok(rc == 1 and 'could not load the certificate' in err, '--check looks into the files') or diag(err)

with scenario('sslscan'):
    for name in ('rsa', 'server'):
        listen(tls='allow', tls_cert=pki.crt(name), tls_key=pki.key(name))
        rc, out, err = run(['sslscan', '--no-colour', '--starttls-psql', f'127.0.0.1:{proxy.port}'], timeout=180)
        for old in ('SSLv2', 'SSLv3', 'TLSv1.0', 'TLSv1.1'):
            like(out, re.escape(old) + r'\s+disabled', f'{name}: {old} is not to be had')
        for new in ('TLSv1.2', 'TLSv1.3'):
            like(out, re.escape(new) + r'\s+enabled', f'{name}: {new} is')
        like(out, 'Session renegotiation not supported', f'{name}: no renegotiation')
        ciphers = re.findall(r'^(?:Preferred|Accepted)\s+(\S+)\s+(\d+) bits\s+(\S+)', out, re.M)
        ok(len(ciphers) >= 5 and all(int(bits) >= 128 and re.search('GCM|CHACHA20', c) for _, bits, c in ciphers), f'{name}: strong ciphers only') or diag(out)
        ok(not re.search('CBC|RC4|3DES|NULL|EXPORT|anon|heartbleed$|vulnerable to heartbleed$', re.sub('not vulnerable to heartbleed', '', out)), f'{name}: nothing weak') or diag(out)

done()
