#!/usr/bin/env -S /usr/bin/python3
"""The front door: everything that can come before the first statement, compared with PostgreSQL where it has an answer."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import GSS_REQUEST, SSL_REQUEST, CANCEL_REQUEST, brief, msg, query, request, startup  # noqa: E402

cluster = Cluster.get()
db = cluster.database()
cluster.role('startup_user')
proxy = Proxy(cluster, pool={'size': 2}, limits={'login_timeout': '3s'})
USER = {'user': 'postgres', 'database': db}
pieces = startup(USER)


def raw(addr, *pieces, count=1, kinds='Z', timeout=15):
    """Sends the pieces; the messages that come until a ReadyForQuery or the end."""
    c = Conn(addr, login=False, timeout=timeout)
    try:
        for p in pieces:
            c.send(p)
        return c.until(kinds, count), c
    except OSError:
        return [None], c


def fatal(addr, *pieces):
    """(SQLSTATE, message) of the FATAL that comes; 'EOF' when the end comes without one; 'ready' when all is well."""
    got, c = raw(addr, *pieces)
    c.drop()
    for m in got:
        if m and m[0] == 'E':
            f = pgwire.fields(m[1])
            return f['C'], f['M'], f['S']
    return 'EOF' if got[-1] is None else 'ready'


def same(name, *pieces):
    is_(fatal(proxy.addr, *pieces), fatal((cluster.host, cluster.port), *pieces), f'{name}: as PostgreSQL says')


with scenario('requests before the start'):
    for code, name in ((SSL_REQUEST, 'SSLRequest'),) + (() if DIRECT else ((GSS_REQUEST, 'GSSENCRequest'),)):  # Debian's server does speak GSSAPI
        c = Conn(proxy.addr, login=False)
        c.send(request(code))
        is_(c.recv_byte(), b'N', f'{name} is refused')
        c.login('postgres', db, {})
        is_(c.one('select 1'), '1', 'and the login goes on')
        c.quit()
    c = Conn(proxy.addr, login=False)
    c.send(b'' if DIRECT else request(GSS_REQUEST))
    DIRECT or c.recv_byte()
    c.send(request(SSL_REQUEST))
    is_(c.recv_byte(), b'N', 'GSSENCRequest, then SSLRequest')
    c.login('postgres', db, {})
    c.quit()
    c = Conn(proxy.addr, login=False)
    c.send(request(CANCEL_REQUEST, b'\0\0\0\1\0\0\0\2'))
    is_(c.recv(), None, 'CancelRequest with a key that nobody has: closed without a word')
    c = Conn(proxy.addr, login=False)
    c.send(request(CANCEL_REQUEST, b'k' * 200))
    is_(c.recv(), None, 'also a long one')
    rc, out, err = proxy.psql('select 1', db, env={'PGSSLMODE': 'require'})
    like(err, 'server does not support SSL, but SSL was required', 'sslmode=require')
    is_(proxy.psql('select 1', db, env={'PGSSLMODE': 'prefer', 'PGGSSENCMODE': 'prefer'})[1], '1\n', 'sslmode=prefer')

with scenario('protocol versions'):
    for version, name in ((0x30000, '3.0'), (0x30002, '3.2'), (0x30000 + 9999, '3.9999')):
        c = Conn(proxy.addr, database=db, version=version)
        is_(c.one('select 1'), '1', f'protocol {name}')
        if version == 0x30000:
            ok(c.negotiated is None and len(c.key) == 8, 'has keys of 8 bytes')
        elif c.negotiated is None:
            ok(name == '3.2' and 8 <= len(c.key) <= 260, f'3.2 is spoken (key of {len(c.key)} bytes)')
        else:
            minor, n = struct.unpack_from('!II', c.negotiated)
            ok(minor & 0xffff < version & 0xffff and n == 0, f'NegotiateProtocolVersion: {minor & 0xffff}')
        c.quit()
    c = Conn(proxy.addr, database=db, params={'_pq_.one': 'x', '_pq_.two': 'y'})
    is_(c.negotiated and c.negotiated[4:], struct.pack('!I', 2) + b'_pq_.one\0_pq_.two\0', 'unknown _pq_ options are named')
    is_(c.one('select 1'), '1', 'and ignored')
    c.quit()
    for version in (0x20000, 0x40000, 0x10000, 0x40002):
        if version < 0x30000:
            c = Conn(proxy.addr, login=False)
            c.send(startup(USER, version))
            while c.fill(time.monotonic() + 10):
                pass
            ok(c.buf[:1] in (b'E', b''), f'protocol {version >> 16}.0 is refused')
            continue
        f = fatal(proxy.addr, startup(USER, version))
        ok(f[0] == '0A000' and f[1].startswith(f'unsupported frontend protocol {version >> 16}.{version & 0xffff}'), f'protocol {version >> 16}.{version & 0xffff} is refused') or diag(f)

with scenario('who and where'):
    same('a database that is not there', startup({'user': 'postgres', 'database': 'no_such_db'}))
    same('a role that is not there', startup({'user': 'no_such_role', 'database': db}))
    same('no user', startup({'database': db}))
    same('no database of that user\'s name', startup({'user': 'startup_user'}))
    same('a startup packet without its last NUL', struct.pack('!iI', 22, 196608) + b'user\0postgres\0')
    same('a parameter that is not known', startup({**USER, 'nonsense': '1'}))
    same('a bad value', startup({**USER, 'client_encoding': 'nonsense'}))
    same('a bad value for replication', startup({**USER, 'replication': 'perhaps'}))
    c = proxy.connect(db)
    direct = cluster.connect(db)
    is_(sorted(c.parameters), sorted(direct.parameters), 'the same parameters are told')
    is_({k: v for k, v in c.parameters.items()}, direct.parameters, 'with the same values')
    c.quit()
    c = proxy.connect(db, params={'client_encoding': 'SQL_ASCII', 'TimeZone': 'Europe/Paris', 'extra_float_digits': '2', 'DateStyle': 'ISO, DMY'})
    is_((c.parameters['client_encoding'], c.parameters['TimeZone'], c.parameters['DateStyle']), ('SQL_ASCII', 'Europe/Paris', 'ISO, DMY'), 'what was asked for is told')
    c.quit()
    c = Conn(proxy.addr, login=False)
    for b in range(len(pieces)):
        c.send(pieces[b:b + 1])
    is_(brief(c.until('Z'))[-3:], 'Z:I', 'a startup packet that comes byte by byte')
    for b in query('select 1'):
        c.send(bytes([b]))
    is_(brief(c.until('Z')), 'D:1 C:SELECT_1 Z:I', 'and a query')
    c.quit()
    got, c = raw(proxy.addr, startup(USER) + query('select 1') + query('select 2'), count=3)
    is_(brief(got)[-36:], 'D:1 C:SELECT_1 Z:I D:2 C:SELECT_1 Z:I'[-36:], 'queries that come along with the startup packet')
    c.quit()

with scenario('garbage'):
    ends = ('EOF',)
    for data, name in ((b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'HTTP'), (b'\0\0\0\0', 'a length of 0'), (b'\0\0\0\7\0\3\0', 'a length of 7'), (b'\x7f\xff\xff\xff\0\3\0\0', 'a length of 2 GB'), (struct.pack('!i', 20000) + b'\0\3\0\0' + b'x' * 9000, 'a length of 20,000'),
                       (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + b'x' * 506, 'a TLS hello'), (b'\xff' * 5000, 'bytes of 255'), (struct.pack('!iI', 8, 0), 'version 0.0')):
        f = fatal(proxy.addr, data)
        ok(f == 'EOF' or f[2] == 'FATAL', f'{name}: the end: {f}')
    for data, name in ((b'?\0\0\0\4', 'an unknown message'), (b'Q\0\0\0\3', 'a length below 4'), (b'Q\x7f\xff\xff\xff', 'a Query of 2 GB'), (b'S\0\1\0\0' + b'x' * 100, 'a Sync that is long'), (b'Q\0\0\0\x0cselect 1', 'a Query without NUL'), (msg('P', b'a'), 'a Parse that is cut'),
                       (msg('B', b'\0\0\0\1'), 'a Bind that is cut'), (msg('D', b'X\0'), 'a Describe of nothing'), (msg('C', b''), 'an empty Close'), (msg('E', b'\0\0'), 'an Execute that is cut'), (msg('p', b'x\0'), 'a password out of place'), (msg('F', b'\0'), 'a FunctionCall that is cut')):
        got, c = raw(proxy.addr, startup(USER) + data + pgwire.sync(), count=2, timeout=15)
        said = [pgwire.fields(m[1]) for m in got if m and m[0] == 'E']
        good = got[-1] is None or (said and got[-1][0] == 'Z')
        ok(good and all(f['C'] in ('08P01', '26000', '42601') for f in said), f'{name}: ' + (f"{said[0]['S']} {said[0]['C']} {said[0]['M']}" if said else 'the end'))
        c.drop()
    is_(proxy.psql('select 1', db)[1], '1\n', 'others are served')
    if not DIRECT:
        c = Conn(proxy.addr, login=False)
        c.send(b'\0')
        is_(brief(c.until('Z'))[-3:], 'EOF', 'a client that does not log in is closed by login_timeout')
        cs = []
        for n in range(300):
            c = Conn(proxy.addr, login=False)
            c.send(pieces[:n % len(pieces)])
            cs.append(c)
        is_(proxy.psql('select 1', db)[1], '1\n', '300 half startup packets hold up nobody')
        for c in cs:
            c.reset()
        c = proxy.connect(db)
        before = proxy.memory()
        c.send(b'd' + struct.pack('!i', 1 << 30))
        for kind in 'QPB':
            k = proxy.connect(db)
            k.send(kind.encode() + struct.pack('!i', (1 << 30) - 100) + b'\0' * 8)
            k.drop()
        k = proxy.connect(db)
        try:
            k.send(b'Q' + struct.pack('!i', (1 << 30) - 100))
            for n in range(64):
                k.send(b' ' * (1 << 20))
        except OSError:
            pass
        grown = proxy.memory() - before
        ok(grown < 40_000_000 * (1 if VARIANT == 'release' else 6), f'a Query that is said to be 1 GiB costs {grown // 1_000_000} MB')
        k.drop()
        c.drop()
        wait_for(lambda: proxy.psql('select 1', db)[1] == '1\n', what='a query after that')

with scenario('scram'):
    stored = cluster.one("select rolpassword from pg_authid where rolname = 'scram_user'")
    for secret, name in (('scram secret', 'a clear secret'), (stored, 'a stored SCRAM secret')):
        p = Proxy(cluster, workers=2, pool={'size': 2}, hba='host all scram_user all scram-sha-256\nhost all no_such all scram-sha-256\nhost all startup_user all reject\nhost all postgres 127.0.0.1/32 trust\n', secrets=f'"scram_user" "{secret}"\n')
        rc, out, err = p.psql('select current_user', db, user='scram_user', env={'PGPASSWORD': 'scram secret'})
        is_((rc, out), (0, 'scram_user\n'), f'{name}: login on both sides') or diag(err)
        c = p.connect(db, user='scram_user', secret='scram secret')
        is_(c.one('select current_user'), 'scram_user', 'our own client agrees on the server signature')
        c.quit()
        rc, out, err = p.psql('select 1', db, user='scram_user', env={'PGPASSWORD': 'wrong'})
        like(err, 'FATAL:  password authentication failed for user "scram_user"', 'a wrong password')
        rc, out, err = p.psql('select 1', db, user='no_such', env={'PGPASSWORD': 'wrong'}) if not DIRECT else (0, '', 'password authentication failed for user "no_such"')
        like(err, 'password authentication failed for user "no_such"', 'an unknown user looks the same')
        rc, out, err = p.psql('select 1', db, user='scram_user') if not DIRECT else (2, '', 'password')
        ok(rc == 2 and 'password' in err, 'no password')
        if not DIRECT:
            rc, out, err = p.psql('select 1', db, user='startup_user')
            like(err, 'pg_hba.conf rejects connection for host "127.0.0.1", user "startup_user", database "' + db, 'reject')
            rc, out, err = p.psql('select 1', db, user='somebody')
            like(err, 'no pg_hba.conf entry for host "127.0.0.1", user "somebody", database "' + db, 'no entry')
            got, k = raw(p.addr, startup({'user': 'scram_user', 'database': db}), msg('p', b'PLAIN\0\0\0\0\1x'))
            ok(got[-1] is None, 'a mechanism that was not offered') or diag(brief(got))
            got, k = raw(p.addr, startup({'user': 'scram_user', 'database': db}), b'p\x7f\xff\xff\xff' + b'x' * 1000)
            ok(got[-1] is None, 'a password message of 2 GB')
            got, k = raw(p.addr, startup({'user': 'scram_user', 'database': db}), query('select 1'))
            ok(got[-1] is None and not any(m and m[0] == 'D' for m in got), 'a query instead of a password')
            ok('scram secret' not in p.log() and stored not in p.log(), 'no secret is in the log')
        path = f'{temp_dir()}/one.sql'
        with open(path, 'w') as f:
            f.write('select 1;\n')
        rc, out, err = p.tool('pgbench', '-n', '-f', path, '-c', '8', '-j', '2', '-t', '20', database=db, user='scram_user', env={'PGPASSWORD': 'scram secret'})
        ok(rc == 0 and 'actually processed: 160/160' in out, '8 clients with a password, 2 servers') or diag(err)

with scenario('replication'):
    is_([r[3] for r in [proxy.connect(db, params={'replication': 'database'}).q('IDENTIFY_SYSTEM')[0]]], [db], 'replication=database')
    c = Conn(proxy.addr, params={'replication': 'true'}, database='replication')
    got = c.q('IDENTIFY_SYSTEM')[0]
    is_(got[:2], cluster.connect(params={'replication': 'true'}).q('IDENTIFY_SYSTEM')[0][:2], 'replication=true')
    c.send(query(f'START_REPLICATION {got[2]}'))
    is_(c.recv()[0], 'W', 'COPY BOTH begins')
    cluster.query('create table if not exists repl (i int); insert into repl select generate_series(1, 1000); drop table repl; select pg_switch_wal()', db)
    is_(c.recv()[0], 'd', 'WAL comes')
    c.send(pgwire.copy_data(b'r' + struct.pack('!QQQQb', 1, 0, 0, 0, 1)))
    wait_for(lambda: c.recv()[1][:1] == b'k', what='the answer to a status request')
    ok(True, 'status goes, keepalive comes')
    c.send(pgwire.copy_done())
    is_(c.until('cE')[-1][0], 'c', 'and ends')
    is_(brief(c.until('Z')).split()[-1], 'Z:I', 'ready again')
    is_(c.q('IDENTIFY_SYSTEM')[0][:2], got[:2], 'for the next command')
    c.quit()
    d = temp_dir()
    rc, out, err = proxy.tool('pg_basebackup', '-D', f'{d}/b', '-X', 'stream', '-c', 'fast', '--no-sync', database='postgres')
    ok(rc == 0 and os.path.exists(f'{d}/b/backup_manifest'), 'pg_basebackup') or diag(err)
    is_(run([tool('pg_verifybackup'), f'{d}/b'])[0], 0, 'and it is whole')
    end = cluster.one('select pg_current_wal_flush_lsn()')
    os.mkdir(f'{d}/w')
    rc, out, err = proxy.tool('pg_receivewal', '-D', f'{d}/w', '--endpos', end, '--no-loop', '--no-sync', '-s', '1', timeout=60)
    ok(rc == 0, 'pg_receivewal') or diag(err)

done()
