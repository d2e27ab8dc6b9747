#!/usr/bin/env -S /usr/bin/python3
"""Much data in bounded memory: COPY, large rows and values, long and deep statements."""
import os
import select
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, brief, copy_data, copy_done, copy_fail, execute, msg, parse, query, sync  # noqa: E402

cluster = Cluster.get()
db = cluster.database(setup='create unlogged table t (v text); create unlogged table b (v bytea); alter table b alter v set storage external')
proxy = Proxy(cluster, workers=2, pool={'size': 2})
MB = 1 << 20
SIZE = (1024 if LONG else 64) * MB
GROWTH = 40 * MB * {'release': 1, 'debug': 1, 'asan': 12, 'tsan': 12}[VARIANT]


class Memory:
    """Watches the proxy's resident memory."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.most = self.before = 0 if DIRECT else proxy.memory()
        self.going = True
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while self.going and not DIRECT:
            self.most = max(self.most, proxy.memory())
            time.sleep(0.01)  # how often it is looked at

    def __exit__(self, *exc):
        self.going = False
        self.thread.join()
        if not DIRECT:
            grown = self.most - self.before
            ok(grown < GROWTH, f'{self.name}: memory grew by {grown // MB} MB')


def copy_in(c, sql, chunk, count):
    c.send(query(sql))
    c.until('G')
    for _ in range(count):
        c.send(chunk)
    return brief(c.ask(copy_done(), timeout=120 * SLOW))


def drain(c, slow=False):
    """Bytes of DataRow and CopyData up to the ReadyForQuery, without keeping them."""
    size = 0
    while True:
        m = c.recv(timeout=120 * SLOW)
        if m is None:
            return -1
        if m[0] in 'dD':
            size += len(m[1])
        if m[0] == 'Z':
            return size


line = 'x' * 1023 + '\n'
with scenario('COPY'):
    c = proxy.connect(db)
    chunk = b''.join(copy_data(line) for _ in range(64))
    with Memory(f'COPY of {SIZE // MB} MB in'):
        is_(copy_in(c, 'copy t from stdin', chunk, SIZE // 65536), f'C:COPY_{SIZE // 1024} Z:I', f'COPY of {SIZE // MB} MB in')
    is_(cluster.one('select sum(length(v) + 1) from t', db), str(SIZE), 'all of it is there')
    with Memory(f'COPY of {SIZE // MB} MB out'):
        c.send(query('copy t to stdout'))
        is_(drain(c), SIZE, f'COPY of {SIZE // MB} MB out')
    with Memory('COPY with huge CopyData messages'):
        is_(copy_in(c, 'copy t from stdin', copy_data(line * (16 * 1024)), 2), 'C:COPY_32768 Z:I', 'CopyData of 16 MB each')
    with Memory('a slow reader'):
        s = proxy.connect(db)
        s.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s.send(query('copy t to stdout'))
        waits = f"select count(*) from pg_stat_activity where datname = '{db}' and wait_event = 'ClientWrite'"
        wait_for(lambda: c.one('select 1') == '1' and cluster.one(waits) == '1', what='the server to wait for the reader')
        is_(c.one('select 1'), '1', 'another client goes on beside a reader that does not read')
        is_(drain(s), SIZE + 32 * MB, 'and it gets all when it reads')
        s.quit()
    c.send(query('copy t from stdin'))
    c.until('G')
    for _ in range(16):
        c.send(chunk)
    is_(brief(c.ask(copy_fail('enough'))), 'E:57014 Z:I', 'CopyFail')
    c.send(query('copy nowhere from stdin'))
    c.send(chunk * 8)
    is_(brief(c.ask(copy_done())), 'E:42P01 Z:I', 'COPY that does not begin, with its data already sent')
    c.send(query('copy t (v) from stdin with (format csv)') + copy_data('a,b\n') + chunk * 20 + copy_done())
    is_(brief(c.until('Z')), 'G E:22P04 Z:I', 'COPY that fails in the middle')
    is_(c.one('select 2'), '2', 'the session lives')
    c.q('begin; truncate t')
    c.send(query('copy t from stdin') + chunk + copy_done())
    is_(brief(c.until('Z')), 'G C:COPY_64 Z:T', 'COPY in a transaction')
    c.q('rollback')
    c.send(parse('', 'copy t from stdin') + bind('', '') + execute() + sync() + chunk + copy_done() + sync() + parse('', 'select 5') + bind('', '') + execute() + sync())
    is_(brief(c.until('Z', 2)), '1 2 G C:COPY_64 Z:I 1 2 D:5 C:SELECT_1 Z:I', 'COPY in a pipeline')
    is_(brief(c.ask(query("copy t to stdout; select 7"))).split()[-3:], ['D:7', 'C:SELECT_1', 'Z:I'], 'COPY and more in one Query')
    c.quit()
    d = temp_dir()
    with open(f'{d}/f', 'w') as f:
        f.write(line * 8192)
    is_(proxy.psql(f"truncate t;\n\\copy t from '{d}/f'\n\\copy t to '{d}/g'\nselect count(*) from t;", db)[:2], (0, '8192\n'), '\\copy both ways')
    is_(run(['cmp', f'{d}/f', f'{d}/g'])[0], 0, 'the same bytes')

with scenario('large values'):
    c = proxy.connect(db)
    size = 100 * MB
    with Memory('a parameter of 100 MB'):
        c.send(parse('', 'insert into b values ($1)', (17,)))
        body = b'\0' + b'\0' + struct.pack('!hhh', 1, 1, 1) + struct.pack('!i', size)
        tail = struct.pack('!h', 0)
        c.send(b'B' + struct.pack('!i', 4 + len(body) + size + len(tail)) + body)
        piece = os.urandom(MB)
        for _ in range(100):
            c.send(piece)
        c.send(tail + execute() + sync())
        is_(brief(c.until('Z', timeout=120 * SLOW)), '1 2 C:INSERT_0_1 Z:I', 'a bytea of 100 MB as a parameter')
    is_(cluster.one('select length(v) from b', db), str(size), 'is there whole')
    with Memory('a row of 100 MB'):
        s = proxy.connect(db)
        s.send(parse('', 'select v from b') + bind('', '', results=(1,)) + execute() + sync())
        got, last = 0, b''
        while True:
            s.sock.settimeout(60 * SLOW)
            data = s.sock.recv(1 << 20)
            got += len(data)
            last = (last + data)[-6:]
            if not data or last == b'Z\0\0\0\5I':
                break
        ok(size < got < size + 200, 'a row of 100 MB')
        s.quit()
    with Memory('a text of 10 MB'):
        text = "select length('" + 'y' * 10 * MB + "')"
        is_(c.one(text), str(10 * MB), 'a statement of 10 MB')
        is_(c.one(text), str(10 * MB), 'once more')
        is_(c.x("select length('" + 'y' * 9 * MB + "')"), [[str(9 * MB)]], 'a Parse of 9 MB')
    with Memory('many columns'):
        is_(len(c.q('select ' + ', '.join(f'{n} as c{n}' for n in range(1600)))[0]), 1600, '1600 columns')
        is_(len(c.x('select ' + ', '.join(f'${n + 1}::text' for n in range(1600)), ['v'] * 1600)[0]), 1600, '1600 parameters')
        is_(c.x('select count(*) from (values ' + ', '.join(f'(${n + 1}::text)' for n in range(65535)) + ') v', ['v'] * 65535), [['65535']], '65535 parameters')
        c.send(b''.join(parse('', f'select {n}') + bind('', '') + execute() for n in range(5000)) + sync())
        is_(sum(1 for m in c.until('Z', timeout=60 * SLOW) if m[0] == 'D'), 5000, '5000 statements in one segment')
        c.send(b''.join(query(f'select {n}') for n in range(5000)))
        is_(sum(1 for m in c.until('Z', 5000, timeout=60 * SLOW) if m[0] == 'D'), 5000, '5000 Queries at once')
        is_(len(c.q('; '.join(f'select {n}' for n in range(3000)))), 3000, '3000 statements in one Query')
    c.quit()

with scenario('a pipeline whose answers nobody reads'):
    if not DIRECT:
        with Memory('unread answers'):
            s = proxy.connect(db)
            s.sock.setblocking(False)
            one = parse('', "select repeat('z', 100000)") + bind('', '') + execute() + sync()
            sent = 0
            end = time.monotonic() + 2
            while time.monotonic() < end and sent < 200 * MB:
                try:
                    sent += s.sock.send((one * 100)[sent % (len(one) * 100):])
                except BlockingIOError:
                    select.select([], [s.sock], [], 0.1)
            is_(proxy.psql('select 1', db)[1], '1\n', f'{sent // 1024} kB of statements were taken, others are served')
            s.drop()

with scenario('a server that does not read is not a dead one'):
    p = Proxy(cluster, workers=2, pool={'size': 2}, limits={'tcp_user_timeout': '200ms'})
    cluster.query('create table once (id int primary key, v text)', db)
    holder, c = cluster.connect(db), p.connect(db)
    holder.q("begin; insert into once values (1, 'held')")
    holder.send(query('select pg_sleep(1.5); rollback'))
    c.send(query('copy once from stdin'))
    c.until('G')
    data = b''.join(copy_data(f'{i}\t{"x" * 1000}\n') for i in range(1, 4000)) + copy_done()
    is_(brief(c.ask(data)), 'C:COPY_3999 Z:I', 'a COPY waits for a lock longer than tcp_user_timeout')
    holder.until('Z')
    is_(c.one('select count(*) from once'), '3999', 'and the rows are there')
    holder.quit()
    c.quit()
    p.stop()

with scenario('long and deep'):
    c, other = proxy.connect(db), proxy.connect(db)
    deep = {
        '12 kB of 1+1+…': 'select ' + '+'.join(['1'] * 6000), '200 kB of 1+1+…': 'select ' + '+'.join(['1'] * 100_000), '4000 parentheses': 'select ' + '(' * 4000 + '1' + ')' * 4000, '100000 parentheses': 'select ' + '(' * 100_000 + '1' + ')' * 100_000,
        '3000 × ||': "select length('a'" + " || 'b'" * 3000 + ')', '500 × UNION ALL': 'select count(*) from (' + ' union all '.join(['select 1'] * 500) + ') x', '20000 × UNION ALL': 'select count(*) from (' + ' union all '.join(['select 1'] * 20_000) + ') x',
        '200 subselects': 'select (' * 200 + '1' + ')' * 200, '5000 × not': 'select ' + 'not ' * 5000 + 'true', '5000 × - -': 'select ' + '- ' * 5000 + '1', '3000 × and': 'select ' + ' and '.join(['true'] * 3000), '5000 casts': 'select 1' + '::int' * 5000,
        '2000 × case': 'select ' + 'case when true then ' * 2000 + '1' + ' end' * 2000, '10000 in a list': 'select 5 in (' + ', '.join(str(n) for n in range(10_000)) + ')', '20000 rows of VALUES': 'select count(*) from (values ' + ', '.join(f"({n}, 'v{n}')" for n in range(20_000)) + ') v',
        'comments in comments': 'select ' + '/*' * 3000 + '*/' * 3000 + ' 1', '100 kB of blanks': 'select' + ' ' * 100_000 + '1', 'a text that never ends': "select '" + 'x' * 20_000, 'a dollar quote that never ends': 'select $x$' + 'y' * 20_000, '500 arrays': 'select ' + 'array[' * 500 + '1' + ']' * 500,
    }
    direct = cluster.connect(db)

    def answer(k, data):
        return [(m[0], sorted((f, v) for f, v in pgwire.fields(m[1]).items() if f not in 'FLR') if m[0] == 'E' else m[1]) for m in k.ask(data, timeout=60 * SLOW) if m and m[0] in 'DEC'] or 'EOF'

    for name, sql in deep.items():
        for how, data in (('Query', query(sql)), ('Parse', parse('', sql) + bind('', '') + execute() + sync())):
            want, got = answer(direct, data), answer(c, data)
            same = want == got
            ok(same, f'{name} ({how}, {len(sql) // 1024} kB): as PostgreSQL answers') or diag(f'{str(want)[:300]}\n{str(got)[:300]}')
    is_(other.one('select 1'), '1', 'others are served')
    for k in (c, other, direct):
        k.quit()

done()
