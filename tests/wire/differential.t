#!/usr/bin/env -S /usr/bin/python3
"""Random conversations tell nobody whether there is a proxy: message by message the same as from PostgreSQL itself.

LUNAPOOL_SEEDS=100-200 runs those seeds; a failing one is printed as the fewest flights that still differ.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from dialogue import SETUP, Author, converse, smaller  # noqa: E402

CLIENTS = 4
cluster = Cluster.get()
near = cluster.database('t_diff_near')
far = cluster.database('t_diff_far')
for i in range(CLIENTS):
    cluster.role(f'c{i}')
for d in (near, far):
    for i in range(CLIENTS):
        cluster.query(f'grant all on database "{d}" to c{i}')
TIMEOUT = 10 * SLOW


def reset(database, me):
    cluster.query(f"drop schema if exists {me} cascade; {SETUP.format(me=me)} grant all on schema {me} to {me}; grant all on all tables in schema {me} to {me}", database)


def talk(addr, database, flights):
    c = Conn(addr, database=database, timeout=TIMEOUT)
    try:
        return converse(c, flights, TIMEOUT)
    finally:
        c.quit()


def play(proxy, seed, me, flights=None):
    """Flights, told by PostgreSQL, told by the proxy."""
    flights = flights or Author(seed, me).dialogue()
    reset(near, me)
    reset(far, me)
    return flights, talk((cluster.host, cluster.port), near, flights), talk(proxy.addr, far, flights)


def words(line):
    if line[0] == 'Z':
        return f'ready {line[1].decode()}'
    if line[0] in 'EN' and len(line) > 1:
        return f'{line[0]} ' + ' '.join(f'{k}={v!r}' for k, v in line[1])
    return ' '.join(str(x) for x in line)[:300]


def explain(seed, me, flights, want, got):
    diag(f'seed {seed}, client {me}: {len(flights)} flights differ')
    for n, (data, kind) in enumerate(flights):
        for s in pgwire.show_sent(data):
            diag(f'  > {s}')
        a, b = (x[n] if n < len(x) else [] for x in (want, got))
        same = 0
        while same < min(len(a), len(b)) and a[same] == b[same]:
            same += 1
        for line in a[:same] if a == b else a[max(0, same - 3):same]:
            diag(f'        {words(line)}'[:300])
        if a != b:
            for line in a[same:same + 6]:
                diag(f'   pg < {words(line)}')
            for line in b[same:same + 6]:
                diag(f'  lp  < {words(line)}')
            if same < min(len(a), len(b)) and a[same][0] == b[same][0] == 'Z' and a[same][1] == b[same][1]:
                x, y = set(a[same][2]), set(b[same][2])
                diag(f'   pg told {sorted(x - y)}, lp told {sorted(y - x)}')
            break


def compare(proxy, seeds, me):
    """Plays seeds as client ME; the number of those that differed."""
    bad = 0
    for seed in seeds:
        flights, want, got = play(proxy, seed, me)
        if want != got:
            bad += 1
            failures.append((seed, me, flights, want, got))
            if bad >= 5:
                break
    return bad


def part(name, proxy, seeds):
    failures.clear()
    seeds = list(seeds)
    threads(*[lambda i=i: compare(proxy, seeds[i::CLIENTS], f'c{i}') for i in range(CLIENTS)])
    ok(not failures, f'{name}: {len(seeds)} conversations of {CLIENTS} clients at once')
    failures.sort(key=lambda f: f[0])
    for seed, me, flights, want, got in failures[:4]:
        less = smaller(flights, lambda fl: (lambda _, a, b: a != b)(*play(proxy, seed, me, fl)))
        _, a, b = play(proxy, seed, me, less)
        if a == b:
            diag(f'seed {seed}: does not differ when played alone')
            less, a, b = flights, want, got
        explain(seed, me, less, a, b)
    diag(f'seeds that differ: {[f[0] for f in failures]}') if failures else None


failures = []
first, last = (int(x) for x in os.environ.get('LUNAPOOL_SEEDS', '1-20001' if LONG else '1-401').split('-'))
half = (first + last) // 2
pin_all = {'max_pinned': 100}
with scenario('two workers, two servers'):
    part('two workers, two servers', Proxy(cluster, workers=2, pool={'size': 2, **pin_all}), range(first, half))
with scenario('one worker, one server'):
    part('one worker, one server', Proxy(cluster, workers=1, pool={'size': 1, **pin_all}), range(half, last))
done()
