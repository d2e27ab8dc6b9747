#!/usr/bin/env -S /usr/bin/python3
"""Reads are spread over the nodes by their weights, under each algorithm, for each statement or once for a session."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
import pgwire as w  # noqa: E402

proxy_only()
cluster = Cluster(standbys=3)
db = cluster.database()
cluster.mark_nodes()
HERE = "select current_setting('test.node')"
N = 2000
WEIGHTS = {'n1': 300, 'n2': 100, 'n3': 0}
proxy = Proxy(cluster, workers=2, nodes={n: {'weight': weight} for n, weight in WEIGHTS.items()}, cluster_options={'balance': 'random'})
admin = proxy.connect('lunapool')


def fit():
    return {n['node'] for n in admin.table('SHOW NODES') if n['fit'] == 'yes'}


def put(**options):
    proxy.settings['cluster'] = options
    like(proxy.reload(), ' reloaded ', f'{options}')


def where(c):
    return c.one(HERE)


def away(c):
    wait_for(lambda: where(c) not in ('n0', None), what='a read on a standby')
    return c


def spread(seen):
    return {n: seen.count(n) / len(seen) for n in sorted(set(seen))}


wait_for(lambda: fit() == {'n1', 'n2', 'n3'}, what='three standbys that are fit')
c = away(proxy.connect(db))
for how in ('random', 'round-robin', 'least', 'p2c'):
    with scenario(how):
        put(balance=how)
        seen = [where(c) for _ in range(N)]
        share = spread(seen)
        is_(set(share), {'n1', 'n2'}, f'{how}: a weight of 0 takes nothing, and the primary neither')
        ok(how == 'p2c' or abs(share['n1'] - 0.75) < 0.04, f'{how}: by weight ({share})')
        ok(share['n2'] > 0.05, f'{how}: each takes some')
        xs = spread([c.x(HERE)[0][0] for _ in range(200)])
        is_(set(xs), {'n1', 'n2'}, f'{how}: extended ones, too')

with scenario('round-robin takes turns'):
    put(balance='round-robin')
    rounds = [where(c) for _ in range(400)]
    ok(abs(rounds.count('n1') - 300) <= 3, 'in the rounds of one worker hardly anything is left to chance')

with scenario('once for a session'):
    put(balance='random', balance_scope='session')
    clients = [away(proxy.connect(db)) for _ in range(80)]
    first = [where(x) for x in clients]
    is_([where(x) for x in clients for _ in range(10)], [n for n in first for _ in range(10)], 'each stays where it was sent first')
    is_([x.x(HERE)[0][0] for x in clients], first, '… with extended statements')
    share = spread(first)
    ok(set(share) == {'n1', 'n2'} and abs(share['n1'] - 0.75) < 0.2, f'sessions are spread by weight ({share})')
    one = next(x for x, n in zip(clients, first) if n == 'n2')
    one.q('begin; create table made (i int); commit')
    wait_for(lambda: where(one) == 'n2', what='its standby again, when that shows what it has written')
    ok(True, 'a write does not move a session')
    is_(one.one('/* lunapool: node=n1 */ ' + HERE), 'n1', 'who names a node gets it')
    cluster.kill_node(2)
    wait_for(lambda: fit() == {'n1', 'n3'}, what='the death seen')
    is_({where(x) for x in clients}, {'n1'}, 'when a node dies, its sessions move')
    cluster.start_node(2)
    wait_for(lambda: fit() == {'n1', 'n2', 'n3'}, 60, what='the return')
    is_({where(x) for x in clients}, {'n1'}, '… and stay where they are when it is back')
    put(balance='random')
    proxy.settings['cluster']['slow_start'] = 0
    wait_for(lambda: len({where(x) for x in clients}) == 2, what='all nodes, for each statement')
    ok(True, 'balance_scope = statement spreads them again')

with scenario('all have a weight of 0'):
    for n in ('n1', 'n2'):
        proxy.settings['nodes'][n]['weight'] = 0
    put(balance='p2c')
    is_({where(c) for _ in range(50)}, {'n0'}, 'the primary takes the reads when nobody else may')
    is_(c.one('/* lunapool: node=n3 */ ' + HERE), 'n3', 'a node of weight 0 takes what names it')

done()
