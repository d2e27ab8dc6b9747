#!/usr/bin/python3
"""bench — what a transaction, a client and a wait cost with Lunapool, beside Debian's pgbouncer, pgpool2 and haproxy.

    make bench              the whole table, about ten minutes
    make bench QUICK=1      shorter runs, fewer of them
    tests/bench/bench.py --only cpu,latency,memory,instructions --loads simple,prepared --peers pgbouncer
    tests/bench/bench.py --only routing,spread

All peers serve the same private server, and runs alternate between them (A B C A B C), so that what else the machine does hits all alike.  A
figure is the median of its runs, a ratio the median of the ratios within each round.  CPU is of the proxy alone, from the scheduler's account.
Instructions are counted by callgrind over two lengths of run; their difference is free of start-up and of what else the machine does, but
knows nothing of the kernel; they are those of engine = epoll.  The last lines say which bars were held; the exit status does not: times
on a busy machine prove nothing.
"""
import argparse
import glob
import os
import re
import resource
import socket
import ssl
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import Cluster, run, temp_dir, tool  # noqa: E402
from figures import cell, instructions_each, note, ratio_of, say, table, verdict, verdicts  # noqa: E402
import pgwire  # noqa: E402
import routing  # noqa: E402
from peers import (Haproxy, Lunapool, LunapoolScram, LunapoolTls, PgBouncer, PgBouncerScram, PgBouncerSession, PgBouncerTls, Pgpool,  # noqa: E402
                   cpu_us, memory_bytes)

SCALE = 10
LOADS = {  # pgbench's arguments; the pgbouncer to compare with (its 1.18 has prepared statements in session mode only)
    'simple': (['-S', '-c', '16'], PgBouncer),
    'extended': (['-S', '-M', 'extended', '-c', '16'], PgBouncer),
    'prepared': (['-S', '-M', 'prepared', '-c', '16'], PgBouncerSession),
    'tpcb': (['-b', 'tpcb-like', '-c', '8'], PgBouncer),
    '2 MB results': (['-f', 'big.sql', '-c', '2'], PgBouncer),
    'connect': (['-C', '-f', 'one.sql', '-c', '8'], PgBouncer),
    'TLS simple': (['-S', '-c', '16'], PgBouncerTls),
    'TLS 2 MB results': (['-f', 'big.sql', '-c', '2'], PgBouncerTls),
    'TLS connect': (['-C', '-f', 'one.sql', '-c', '8'], PgBouncerTls),
    'SCRAM login': (['-C', '-f', 'one.sql', '-c', '8'], PgBouncerScram),
}
SCRIPTS = {'one.sql': 'select 1;\n', 'big.sql': "select repeat('x', 100) from generate_series(1, 20000);\n"}
BARS = [('cpu', 'simple', 1.1), ('cpu', 'prepared', 0.8), ('cpu', '2 MB results', 0.6), ('memory', 'idle client', 1.0),
        ('memory', 'idle client, TLS', 1.0)]
ratios = {}  # (kind, load) -> ours / pgbouncer's


class Bench:
    def __init__(self, args):
        self.args = args
        self.dir = temp_dir()
        for name, text in SCRIPTS.items():
            with open(f'{self.dir}/{name}', 'w') as f:
                f.write(text)
        self.cluster = None

    def standbys(self, n):
        """From here on the server is one with N standbys."""
        if self.cluster and len(self.cluster.ports) == n + 1:
            return
        if self.cluster:
            self.cluster.stop()
        self.cluster = Cluster(standbys=n)
        status, _, err = self.pgbench(self.cluster.port, 'disable', '-i', '-q', '-s', str(SCALE))
        if status:
            raise RuntimeError(err)
        for i in range(1, n + 1):
            self.cluster.caught_up(i)

    def pgbench(self, port, sslmode, *args, user='postgres'):
        env = {'PGHOST': '127.0.0.1', 'PGPORT': str(port), 'PGUSER': user, 'PGPASSWORD': 'scram secret', 'PGDATABASE': 'postgres',
               'PGSSLMODE': sslmode, 'PGGSSENCMODE': 'disable'}
        return run([tool('pgbench'), *args], env=env, cwd=self.dir, timeout=600)

    def load(self, peer, args, *more):
        """Transactions done, transactions a second; None when the load cannot run there."""
        status, out, err = self.pgbench(peer.port, peer.sslmode, '-n', '-j', '1', *args, *more, user=peer.user)
        done = re.search(r'actually processed: (\d+)', out)
        if status or not done or int(done.group(1)) == 0:
            note(err.strip()[-300:])
            return None
        return int(done.group(1)), float(re.search(r'tps = ([\d.]+)', out).group(1))

    def peers_for(self, bouncer):
        special = {PgBouncerTls: LunapoolTls, PgBouncerScram: LunapoolScram}
        wanted = [special[bouncer], bouncer] if bouncer in special else [Lunapool, bouncer, Haproxy, Pgpool]
        return [p for p in wanted if issubclass(p, Lunapool) or not self.args.peers or p.name.split()[0] in self.args.peers]


def column(peer):
    return peer.name.split()[0]


# ---- CPU per transaction -----------------------------------------------------------------------------------------

def cpu_once(bench, peer, args, seconds):
    """Microseconds for each transaction; transactions a second."""
    before = cpu_us(peer.pid)
    result = bench.load(peer, args, '-T', str(seconds))
    return ((cpu_us(peer.pid) - before) / result[0], result[1]) if result else (None, None)


def cpu(bench):
    cells, speeds, a = {}, {}, bench.args
    loads = [name for name in LOADS if not a.loads or name in a.loads]
    for name in loads:
        args, bouncer = LOADS[name]
        peers = [p(bench.cluster) for p in bench.peers_for(bouncer)]
        runs, speed = ({p.name: [] for p in peers} for _ in range(2))
        for p in peers:
            bench.load(p, args, '-T', '1')
        for _ in range(a.rounds):
            for p in peers:
                cost, tps = cpu_once(bench, p, args, a.seconds)
                runs[p.name].append(cost)
                speed[p.name].append(tps)
        for p in peers:
            speeds[name, column(p)] = cell(speed[p.name], speed['lunapool'], p.name == 'lunapool', '{:.0f}')
            cells[name, column(p)] = cell(runs[p.name], runs['lunapool'], p.name == 'lunapool')
            p.stop()
        if bouncer.name in runs:
            ratios['cpu', name] = ratio_of(runs['lunapool'], runs[bouncer.name])
        note(f'cpu {name}: ' + ', '.join(f'{n} {[v and round(v, 1) for v in r]}' for n, r in runs.items()))
    table('CPU per transaction', 'microseconds; prepared: pgbouncer in session mode', loads, ['lunapool', 'pgbouncer', 'haproxy', 'pgpool2'],
          cells)
    table('Transactions a second', 'the load runs on the same cores', loads, ['lunapool', 'pgbouncer', 'haproxy', 'pgpool2'], speeds)


# ---- latency -----------------------------------------------------------------------------------------------------

def percentile(sorted_values, q):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * q))]


def latency_once(bench, peer, clients, seconds):
    """(p50, p99) in microseconds."""
    for old in glob.glob(f'{bench.dir}/lat*'):
        os.unlink(old)
    if not bench.load(peer, ['-S', '-c', str(clients)], '-T', str(seconds), '-l', '--log-prefix=lat'):
        return None, None
    times = []
    for path in glob.glob(f'{bench.dir}/lat*'):
        with open(path) as f:
            times += [int(line.split()[2]) for line in f]
    times.sort()
    return percentile(times, 0.50), percentile(times, 0.99)


def latency(bench):
    """At 1,000 clients only the poolers: the others hold a server connection for each client."""
    cells, a, rows = {}, bench.args, []
    for clients in (1, 16, 1000):
        kinds = [p for p in bench.peers_for(PgBouncer) if clients < 1000 or p in (Lunapool, PgBouncer)]
        peers = [p(bench.cluster) for p in kinds]
        runs = {p.name: [] for p in peers}
        for _ in range(a.rounds):
            for p in peers:
                runs[p.name].append(latency_once(bench, p, clients, a.seconds))
        for i, q in enumerate(('p50', 'p99')):
            row = f'{clients} clients, {q}'
            rows.append(row)
            for p in peers:
                values = [r[i] for r in runs[p.name]]
                cells[row, p.name] = cell(values, [r[i] for r in runs['lunapool']], p.name == 'lunapool', '{:.0f}')
        for p in peers:
            p.stop()
    table('Latency of a select', 'microseconds; simple protocol', rows, ['lunapool', 'pgbouncer', 'haproxy', 'pgpool2'], cells)


# ---- memory ------------------------------------------------------------------------------------------------------

def clients_of(peer, n):
    """N clients that logged in as a driver does, ran a statement and are idle."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    hello = pgwire.startup({'user': 'postgres', 'database': 'postgres', 'client_encoding': 'UTF8', 'application_name': 'bench'})
    socks = []
    for _ in range(n):
        s = socket.create_connection(('127.0.0.1', peer.port), 20)
        if peer.sslmode != 'disable':
            s.sendall(pgwire.request(pgwire.SSL_REQUEST))
            s.recv(1)
            s = context.wrap_socket(s)
        for message in (hello, pgwire.query('select 1')):
            s.sendall(message)
            seen = b''
            while not seen.endswith(b'Z\0\0\0\5I'):
                part = s.recv(8192)
                if not part:
                    raise RuntimeError(f'connection closed: {seen!r}')
                seen += part
        socks.append(s)
    return socks


def memory_of(peer, n):
    first = clients_of(peer, 10)
    before = memory_bytes(peer.pid)
    many = clients_of(peer, n)
    bytes_each = (memory_bytes(peer.pid) - before) / n
    for s in first + many:
        s.close()
    peer.stop()
    return bytes_each


def memory(bench):
    n, cells = bench.args.clients, {}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    n = min(n, hard - 200)
    rows = {'idle client': (PgBouncer, n), 'idle client, TLS': (PgBouncerTls, n // 4)}
    for row, (bouncer, clients) in rows.items():
        kinds = [k for k in bench.peers_for(bouncer) if issubclass(k, (Lunapool, bouncer))]
        figures = {k: [memory_of(k(bench.cluster), clients)] for k in kinds}
        for k in kinds:
            cells[row, column(k)] = cell(figures[k], figures[kinds[0]], k is kinds[0], '{:.0f}')
        if bouncer in figures:
            ratios['memory', row] = ratio_of(figures[kinds[0]], figures[bouncer])
    table(f'Memory per idle client, {n} clients, {n // 4} with TLS', 'bytes of proportional set size; a server connection each elsewhere', rows,
          ['lunapool', 'pgbouncer'], cells)


# ---- instructions ------------------------------------------------------------------------------------------------

def instructions(bench):
    short, long = 50, 50 + (100 if bench.args.quick else 300)
    cells, loads = {}, [name for name in ('simple', 'prepared') if not bench.args.loads or name in bench.args.loads]
    for name in loads:
        args, bouncer = LOADS[name]
        figures = {}
        for kind in [k for k in bench.peers_for(bouncer) if k in (Lunapool, bouncer)]:
            figures[kind.name] = instructions_each(bench, kind, args, 16, short, long)
            cells[name, column(kind)] = cell([figures[kind.name]], [figures['lunapool']], kind is Lunapool, '{:.0f}')
        if bouncer.name in figures:
            ratios['instructions', name] = figures['lunapool'] / figures[bouncer.name]
    table('Instructions per transaction', 'user space, by callgrind', loads, ['lunapool', 'pgbouncer'], cells)


# ---- all of it ---------------------------------------------------------------------------------------------------

PARTS = {'cpu': cpu, 'latency': latency, 'memory': memory, 'instructions': instructions, 'routing': routing.cost, 'spread': routing.spread}


def judge():
    for kind, load, bar in BARS:
        ratio = ratios.get((kind, load))
        if ratio is None:
            continue
        more = ratios.get(('instructions', load)) if kind == 'cpu' else None
        also = f'; instructions {more:.2f}' if more is not None else ''
        verdict(ratio <= bar, f'{kind}, {load}: {ratio:.2f} of pgbouncer, bar {bar}{also}')
    say()
    for line in verdicts:
        say(line)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true', help='fewer, shorter runs')
    p.add_argument('--only', type=lambda s: s.split(','), default=list(PARTS), help='parts: ' + ','.join(PARTS))
    p.add_argument('--loads', type=lambda s: s.split(','), help='loads: ' + ','.join(LOADS))
    p.add_argument('--peers', type=lambda s: s.split(','), help='pgbouncer,haproxy,pgpool2')
    p.add_argument('--rounds', type=int)
    p.add_argument('--seconds', type=int)
    p.add_argument('--clients', type=int, default=5000)
    p.add_argument('--keep', help="a directory in which callgrind's files stay")
    args = p.parse_args()
    args.rounds = args.rounds or (3 if args.quick else 7)
    args.seconds = args.seconds or (1 if args.quick else 2)
    bench = Bench(args)
    version = subprocess.run(['uname', '-sr'], capture_output=True, text=True).stdout.strip()
    say(f'{version}, {os.cpu_count()} cores, {args.rounds} rounds of {args.seconds} s, workers = 1')
    for part in args.only:
        bench.standbys(0)
        PARTS[part](bench)
    judge()


main()
