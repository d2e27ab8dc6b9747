#!/usr/bin/env -S /usr/bin/python3
"""Who may come in: client method x server method x stored secret x where we know it from, and what must not work."""
import base64
import concurrent.futures
import hashlib
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import msg, password, startup, z  # noqa: E402
from authmatrix import CLIENTS, SOURCES, expected  # noqa: E402
import ldapd  # noqa: E402

proxy_only()
PASSWORD = 'open sesame'
SERVERS = ('trust', 'password', 'md5', 'scram')
STORED = ('md5', 'scram')
AGAIN = bool(ENGINE)  # the whole was run before: the engine says nothing about methods

cluster = Cluster()
roles = [(srv, stored, source, f'{srv}_{stored}_{source}') for srv in SERVERS for stored in STORED for source in SOURCES]
sql = ''.join(f'create role s_{s};' for s in SERVERS)
for stored in STORED:
    sql += f"set password_encryption = '{'md5' if stored == 'md5' else 'scram-sha-256'}';"
    sql += ''.join(f"create role {name} login password '{PASSWORD}' in role s_{srv};" for srv, st, _, name in roles if st == stored)
cluster.query(sql + "set password_encryption = 'scram-sha-256'; create role other login password 'their secret';")
hba = ''.join(f"{kind} all +s_{s} {'' if kind == 'local' else '127.0.0.1/32'} {'scram-sha-256' if s == 'scram' else s}\n" for s in SERVERS for kind in ('local', 'host'))
with open(f'{cluster.dir}/n0/pg_hba.conf', 'w') as f:
    f.write(hba + 'local all all trust\nhost all all 127.0.0.1/32 trust\n')
cluster.query('select pg_reload_conf()')
wait_for(lambda: 'password authentication' in (lambda r: r)(str(run([tool('psql'), '-h', cluster.host, '-p', str(cluster.port), '-U', 'password_md5_none', '-w', '-c', '', 'postgres'], env={'PGPASSWORD': 'x'})[2])), what='the new pg_hba.conf')
stored_secret = dict(cluster.query('select rolname, rolpassword from pg_authid where rolpassword is not null'))
OTHER_SCRAM = stored_secret['scram_scram_none']  # of the same password, with another salt


def md5_of(name):
    return 'md5' + hashlib.md5((PASSWORD + name).encode()).hexdigest()


def listed(stored, source, name):
    """What the users file has for a role."""
    if source == 'clear':
        return PASSWORD
    if source == 'md5':
        return md5_of(name)
    return stored_secret[name] if stored == 'scram' else OTHER_SCRAM


def users_file():
    return ''.join(f'"{name}" "{listed(stored, source, name)}"\n' for _, stored, source, name in roles if source not in ('query', 'none'))


QUERY = "select rolname, rolpassword, rolvaliduntil from pg_authid where rolname = $1 and rolname like '%query'"
RULES = ''.join(f'host m_{c} all all {c}\n' for c in CLIENTS) + 'local all all trust\n'
BASE = dict(hba=RULES, secrets=users_file(), auth={'query': QUERY}, limits={'auth_failure_delay': '1ms'},
            databases={f'm_{c}': {'dbname': 'postgres'} for c in CLIENTS}, cluster_options={'cleartext_password': True})


def sqlstate(proxy, database, user, secret, **kw):
    try:
        c = Conn(proxy.addr, user=user, database=database, secret=secret, **kw)
    except WireError as e:
        return str(e)[:5]
    good = c.one('select current_user')
    c.quit()
    return '' if good == user else good


def psql_works(proxy, database, user, secret):
    rc, out, err = proxy.psql('select current_user', database, '-w', user=user, env={'PGPASSWORD': secret})
    return rc == 0 and out == user + '\n'


def matrix(workers):
    """Every row by its SQLSTATE; those with the right password by what psql makes of it, too."""
    proxy = Proxy(cluster, workers=workers, **BASE)

    def one(row):
        client, srv, stored, source, user = row
        out = []
        for right in (False, True):
            secret = PASSWORD if right else 'wrong'
            want = expected(client, srv, stored, source, right)
            name = f"{workers} worker{'s' * (workers > 1)}: client {client}, server {srv}, stored as {stored}, known from {source}, {'right' if right else 'wrong'}: {want or 'works'}"
            out.append((name, sqlstate(proxy, f'm_{client}', user, secret), want))
            if right and not AGAIN:
                out.append((f'psql, {name}', psql_works(proxy, f'm_{client}', user, secret), not want))
        return out
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for results in pool.map(one, [(c, *r) for c in CLIENTS for r in roles]):
            for name, got, want in results:
                is_(got, want, name)
    proxy.stop()


with scenario('the matrix'):
    for n in (2,) if AGAIN else (1, 2):
        matrix(n)


def refused(proxy, database, user, secret, **kw):
    """The text behind the SQLSTATE of a refused login; '' when it works."""
    try:
        Conn(proxy.addr if not kw.get('unix') else proxy.unix, user=user, database=database, secret=secret).quit()
    except WireError as e:
        return str(e)
    return ''


class FakeServer:
    """Answers a startup packet with the given messages, one for each message of the client, and closes."""

    def __init__(self, *answers):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.host, self.port, self.dir = '127.0.0.1', self.listener.getsockname()[1], cluster.dir
        self.ports = [self.port]
        self.answers, self.heard = answers, []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            s, _ = self.listener.accept()
            with contextlib.suppress(OSError):
                self.talk(s)
            s.close()

    def talk(self, s):
        s.settimeout(20)
        for answer in self.answers:
            data = s.recv(65536)
            if not data:
                return
            self.heard.append(data)
            s.sendall(answer(data) if callable(answer) else answer)
        s.recv(65536)


def auth_msg(code, rest=b''):
    return msg('R', struct.pack('!I', code) + rest)


SASL = auth_msg(10, b'SCRAM-SHA-256\0\0')

with scenario('what is not sent to a server'):
    plain = Proxy(cluster, hba='host all all all trust', secrets=users_file(), databases={'app': {'dbname': 'postgres'}})
    like(refused(plain, 'app', 'password_scram_clear', 'x'), '28000 .*clear text, over a connection', 'a password in clear text over plain TCP')
    plain.settings['cluster'] = {'cleartext_password': True}
    plain.reload()
    is_(refused(plain, 'app', 'password_scram_clear', 'x'), '', 'but it is when that is configured')
    plain.settings['cluster'] = {'require_channel_binding': True}
    plain.reload()
    for srv in ('trust', 'password', 'md5', 'scram'):
        user = f'{srv}_scram_clear'
        plain.settings['databases'] = {f'app_{srv}': {'dbname': 'postgres'}}
        plain.reload()
        like(refused(plain, f'app_{srv}', user, 'x'), '28000 channel binding is required', f'require_channel_binding: a server that asks for {srv} over plain TCP is not believed')
    plain.stop()
    sock = Proxy(cluster, hba='host all all all trust', secrets=users_file(), databases={'app': {'dbname': 'postgres'}}, node={'host': cluster.dir})
    is_(refused(sock, 'app', 'password_scram_clear', 'x'), '', 'a unix socket is private enough for clear text')
    sock.stop()

with scenario('a forced user'):
    forced = Proxy(cluster, hba='host all all all scram-sha-256', secrets='"ann" "a"\n"bob" "b"\n"scram_scram_clear" "not this one"\n', pool={'size': 1},
                   databases={'app': {'dbname': 'postgres', 'user': 'scram_scram_clear', 'password': PASSWORD}, 'listed': {'dbname': 'postgres', 'user': 'md5_md5_md5'}})
    a, b = Conn(forced.addr, user='ann', database='app', secret='a'), Conn(forced.addr, user='bob', database='app', secret='b')
    is_(a.one('select current_user'), 'scram_scram_clear', 'all clients are one user on the servers')
    is_(a.one('select pg_backend_pid()'), b.one('select pg_backend_pid()'), 'and share one pool')
    like(refused(forced, 'app', 'ann', 'b'), '28P01', 'each proves who he is himself')
    like(refused(forced, 'app', 'scram_scram_clear', PASSWORD), '28P01', "the servers' password opens nothing here")
    is_(a.one('set role none; select session_user'), 'scram_scram_clear', 'SET ROLE NONE')
    a.quit()
    b.quit()
    forced.secrets += f'"md5_md5_md5" "{md5_of("md5_md5_md5")}"\n'
    forced.reload()
    c = Conn(forced.addr, user='ann', database='listed', secret='a')
    is_(c.one('select current_user'), 'md5_md5_md5', 'his secret may stand in the users file, also as MD5')
    c.quit()
    forced.stop()

with scenario('nobody can tell who exists'):
    p = Proxy(cluster, hba='host all all all scram-sha-256\n', secrets=users_file(), databases={'app': {'dbname': 'postgres'}}, auth={'query': QUERY}, limits={'auth_failure_delay': '1ms'})

    def talk(user, payload=b'n,,n=,r=abcdefghijklmnopqrstuvwx'):
        c = Conn(p.addr, login=False)
        c.send(startup({'user': user, 'database': 'app'}))
        offered = c.recv()
        c.send(msg('p', z('SCRAM-SHA-256') + struct.pack('!i', len(payload)) + payload))
        first = c.recv()
        part = dict(x.split('=', 1) for x in first[1][4:].decode().split(','))
        proof = base64.b64encode(b'\0' * 32).decode()
        c.send(msg('p', f"c=biws,r={part['r']},p={proof}".encode()))
        end = pgwire.fields(c.recv()[1])
        is_(c.recv(), None, f'{user}: the end')
        return offered, (len(part['r']), len(part['s']), part['i']), {k: v.replace(user, '?') for k, v in end.items()}, part['s']
    known, listed_clear, queried, nobody, nothing = (talk(u) for u in ('scram_scram_scram', 'scram_scram_clear', 'scram_scram_query', 'nobody_at_all', 'scram_md5_md5'))
    for name, other in (('a clear password', listed_clear), ('a role that is asked for', queried), ('nobody', nobody), ('one who has only an MD5 secret', nothing)):
        is_(other[:3], known[:3], f'{name}: the same dialogue, lengths, iterations and words as with a SCRAM secret')
    is_(talk('nobody_at_all')[3], nobody[3], "nobody's salt is always the same")
    ok(talk('nobody_else')[3] != nobody[3], 'and his own')
    p.hba = 'host all all all md5\n'
    for secrets, kind in ((f'"a" "clear"\n"b" "{md5_of("b")}"\n', 5), (f'"a" "{OTHER_SCRAM}"\n', 10)):
        p.secrets = secrets
        p.settings['auth'] = {}
        p.reload()
        asked = []
        for user in ('a', 'nobody', 'someone', 'b'):
            c = Conn(p.addr, login=False)
            c.send(startup({'user': user, 'database': 'app'}))
            asked.append(struct.unpack('!I', c.recv()[1][:4])[0])
            c.drop()
        is_(asked, [kind] * 4, 'the method md5 asks nobody as it asks the others: ' + ('MD5' if kind == 5 else 'SCRAM'))
    like(p.log(), r'login_failed .*user=nobody_at_all.*method=scram-sha-256.*hba.conf.*line=1', 'the log tells which rule')
    ok(PASSWORD not in p.log() and 'SCRAM-SHA-256$' not in p.log(), 'and no secret')
    p.stop()

with scenario('malformed SASL'):
    p = Proxy(cluster, hba='host s all all scram-sha-256\nhost m all all md5\nhost p all all password\n', secrets='"u" "pw"\n"scram_scram_clear" "open sesame"\n', databases={d: {'dbname': 'postgres'} for d in 'smp'})

    def say(database, *data):
        c = Conn(p.addr, login=False)
        c.send(startup({'user': 'scram_scram_clear', 'database': database}))
        c.recv()
        got = None
        for d in data:
            c.send(d)
            got = c.recv()
            if got is None or got[0] == 'E':
                break
        c.drop()
        return 'EOF' if got is None else pgwire.fields(got[1])['C'] if got[0] == 'E' else got[0]
    first = b'n,,n=,r=abcdefghijklmnopqrstuvwx'

    def initial(payload, mechanism='SCRAM-SHA-256', size=None):
        return msg('p', z(mechanism) + struct.pack('!I', len(payload) if size is None else size) + payload)
    for size in (0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 0xfffffff0, len(first) + 1, len(first) - 1, 0x100000000 - 5):
        is_(say('s', initial(first, size=size)), '08P01', f'CVE-2026-6664: an initial response that says it has {size} bytes')
    for body, name in ((b'', 'empty'), (b'\0', 'only NUL'), (b'SCRAM-SHA-256', 'without NUL'), (b'SCRAM-SHA-256\0', 'without a length'), (b'SCRAM-SHA-256\0\0\0', 'a length that is cut')):
        is_(say('s', msg('p', body)), '08P01', f'an initial response: {name}')
    for mechanism in ('', 'SCRAM-SHA-1', 'scram-sha-256', 'SCRAM-SHA-256-PLUS', 'PLAIN', 'x' * 500):
        is_(say('s', initial(first, mechanism)), '08P01', f'mechanism {mechanism[:20]!r}')
    for payload in (b'', b'n', b'n,,', b'y,,n=,r=', b'p=tls-unique,,n=,r=abc', b'p=tls-server-end-point,,n=,r=abc', b'n,,n=,r=a\0b', b'n,,n=\xff,r=\xff', b'n,,n=,r=' + b'x' * 990):
        is_(say('s', initial(payload)), '08P01', f'client-first {payload[:30]!r}')
    is_(say('s', initial(b'n,a=me,n=,r=abc')), '0A000', 'an authorization identity')
    is_(say('s', initial(b'n,,m=x,n=,r=abc')), '0A000', 'an extension that must be understood')
    for final in (b'', b'c=biws', b'c=biws,r=', b'c=eSws,r=x,p=AAAA', b'x' * 1000, b'c=biws,r=abc,p=' + b'A' * 44):
        is_(say('s', initial(first), msg('p', final)), '08P01', f'client-final {final[:20]!r}')
    for database in 'smp':
        is_(say(database, b'p\x7f\xff\xff\xff'), '08P01', f'{database}: a length of 2 GB')
        is_(say(database, b'p\0\0\0\3'), '08P01', f'{database}: a length below 4')
        is_(say(database, pgwire.query('select 1')), '08P01', f'{database}: a Query in place of an answer')
    for body in (b'', b'no nul', b'two\0\0', b'a\0b\0'):
        for database in 'mp':
            is_(say(database, msg('p', body)), '08P01', f'{database}: a password message {body!r}')
    is_(say('p', password('')), '28P01', 'an empty password')
    is_(say('p', password('x' * 4000)), '28P01', 'a long password')
    is_(say('m', password('md5')), '28P01', 'a short MD5 answer')
    is_(sqlstate(p, 's', 'scram_scram_clear', PASSWORD), '', 'and others come in')
    p.stop()

with scenario('settings in the first packet'):
    p = Proxy(cluster, hba='host all all all reject\n', databases={'app': {'dbname': 'postgres'}})

    def first_packet(params):
        c = Conn(p.addr, login=False)
        c.send(startup({'user': 'x', 'database': 'app', **params}))
        got = pgwire.fields(c.recv()[1])['C']
        c.drop()
        return got
    for n, want in ((400, '28000'), (401, '54000'), (1100, '54000')):
        is_(first_packet({f'a.{i}': '' for i in range(n)}), want, f'{n} settings: ' + ('as many as anybody has' if want == '28000' else 'refused before they cost much'))
        is_(first_packet({'options': ' '.join(f'-ca.{i}=' for i in range(n))}), want, f'{n} of them in options')
    p.stop()

with scenario('CVE-2026-6665: a nonce of a server that wants to be believed'):
    for name, continued in (('10,000 bytes', lambda n: b'r=' + n + b'x' * 10000 + b',s=AAAA,i=4096'), ('900 bytes', lambda n: b'r=' + n + b'x' * 900 + b',s=AAAA,i=4096'),
                            ('1015 bytes', lambda n: b'r=' + n + b'x' * (1015 - len(n)) + b',s=AAAA,i=1'), ('not ours', lambda n: b'r=abc,s=AAAA,i=4096'), ('no salt', lambda n: b'r=' + n + b'x,i=4096'),
                            ('a NUL', lambda n: b'r=' + n + b'\0x,s=AAAA,i=4096'), ('a salt of 2,000 bytes', lambda n: b'r=' + n + b'x,s=' + b'A' * 2000 + b',i=4096'), ('2^31 iterations', lambda n: b'r=' + n + b'x,s=AAAA,i=2147483647')):
        server = FakeServer(SASL, lambda d, f=continued: auth_msg(11, f(d[d.index(b'r=') + 2:])))
        p = Proxy(server, hba='host all all all trust', secrets='"u" "pw"\n', databases={'app': {}}, pool={'query_wait_timeout': '2s'}, cluster_options={'tls': 'off', 'service_user': 'u', 'service_password': 'pw'})
        # 900 bytes are long, but in order: the server that says so has nothing more to say
        like(refused(p, 'app', 'u', 'pw'), '53300' if name == '900 bytes' else '08P01 malformed SCRAM message', f'{name}: refused')
        ok(p.process.poll() is None, 'and we live')
        p.stop()

with scenario('a server that asks for ten million hashes'):
    server = FakeServer(SASL, lambda d: auth_msg(11, b'r=' + d[d.index(b'r=') + 2:] + b'x,s=AAAA,i=10000000'), b'')
    p = Proxy(server, workers=1, hba='host all all all trust', secrets='"u" "pw"\n', databases={'app': {}}, pool={'connect_timeout': '1s', 'query_wait_timeout': '2s'}, cluster_options={'tls': 'off', 'service_user': 'u'})
    console, c = p.connect('lunapool'), Conn(p.addr, login=False)
    c.send(startup({'user': 'u', 'database': 'app'}))
    wait_for(lambda: any(b'n,,n=' in h for h in server.heard), what='the login')
    for n in range(20):
        console.q('SHOW VERSION')
    ok(not any(h[0:1] == b'p' and b'c=biws' in h for h in server.heard), 'others in its worker are served while it waits')
    wait_for(lambda: 'server_login_failed' in p.log(), what='the end of connect_timeout')
    like(p.log(), 'server_login_failed.*lost server .* during login: timeout', 'and it waits in vain')
    c.drop()
    console.quit()
    p.stop()

with scenario('CVE-2026-6666: a server whose error has no SQLSTATE'):
    for body in (b'SFATAL\0VFATAL\0Mgone\0\0', b'\0', b'', b'Mno end', b'C\0\0', b'Cxx\0\0', b'SFATAL\0C42\0Mshort\0\0'):
        server = FakeServer(msg('E', body))
        p = Proxy(server, hba='host all all all trust', databases={'app': {}}, pool={'connect_timeout': '2s', 'query_wait_timeout': '500ms'}, cluster_options={'tls': 'off', 'service_user': 'u'})
        like(refused(p, 'app', 'u', ''), r'^\S{5} ', f'{body!r}: the client is told something')
        ok(p.process.poll() is None, 'and we live')
        p.stop()

with scenario('downgrades by a server'):
    for name, answers in (('OK in the middle of SCRAM', (SASL, auth_msg(0))), ('SASL final before its time', (SASL, auth_msg(12, b'v=AAAA'))), ('another method in the middle', (SASL, auth_msg(3)))):
        server = FakeServer(*answers)
        p = Proxy(server, hba='host all all all trust', secrets='"u" "pw"\n', databases={'app': {}}, cluster_options={'tls': 'off', 'service_user': 'u', 'service_password': 'pw'})
        like(refused(p, 'app', 'u', 'pw'), '08P01 the server (ended the authentication without|sent a malformed Authentication)', name)
        ok(not any(b'pw\0' in h for h in server.heard), 'and the password was not sent')
        p.stop()

with scenario('rules that need to be looked up'):
    cluster.query("create role staff; create role inner_staff in role staff; create role ann login in role inner_staff; create role hang login; create role bob login; create role super superuser login")
    cluster.database('inner_staff')
    p = Proxy(cluster, hba='host all +staff 127.0.0.1/32 trust\nhost samerole all all reject\nhost named all localhost trust\nhost named all .nowhere.example trust\nhost /^re[0-9]+$ /^b all trust\nhost all bob all reject\nlocal peered all peer map=m\nlocal own all peer\n',
              files={'ident.conf': 'm /^(r)oot$ postgres\nm root +staff\nm postgres all\n'}, auth={'ident_file': 'ident.conf'}, databases={'*': {'dbname': 'postgres'}})
    is_(refused(p, 'x', 'ann', ''), '', '+role: a member of a member')
    like(refused(p, 'x', 'super', ''), '28000 no pg_hba.conf entry for host "127.0.0.1", user "super", database "x", no encryption', '+role: a superuser is no member of everything')
    like(refused(p, 'x', 'bob', ''), '28000 pg_hba.conf rejects connection', '+role: no member')
    like(refused(p, 'x', 'nobody', ''), '28000 no pg_hba.conf entry', '+role: nobody')
    is_(refused(p, 'inner_staff', 'ann', ''), '', 'samerole')
    is_(refused(p, 'named', 'bob', ''), '', "a host's name") or diag(p.log()[-1000:])
    is_(refused(p, 're12', 'bob', ''), '', 'regular expressions')
    like(refused(p, 'rex', 'bob', ''), '28000', 'that do not fit')
    me = pwd.getpwuid(os.getuid()).pw_name
    if me == 'root':
        is_(refused(p, 'peered', 'postgres', '', unix=True), '', 'peer with a map')
        is_(refused(p, 'peered', 'ann', '', unix=True), '', 'peer with a map to a role')
        like(refused(p, 'peered', 'bob', '', unix=True), '28000 Peer authentication failed for user "bob"', 'peer with a map that says no')
    like(refused(p, 'own', 'ann', '', unix=True), '28000 Peer authentication failed for user "ann"', 'peer under another name')
    p.stop()
    lost = Proxy(cluster, hba='host all +staff all reject\nhost all all all trust\n', databases={'*': {'dbname': 'postgres'}}, cluster_options={'service_user': 'no_such_role'}, auth={'query_timeout': '2s'})
    like(refused(lost, 'x', 'bob', ''), '57P03 the roles of the user cannot be looked up now', 'roles that cannot be looked up: no later rule is tried')
    lost.stop()

with scenario('failed logins'):
    p = Proxy(cluster, hba='host all all all scram-sha-256\nlocal all all password\n', secrets='"scram_scram_clear" "open sesame"\n', databases={'app': {'dbname': 'postgres'}}, limits={'auth_failures_per_address': 5, 'auth_failure_delay': '1ms'})
    for n in range(5):
        is_(sqlstate(p, 'app', 'scram_scram_clear', 'wrong'), '28P01', f'failure {n + 1}')
    for n in range(2):
        like(refused(p, 'app', 'scram_scram_clear', PASSWORD), '28000 too many failed logins from this address', 'then nobody from there is heard')
    is_(refused(p, 'app', 'scram_scram_clear', PASSWORD, unix=True), '', 'a unix socket is no address')
    c = Conn(p.addr, login=False)
    c.send(startup({'user': 'x', 'database': 'app'}))
    is_(c.recv()[0], 'E', 'refused before anything is asked')
    p.settings['limits'] = {'auth_failure_delay': '1ms'}
    p.reload()
    is_(refused(p, 'app', 'scram_scram_clear', PASSWORD), '', 'without the limit they are')
    p.stop()
    p = Proxy(cluster, hba='host all all all password\n', secrets='"scram_scram_clear" "open sesame"\n', databases={'app': {'dbname': 'postgres'}}, limits={'auth_failures_per_address': 3, 'auth_failure_delay': '1ms'})
    many = [Conn(p.addr, login=False) for _ in range(8)]
    for c in many:
        c.send(startup({'user': 'scram_scram_clear', 'database': 'app'}))
        c.recv()
    said = []
    for n, c in enumerate(many):
        c.send(password(f'guess {n}'))
        said.append(pgwire.fields(c.recv()[1])['C'])
        c.drop()
    is_(said, ['28P01'] * 3 + ['28000'] * 5, 'connections that were opened before do not help')
    p.settings['limits'] = {}
    p.reload()
    p.settings['limits'] = {'auth_failure_delay': '10s', 'login_timeout': '1s'}
    p.reload()
    c = Conn(p.addr, login=False)
    c.send(startup({'user': 'x', 'database': 'app'}))
    c.recv()
    c.drop()
    p.stop()

def holds_up_nobody(p, user, database, who):
    """A password that somebody else must judge, who hangs."""
    c = p.connect('open')
    w = Conn(p.addr, login=False, timeout=30)
    w.send(startup({'user': user, 'database': database}))
    w.recv()
    w.send(password('x'))
    for n in range(20):
        c.one('select 1')
    ok(not w.has_input(), f'{who} that hangs holds up nobody in the worker')
    is_(pgwire.fields(w.recv()[1])['C'], '57P03', 'who waits for it is refused in the end')
    c.quit()
    w.drop()


with scenario('LDAP'):
    directory = ldapd.Server({'cn=ann,dc=example': ('ann', 'secret of ann'), 'cn=two,dc=example': ('two', 'x'), 'cn=twice,dc=example': ('two', 'x'), 'cn=finder,dc=example': (None, 'find')})
    base = f'ldapserver=127.0.0.1 ldapport={directory.port}'
    p = Proxy(cluster, workers=1, hba=f'host simple all all ldap {base} ldapprefix="cn=" ldapsuffix=",dc=example"\nhost search all all ldap {base} ldapbasedn="dc=example" ldapbinddn="cn=finder,dc=example" ldapbindpasswd=find ldapsearchattribute=uid\n'
              f'host filter all all ldap ldapurl="ldap://127.0.0.1:{directory.port}/dc=example??sub?(uid=$username)"\nhost finder all all ldap {base} ldapbasedn="dc=example" ldapbinddn="cn=finder,dc=example" ldapbindpasswd=wrong\n'
              f'host nowhere all all ldap ldapserver=127.0.0.1 ldapport=1 ldapprefix=a\nhost hangs all all ldap {base} ldapprefix="hang-"\nhost open all all trust\n',
              databases={'*': {'dbname': 'postgres'}}, limits={'auth_failure_delay': '1ms'}, auth={'helper_timeout': '2s'}, cluster_options={'cleartext_password': True})
    for database in ('simple', 'search', 'filter'):
        is_(refused(p, database, 'ann', 'secret of ann'), '', f'{database}: the right password')
        like(refused(p, database, 'ann', 'wrong'), '28000 LDAP authentication failed for user "ann"', f'{database}: a wrong one')
        like(refused(p, database, 'ann', ''), '28000', f'{database}: an empty one, which a directory would say yes to')
        like(refused(p, database, 'nobody', 'x'), '28000', f'{database}: nobody')
        for evil in ('*', 'ann,dc=example', 'a*', '(uid=ann)', 'ann)(uid=*'):
            like(refused(p, database, evil, 'secret of ann'), '28000', f'{database}: {evil}')
    like(refused(p, 'search', 'two', 'x'), '28000', 'a search with two results')
    like(refused(p, 'finder', 'ann', 'secret of ann'), '28000|57P03', 'the searcher cannot bind')
    like(refused(p, 'nowhere', 'ann', 'x'), '57P03', 'no directory')
    holds_up_nobody(p, 'ann', 'hangs', 'a directory')
    ok('secret of ann' not in p.log() and 'find' not in re.findall(r'password\S*', p.log()), 'no password in the log')
    p.stop()
    directory.stop()

with scenario('PAM'):
    d = temp_dir()
    with open(f'{d}/check', 'w') as f:
        f.write('#!/bin/sh\nread -r secret\n[ "$PAM_USER" = hang ] && exec cat /dev/tty\n[ "$PAM_USER:$secret" = "ann:of pam" ] && [ "$PAM_RHOST" = 127.0.0.1 ]\n'.replace('exec cat /dev/tty', 'exec sleep 4'))
    os.chmod(f'{d}/check', 0o755)
    with open(f'{d}/lunapool', 'w') as f:
        f.write(f'auth required pam_exec.so quiet expose_authtok {d}/check\naccount required pam_permit.so\n')
    with open(f'{d}/closed', 'w') as f:
        f.write('auth required pam_permit.so\naccount required pam_deny.so\n')
    p = Proxy(cluster, workers=1, hba='host closed all all pam pamservice=closed\nhost missing all all pam pamservice=missing\nhost open all all trust\nhost all all all pam pamservice=lunapool\n', databases={'*': {'dbname': 'postgres'}},
              auth={'pam_dir': d, 'helper_timeout': '2s'}, limits={'auth_failure_delay': '1ms'}, cluster_options={'cleartext_password': True})
    is_(refused(p, 'app', 'ann', 'of pam'), '', 'the right password')
    like(refused(p, 'app', 'ann', 'wrong'), '28000 PAM authentication failed for user "ann"', 'a wrong one')
    like(refused(p, 'app', 'ann', ''), '28000', 'an empty one')
    like(refused(p, 'app', 'bob', 'of pam'), '28000', 'another user')
    like(refused(p, 'closed', 'ann', 'of pam'), '28000', 'an account that is closed')
    if VARIANT != 'asan':  # libpam itself forgets 96 bytes then
        like(refused(p, 'missing', 'ann', 'of pam'), '57P03|28000', 'a service that is not there')
    holds_up_nobody(p, 'hang', 'app', 'PAM')
    p.stop()

with scenario('names are cut as PostgreSQL cuts them'):
    long = 'l' * 63
    cluster.query(f'create role {long} login')
    cluster.database(long)
    p = Proxy(cluster, hba=f'host all {long} all reject\nhost all all all trust\n', databases={'*': {}})
    like(refused(p, 'postgres', long + 'ong', ''), '28000 pg_hba.conf rejects', 'a rule for a name holds for what the server takes for that name')
    is_(refused(p, long + 'er', 'postgres', ''), '', 'so do databases')
    p.stop()

cluster.stop()
done()
