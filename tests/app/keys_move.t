#!/usr/bin/env -S /usr/bin/python3
"""Keys that clients showed at their login open the servers of a new primary, too: sessions stay, and nobody has to log in again."""
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403

proxy_only()
SECRET = 'scram secret'
cluster = Cluster(standbys=1)
stored = cluster.one("select rolpassword from pg_authid where rolname = 'scram_user'")
proxy = Proxy(cluster, workers=2, hba='host all scram_user all scram-sha-256\nhost all all all trust\nlocal all all trust\n', secrets=f'"scram_user" "{stored}"\n')
admin = proxy.connect('lunapool')


def roles():
    return {r[1]: r[4] for r in admin.q('SHOW NODES')}


wait_for(lambda: roles() == {'n0': 'primary', 'n1': 'standby'}, what='both roles')
clients = [proxy.connect(user='scram_user', secret=SECRET) for _ in range(4)]
is_([c.one('select inet_server_port()') for c in clients], [str(cluster.ports[0])] * 4, 'no clear password is stored: the keys of the clients open servers')
with Conn((cluster.host, cluster.ports[1]), database='postgres') as standby:
    lsn = cluster.one('select pg_current_wal_insert_lsn()')
    wait_for(lambda: standby.one(f"select pg_last_wal_replay_lsn() >= '{lsn}'") == 't', what='replication')
    cluster.process[0].send_signal(signal.SIGQUIT)
    cluster.process[0].wait()
    wait_for(lambda: 'primary' not in roles().values(), what='the death seen')
    late = [proxy.connect(user='scram_user', secret=SECRET)]  # while there is no primary
    written = []
    waiting = threading.Thread(target=lambda: written.append(late[0].one('select pg_current_xact_id()::text <> \'\'')))
    waiting.start()
    wait_for(lambda: any('no_primary' in r for r in admin.q('SHOW CLIENTS')), what='a client that waits for one')
    is_(standby.one('select pg_promote()'), 't', 'somebody promotes the standby')
wait_for(lambda: roles()['n1'] == 'primary', what='the new primary')
waiting.join()
is_(written, ['t'], 'who has waited goes on')
for c in clients + late:
    is_(c.one('select inet_server_port()'), str(cluster.ports[1]), 'they open those of the new primary, too')
for c in clients + late:
    c.quit()
wait_for(lambda: not any(r[1] == 'scram_user' for r in admin.q('SHOW CLIENTS')), what='the end of all')
c = proxy.connect(user='scram_user', secret=SECRET)
is_(c.one('select current_user'), 'scram_user', 'who logs in afterwards brings his own')
c.quit()
admin.quit()
done()
