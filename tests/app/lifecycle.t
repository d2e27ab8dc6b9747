#!/usr/bin/env -S /usr/bin/python3
"""Start, reload, drain, stop: what each does to clients that are there."""
import os
import re
import resource
import signal
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import fields, query  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database()


def is_refused(proxy):
    try:
        proxy.connect(db).quit()
        return False
    except OSError:
        return True


def ended(proxy, name):
    """The process has ended by itself, in order."""
    proxy.process.wait(20 * SLOW)
    Proxy.all.remove(proxy)
    proxy.judge()
    like(proxy.log(), r' stopped\n$', f'{name}: the log ends with it')


with scenario('reload'):
    proxy = Proxy(cluster, workers=2, pool={'size': 3})
    c = proxy.connect(db)
    c.q("set application_name to 'before'")
    admin = proxy.connect('lunapool')
    config = lambda: {row[0]: row[1] for row in admin.q('SHOW CONFIG')}  # noqa: E731
    is_(config()['pool.size'], '3', 'the first configuration')
    proxy.settings['pool'] = {'size': 7}
    proxy.settings['workers'] = 5
    like(proxy.reload(), 'reloaded', 'a good file is applied')
    like(proxy.log(), r'changed what=\"pool: size 3 -> 7\"', '… what changed is logged')
    like(proxy.log(), r'warn needs_restart what=\"workers stays 2 until a restart; the file says 5\"', '… what needs a restart too')
    wait_for(lambda: config()['pool.size'] == '7', what='the new size')
    is_(config()['workers'], '2', 'what needs a restart is shown as it is in force')
    is_(c.one('show application_name'), 'before', 'the client is still there')
    proxy.settings['pool'] = {'sise': 9}
    like(proxy.reload(), 'reload_refused', 'a bad file is refused')
    like(proxy.log(), r'error config_error where=\S*lunapool\.conf:\d+ error=.*sise', '… with file and line')
    is_(config()['pool.size'], '7', '… and nothing changes')
    is_(c.one('show application_name'), 'before', '… for nobody')
    proxy.settings['pool'] = {'size': 8}
    like(proxy.reload(), 'reloaded', 'the next good file is applied')
    proxy.stop()

with scenario('listeners'):
    proxy = Proxy(cluster, listen={'unix_socket_mode': '0700'})
    c = proxy.connect(db)
    mode = lambda: oct(os.stat(proxy.unix).st_mode & 0o777)  # noqa: E731
    is_(mode(), '0o700', 'the socket file is born with its permissions')
    inode = os.stat(proxy.unix).st_ino
    proxy.settings['listen'] = {'unix_socket_mode': '0770', 'backlog': 10}
    like(proxy.reload(), 'reloaded', 'other permissions')
    is_(mode(), '0o770', '… are set')
    is_(os.stat(proxy.unix).st_ino, inode, '… on the same socket')
    proxy.settings['listen'] = {'address': ['127.0.0.1', '127.0.0.2']}
    proxy.reload()
    second = int(re.findall(r'listening address=127\.0\.0\.2 port=(\d+)', proxy.log())[-1])
    is_(Conn(('127.0.0.2', second), database=db).one('select 1'), '1', 'a second address')
    proxy.settings['listen'] = {'address': '127.0.0.2', 'unix_socket_dir': ''}
    proxy.reload()
    ok(is_refused(proxy), 'an address that went is closed')
    ok(not os.path.exists(proxy.unix), '… and so is the unix socket, with its file')
    is_(Conn(('127.0.0.2', second), database=db).one('select 1'), '1', 'the other one is still open')
    is_(c.one('select 1'), '1', 'a client of a closed listener stays')
    with socket.create_server(('127.0.0.1', 0)) as taken:
        proxy.settings['listen'] = {'address': ['127.0.0.2', '127.0.0.1'], 'port': taken.getsockname()[1], 'unix_socket_dir': ''}
        like(proxy.reload(), 'reload_refused .*in use', 'a port that is taken: refused')
    is_(Conn(('127.0.0.2', second), database=db).one('select 1'), '1', '… and what was open is open')
    ok('listening_lost' not in proxy.log(), '… all of it')
    proxy.stop()

with scenario('from one address to all, on one port'):
    port = free_port()
    proxy = Proxy(cluster, listen={'port': port})
    proxy.settings['listen'] = {'address': '*', 'port': port}
    like(proxy.reload(), 'reloaded', '"*" takes over the port from 127.0.0.1')
    is_(Conn(('127.0.0.3', port), database=db).one('select 1'), '1', '… for all addresses')
    proxy.stop()

with scenario('drain'):
    proxy = Proxy(cluster, workers=3, pool={'size': 3})
    idle, busy, fresh = proxy.connect(db), proxy.connect(db), proxy.connect(db)
    is_(idle.one('select 1'), '1', 'a client that did something and is idle')
    busy.q('begin; create temp table t(i int) on commit drop')
    proxy.signal(signal.SIGTERM)
    proxy.wait_log('draining')
    is_([fields(m[1]).get('C') if m else None for m in idle.until('')], ['57P01', None], 'the idle one is told and goes')
    is_([fields(m[1]).get('C') if m else None for m in fresh.until('')], ['57P01', None], 'so is the one that did nothing yet')
    ok(is_refused(proxy), 'nobody new comes in')
    is_(busy.one('select count(*) from t'), '0', 'the transaction goes on')
    like(busy.q('commit') == [] and 'yes', 'yes', '… to its commit')
    is_(fields(busy.recv()[1]).get('C'), '57P01', '… and then its client is told, too')
    is_(busy.recv(), None, '… and gone')
    ended(proxy, 'drained')
    like(proxy.log(), r'stopping why="the last client has left" clients=0', 'the reason is logged')

with scenario('drain_timeout'):
    proxy = Proxy(cluster, options={'drain_timeout': '200ms'})
    busy = proxy.connect(db)
    busy.q('begin; select 1')
    proxy.signal(signal.SIGTERM)
    is_([fields(m[1]).get('C') if m else None for m in busy.until('')], ['57P01', None], 'who does not end in time is closed')
    ended(proxy, 'drain_timeout')
    like(proxy.log(), r'stopping why="drain_timeout is over" clients=1', 'the reason is logged')

with scenario('SIGTERM twice'):
    proxy = Proxy(cluster)
    busy = proxy.connect(db)
    busy.q('begin; select 1')
    proxy.signal(signal.SIGTERM)
    proxy.wait_log('draining')
    proxy.signal(signal.SIGTERM)
    is_([fields(m[1]).get('C') if m else None for m in busy.until('')], ['57P01', None], 'does not wait')
    ended(proxy, 'SIGTERM twice')

with scenario('SIGINT'):
    proxy = Proxy(cluster, workers=4)
    clients = [proxy.connect(db) for _ in range(20)]
    for c in clients[:10]:
        c.q('select 1')
    clients[0].q('begin')
    clients[1].send(query('select pg_sleep(100)'))
    wait_for(lambda: cluster.backends(db, "and query ~ '^select pg_sleep' and state = 'active'") == 1, what='the statement')
    proxy.signal(signal.SIGINT)
    ends = [[fields(m[1]).get('C') if m else None for m in c.until('')] for c in clients]
    is_(ends, [['57P01', None]] * 20, 'every client is told')
    ended(proxy, 'SIGINT')

with scenario('systemd'):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        at = f'{temp_dir()}/notify'
        s.bind(at)
        os.chmod(at, 0o777)
        s.settimeout(20 * SLOW)
        os.environ['NOTIFY_SOCKET'] = at
        proxy = Proxy(cluster)
        del os.environ['NOTIFY_SOCKET']
        like(s.recv(1000).decode(), r'^READY=1\n', 'is told when clients may come')
        proxy.reload()
        like(s.recv(1000).decode(), r'^RELOADING=1\nMONOTONIC_USEC=\d+$', '… when a reload begins')
        like(s.recv(1000).decode(), r'^READY=1\nSTATUS=serving$', '… and ends')
        proxy.signal(signal.SIGTERM)
        like(s.recv(1000).decode(), r'^STOPPING=1', '… and when we end')
        ended(proxy, 'systemd')

with scenario('descriptors'):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    proxy = Proxy(cluster, workers=1, limits={'max_clients': 5000}, start=False)
    wrapper = f'{proxy.dir}/limited'
    with open(wrapper, 'w') as f:
        f.write(f'#!/bin/sh\nulimit -Sn 100; ulimit -Hn 200; exec {PROGRAM} "$@"\n')
    os.chmod(wrapper, 0o755)
    import harness
    harness.PROGRAM, program = wrapper, harness.PROGRAM
    proxy.start()
    harness.PROGRAM = program
    like(proxy.log(), r'warn max_clients_lowered configured=5000 effective=90 descriptors=200', 'too few for max_clients: it is lowered')
    clients = [proxy.connect(db) for _ in range(90)]
    try:
        proxy.connect(db)
        ok(False, 'one too many is refused')
    except WireError as e:
        like(str(e), '^53300 ', 'one too many is refused, politely')
    is_({c.one('select 1') for c in clients}, {'1'}, 'all others are served')
    is_(proxy.connect(db).one('select 1') if clients.pop().quit() is None else None, '1', 'when one goes the next may come')
    proxy.stop()
done()
