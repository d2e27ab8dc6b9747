#!/usr/bin/env -S /usr/bin/python3
"""How a primary ends, row by row of the catalogue of failures: without its children, in order, in order but slowly, for a moment only, again and again."""
import contextlib
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import Scene, family  # noqa: E402
import pgwire as w  # noqa: E402

proxy_only()


def takes_nobody(cluster):
    try:
        cluster.at(0).quit()
    except (WireError, OSError):
        return True

with scenario('row 13: the postmaster is killed, its backends are not'):
    name = 'row 13'
    s = Scene(sync='ANY 1 (n1, n2)')
    busy = s.proxy.connect()
    s.load()
    children = family(s.cluster.process[0].pid)[1:]
    busy.send(w.query("insert into t select -i, 'busy' from generate_series(1, 3000000) i"))
    with s.cluster.at(0) as c:
        wait_for(lambda: c.one("select count(*) from pg_stat_activity where state = 'active' and query like '%busy%' and pid <> pg_backend_pid()") == '1', what='it to be busy')
    s.cluster.kill_node(0)
    s.ends()
    s.end_load()
    like(str(busy.until('Z')[-2][1]), '08007', f'{name}: nobody knows what became of a statement that ran on')
    s.consistent(name, s.primary())
    is_((s.errors, s.promotions(2)), ([], 1), f'{name}: clients have waited, one promotion')
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    s.close()

with scenario('row 15: it is restarted within restart_grace; row 47: its backends are killed again and again'):
    name = 'row 15, restart'
    s = Scene(restart_grace='20s', hung_timeout='20s', sync='ANY 1 (n1, n2)')  # a slow machine is slow to start them
    s.load()
    for number in (signal.SIGINT, signal.SIGQUIT):
        s.cluster.kill_node(0, number)
        s.cluster.start_node(0)
        s.writes_go_on(name)
    s.nothing_begun(name)
    is_(s.errors, [], f'{name}: clients have waited')
    name = 'row 47'


    def kill_backend():
        with contextlib.suppress(WireError, OSError), s.cluster.at(0) as c:
            os.kill(int(c.one('select pg_backend_pid()')), signal.SIGKILL)
        s.writes_go_on(name, 10)
    for _ in range(2):
        kill_backend()
    s.nothing_begun(name)
    s.reconfigure(crash_budget=4)  # the two restarts count, too, unless they were over before anybody noticed
    for _ in range(20):
        if not s.operations():
            kill_backend()
    s.ends()
    s.end_load()
    ok(s.primary() in (1, 2), f'{name}: after so many crashes another takes its place')
    like(s.proxy.log(), r'primary_lost.*crashed \d+ times in', f'{name}: … and it says why')
    is_(s.promotions(2), 1, f'{name}: one promotion')
    s.consistent(name, s.primary())
    s.close()

with scenario('row 15: it stops when its last client has gone (smart)'):
    name = 'row 15, smart'
    s = Scene(recovery_grace='1s')
    s.load()
    with contextlib.suppress(WireError, OSError), s.cluster.at(0) as c:
        s.cluster.process[0].send_signal(signal.SIGTERM)
        wait_for(lambda: takes_nobody(s.cluster), what='it to take nobody')
        c.q("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lunapool'")
    s.ends()
    s.end_load()
    ok(s.primary() in (1, 2), f'{name}: another takes its place')
    s.consistent(name, s.primary())
    is_(s.errors, [], f'{name}: clients have waited')
    s.close()
done()
