#!/usr/bin/env -S /usr/bin/python3
"""What happens to Lunapool itself, row by row of the catalogue of failures: it sleeps, it has no descriptors, its journal is gone, torn or cannot be
written.  Its own trouble is never held against a node, and nothing is done that is not recorded."""
import glob
import os
import resource
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from harness import PROGRAM  # noqa: E402
from ha import Scene, signal_tree  # noqa: E402

proxy_only()


def limit(s, soft):
    """The descriptors that Lunapool may have from now on; what it was."""
    was = resource.prlimit(s.proxy.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(s.proxy.process.pid, resource.RLIMIT_NOFILE, (soft, was[1]))
    return was[0]


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 & -(crc & 1))
    return ~crc & 0xffffffff


PROBE = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'lunapool' and backend_type = 'client backend'"

with scenario('what is our own trouble'):
    s = Scene()
    s.load()
    name = 'rows 63, 64: we sleep'
    for seconds in (1, 3):
        s.proxy.signal(signal.SIGSTOP)
        time.sleep(seconds)  # the fault itself
        s.proxy.signal(signal.SIGCONT)
        s.writes_go_on(name)
        s.nothing_begun(name)
    like(s.proxy.log(), 'we_slept', f'{name}: it is noticed')

    name = 'row 65: no descriptor is left'
    was = limit(s, max(int(fd) for fd in os.listdir(f'/proc/{s.proxy.process.pid}/fd')) + 1)
    with s.cluster.at(0) as c:
        c.q(PROBE)
    time.sleep(2)  # as long as that lasts
    s.writes_go_on(name)
    limit(s, was)
    s.writes_go_on(name)
    s.nothing_begun(name)
    s.end_load()
    s.no_errors(name)
    s.consistent(name, 0)

    for name, damage in (('torn', lambda path: os.truncate(path, os.path.getsize(path) // 2)), ('empty', lambda path: os.truncate(path, 0)),
                         ('changed', lambda path: overwrite(path)), ('gone', os.unlink)):
        name = f'row 66: the journal is {name}'

        def overwrite(path):
            with open(path, 'r+b') as f:
                f.seek(20)
                f.write(b'9999')
        s.proxy.stop()
        damage(glob.glob(f'{s.state}/*.record')[0])
        s.restart_proxy()
        s.wait_primary('n0')
        is_('journal_damaged' in s.proxy.log(), 'gone' not in name, f'{name}: it says so, and begins anew')
        with s.proxy.connect() as c:
            c.q('insert into t values (-1)')

    name = 'row 66: the journal is from a newer version'
    s.proxy.stop()
    path = glob.glob(f'{s.state}/*.record')[0]
    with open(path, 'rb') as f:
        was = f.read()
    newer = was.replace(b'lunapool record 1', b'lunapool record 2')[:-len('end 00000000\n')]
    newer += b'end %08x\n' % crc32c(newer)
    with open(path, 'wb') as f:
        f.write(newer)
    status, _, said = run([PROGRAM, '-c', s.proxy.path])
    is_((status != 0, 'it is of version 2, and this Lunapool knows 1' in said), (True, True), f'{name}: it does not start, and says why')
    with open(path, 'r+b') as f:
        is_(f.read(), newer, f'{name}: the journal is as it was')
        f.seek(0)
        f.write(was)
    s.restart_proxy()
    s.wait_primary('n0')

    name = 'row 67: the journal cannot be written'
    blocked = glob.glob(f'{s.state}/*.record')[0] + '.new'
    os.mkdir(blocked)
    s.history.__init__()
    s.load()
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.proxy.wait_log('record_lost')
    is_([s.is_writable(i) for i in (1, 2)], [False, False], f'{name}: nobody is promoted')
    os.rmdir(blocked)
    s.ends()
    s.end_load()
    is_((s.promotions(2), s.errors), (1, []), f'{name}: when it can, the failover goes on; clients have waited')
    s.close()

with scenario('row 70: nodes come and go while a failover runs; row 77: an order meanwhile'):
    name = 'row 70'
    s = Scene(standbys=2, policy='local lp = require "lunapool"\nlocal M = { api = 1, tasks = {} }\n'
              'function M.failover(event, cluster) if lp.kv.get("go") then return cluster:node("n1") or cluster:node("n2") end return nil, "not yet" end\n'
              'function M.tasks.go() lp.kv.set("go", true) end\nreturn M\n')
    s.load()
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.proxy.wait_log('operation_waits.*not yet')
    for text in ('SWITCHOVER', 'DETACH n2'):
        try:
            s.admin.q(text)
            ok(False, f'row 77: {text} while it runs')
        except WireError as e:
            like(str(e), 'operation 1 is under way', f'row 77: {text} while it runs: it says what does')
    ports = list(s.cluster.ports)
    s.cluster.ports.pop()
    like(s.proxy.reload(), 'reloaded', f'{name}: a node is removed')
    s.cluster.ports[:] = ports
    like(s.proxy.reload(), 'reloaded', f'{name}: and comes again')
    s.admin.q('RUN go')
    s.ends()
    s.end_load()
    is_((s.primary() in (1, 2), s.promotions(2), s.errors), (True, 1, []), f'{name}: it goes on, and clients have waited')
    s.close()
done()
