#!/usr/bin/env -S /usr/bin/python3
"""What Lunapool stands on, row by row of the catalogue of failures: names that are not found any more, or mean another address, a clock that jumps, and the
processor, which it does not get in the midst of an operation.  None of it is held against a node, and nothing is done twice.

Names and clocks are its own: a mount namespace, and a library in front of libc.
"""
import os
import re
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
import harness  # noqa: E402
from harness import *  # noqa: E402,F403
from ha import Scene, signal_tree  # noqa: E402

proxy_only()
PROBES = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'lunapool'"


@contextlib.contextmanager
def started_by(script):
    """Lunapool is run by this, which has it and its words as its own."""
    path = f'{temp_dir()}/lunapool'
    with open(path, 'w') as f:
        f.write('#!/bin/sh\n' + script.replace('PROGRAM', PROGRAM))
    os.chmod(path, 0o755)
    harness.PROGRAM = path
    try:
        yield
    finally:
        harness.PROGRAM = PROGRAM


def write(path, text):
    with open(path, 'w') as f:
        f.write(text)


@contextlib.contextmanager
def silent_name_server():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(('127.77.0.1', 53))
        yield s


def can_have_names():
    if os.getuid() != 0 or run(['unshare', '-m', 'true'])[0] or not os.path.exists('/etc/resolv.conf'):
        return False
    with contextlib.suppress(OSError), silent_name_server():
        return True
    return False


with scenario('row 61: names'):
    name = 'row 61'
    if not can_have_names():
        skip(name, 'no mount namespace, or no name server, can be had here')
    else:
        names = temp_dir()
        write(f'{names}/hosts', '127.0.0.1 localhost db0 db1\n')
        write(f'{names}/resolv.conf', 'nameserver 127.77.0.1\noptions timeout:1 attempts:1\n')
        with silent_name_server() as server, started_by(f'''exec unshare -m sh -c 'mount --make-rprivate / && mount --bind {names}/hosts /etc/hosts &&
mount --bind {names}/resolv.conf /etc/resolv.conf && exec "$@"' sh PROGRAM "$@"\n'''):
            s = Scene(standbys=1, extra="listen_addresses = '127.0.0.1, 127.0.0.2'\n")
            s.cluster.role('stranger')
            s.proxy.settings['nodes'] = {f'n{i}': {'host': f'db{i}'} for i in (0, 1)}
            like(s.proxy.reload(), 'reloaded', f'{name}: the nodes have names')
            wait_for(lambda: s.fit() == 1 and s.primary() == 0, what='both nodes by their names')
            s.load()

            def comes_anew(i):
                with s.cluster.at(i) as c:
                    c.q(PROBES + " or usename = 'stranger'")
            write(f'{names}/hosts', '127.0.0.1 localhost\n')
            for _ in range(3):
                comes_anew(0)
                comes_anew(1)
                with s.proxy.connect(user='stranger') as c:
                    is_(c.one('select inet_server_addr()'), '127.0.0.1', f'{name}: nobody knows the name, and who comes gets there')
                s.writes_go_on(name)
            ok(server.recv(512), f'{name}: the name server was asked, and says nothing')
            s.nothing_begun(name)
            wait_for(lambda: s.fit() == 1, what='the standby')
            told = lambda: re.search('name_not_found.*host=db0.*its last address is used', s.proxy.log())  # noqa: E731
            wait_for(lambda: (comes_anew(0), told())[1], what='it to be told')
            write(f'{names}/hosts', '127.0.0.1 localhost\n127.0.0.2 db0 db1\n')

            def address():
                comes_anew(0)
                with contextlib.suppress(WireError), s.proxy.connect(user='stranger') as c:
                    return c.one('select inet_server_addr()')
            wait_for(lambda: address() == '127.0.0.2', what='the new address to be used')
            ok(True, f'{name}: the name means another address, and who comes gets there')
            s.end_load()
            s.nothing_begun(name)
            s.no_errors(name)
            s.close()

SHIM = r'''
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile long *shift;
__attribute__((constructor)) static void begin(void)
{
	void *at = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, open(getenv("CLOCK_SHIFT"), O_RDONLY), 0);
	shift = at == MAP_FAILED ? NULL : at;
}
int clock_gettime(clockid_t id, struct timespec *t)
{
	long rc = syscall(SYS_clock_gettime, id, t);
	if (shift && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		t->tv_sec += *shift;
	return (int)rc;
}
int gettimeofday(struct timeval *tv, void *zone)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	*tv = (struct timeval){ t.tv_sec, t.tv_nsec / 1000 };
	return 0;
}
time_t time(time_t *at)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	if (at)
		*at = t.tv_sec;
	return t.tv_sec;
}
'''

with scenario('row 62: the clock jumps by a day'):
    name = 'row 62'
    d = temp_dir()
    write(f'{d}/shim.c', SHIM)
    status, _, err = run(['cc', '-shared', '-fPIC', '-O1', '-o', f'{d}/shim.so', f'{d}/shim.c'])
    is_((status, err), (0, ''), f'{name}: there is a clock of our own')

    def jump(days):
        with open(f'{d}/shift', 'r+b', buffering=0) as f:
            f.write(struct.pack('l', days * 86400))
    write(f'{d}/shift', '\0' * 8)
    with started_by(f'CLOCK_SHIFT={d}/shift LD_PRELOAD={d}/shim.so ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0 exec PROGRAM "$@"\n'):
        s = Scene(sync='ANY 1 (n1, n2)')
        s.load()
        for days in (1, -1, 0, 1):
            jump(days)
            s.writes_go_on(name)
            at, day = len(s.proxy.log()), time.strftime('%Y-%m-%d', time.gmtime(time.time() + days * 86400))
            like(s.proxy.reload(), f'^{day}T', f'{name}: it is {days:+d} days, for it')
            s.writes_go_on(name)
            s.nothing_begun(name)
        is_(re.findall('we_slept.*ms=[0-9]{7}', s.proxy.log()), [], f'{name}: it has not slept for a day')
        s.no_errors(name)
        signal_tree(s.cluster, 0, signal.SIGKILL)
        s.proxy.wait_log('operation_step.*step=hold')
        jump(-1)
        s.ends()
        s.end_load()
        s.judge(f'{name}: … in a failover', s.primary(), 5)
        is_(s.promotions(2), 1, f'{name}: one promotion')
        log = s.proxy.log
        s.close()
        is_(re.findall('journal_hangs', log()), [], f'{name}: … and it ends as it should')

POLICY = '''
local lp = require "lunapool"
local M = { api = 1, tasks = {} }
function M.failover(event, cluster) return lp.kv.get("choose") and event.candidates or nil, "not yet" end
function M.promote(op, node)
  while not lp.kv.get("promote") do lp.sleep(0.01) end
  return lp.retry { tries = 200, delay = 0.05 } (function()
    lp.sql(node, "select pg_promote(false)")
    local rows, err = lp.sql(node, "select pg_is_in_recovery() as is_standby")
    return rows and not rows[1].is_standby or nil, err
  end)
end
function M.tasks.go(task) lp.kv.set(task.args.on, true) end
return M
'''


def stops(s, between=lambda: None):
    """Lunapool gets no processor, for longer than it takes to notice."""
    s.proxy.signal(signal.SIGSTOP)
    between()
    time.sleep(1)  # that is the fault
    s.proxy.signal(signal.SIGCONT)
    wait_for(lambda: s.admin.table('SHOW OPERATIONS'), what='it to answer')


with scenario('row 49: Lunapool is stopped in the midst of a failover, and goes on'):
    name = 'row 49'
    s = Scene(policy=POLICY, promote_timeout='30s', sync='ANY 1 (n1, n2)')
    s.load()
    signal_tree(s.cluster, 0, signal.SIGKILL)
    for step in ('choose', 'promote'):
        s.proxy.wait_log(f'operation_step.*step={step}')
        stops(s)
        is_(s.operations()[0][:2], ('failover', 'under way'), f'{name}: stopped at {step}, it is where it was')
        s.admin.q(f'RUN go on = {step}')
    s.ends()
    s.end_load()
    new = s.primary()
    is_((s.operations(), s.promotions(2), s.promotions(3)), ([('failover', 'done', 'n0', f'n{new}')], 1, 0), f'{name}: the same operation, one promotion')
    is_([i for i in (1, 2) if s.is_writable(i)], [new], f'{name}: one is writable')
    is_(s.errors, [], f'{name}: clients have waited')
    s.consistent(name, new)
    s.close()

with scenario('row 49: … and somebody else promotes meanwhile'):
    name = 'row 49, somebody else'
    s = Scene(policy=POLICY, sync='ANY 2 (n1, n2)')
    s.load()
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.proxy.wait_log('operation_waits.*not yet')

    def promote():
        with s.cluster.at(2) as c:
            c.q('select pg_promote()')
    stops(s, promote)
    s.admin.q('RUN go on = choose')  # too late
    s.admin.q('RUN go on = promote')
    s.ends()
    s.end_load()
    is_((s.operations(), s.promotions(2), s.promotions(3)), ([('failover', 'done', 'n0', 'n2')], 1, 0), f'{name}: it follows, and promotes nobody')
    is_([s.is_writable(i) for i in (1, 2)], [False, True], f'{name}: n2 it is')
    is_(s.errors, [], f'{name}: clients have waited')
    s.consistent(name, 2)
    s.close()
done()
