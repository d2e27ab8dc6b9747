#!/usr/bin/env -S /usr/bin/python3
"""Online restart: a new process takes the place of the one that serves; nobody is refused, nobody is cut, and whatever fails leaves the old one serving."""
import contextlib
import copy
import os
import re
import signal
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import brief, query  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database(setup='create table t (i int)')
ENV = {**os.environ, 'ASAN_OPTIONS': 'exitcode=99:detect_leaks=1', 'UBSAN_OPTIONS': 'print_stacktrace=1', 'TSAN_OPTIONS': 'exitcode=66:second_deadlock_stack=1'}
_count = 0


def start(p, *args, env=None):
    """A second process with the configuration of P; as a Proxy beside it."""
    global _count
    _count += 1
    q = copy.copy(p)
    q.log_path = f'{p.dir}/log{_count}'
    with open(q.log_path, 'w') as log:
        q.process = subprocess.Popen(['setpriv', '--pdeathsig', 'SIGKILL', PROGRAM, *args, '-c', p.path], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**ENV, **(env or {})})
    return q


def succeed(p, env=None):
    """The process that has taken the place of P."""
    q = start(p, '--takeover', env=env)
    Proxy.all.append(q)
    q.wait_log(r' started ', 30)
    return q


def fails(p):
    """Its log, when it has ended without success."""
    q = start(p, '--takeover')
    status = q.process.wait(30 * SLOW)
    ok(status == 1, f'the new process ends with status {status}')
    return q.log()


def ended(p, name):
    """P has ended by itself, in order."""
    p.process.wait(40 * SLOW)
    Proxy.all.remove(p)
    p.judge()
    like(p.log(), r' stopped\n$', name)


def control(p):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(20 * SLOW)
    s.connect(f'{p.dir}/.s.LUNAPOOL.0')
    return s


def cancel(addr, key):
    s = socket.create_connection(addr)
    s.settimeout(20 * SLOW)
    s.sendall(struct.pack('!II', 12 + len(key) - 4, 80877102) + key)
    is_over = s.recv(1) == b''
    s.close()
    return is_over


with scenario('one takes over from another'):
    a = Proxy(cluster, workers=2, pool={'size': 3}, options={'takeover_idle_timeout': '300ms'})
    idle, busy, pinned = (a.connect(db) for _ in range(3))
    busy.q('begin; create temp table mine (i int); insert into mine values (7)')
    idle.q("set application_name = 'idle'")
    inode = os.stat(a.unix).st_ino
    b = succeed(a)
    like(a.log(), r'handed_over pid=%d' % b.process.pid, 'the old one knows to whom')
    like(b.log(), r'taken_over', 'the new one has all it needs')
    is_(os.stat(a.unix).st_ino, inode, 'the socket file is the same')
    fresh, local = b.connect(db), b.connect(db, unix=True)
    is_((fresh.one('select 1'), local.one('select 2')), ('1', '2'), 'new clients come in, over TCP and the unix socket')
    is_(busy.one('select i from mine'), '7', 'a transaction of the old one goes on')
    busy.q('commit')
    is_(busy.one('select i from mine'), '7', 'with what it left in its session')
    is_(brief(idle.until('')), 'E:57P01 EOF', 'who stays idle is told to go')
    is_(brief(busy.until('')), 'E:57P01 EOF', 'in the end everybody')
    ended(a, 'the old one has ended')
    wait_for(lambda: 'predecessor_ended' in b.log(), what='the log line')
    is_((fresh.one('select 1'), local.one('select 2')), ('1', '2'), 'clients of the new one notice nothing')
    is_(b.connect(db, unix=True).one('select 3'), '3', 'the socket file is still there')
    ok(os.path.exists(f'{b.dir}/.s.LUNAPOOL.0'), 'and the control socket')
    b.settings['pool'] = {'size': 4}
    like(b.reload(), 'reloaded', 'the new one can be reloaded')
    b.stop()
    ok(not os.path.exists(a.unix) and not os.path.exists(f'{b.dir}/.s.LUNAPOOL.0'), 'and takes the files along when it ends')

with scenario('row 71: clients connect all the time, and one takes over from another'):
    p = Proxy(cluster, workers=2, pool={'size': 4})
    stop, errors, served = False, [], 0

    def connect(unix):
        global served
        while not stop:
            try:
                with p.connect(db, unix=unix) as c:
                    assert c.one('select 1') == '1'
                served += 1
            except Exception as e:
                errors.append(f'{type(e).__name__}: {e}')

    def stay():
        """A client that goes when it is told to, between its statements, and comes back."""
        while not stop:
            with p.connect(db) as c:
                try:
                    while not stop:
                        c.q('begin')
                        assert c.one('select 2') == '2'
                        c.q('commit')
                except Exception as e:
                    errors.append(f'{type(e).__name__}: {e}')

    ts = [threading.Thread(target=connect, args=(i % 2 == 1,)) for i in range(4)] + [threading.Thread(target=stay)]
    for t in ts:
        t.start()
    rounds = 40 if LONG else 5
    first = p
    for i in range(rounds):
        before = served
        p, old = succeed(p), p
        wait_for(lambda: served > before + 20 or errors, what='clients')
    stop = True
    for t in ts:
        t.join()
    is_(errors, [], f'{rounds} takeovers, {served} connections: no error')
    for old in list(Proxy.all):
        if old is not p:
            ended(old, 'each of the old ones has ended')
    p.stop()

with scenario('cancel requests'):
    a = Proxy(cluster, workers=3)
    ca = a.connect(db)
    ca.send(query('select pg_sleep(100)'))
    a.settings['workers'] = 1
    a.write_config()
    b = succeed(a)
    cb = b.connect(db)
    cb.send(query('select pg_sleep(100)'))
    wait_for(lambda: cluster.backends(db, "and query ~ '^select pg_sleep' and state = 'active'") == 2, what='both statements')
    ok(cancel(b.addr, ca.key), 'a request for a client of the old one is answered with the end of its connection')
    is_(brief(ca.until('Z')), 'E:57014 Z:I', 'and has reached it')
    ok(not cb.has_input(), 'and nobody else')
    c = succeed(b)
    ca.send(query('select pg_sleep(100)'))
    wait_for(lambda: cluster.backends(db, "and query ~ '^select pg_sleep' and state = 'active'") == 2, what='both statements')
    ok(cancel(c.addr, ca.key) and cancel(c.addr, cb.key), 'over two processes')
    is_((brief(ca.until('Z')), brief(cb.until('Z'))), ('E:57014 Z:I', 'E:57014 Z:I'), 'they reach the first and the second')
    wrong = cb.key[:4] + bytes(4)
    ok(cancel(c.addr, wrong) and cancel(c.addr, b'\xff\xff\xff\xff' + bytes(4)), 'a wrong key finds nobody')
    is_((ca.one('select 1'), cb.one('select 2')), ('1', '2'), 'and harms nobody')
    for x in (ca, cb):
        x.quit()
    ended(a, 'the first has ended')
    ended(b, 'the second has ended')
    ok(cancel(c.addr, cb.key), 'a request for a client of one that has ended finds nobody')
    c.stop()

with scenario('what fails leaves the old one serving'):
    a = Proxy(cluster, workers=2)
    c = a.connect(db)

    def serves(why):
        is_((c.one('select 1'), a.connect(db).one('select 2'), a.connect(db, unix=True).one('select 3')), ('1', '2', '3'), f'{why}: the old one serves')
    good = dict(a.settings)
    a.settings['pool'] = {'sise': 3}
    a.write_config()
    like(fails(a), 'config_error', 'a broken configuration')
    serves('a broken configuration')
    a.settings = good | {'listen': {'address': ['127.0.0.1', '127.0.0.2'], 'port': cluster.port}}
    a.write_config()
    like(fails(a), 'no Lunapool answers', 'a configuration whose control socket is another')
    a.settings = good | {'listen': {'address': ['192.0.2.1', '127.0.0.1']}}
    a.write_config()
    like(fails(a), 'could not listen', 'an address that cannot be had')
    like(a.log(), 'takeover_failed', 'the old one says so')
    serves('an address that cannot be had')
    a.settings = good
    a.write_config()
    s = control(a)
    s.send(b'TAKEOVER 1')
    doors = []
    while (got := socket.recv_fds(s, 8192, 8))[0] != b'END':
        doors.append((got[0].split()[0], len(got[1])))
        for fd in got[1]:
            os.close(fd)
    is_(doors, [(b'DOOR', 1), (b'DOOR', 1), (b'CONTROL', 1)], 'one that asks for the sockets gets them')
    s.close()
    wait_for(lambda: len(re.findall('takeover_failed', a.log())) == 2, what='the log line')
    serves('one that dies before it is ready')
    for said, answer in ((b'READY keep', b'NO it has not asked'), (b'TAKEOVER 2', b'NO it is of another'), (b'CANCEL 1 1\nxxxx', b''), (b'hello', b''), (b'CANCEL', b'')):
        s = control(a)
        s.send(said)
        got = s.recv(8192)
        ok(got.startswith(answer) and (got or answer == b''), f'{said}: {got}')
        s.close()
    s = control(a)
    s.send(b'TAKEOVER 1')
    while (got := socket.recv_fds(s, 8192, 8))[0] != b'END':
        for fd in got[1]:
            os.close(fd)
    a.settings['pool'] = {'size': 5}
    a.reload()
    s.send(b'READY keep')
    ok(s.recv(8192).startswith(b'NO the configuration was read again'), 'one that knows an older configuration')
    s.close()
    serves('one that knows an older configuration')
    b = start(a)
    ok(b.process.wait(20 * SLOW) == 1, 'a second one that does not take over does not start')
    like(b.log(), 'start_failed', 'and says why')
    serves('a second one')
    is_(oct(os.stat(f'{a.dir}/.s.LUNAPOOL.0').st_mode & 0o777), '0o600', 'only its user may ask')
    if os.getuid() == 0:
        os.chmod(f'{a.dir}/.s.LUNAPOOL.0', 0o777)
        status, out, _ = run(['setpriv', '--reuid=65534', '--clear-groups', '/usr/bin/python3', '-c', f"""
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect({f'{a.dir}/.s.LUNAPOOL.0'!r})
try:
    s.send(b'TAKEOVER 1')
    print(s.recv(100))
except OSError:
    print(b'')
"""])
        is_(out, "b''\n", 'whatever the file says')
        like(a.log(), 'control_socket_refused uid=65534', 'which is logged')
    s = control(a)
    s.send(b'TAKEOVER 1')
    while (got := socket.recv_fds(s, 8192, 8))[0] != b'END':
        for fd in got[1]:
            os.close(fd)
    failed = a.log().count('takeover_failed')
    a.process.send_signal(signal.SIGSTOP)
    s.send(b'READY keep')
    s.close()
    a.process.send_signal(signal.SIGCONT)
    wait_for(lambda: a.log().count('takeover_failed') > failed, what='the log line')
    serves('one that dies when it is ready')
    s = control(a)
    s.send(b'TAKEOVER 1')
    while (got := socket.recv_fds(s, 8192, 8))[0] != b'END':
        for fd in got[1]:
            os.close(fd)
    a.stop()
    is_(s.recv(8192), b'NO it was told to end', 'one that waits when the old one is told to end')
    s.close()
    like(fails(a), 'no Lunapool answers', 'nobody there')

with scenario('the old one dies in the middle'):
    # What stands here for it has given its sockets away and says nothing more.
    a = Proxy(cluster, start=False)
    a.port = free_port()
    a.settings['listen'] = {'port': a.port}
    a.write_config()
    with socket.create_server((a.host, a.port)) as public, socket.socket(socket.AF_UNIX) as local, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
        for s, path in ((local, a.unix), (asked, f'{a.dir}/.s.LUNAPOOL.{a.port}')):
            s.bind(path)
            s.listen()
        b = start(a, '--takeover')
        Proxy.all.append(b)
        s, _ = asked.accept()
        is_(s.recv(8192), b'TAKEOVER 1', 'it is asked')
        for text, fd in ((f'DOOR 0 {a.port} {a.port} {a.host}', public), (f'DOOR 0 {a.port} {a.port} {a.dir}', local), (f'CONTROL 0 {a.dir}/.s.LUNAPOOL.{a.port}', asked)):
            socket.send_fds(s, [text.encode()], [fd.fileno()])
        s.send(b'END')
        is_(s.recv(8192), b'READY keep', 'and has all it needs')
        early = socket.create_connection((a.host, a.port))
        s.close()
    b.wait_log('taken_over why="the other Lunapool has died"')
    is_((b.connect(db).one('select 1'), b.connect(db, unix=True).one('select 2')), ('1', '2'), 'the new one serves')
    early.sendall(struct.pack('!II', 8, 80877103))
    is_(early.recv(1), b'N', 'also who came in between')
    early.close()
    c = succeed(b)
    is_(c.connect(db).one('select 3'), '3', 'and can be succeeded')
    ended(b, 'it ends')
    c.stop()

with scenario('drain_timeout and signals'):
    a = Proxy(cluster, options={'drain_timeout': '700ms'})
    busy = a.connect(db)
    busy.q('begin; select 1')
    b = succeed(a)
    is_(brief(busy.until('')), 'E:57P01 EOF', 'drain_timeout bounds how long the old one stays')
    ended(a, 'it has ended')
    b.settings['options'] = {}
    b.reload()
    busy, idle = b.connect(db), b.connect(db)
    busy.q('begin; select 1')
    c = succeed(b)
    b.signal(signal.SIGTERM)
    is_(brief(idle.until('')), 'E:57P01 EOF', 'SIGTERM: who is idle goes at once')
    is_(busy.one('select 1'), '1', 'a transaction goes on')
    busy.quit()
    ended(b, 'and then it ends')
    c.stop()

with scenario('SIGUSR2'):
    a = Proxy(cluster)
    c = a.connect(db)
    a.signal(signal.SIGUSR2)
    pid = int(a.wait_log(r'successor_started pid=(\d+)').group(1))
    a.wait_log('handed_over')
    is_(a.connect(db).one('select 1'), '1', 'the successor is started by the one that serves')
    c.quit()
    ended_status = a.process.wait(30 * SLOW)
    Proxy.all.remove(a)
    is_(ended_status, 0, 'which ends')
    is_(a.connect(db).one('select 1'), '1', 'and leaves it')
    os.kill(pid, signal.SIGINT)
    wait_for(lambda: len(re.findall(r' stopped\n', a.log())) == 2, what='its end')
    ok(not re.search('Sanitizer|runtime error', a.log()), 'in order')

with scenario('SIGUSR2, in vain'):
    a = Proxy(cluster)
    good = dict(a.settings)
    a.settings['pool'] = {'sise': 3}
    a.write_config()
    a.signal(signal.SIGUSR2)
    a.wait_log('takeover_failed')
    children = lambda: open(f'/proc/{a.process.pid}/task/{a.process.pid}/children').read()  # noqa: E731
    wait_for(lambda: children() == '', what='the end of the child')
    is_(a.connect(db).one('select 1'), '1', 'a successor that cannot start leaves no trace')
    a.settings = good
    a.write_config()
    a.stop()

with scenario('systemd'):
    at = f'{temp_dir()}/notify'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s, socket.create_server(('127.0.0.1', 0)) as public, socket.create_server(('127.0.0.2', 0)) as second:
        s.bind(at)
        os.chmod(at, 0o777)
        s.settimeout(20 * SLOW)
        a = Proxy(cluster, start=False)
        wrapper = f'{a.dir}/activated'
        os.dup2(public.fileno(), 50)
        os.dup2(second.fileno(), 51)
        with open(wrapper, 'w') as f:
            f.write(f'#!/bin/bash\nexec 3<&50 4<&51 50<&- 51<&-\n'
                    f'LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=public:other NOTIFY_SOCKET={at} exec {PROGRAM} "$@"\n')
        os.chmod(wrapper, 0o755)
        a.log_path = f'{a.dir}/log'
        with open(a.log_path, 'w') as log:
            a.process = subprocess.Popen(['setpriv', '--pdeathsig', 'SIGKILL', wrapper, '-c', a.path], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=ENV,
                                         pass_fds=(50, 51))
        os.close(50)
        os.close(51)
        Proxy.all.append(a)
        like(s.recv(1000).decode(), '^READY=1\n', 'is told when clients may come')
        a.host, a.port = public.getsockname()
        other = second.getsockname()
        is_((a.connect(db).one('select 1'), Conn(other, database=db).one('select 2')), ('1', '2'), 'the sockets that systemd passes are served')
        ok(len(re.findall(' listening ', a.log())) == 2, 'and no others')
        a.settings['listen'] = {'address': '127.0.0.1', 'backlog': 7}
        like(a.reload(), 'reloaded', 'a reload')
        is_(s.recv(1000).decode()[:12] + s.recv(1000).decode()[:8], 'RELOADING=1\nREADY=1\n', 'is told of a reload')
        is_(Conn(other, database=db).one('select 2'), '2', 'leaves them alone')
        a.settings['options'] = {'control_socket': f'{a.dir}/control'}
        a.reload()
        b = succeed(a, {'NOTIFY_SOCKET': at})
        for _ in range(2):
            s.recv(1000)
        like(s.recv(1000).decode(), f'^MAINPID={b.process.pid}\n', 'is told who serves now')
        like(s.recv(1000).decode(), '^READY=1\n', 'by both')
        is_((b.connect(db).one('select 1'), Conn(other, database=db).one('select 2')), ('1', '2'), 'the successor has them, too')
        ended(a, 'the old one ends')
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            ok(False, f'and says nothing more: {s.recv(1000)}')
        s.setblocking(True)
        b.stop()
        like(s.recv(1000).decode(), '^STOPPING=1', 'the end of the service is the end of the new one')

with scenario('systemd-socket-activate'):
    a = Proxy(cluster, start=False, options={'takeover_idle_timeout': '300ms'})
    a.port = free_port()
    a.settings['options']['control_socket'] = f'{a.dir}/control'
    a.write_config()
    a.log_path = f'{a.dir}/log'
    with open(a.log_path, 'w') as log:
        a.process = subprocess.Popen(['setpriv', '--pdeathsig', 'SIGKILL', 'systemd-socket-activate', '--fdname=public:local', '-l', f'{a.host}:{a.port}', '-l', a.unix, '-E', 'ASAN_OPTIONS', '-E', 'TSAN_OPTIONS',
                                      PROGRAM, '-c', a.path], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=ENV)
    Proxy.all.append(a)
    wait_for(lambda: 'Listening on /' in a.log(), what='systemd\'s sockets')
    both = lambda: (a.connect(db).one('select 1'), a.connect(db, unix=True).one('select 2'))  # noqa: E731
    is_(both(), ('1', '2'), 'the first client starts it, and both sockets are served')
    like(a.reload(), 'reloaded', 'a reload')
    a.signal(signal.SIGUSR2)
    wait_for(lambda: ' handed_over ' in a.log(), what='a successor')
    pid = int(re.search(r'successor_started pid=(\d+)', a.log()).group(1))
    is_(both(), ('1', '2'), 'its successor has both')
    a.process.wait(30 * SLOW)
    Proxy.all.remove(a)
    is_((a.process.returncode, *both()), (0, '1', '2'), 'also after its end')
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: len(re.findall(r' stopped\n', a.log())) == 2, what='its end')
    ok(os.path.exists(a.unix), 'the file of a socket is systemd\'s and stays')
    ok(not re.search('Sanitizer|runtime error', a.log()), 'in order')

with scenario('the units'):
    at = temp_dir()
    for name in 'lunapool.service', 'lunapool.socket':
        with open(f'{ROOT}/packaging/{name}') as source, open(f'{at}/{name}', 'w') as copied:
            copied.write(source.read().replace('/usr/bin/lunapool', PROGRAM))
    status, out, err = run(['systemd-analyze', 'verify', f'{at}/lunapool.service', f'{at}/lunapool.socket'])
    ok(status == 0 and 'lunapool' not in out + err, 'systemd finds nothing wrong with them') or diag(out + err)

with scenario('--dry-run'):
    a = Proxy(cluster, workers=2)
    plan = lambda: run([PROGRAM, '--dry-run', '-c', a.path])  # noqa: E731
    is_(plan(), (0, 'nothing would change\n', ''), 'nothing')
    a.settings['pool'] = {'size': 9}
    a.settings['databases']['x'] = {'dbname': db}
    a.settings['workers'] = 3
    a.write_config()
    is_(plan(), (0, f'workers stays 2 until a restart; the file says 3\npool: size 20 -> 9\ndatabase x is new: cluster = main, dbname = {db}\n', ''), 'what would change')
    ok('changed' not in a.log(), 'and does not')
    a.settings['databases'] |= {f'd{i}': {'dbname': db, 'pool_size': 7} for i in range(5000)}
    a.write_config()
    status, out, err = plan()
    is_((status, out.count('\n'), err), (0, 5003, ''), 'thousands of changes')
    a.hba = 'local all all perhaps\n'
    a.write_config()
    status, out, err = plan()
    ok(status == 1 and out == '' and 'hba.conf:1' in err, f'what is wrong: {err}')
    a.hba = OPEN
    a.write_config()
    a.stop()
    status, out, err = plan()
    ok(status == 1 and 'no Lunapool answers' in err, f'nobody there: {err}')

done()
