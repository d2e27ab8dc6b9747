#!/usr/bin/env -S /usr/bin/python3
"""failover = manual: a lost primary is told of, and an administrator's order begins the failover; what the guard forbids it does not do."""
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403

proxy_only()


class Scene:
    def __init__(self, **options):
        self.cluster = Cluster(standbys=2, extra='full_page_writes = on\nsynchronous_commit = on\n')
        self.cluster.query('create table t (id int)')
        self.cluster.caught_up(1)
        self.cluster.caught_up(2)
        state = temp_dir()
        os.chmod(state, 0o700)
        self.state = state
        self.proxy = Proxy(self.cluster, options={'state_dir': state}, cluster_options={'failover': 'manual', **options})
        self.admin = self.proxy.connect('lunapool')
        wait_for(lambda: self.roles() == ['primary', 'standby', 'standby'], what='all nodes')

    def roles(self):
        return [r['role'] for r in self.admin.table('SHOW NODES')]

    def recorded(self, text):
        with open(f"{self.state}/main.record") as f:
            return text in f.read()

    def refused(self, text, why):
        try:
            self.admin.q(text)
            ok(False, f'{text} is refused')
        except WireError as e:
            like(str(e), why, f'{text} is refused: {why}')

    def lose_primary(self):
        self.cluster.kill_node(0, signal.SIGQUIT)
        self.proxy.wait_log('failover_awaited')
        wait_for(lambda: self.admin.table('SHOW OPERATIONS'), what='SHOW OPERATIONS to tell')

    def ctl(self, *words):
        return run([PROGRAM, 'ctl', '-s', self.proxy.unix, *words])

    def close(self):
        self.proxy.stop()
        self.cluster.stop()


with scenario('a lost primary is told of, and waits for its order'):
    s = Scene()
    s.refused('FAILOVER', 'is not lost: SWITCHOVER')
    idle, writer = s.proxy.connect(), s.proxy.connect()
    idle.q("set application_name to 'idle'")
    s.lose_primary()
    told = []
    waits = threading.Thread(target=lambda: told.append(writer.q('insert into t values (1)', 60)))
    waits.start()
    rows = s.admin.table('SHOW OPERATIONS')
    is_([(r['id'], r['kind'], r['state'], r['source']) for r in rows], [(None, 'failover', 'awaited', 'n0')], 'SHOW OPERATIONS says that it is awaited')
    like(rows[0]['waits_for'], 'FAILOVER is awaited.*refused connections', '… and why')
    s.refused('FAILOVER TO n0', 'may not take its place')
    s.refused('FAILOVER TO n7', 'no node')
    s.refused('SWITCHOVER', 'does not answer')
    is_([r['state'] for r in s.admin.table('SHOW OPERATIONS')], ['awaited'], 'what was refused has begun nothing')
    is_(s.ctl('failover', '--to', 'n2')[0], 0, 'lunapool ctl failover --to n2 does it')
    waits.join()
    is_((told, s.roles()), ([[]], ['unknown', 'standby', 'primary']), 'who would write has waited for it')
    is_(idle.q('show application_name'), [['idle']], 'who was idle has noticed nothing')
    row = s.admin.table('SHOW OPERATIONS')[0]
    is_((row['state'], row['target']), ('done', 'n2'), 'SHOW OPERATIONS tells of it')
    like(row['reason'], '^by order of lunapool: .*refused connections', '… who has ordered it, and why')
    s.refused('FAILOVER', 'is not lost')
    s.close()

with scenario('more would be lost than max_loss: only who says so may order that'):
    s = Scene(max_loss='1kB')
    for i in (1, 2):
        with s.cluster.at(i) as c:
            c.q("alter system set primary_conninfo = ''")
            c.q('select pg_reload_conf()')
    with s.cluster.at(0) as c:
        wait_for(lambda: not c.q('select 1 from pg_stat_replication'), what='no standby to receive')
        c.q('insert into t select generate_series(1, 1000)')
    wait_for(lambda: any(r['role'] == 'standby' and int(r['lag_bytes'] or 0) > 10000 for r in s.admin.table('SHOW NODES')), what='lag to be known')
    s.lose_primary()
    s.refused('FAILOVER', 'bytes of WAL would be lost, and max_loss is')
    is_(s.ctl('failover', '--allow-data-loss')[0], 0, 'with --allow-data-loss it is done')
    row = s.admin.table('SHOW OPERATIONS')[0]
    like(row['reason'], '^by order of lunapool, data loss allowed', 'and remembered who has allowed it')
    like(s.proxy.log(), 'failover_ordered.*by=lunapool.*data_loss=allowed', 'the log says so, too')
    like(row['candidates'], 'n[12]: about [0-9]+ bytes of WAL may be lost', '… and how much')
    s.close()
with scenario('row 39: the synchronous standby is lost, too: only who names the other one may order that'):
    s = Scene()
    s.cluster.set_node(1, primary_conninfo=f'host={s.cluster.host} port={s.cluster.port} user=postgres application_name=n1')
    s.cluster.set_node(0, synchronous_standby_names='n1')
    with s.cluster.at(0) as c:
        wait_for(lambda: c.one("select count(*) from pg_stat_replication where sync_state = 'sync'") == '1', what='n1 to be synchronous')
        c.q('insert into t values (1)')
    s.cluster.caught_up(2)
    wait_for(lambda: all(s.recorded(text) for text in ('sync "n1"', 'alias "n1"')), what='that to be recorded')
    s.cluster.kill_node(1, signal.SIGQUIT)
    wait_for(lambda: s.admin.table('SHOW NODES')[1]['state'] == 'down', what='n1 to be down')
    s.lose_primary()
    for text in ('FAILOVER', 'FAILOVER TO n2', 'FAILOVER ALLOW_DATA_LOSS'):
        s.refused(text, 'acknowledged may be on synchronous standbys')
    is_(s.ctl('failover', '--to', 'n2', '--allow-data-loss')[0], 0, 'named, and with --allow-data-loss, it is done')
    row = s.admin.table('SHOW OPERATIONS')[0]
    is_((row['state'], row['target']), ('done', 'n2'), 'SHOW OPERATIONS tells of it')
    like(row['reason'], '^by order of lunapool, data loss allowed', '… who has allowed it')
    like(row['candidates'], 'n2: commits that were acknowledged may be lost', '… and what')
    is_(s.proxy.connect().q('select id from t'), [['1']], 'it is the primary')
    s.close()
done()
