"""ha — a primary with standbys behind a Lunapool that fails over, clients that write and read all the while, and the history of what they were told.

    s = Scene(sync='ANY 1 (n1, n2)', relays=True)   # s.relay[i] stands between Lunapool and node i (relay.py)
    s.load()                                        # clients write and read from now on
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.ends('done')                                  # an operation ended so
    s.end_load()
    s.judge('kill -9', s.primary())
    s.close()
"""
import contextlib
import glob
import itertools
import os
import re
import signal
import threading
import time

from harness import Cluster, Proxy, SLOW, Timeout, WireError, diag, is_, ok, temp_dir, wait_for
from relay import Relay

UNKNOWN = ('08007', '57P01', '57P02')  # the last two are what a server says that ends under a statement
# Of a policy that promotes by itself.
PROMOTE = '''
local function promote(node)
  return lp.retry { tries = 200, delay = 0.05 } (function()
    lp.sql(node, "select pg_promote(false)")
    local rows, err = lp.sql(node, "select pg_is_in_recovery() as is_standby")
    return rows and not rows[1].is_standby or nil, err
  end)
end
'''
SETTINGS = 'wal_log_hints = on\nfull_page_writes = on\nsynchronous_commit = on\n'


def family(pid):
    """A process and all below it."""
    out = [pid]
    for entry in glob.glob(f'/proc/{pid}/task/*/children'):
        with contextlib.suppress(OSError):
            with open(entry) as f:
                for child in f.read().split():
                    out += family(int(child))
    return out


def signal_tree(cluster, i, number):
    """Node I with all its processes."""
    pids = family(cluster.process[i].pid)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    if number == signal.SIGKILL:
        cluster.process[i].wait()
    return pids


def is_gone(error):
    """The connection has ended, and not by an ERROR that leaves it."""
    return not isinstance(error, WireError) or isinstance(error, Timeout) or str(error) in ('closed', 'closed during login')


class History:
    """What became of each id that a client tried to insert, as the client was told: acked, failed, unknown.  The table has no unique index: an id that
    is there twice was written twice."""
    TABLE = 'create table t (id bigint, who text); create index on t (id)'

    def __init__(self):
        self.lock = threading.Lock()
        self.ids = itertools.count(1)
        self.acked, self.unknown, self.failed = [], [], []
        self.aborted = []   # of those that failed: the server was lost before anything was committed
        self.acks = []      # when, by whom
        self.refusals = []  # (id or 'read', what was said): errors beside those of statements in flight
        self.disconnects = []

    def new_id(self):
        with self.lock:
            return next(self.ids)

    def note(self, n, who, error=None):
        if error is None:
            self.acks.append((time.monotonic(), who))
            self.acked.append(n)
        elif is_gone(error):
            self.unknown.append(n)
            self.disconnects.append((n, str(error)))
        elif str(error)[:5] in UNKNOWN:
            self.unknown.append(n)
        elif str(error)[:5] == '40001':
            self.failed.append(n)
            self.aborted.append(n)
        else:
            self.failed.append(n)
            self.refusals.append((n, str(error)))

    def check(self, conn):
        """What contradicts what the clients were told: ids by kind."""
        there = {int(i): int(n) for i, n in conn.q('select id, count(*) from t group by id', 60)}
        return {'lost': [n for n in self.acked if n not in there], 'twice': [n for n, times in there.items() if times > 1],
                'failed, and there': [n for n in self.failed if n in there]}

    def outage(self, since=0.0):
        """The longest time in which nobody's write was acknowledged; 0 with none."""
        times = sorted(t for t, who in self.acks if t >= since)
        return max((b - a for a, b in zip(times, times[1:])), default=0.0)

    def longest_wait(self):
        """The longest time between two acknowledged writes of one client."""
        by = {}
        for t, who in self.acks:
            by.setdefault(who, []).append(t)
        return max((b - a for times in by.values() for a, b in zip(times, times[1:])), default=0.0)


class Clients:
    """Threads that write and read through PROXY until they are told to stop.  A client that is disconnected comes back if it may."""

    def __init__(self, connect, history, returns=False):
        self.connect, self.history, self.returns = connect, history, returns
        self.stop, self.threads, self.reads = False, [], 0

    def _client(self, who, one):
        c = None
        while not self.stop:
            try:
                c = c or self.connect()
                one(c, who)
            except (WireError, OSError) as e:
                if c and not is_gone(e):
                    continue
                if c is None:
                    self.history.disconnects.append(('connect', str(e)))
                    time.sleep(0.01)  # its pace: who cannot connect tries again a hundred times a second
                c = None
            if c is None and not self.returns:
                return
        if c:
            with contextlib.suppress(OSError):
                c.quit()

    def _write(self, c, who):
        n = self.history.new_id()
        try:
            c.q(f"insert into t values ({n}, '{who}')")
        except (WireError, OSError) as e:
            self.history.note(n, who, e)
            raise
        self.history.note(n, who)

    def _read(self, c, who):
        try:
            c.q('select max(id) from t')
        except (WireError, OSError) as e:
            (self.history.disconnects if is_gone(e) else self.history.refusals).append(('read', str(e)))
            raise
        self.reads += 1
        time.sleep(0.001)  # its pace: readers leave the machine to writers

    def start(self, writers, readers):
        jobs = [(f'w{i}', self._write) for i in range(writers)] + [(f'r{i}', self._read) for i in range(readers)]
        self.threads = [threading.Thread(target=self._client, args=job, daemon=True) for job in jobs]
        for t in self.threads:
            t.start()

    def end(self):
        self.stop = True
        for t in self.threads:
            t.join(60)


def feed_standby(cluster, i, port):
    """Standby I gets its WAL there, and has a name."""
    cluster.set_node(i, primary_conninfo=f'host={cluster.host} port={port} user=postgres application_name=n{i}')


def new_cluster(standbys, sync=None, extra='', through=None):
    """A primary and standbys n1 …, which are fed by it, or THROUGH what that makes of it."""
    cluster = Cluster(standbys=standbys, extra=SETTINGS + extra)
    feed = through(cluster) if through else cluster
    for i in range(1, standbys + 1):
        feed_standby(cluster, i, feed.port)
    cluster.query(History.TABLE)
    for i in range(1, standbys + 1):
        cluster.caught_up(i)
    if sync:
        cluster.set_node(0, synchronous_standby_names=sync)
    return cluster


class Scene:
    def __init__(self, standbys=2, sync=None, extra='', relays=False, fed_through_relay=False, policy=None, workers=2, pool=10, limits=None,
                 program=None, **options):
        """FED_THROUGH_RELAY: the standbys get their WAL through s.feed, too.  POOL: its size, or all of its settings.  PROGRAM: settings outside any block."""
        self.feed = None

        def through(cluster):
            self.feed = Relay(cluster.host, cluster.port)
            return self.feed
        self.cluster = new_cluster(standbys, sync, extra, through if fed_through_relay else None)
        self.state = temp_dir()
        os.chmod(self.state, 0o700)
        self.relay = [Relay(self.cluster.host, port) for port in self.cluster.ports] if relays else []
        nodes = {f'n{i}': {'port': r.port} for i, r in enumerate(self.relay)}
        if policy:
            options['policy'] = 'main.lua'
        self.proxy = Proxy(self.cluster, workers=workers, pool=pool if isinstance(pool, dict) else {'size': pool}, limits=limits,
                           options={'state_dir': self.state, **(program or {})}, nodes=nodes,
                           cluster_options={'failover': 'auto', **options}, files={'main.lua': policy} if policy else {})
        self.admin = self.proxy.connect('lunapool')
        wait_for(lambda: self.fit() == standbys, what='all standbys fit')
        self.history = History()
        self.clients = None

    # ---- what is

    def rows(self):
        return {r['node']: r for r in self.admin.table('SHOW NODES')}

    def row(self, i):
        return self.rows()[f'n{i}']

    def role(self, name):
        return self.rows()[name]['role']

    def fit(self):
        return sum(r['fit'] == 'yes' for r in self.rows().values())

    def wait_primary(self, name):
        wait_for(lambda: self.role(name) == 'primary', what=f'{name} as primary')

    def primary(self):
        """The index of the node that is primary; None: none is."""
        return next((int(n[1:]) for n, r in self.rows().items() if r['role'] == 'primary'), None)

    def operations(self):
        """(kind, state, source, target), the newest first."""
        return [(r['kind'], r['state'], r['source'], r['target']) for r in self.admin.table('SHOW OPERATIONS')]

    def promotions(self, epoch):
        return len(re.findall(rf'primary_recorded.*epoch={epoch} ', self.proxy.log()))

    def is_writable(self, i):
        with self.cluster.at(i) as c:
            return c.one('select pg_is_in_recovery()') == 'f'

    def is_untouched(self, node):
        """Nobody but us, asking, is at a node that is in quarantine; who was in the midst of a commit may wait there for ever for a standby."""
        with self.cluster.at(node) as c:
            return int(c.one("select count(*) from pg_stat_activity where backend_type = 'client backend' and application_name <> 'lunapool' and wait_event is distinct from 'SyncRep' and pid <> pg_backend_pid()")) == 0

    # ---- what happens

    def feed_standby(self, i, port):
        feed_standby(self.cluster, i, port)

    def ends(self, how='done', deadline=60, start=0):
        """An operation ends so."""
        return self.proxy.wait_log(f'operation_ended.*end={how}', deadline, start)

    def restart_proxy(self):
        self.proxy.start()
        self.admin = self.proxy.connect('lunapool')

    def kill_proxy(self):
        self.proxy.process.kill()
        self.proxy.process.wait()
        Proxy.all.remove(self.proxy)

    # ---- clients

    acked = property(lambda self: self.history.acked)
    unknown = property(lambda self: self.history.unknown)
    errors = property(lambda self: self.history.refusals + self.history.disconnects)

    def load(self, writers=4, readers=2, returns=False):
        self.clients = Clients(self.proxy.connect, self.history, returns)
        self.clients.start(writers, readers)
        self.writes_go_on('writes')

    def writes_go_on(self, what='writes to go on', n=50, deadline=20):
        before = len(self.acked)
        try:
            wait_for(lambda: len(self.acked) > before + n, deadline, what)
        except Timeout:
            diag(self.proxy.log()[-4000:])
            raise

    def end_load(self):
        self.writes_go_on()
        self.clients.end()

    def consistent(self, name, node):
        """What the clients were told is what is there."""
        with self.cluster.at(node) as c:
            is_({k: v for k, v in self.history.check(c).items() if v}, {}, f'{name}: what was acknowledged is there once, what failed is not')

    def nothing_begun(self, name):
        is_((self.operations(), re.findall('primary_lost.*', self.proxy.log())), ([], []), f'{name}: nothing was begun')
        wait_for(lambda: self.primary() == 0, what=f'{name}: the primary')

    def reconfigure(self, **options):
        """Options of the cluster."""
        self.proxy.settings['cluster'].update(options)
        self.proxy.reload()

    def no_errors(self, name):
        is_((self.errors, self.unknown, self.history.aborted), ([], [], []), f'{name}: no error of any kind')

    def judge(self, name, node, outage, in_flight=8):
        """What every failover must keep."""
        self.consistent(name, node)
        is_(self.errors, [], f'{name}: no other error than for what was in flight')
        lost = len(self.unknown) + len(self.history.aborted)
        ok(lost <= in_flight, f'{name}: {lost} statements were in flight')
        worst = self.history.longest_wait()
        diag(f'{name}: writes stood still for {worst * 1000:.0f} ms')
        ok(worst < outage * SLOW, f'{name}: for {worst:.2f} s at most')

    def close(self):
        self.proxy.stop()
        self.cluster.stop()
        for r in [*self.relay, self.feed]:
            if r:
                r.stop()
