#!/usr/bin/env -S /usr/bin/python3
"""What the network and a server that does not take connections do to a primary, row by row of the catalogue of failures: most of it is no death, and
nothing is begun; some of it is, and the next one takes its place.

LUNAPOOL_LONG=1: longer, and with what costs many seconds.
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import Scene  # noqa: E402

proxy_only()
PROBE = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'lunapool' and backend_type = 'client backend'"


def lasts(seconds, long=3):
    """How long a fault lasts is what it is: nothing else is to come about meanwhile."""
    time.sleep(seconds * (long if LONG else 1))


with scenario('what is no death'):
    s = Scene(relays=True, fed_through_relay=True, extra='max_connections = 40\nsuperuser_reserved_connections = 3\n')
    primary = s.relay[0]
    s.load()

    name = 'row 27: the server has forgotten its connections'
    primary.forget()
    s.writes_go_on(name)
    s.nothing_begun(name)

    name = 'row 58: 30 % of what is sent comes late'
    for r in s.relay:
        r.delay, r.loss = 0.1, 0.3
    lasts(2)
    s.writes_go_on(name, 10)
    for r in s.relay:
        r.heal()
    s.nothing_begun(name)

    name = 'row 59: everything takes a second'
    for r in s.relay:
        r.delay = 0.5
    lasts(2)
    s.writes_go_on(name, 4)
    for r in s.relay:
        r.heal()
    s.nothing_begun(name)

    name = 'row 60: the link comes and goes every 300 ms'
    for _ in range(20 if LONG else 5):
        primary.stall()
        lasts(0.3, 1)
        primary.flow()
        lasts(0.3, 1)
    s.writes_go_on(name)
    s.nothing_begun(name)

    name = 'row 26: it takes no new connections, those that are open work'
    primary.full()
    with s.cluster.at(0) as c:
        c.q(PROBE)
    lasts(2)
    s.writes_go_on(name)
    primary.appear()
    s.nothing_begun(name)

    name = 'row 17: the postmaster is stopped, its children work'
    s.reconfigure(hung_timeout='1s')
    os.kill(s.cluster.process[0].pid, signal.SIGSTOP)
    lasts(3)
    s.writes_go_on(name)
    os.kill(s.cluster.process[0].pid, signal.SIGCONT)
    s.nothing_begun(name)
    s.reconfigure(hung_timeout='2s')

    name = 'row 57: the primary has lost its standbys, we have not'
    s.feed.refuse()
    s.feed.cut()
    wait_for(lambda: s.fit() == 0, what='no standby fit')
    s.writes_go_on(name)
    s.feed.listen()
    s.nothing_begun(name)
    wait_for(lambda: s.fit() == 2, 30, 'both standbys to stream again')

    s.end_load()
    is_(s.errors, [], 'in all this there was no error')
    ok(len(s.unknown) + len(s.history.aborted) <= 6, f'… but for the {len(s.unknown)} statements in flight in row 27')
    s.consistent('afterwards', 0)

    name = 'row 20: all its connections are taken'
    clients = [s.proxy.connect() for _ in range(3)]
    clients[0].q('insert into t values (-1)')
    at = len(s.proxy.log())
    with s.cluster.at(0) as c:
        holders = []

        def fill():
            try:
                while True:
                    holders.append(s.cluster.at(0))
            except WireError:
                pass
        wait_for(lambda: (c.q(PROBE), fill(), s.proxy.log()[at:].count('probe_refused') > 0)[2], what='the probe to be refused')
        lasts(1)
        s.nothing_begun(name)
        is_(clients[0].one('select count(*) from t where id = -1'), '1', f'{name}: who is there works')
        for h in holders:
            h.quit()
    clients[1].q('insert into t values (-2)')
    wait_for(lambda: s.role('n0') == 'primary')
    s.nothing_begun(name)

    name = 'row 22: it starts up, for less than recovery_grace'
    primary.say = '57P03'
    primary.cut()
    lasts(1)
    is_(s.operations(), [], f'{name}: nothing is begun')
    primary.heal()
    clients[1].q('insert into t values (-3)', 30)
    s.nothing_begun(name)

    name = 'row 22: it starts up for ever'
    s.reconfigure(recovery_grace='500ms')
    primary.say = '57P03'
    primary.cut()
    clients[2].q('insert into t values (-4)', 30)
    s.ends()
    ok(s.primary() in (1, 2), f'{name}: another takes its place')
    s.close()

with scenario('row 56: we cannot reach the primary, its standbys can'):
    name = 'row 56'
    hung = 0.5 if SLOW == 1 else 2
    s = Scene(relays=True, hung_timeout=f'{int(hung * 1000)}ms')
    s.load()

    def others_write(c, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            c.q("select pg_logical_emit_message(true, '', 'x')")
    with s.cluster.at(0) as c:  # somebody else writes there: it lives
        s.relay[0].vanish()
        others_write(c, 8 * hung)
        is_(s.operations(), [], f'{name}: as long as standbys receive from it, nothing is begun')
        s.relay[0].appear()
        others_write(c, 4 * hung)
    s.end_load()
    s.nothing_begun(name)
    is_(s.errors, [], f'{name}: clients have waited')
    s.consistent(name, 0)
    s.close()

with scenario('row 18: the host is gone, without a word'):
    name = 'row 18'
    s = Scene(relays=True, fed_through_relay=True, sync='ANY 1 (n1, n2)')
    s.load()
    for r in (s.relay[0], s.feed):
        r.vanish()
    s.ends()
    s.end_load()
    s.judge(name, s.primary(), 8)
    s.relay[0].appear()
    wait_for(lambda: 'quarantine' in (s.row(0)['why_not'] or ''), what='the quarantine')
    ok(s.primary() in (1, 2), f'{name}: it is back, and is nothing')
    s.close()
done()
