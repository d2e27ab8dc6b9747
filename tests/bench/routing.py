"""routing — what it costs to decide where a statement runs, and how reads are spread, beside pgpool2 with the same nodes.

The cost is a difference: the same load through the same nodes, once with read_write_split = false and once with each way of deciding.  Callgrind
counts its instructions.  What those take is told from runs without callgrind, of the same program and load and alternating with each other:
the time that the serving thread spent outside the kernel, by its instructions.  The difference of the CPU times themselves stands beside it;
it has the kernel's part in it, and the machine's moods.
"""
import contextlib
import os
import re
import statistics

from harness import ROOT, Conn, run, wait_for
from figures import cell, instructions_each, note, say, table, verdict
from peers import Lunapool, Pgpool, cpu_us
import pgwire

READ = 'select abalance from pgbench_accounts where aid = 1'
LOADS = {'simple': ['-S', '-c', '16'], 'extended': ['-S', '-M', 'extended', '-c', '16'], 'prepared': ['-S', '-M', 'prepared', '-c', '16']}


def rows(conn, what):
    answer = conn.ask(pgwire.query(what))
    names = [c[0] for m in answer if m[0] == 'T' for c in pgwire.columns(m[1])]
    return [dict(zip(names, pgwire.text_row(m[1]))) for m in answer if m[0] == 'D']


class Split(Lunapool):
    """In front of standbys that take reads, before it is measured."""
    name = 'built-in'
    engine = 'epoll'
    deadline = 60

    def __init__(self, cluster, wrapper=()):
        super().__init__(cluster, wrapper)
        if self.cluster_options.get('read_write_split', True):
            with Conn(('127.0.0.1', self.port), database='lunapool') as admin:
                wait_for(lambda: sum(n['fit'] == 'yes' for n in rows(admin, 'show nodes')) == len(cluster.ports) - 1, self.deadline, 'fit standbys')
            with Conn(('127.0.0.1', self.port), database='postgres') as c:
                wait_for(lambda: dict(c.q('explain route ' + READ))['statement'] == 'only reads', self.deadline, 'the catalogue')


class Off(Split):
    name = 'off'
    cluster_options = {'read_write_split': False}


class Plan(Split):
    name = 'plan'
    cluster_options = {'policy': f'{ROOT}/lua/lunapool/default.lua', 'max_lag': '16MB'}


class Route(Split):
    name = 'route'
    cluster_options = {'policy': f'{ROOT}/examples/read_write_split.lua', 'max_lag': '16MB'}


# ---- what routing costs ------------------------------------------------------------------------------------------

WAYS = {Off: None, Split: None, Plan: 0.35, Route: 0.7}  # microseconds of CPU that it may cost


def serving_us(pid):
    """Microseconds of the busiest thread: all, and those outside the kernel."""
    busiest = (0, 0)
    for thread in os.listdir(f'/proc/{pid}/task'):
        with contextlib.suppress(OSError):
            with open(f'/proc/{pid}/task/{thread}/schedstat') as f:
                total = int(f.read().split()[0]) / 1000
            with open(f'/proc/{pid}/task/{thread}/stat') as f:
                user, system = (int(x) for x in f.read().rsplit(')', 1)[1].split()[11:13])
            busiest = max(busiest, (total, total * user / max(1, user + system)))
    return busiest


def timed(bench, peer, args):
    """CPU and time outside the kernel, in microseconds for each transaction."""
    before = serving_us(peer.pid)
    done = bench.load(peer, args, '-T', str(bench.args.seconds))[0]
    return [(b - a) / done for a, b in zip(before, serving_us(peer.pid))]


def cost_of_load(bench, name, cells):
    args = LOADS[name]
    short, long = 50, 50 + (100 if bench.args.quick else 300)
    counts = {}
    for kind in WAYS:  # the least of three: how many messages a turn of the loop finds only ever adds
        counts[kind] = min(instructions_each(bench, kind, args, 16, short, long) for _ in range(1 if bench.args.quick else 3))
    peers = {kind: kind(bench.cluster) for kind in WAYS}
    runs = {kind: [] for kind in WAYS}
    for peer in peers.values():
        bench.load(peer, args, '-T', '1')
    for _ in range(bench.args.rounds):
        for kind, peer in peers.items():
            runs[kind].append(timed(bench, peer, args))
    for peer in peers.values():
        peer.stop()
    user = {kind: statistics.median(u for _, u in r) for kind, r in runs.items()}
    for kind, bar in WAYS.items():
        more = counts[kind] - counts[Off]
        us = more * user[kind] / counts[kind]
        measured = [statistics.median(a[at] - b[at] for a, b in zip(runs[kind], runs[Off])) for at in (0, 1)]
        cells[f'{name}, instructions', kind.name] = f'{counts[kind]:.0f} ({more:+.0f})'
        cells[f'{name}, CPU', kind.name] = f'{statistics.median(t for t, _ in runs[kind]):.2f} ({measured[0]:+.2f})'
        cells[f'{name}, of it user', kind.name] = f'{user[kind]:.2f} ({measured[1]:+.2f})'
        if bar:
            verdict(us <= bar, f'routing, {kind.name}, {name}: {us:.2f} us ({more:.0f} instructions of {1000 * user[kind] / counts[kind]:.3f} ns), '
                               f'bar {bar}; measured: user {measured[1]:+.2f}, CPU {measured[0]:+.2f} us')
    note(f'routing {name}: ' + ', '.join(f'{k.name} {[round(t, 2) for t, _ in r]}' for k, r in runs.items()))


def alone(program, *args):
    """What a program of this directory prints that measures a part by itself."""
    status, out, err = run([f'{ROOT}/build/release/bench/{program}', *args], timeout=300)
    if status:
        raise RuntimeError(err)
    return out


def parts_alone():
    sql = alone('sql_bench')
    asked = alone('policy_bench', f'{ROOT}/lua/lunapool/default.lua', f'{ROOT}/examples/read_write_split.lua')
    say()
    say('Parts alone (the best of many batches)')
    say(sql + asked)
    of_100 = int(re.search(r'^ *(\d+) ns  10\d bytes', sql, re.M).group(1))
    verdict(of_100 <= 300, f'classification, cached, of 100 bytes: {of_100} ns, bar 300')
    slowest = max(int(ns) for ns in re.findall(r'^ *(\d+) ns  (?:plan|route)', asked, re.M))
    verdict(slowest <= 400, f'policy alone, read_write_split and the default: {slowest} ns, bar 400')
    hits = min(float(h) for h in re.findall(r'([\d.]+) % hits', sql))
    verdict(hits >= 99, f'classification, hits: {hits:.4f} %, bar 99')


def cost(bench):
    bench.standbys(1)
    cells = {}
    loads = [name for name in ('simple', 'prepared') if not bench.args.loads or name in bench.args.loads]
    for name in loads:
        cost_of_load(bench, name, cells)
    table('Routing: a primary, a standby', 'instructions, microseconds for each transaction; engine = epoll',
          [f'{name}, {what}' for name in loads for what in ('instructions', 'CPU', 'of it user')], [k.name for k in WAYS], cells,
          '; in brackets: more than off; user: outside the kernel')
    parts_alone()


# ---- how reads are spread ----------------------------------------------------------------------------------------

class Spread(Split):
    name = 'lunapool'
    engine = None
    weights = (100, 100)

    def __init__(self, cluster, wrapper=()):
        self.nodes = {f'n{i}': {'weight': w} for i, w in enumerate(self.weights, 1)}
        super().__init__(cluster, wrapper)


class PgpoolSpread(Pgpool):
    """Each statement of its own, and none for the primary: as Lunapool spreads them."""
    weights = (100, 100)

    def balancing(self):
        nodes = ''.join(f"backend_hostname{i} = '127.0.0.1'\nbackend_port{i} = {port}\nbackend_weight{i} = {weight}\n"
                        f"backend_flag{i} = 'ALLOW_TO_FAILOVER'\n"
                        for i, (port, weight) in enumerate(zip(self.cluster.ports, (0, *self.weights))))
        return nodes + """load_balance_mode = on
statement_level_load_balance = on
sr_check_period = 1
sr_check_user = 'postgres'
delay_threshold = 16777216
"""


def reads_by_node(cluster):
    """As the servers have counted; of sessions that have ended all is counted."""
    def quiet(c):
        return c.one("select count(*) from pg_stat_activity where datname = 'postgres' and backend_type = 'client backend' and pid <> pg_backend_pid()") == '0'
    counts = []
    for i in range(len(cluster.ports)):
        with cluster.at(i) as c:
            wait_for(lambda: quiet(c), what='no other session')
            counts.append(int(c.one("select idx_scan from pg_stat_user_tables where relname = 'pgbench_accounts'")))
    return counts


def shares(bench, kind, weights, args, transactions):
    """Percent of the reads on each node."""
    before = reads_by_node(bench.cluster)
    peer = type(kind.__name__, (kind,), {'weights': weights})(bench.cluster)
    try:
        bench.load(peer, args, '-t', str(transactions))
    finally:
        peer.stop()
    done = [b - a for a, b in zip(before, reads_by_node(bench.cluster))]
    return [100 * n / sum(done) for n in done]


def spread(bench):
    bench.standbys(2)
    kinds, cells, lines = (Spread, PgpoolSpread), {}, []
    loads = [name for name in LOADS if not bench.args.loads or name in bench.args.loads]
    for weights in ((100, 100), (100, 300)):
        for name in loads:
            row = f'{name}, {weights[0]}:{weights[1]}'
            lines.append(row)
            for kind in kinds:
                got = shares(bench, kind, weights, LOADS[name], 500 if bench.args.quick else 2000)
                cells[row, kind.name] = ' '.join(f'{s:.1f}' for s in got)
                if kind is Spread:
                    off = max(abs(s - 100 * w / sum(weights)) for s, w in zip(got[1:], weights))
                    verdict(off <= 2, f'reads by weight, {row}: off by {off:.1f} %, bar 2; on the primary {got[0]:.1f} %')
    table('Where reads ran', 'percent on primary, standby, standby; counted by the servers', lines, [k.name for k in kinds], cells, '')
    cells, speeds = {}, {}
    for name in loads:
        peers = [kind(bench.cluster) for kind in kinds]
        runs = {p.name: [] for p in peers}
        for p in peers:
            bench.load(p, LOADS[name], '-T', '1')
        for _ in range(bench.args.rounds):
            for p in peers:
                before = cpu_us(p.pid)
                done, tps = bench.load(p, LOADS[name], '-T', str(bench.args.seconds))
                runs[p.name].append(((cpu_us(p.pid) - before) / done, tps))
        for p in peers:
            for into, at, form in ((cells, 0, '{:.1f}'), (speeds, 1, '{:.0f}')):
                into[name, p.name] = cell([r[at] for r in runs[p.name]], [r[at] for r in runs['lunapool']], p.name == 'lunapool', form)
            p.stop()
        note(f'spread {name}: ' + ', '.join(f'{n} {[(round(c, 1), round(t)) for c, t in r]}' for n, r in runs.items()))
    table('CPU per transaction, two standbys', 'microseconds', loads, [k.name for k in kinds], cells)
    table('Transactions a second, two standbys', 'the load runs on the same cores', loads, [k.name for k in kinds], speeds)
