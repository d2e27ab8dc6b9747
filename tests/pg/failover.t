#!/usr/bin/env -S /usr/bin/python3
"""The primary dies, in several ways, and a standby takes its place: sessions stay, what waits goes on, nothing that was acknowledged is lost."""
import os
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403

proxy_only()


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
    pids = family(cluster.process[i].pid)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    if number == signal.SIGKILL:
        cluster.process[i].wait()
    return pids


class Scene:
    """A primary with standbys that name themselves, a Lunapool that fails over, and writers that remember what was acknowledged."""

    def __init__(self, standbys=2, sync=None, extra='', **options):
        self.cluster = Cluster(standbys=standbys, extra='wal_log_hints = on\n' + extra)
        for i in range(1, standbys + 1):
            self.cluster.set_node(i, primary_conninfo=f'host={self.cluster.host} port={self.cluster.port} user=postgres application_name=n{i}')
        self.cluster.query('create table t (id int primary key, who text)')
        if sync:
            self.cluster.set_node(0, synchronous_standby_names=sync)
            self.cluster.set_node(0, synchronous_commit='on')
        self.state = temp_dir()
        os.chmod(self.state, 0o700)
        self.proxy = Proxy(self.cluster, workers=2, pool={'size': 10}, options={'state_dir': self.state},
                           cluster_options={'failover': 'auto', **options})
        self.admin = self.proxy.connect('lunapool')
        wait_for(lambda: self.fit() == standbys, what='all standbys fit')
        self.ids = iter(range(1, 10 ** 9))
        self.acked, self.unknown, self.errors, self.gaps = [], [], [], []
        self.stop, self.threads = False, []

    def rows(self):
        return {r['node']: r for r in self.admin.table('SHOW NODES')}

    def role(self, name):
        return self.rows()[name]['role']

    def fit(self):
        return sum(r['fit'] == 'yes' for r in self.rows().values())

    def wait_primary(self, name):
        wait_for(lambda: self.role(name) == 'primary', what=f'{name} as primary')

    def _write(self, i):
        c = self.proxy.connect()
        last = time.monotonic()
        while not self.stop:
            with _lock:
                n = next(self.ids)
            try:
                c.q(f"insert into t values ({n}, 'w{i}')")
                self.acked.append(n)
                now = time.monotonic()
                self.gaps.append(now - last)
                last = now
            except WireError as e:
                (self.unknown if str(e)[:5] == '08007' else self.errors).append((n, str(e)))
            except OSError as e:
                self.errors.append((n, f'disconnected: {e}'))
                return
        c.quit()

    def _read(self, i):
        c = self.proxy.connect()
        while not self.stop:
            try:
                c.q('select count(*) from t')
            except (WireError, OSError) as e:
                self.errors.append(('read', str(e)))
                return
            time.sleep(0.001)
        c.quit()

    def load(self, writers=4, readers=2):
        self.threads = [threading.Thread(target=self._write, args=(i,), daemon=True) for i in range(writers)]
        self.threads += [threading.Thread(target=self._read, args=(i,), daemon=True) for i in range(readers)]
        for t in self.threads:
            t.start()
        wait_for(lambda: len(self.acked) > 50, what='writes')

    def end_load(self):
        n = len(self.acked)
        wait_for(lambda: len(self.acked) > n + 50, what='writes to go on')
        self.stop = True
        for t in self.threads:
            t.join()

    def judge(self, name, node, outage):
        """What every failover must keep."""
        with self.cluster.at(node) as c:
            there = {int(r[0]) for r in c.q('select id from t')}
        is_([n for n in self.acked if n not in there], [], f'{name}: no acknowledged write is lost')
        is_(self.errors, [], f'{name}: no other error than for what was in flight')
        ok(len(self.unknown) <= 8, f'{name}: {len(self.unknown)} statements of 4 writers were in flight')
        worst = max(self.gaps)
        diag(f'{name}: writes stood still for {worst * 1000:.0f} ms')
        ok(worst < outage * SLOW, f'{name}: for {worst:.2f} s at most')

    def close(self):
        self.proxy.stop()
        self.cluster.stop()


from harness import _lock  # noqa: E402

with scenario('kill -9 of all of the primary, one synchronous standby'):
    s = Scene(sync='ANY 1 (n1, n2)')
    idle = s.proxy.connect()
    idle.q("set application_name to 'idle'")
    s.load()
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.proxy.wait_log('operation_ended.*end=done')
    s.end_load()
    new = int(next(n for n, r in s.rows().items() if r['role'] == 'primary')[1])
    s.judge('kill -9', new, 5)
    is_(idle.q('show application_name'), [['idle']], 'who was idle has noticed nothing')
    other = 3 - new
    wait_for(lambda: s.rows()[f'n{other}']['fit'] == 'yes', what='the other standby to follow')
    is_(s.rows()[f'n{other}']['timeline'], '2', 'the other standby follows on the new timeline')
    is_(len(re.findall(r'primary_recorded.*epoch=2 ', s.proxy.log())), 1, 'one promotion')
    diag(''.join(l + '\n' for l in s.proxy.log().split('\n') if re.search(r'operation|primary_|candidate|action', l)))
    s.close()
done()
