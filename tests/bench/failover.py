#!/usr/bin/python3
"""failover — for how long nobody's write is acknowledged when something happens to the primary, and what clients notice of it.

    make bench-failover              20 times each, half an hour
    make bench-failover QUICK=1      3 times each
    tests/bench/failover.py --only 'kill -9,switchover' --times 20 --pgpool 0

A primary with two standbys, one of which must have each commit (synchronous_standby_names = 'ANY 1 (n1, n2)'); four clients that write and two
that read, as fast as they can, and eight long-lived sessions that do nothing.  The outage is the longest time between two acknowledged writes of
anybody.  In flight: statements whose client was told that they failed, or that nobody knows.  Lost: writes that were acknowledged and are not there.
pgpool2 gets the same load, with the settings of its usual guides (health_check_period 5 s, 3 retries) and scripts that promote and
re-aim; it is waited for a minute at most.  A client that is cut comes back.
"""
import argparse
import os
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from figures import note, say, verdict, verdicts  # noqa: E402
from ha import Clients, History, Scene, new_cluster, signal_tree  # noqa: E402
from harness import Conn, Timeout, WireError, run, tool, wait_for  # noqa: E402
from peers import PgpoolFailover  # noqa: E402

SYNC = 'ANY 1 (n1, n2)'
WRITERS, READERS, IDLE = 4, 2, 8
PATIENCE = 60  # seconds that anybody is waited for

PROMOTE = '''
local function promote(node)
  return lp.retry { tries = 400, delay = 0.01 } (function()
    lp.sql(node, "select pg_promote(false)")
    local rows, err = lp.sql(node, "select pg_is_in_recovery() as is_standby")
    return rows and not rows[1].is_standby or nil, err
  end)
end
'''


def policy(text):
    return f'local lp = require "lunapool"\nlocal M = {{ api = 1 }}\n{PROMOTE}{text}\nreturn M\n'


FOREVER = 'lp.retry { tries = 100000, delay = 0.1 } (function() return nil end) '
STEPS = {  # a step, the policy that stops in it, what shows that it is there
    'choose': ('function M.failover(event, cluster) return nil, "stop here" end', r'operation_waits.*stop here'),
    'promote': (f'function M.promote(op, node) {FOREVER} end', r'operation_step.*step=promote'),
    'promoted': (f'function M.promote(op, node) promote(node) lp.log("stop here") {FOREVER} end',
                 r'policy_log.*stop here|operation_step.*step=publish'),  # it is seen to be promoted before its hook says so, now and then
    'follow': (f'function M.follow_primary(op, node, primary) lp.log("stop here") {FOREVER} end', r'policy_log.*stop here'),
}


class World:
    """One repetition: servers, whoever stands in front of them, clients."""

    def begin(self, cluster, connect):
        self.cluster, self.connect = cluster, connect
        self.history, self.remark = History(), ''
        self.idle = [connect() for _ in range(IDLE)]
        for i, c in enumerate(self.idle):
            c.q(f"set application_name = 'idle{i}'")

    def load(self):
        self.clients = Clients(self.connect, self.history, returns=True)
        self.clients.start(WRITERS, READERS)
        wait_for(lambda: len(self.history.acked) > 200, what='writes')

    def resumed(self, since):
        """Writes have been acknowledged again for a while."""
        return sum(t > since for t, who in self.history.acks[-60:]) > 50

    def measure(self, fault):
        self.load()
        began = time.monotonic()
        fault(self)
        done = time.monotonic()
        try:
            wait_for(lambda: self.resumed(done), PATIENCE, 'writes to go on')
            outage = None
        except Timeout:
            outage = False
        self.clients.end()
        h = self.history
        alive = sum(self.is_alive(c, i) for i, c in enumerate(self.idle))
        figures = {'outage': h.outage(began - 0.1) if outage is None else None,
                   'reads': sum(n == 'read' for n, why in h.refusals), 'refused': sum(n == 'connect' for n, why in h.disconnects),
                   'cuts': sum(n != 'connect' for n, why in h.disconnects) + IDLE - alive,
                   'flight': len(h.unknown) + len(h.aborted), 'failed': sum(n != 'read' for n, why in h.refusals)}
        with self.cluster.at(self.primary()) as c:
            found = h.check(c)
        figures['lost'] = len(found['lost'])
        figures['wrong'] = len(found['twice']) + len(found['failed, and there'])
        figures['remark'] = self.remark
        return figures

    def is_alive(self, c, i):
        try:
            return c.one('show application_name', 5) == f'idle{i}'
        except (OSError, WireError):
            return False

    def signal(self, number):
        signal_tree(self.cluster, 0, number)


class LunapoolWorld(World):
    name = 'lunapool'

    def __init__(self, text=None, **options):
        self.scene = Scene(sync=SYNC, pool=40, policy=policy(text) if text else None, **options)
        self.begin(self.scene.cluster, self.scene.proxy.connect)

    def primary(self):
        return wait_for(lambda: self.scene.primary() is not None and [self.scene.primary()], what='a primary')[0]

    def switch(self):
        try:
            self.scene.admin.q('SWITCHOVER TO n1', 30)
        except WireError as e:
            self.remark = f'refused: {str(e)[6:110]}'

    def stop_at(self, step):
        """Lunapool is killed when its failover is there, and started again."""
        s = self.scene
        self.signal(signal.SIGKILL)
        s.proxy.wait_log(STEPS[step][1])
        s.kill_proxy()
        s.proxy.files['main.lua'] = policy('')
        with open(f'{s.proxy.dir}/main.lua', 'w') as f:
            f.write(s.proxy.files['main.lua'])
        first = s.proxy.log()
        s.restart_proxy()
        wait_for(lambda: s.operations()[0][:2] == ('failover', 'done'), PATIENCE, 'the failover to end')
        self.primary()
        log = first + s.proxy.log()
        timelines = wait_for(lambda: {r['timeline'] for r in s.rows().values() if r['role'] == 'primary' and r['timeline']}, what='its timeline')
        ids = {part.split()[0] for part in log.split('operation=')[1:]}
        self.remark = 'one promotion, same operation' if timelines == {'2'} and ids == {'1'} else f'timelines {timelines}, operations {ids}'

    def close(self):
        for c in self.idle:
            c.drop()
        self.scene.kill_proxy()
        thaw(self.cluster)
        self.cluster.stop()


def thaw(cluster):
    if cluster.process[0].poll() is None:
        signal_tree(cluster, 0, signal.SIGCONT)


class PgpoolWorld(World):
    name = 'pgpool2'

    def __init__(self):
        cluster = new_cluster(2, SYNC)
        self.peer = PgpoolFailover(cluster)
        self.begin(cluster, lambda: Conn(('127.0.0.1', self.peer.port), user='postgres', database='postgres', timeout=PATIENCE))

    def primary(self):
        for i in (1, 2, 0, 0):
            thaw(self.cluster) if i == 0 else None
            try:
                with self.cluster.at(i, timeout=2) as c:
                    if c.one('select pg_is_in_recovery()') == 'f':
                        return i
            except (OSError, WireError):
                pass
        raise RuntimeError('no node is writable')

    def switch(self):
        status, out, err = run(['pcp_promote_node', '-h', '127.0.0.1', '-p', str(self.peer.pcp_port), '-U', 'postgres', '-w', '-s', '-n', '1'],
                               env={'PCPPASSFILE': self.peer.passfile}, timeout=PATIENCE)
        self.remark = f'refused: {(out + err).strip()[:80]}' if status else ''

    def close(self):
        for c in self.idle:
            c.drop()
        self.peer.stop()
        thaw(self.cluster)
        self.cluster.stop()


def freeze(w):
    w.signal(signal.SIGSTOP)


def listeners(w):
    for i in range(20):
        c = w.connect()
        c.q(f'listen c{i}')
        w.idle_listeners = getattr(w, 'idle_listeners', []) + [c]
    w.switch()


def kill_standby(w):
    signal_tree(w.cluster, 1, signal.SIGKILL)
    time.sleep(1)  # as long as that may be felt


def stop(number):
    return lambda w: w.cluster.kill_node(0, number)


FIRST = 'function M.failover(event, cluster) return event.refused.n1 and { cluster:node("n2") } or { cluster:node("n1"), cluster:node("n2") } end\n'
ONCE = FIRST + 'local n = 0\nfunction M.promote(op, node) n = n + 1 if n == 1 then return nil, "not this time" end return promote(node) end'
ALWAYS = FIRST + 'function M.promote(op, node) if node.name == "n1" then return nil, "never" end return promote(node) end'
NONE = {'reads': 0, 'cuts': 0, 'lost': 0, 'wrong': 0, 'failed': 0}
KILL = {**NONE, 'median': 0.6, 'worst': 1.0, 'flight': WRITERS + READERS}
SMOOTH = {**NONE, 'flight': 0}
FAULTS = {  # what happens; the policy; whether pgpool2 can have it; what must hold
    'kill -9': (lambda w: w.signal(signal.SIGKILL), None, True, KILL),
    'frozen': (freeze, None, True, {**KILL, 'median': 2.5, 'worst': 2.5}),
    'stop -m fast': (stop(signal.SIGINT), None, True, KILL),
    'stop -m immediate': (stop(signal.SIGQUIT), None, True, KILL),
    'switchover': (lambda w: w.switch(), None, True, {**SMOOTH, 'median': 0.3, 'worst': 0.8}),
    'switchover + 20 listen': (listeners, None, False, {**SMOOTH, 'median': 0.3, 'worst': 0.8}),
    'standby killed': (kill_standby, None, True, SMOOTH),
    'promote fails once': (lambda w: w.signal(signal.SIGKILL), ONCE, False, {**KILL, 'median': 4, 'worst': 4}),
    'promote fails at n1': (lambda w: w.signal(signal.SIGKILL), ALWAYS, False, {**KILL, 'median': 4, 'worst': 4}),
    **{f'killed at {step}': (lambda w, step=step: w.stop_at(step), text, False, {'lost': 0, 'wrong': 0, 'remark': 'one promotion, same operation'})
       for step, (text, seen) in STEPS.items()},
}


def seconds(value):
    return '-' if value is None else f'{value:.2f}'


def row(fault, name, runs):
    outages = [r['outage'] for r in runs]
    known = [v for v in outages if v is not None]
    late = f'not within {PATIENCE} s'
    median = seconds(statistics.median(known)) if len(known) * 2 > len(runs) else late
    worst = seconds(max(known)) if len(known) == len(runs) else late
    flights = [r['flight'] for r in runs]
    remarks = sorted({r['remark'] for r in runs if r['remark']})
    say(f'{fault:22}{name:>9}{len(runs):>5}{median:>16}{worst:>16}{sum(r["reads"] for r in runs):>8}{sum(r["cuts"] for r in runs):>8}'
        f'{sum(r["refused"] for r in runs):>9}{sum(r["lost"] for r in runs):>6}{statistics.median(flights):>11g}{max(flights):>6}  ' + '; '.join(remarks))


def judge(fault, runs, bars):
    outages = [r['outage'] for r in runs]
    is_over = None not in outages
    for what, bar in bars.items():
        if what in ('median', 'worst'):
            value = (statistics.median(outages) if what == 'median' else max(outages)) if is_over else None
            verdict(is_over and value <= bar, f'{fault}: {what} outage {seconds(value)} s, bar {bar} s')
        elif what == 'remark':
            verdict(all(r['remark'] == bar for r in runs), f'{fault}: {bar}')
        else:
            most = max(r[what] for r in runs)
            words = {'reads': 'reads that failed', 'cuts': 'sessions cut', 'lost': 'acknowledged writes lost', 'wrong': 'writes that contradict what was said',
                     'failed': 'other errors', 'flight': 'statements lost in flight'}[what]
            if most > bar or what == 'lost':
                verdict(most <= bar, f'{fault}: {words}: {most}, bar {bar}')


def once(kind, fault, *args):
    w = kind(*args)
    try:
        return w.measure(fault)
    finally:
        w.close()


def repeat(name, times, kind, fault, *args):
    runs = []
    for i in range(times):
        try:
            runs.append(once(kind, fault, *args))
        except (RuntimeError, Timeout, WireError, OSError) as e:
            note(f'{kind.name}, {name}, run {i + 1}: {type(e).__name__}: {e}')
            runs.append({'outage': None, 'reads': 0, 'cuts': 0, 'refused': 0, 'lost': 0, 'wrong': 0, 'flight': 0, 'failed': 0, 'remark': str(e)[:60]})
    return runs


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true', help='3 repetitions, of pgpool2 1')
    p.add_argument('--only', type=lambda s: s.split(','), default=list(FAULTS), help='faults: ' + ','.join(FAULTS))
    p.add_argument('--times', type=int)
    p.add_argument('--pgpool', type=int, help='repetitions with pgpool2')
    args = p.parse_args()
    times = args.times or (3 if args.quick else 20)
    theirs = args.pgpool if args.pgpool is not None else 1 if args.quick else 3
    version = subprocess.run([tool('postgres'), '--version'], capture_output=True, text=True).stdout.strip()
    say(f'{version}, {os.cpu_count()} cores; {WRITERS} writers, {READERS} readers, {IDLE} idle sessions; seconds; sums over the runs')
    say(f'{"":22}{"":>9}{"runs":>5}{"median outage":>16}{"worst":>16}{"reads":>8}{"cut":>8}{"refused":>9}{"lost":>6}{"in flight":>11}{"most":>6}')
    for name in args.only:
        fault, text, has_peer, bars = FAULTS[name]
        runs = repeat(name, times, LunapoolWorld, fault, text)
        row(name, 'lunapool', runs)
        judge(name, runs, bars)
        if has_peer and theirs:
            row('', 'pgpool2', repeat(name, theirs, PgpoolWorld, fault))
    say()
    for line in verdicts:
        say(line)


main()
