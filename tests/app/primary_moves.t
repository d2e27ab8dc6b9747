#!/usr/bin/env -S /usr/bin/python3
"""Somebody else moves the primary, as EDB Failover Manager does, with examples/efm.lua: first in order, then because it dies.  Sessions stay, statements
wait for the new primary and run there."""
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from harness import PROGRAM, ROOT  # noqa: E402

proxy_only()
cluster = Cluster(standbys=1)
cluster.query('create table t (i int)', 'postgres')
state = temp_dir()
os.chmod(state, 0o700)
with open(f'{ROOT}/examples/efm.lua') as f:
    EFM = f.read()
proxy = Proxy(cluster, workers=2, pool={'size': 5}, options={'state_dir': state}, cluster_options={'failover': 'external', 'policy': 'efm.lua'}, files={'efm.lua': EFM})
admin = proxy.connect('lunapool')


def roles():
    return {r['node']: (r['role'], r['reachable']) for r in admin.table('SHOW NODES')}


def script(what, i):
    """EFM's script.load.balancer.attach, .detach."""
    return run([PROGRAM, 'ctl', '-s', proxy.unix, 'run', f'efm-{what}', f'--host=n{i}'])[0]


def moves(old, new, how):
    """OLD ends so, a client waits, NEW is promoted."""
    with cluster.at(new) as standby:
        cluster.port = cluster.ports[old]
        cluster.caught_up(new)
        cluster.kill_node(old, how)
        wait_for(lambda: roles()[f'n{old}'] == ('unknown', 'no'), what='the death seen')
        waiting = threading.Thread(target=lambda: clients[0].q(f'insert into t values ({10 + old})'))
        waiting.start()
        wait_for(lambda: any('no_primary' in r for r in admin.q('SHOW CLIENTS')), what='a client that waits')
        is_(standby.one('select pg_promote()'), 't', f'a statement waits for a primary, somebody promotes n{new}')
    waiting.join()
    wait_for(lambda: roles() == {f'n{old}': ('unknown', 'no'), f'n{new}': ('primary', 'yes')}, what='the new primary')
    proxy.wait_log(f' notice .*text="n{new} is the primary of main"')
    for i, c in enumerate(clients):
        is_(c.q('show application_name'), [[f'c{i}']], 'a session stays, with what it has set')
        is_(c.one('select inet_server_port()'), str(cluster.ports[new]), '… at the new primary')


wait_for(lambda: roles() == {'n0': ('primary', 'yes'), 'n1': ('standby', 'yes')}, what='both roles')
ok(True, 'who is primary is found out')
clients = [proxy.connect() for _ in range(4)]
for i, c in enumerate(clients):
    c.q(f"set application_name to 'c{i}'")
    c.q(f'insert into t values ({i})')

with scenario('a switchover: the old one comes back as a standby'):
    is_(script('detach', 0), 0, 'its scripts have nothing to do for a primary')
    moves(0, 1, signal.SIGINT)
    with open(f'{cluster.dir}/n0/postgresql.auto.conf', 'a') as f:
        f.write(f"primary_conninfo = 'host={cluster.host} port={cluster.ports[1]} user=postgres'\n")
    with open(f'{cluster.dir}/n0/standby.signal', 'w'):
        pass
    is_(script('detach', 0), 0, 'it is kept away until it is ready')
    cluster.start_node(0)
    is_(script('attach', 0), 0, '… and taken back')
    wait_for(lambda: roles() == {'n0': ('standby', 'yes'), 'n1': ('primary', 'yes')}, what='the old primary as a standby')
    wait_for(lambda: [r['fit'] for r in admin.table('SHOW NODES') if r['node'] == 'n0'] == ['yes'], what='it to take reads')

with scenario('a failover: it dies'):
    moves(1, 0, signal.SIGQUIT)
    is_(sorted(int(r[0]) for r in clients[0].q('select i from t')), [0, 1, 2, 3, 10, 11], 'the statements that waited have run, once, and nothing is lost')
is_([r['kind'] for r in admin.table('SHOW OPERATIONS')], [], 'Lunapool itself has moved nothing')
proxy.stop()
done()
