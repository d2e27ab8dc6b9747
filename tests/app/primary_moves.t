#!/usr/bin/env -S /usr/bin/python3
"""The primary dies and somebody promotes the standby: sessions stay, statements wait for the new primary and run there."""
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403

proxy_only()
cluster = Cluster(standbys=1)
cluster.query('create table t (i int)', 'postgres')
proxy = Proxy(cluster, workers=2, pool={'size': 5})
admin = proxy.connect('lunapool')


def roles():
    return {r[1]: (r[4], r[5]) for r in admin.q('SHOW NODES')}


wait_for(lambda: roles() == {'n0': ('primary', 'yes'), 'n1': ('standby', 'yes')}, what='both roles')
ok(True, 'who is primary is found out')
clients = [proxy.connect() for _ in range(4)]
for i, c in enumerate(clients):
    c.q(f"set application_name to 'c{i}'")
    c.q(f'insert into t values ({i})')
with cluster.at(1) as standby:
    cluster.caught_up(1)
    cluster.kill_node(0, signal.SIGQUIT)
    wait_for(lambda: roles()['n0'] == ('unknown', 'no'), what='the death seen')
    ok(True, 'a death is seen')
    waiting = threading.Thread(target=lambda: clients[0].q('insert into t values (10)'))
    waiting.start()
    wait_for(lambda: any('no_primary' in r for r in admin.q('SHOW CLIENTS')), what='a client that waits')
    ok(True, 'a statement waits for a primary')
    is_(standby.one('select pg_promote()'), 't', 'somebody promotes the standby')
waiting.join()
wait_for(lambda: roles() == {'n0': ('unknown', 'no'), 'n1': ('primary', 'yes')}, what='the new primary')
is_(sorted(int(r[0]) for r in clients[0].q('select i from t')), [0, 1, 2, 3, 10], 'the statement that waited has run, once, and nothing is lost')
for i, c in enumerate(clients):
    is_(c.q('show application_name'), [[f'c{i}']], 'a session stays, with what it has set')
    is_(c.one('select inet_server_port()'), str(cluster.ports[1]), '… at the new primary')
like(proxy.log(), r'primary', 'the log tells')
done()
