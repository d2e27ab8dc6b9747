#!/usr/bin/env -S /usr/bin/python3
"""What is known of a primary with two standbys, and how it follows what happens to them; a node of another cluster is refused."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403

proxy_only()
cluster = Cluster(standbys=2, extra='wal_retrieve_retry_interval = 100ms\n')
for i in (1, 2):
    cluster.set_node(i, primary_conninfo=f'host={cluster.host} port={cluster.port} user=postgres application_name=n{i}')
cluster.set_node(0, synchronous_standby_names='n1')
cluster.query('create table t (i int)')
cluster.query('create role nobody_special login')
stranger = Cluster()
alien = {'n3': {'host': stranger.host, 'port': stranger.port}}
proxy = Proxy(cluster, workers=2, pool={'size': 5}, nodes=alien, cluster_options={'max_lag': '1MB', 'max_lag_time': '4s'})
admin = proxy.connect('lunapool')


def picture():
    return {r['node']: r for r in admin.table('SHOW NODES')}


def node(name):
    return picture()[name]


def is_fit(name):
    return node(name)['fit'] == 'yes'


def wait_fit(*names):
    wait_for(lambda: all(is_fit(n) for n in names), what=f'{names} fit')


def wait_unfit(name, why):
    return wait_for(lambda: re.search(why, node(name)['why_not'] or '') and node(name), what=f'{name}: {why}')


def write(kilobytes=1):
    cluster.query(f"insert into t select 1 from generate_series(1, {kilobytes * 16})")


with scenario('the picture'):
    wait_fit('n1', 'n2')
    wait_for(lambda: node('n1')['sync'] == 'sync' and node('n2')['sync'], what='the primary to see both standbys')
    now = picture()
    is_([now[n]['role'] for n in ('n0', 'n1', 'n2', 'n3')], ['primary', 'standby', 'standby', 'foreign'], 'roles')
    is_([now[n]['fit'] for n in ('n0', 'n1', 'n2', 'n3')], [None, 'yes', 'yes', 'no'], 'who takes reads')
    like(now['n3']['why_not'], 'system identifier', "another cluster's node is refused, and it says why")
    like(proxy.log(), r'node_refused.*node=n3.*another cluster', '… in the log, too')
    is_([now[n]['timeline'] for n in ('n0', 'n1', 'n2')], ['1'] * 3, 'timelines')
    is_([now[n]['unseen'] for n in ('n0', 'n1', 'n2')], [None] * 3, 'a superuser may see it all')
    ok(all(int(now[n]['latency_us']) > 0 for n in ('n0', 'n1', 'n2')), 'probes are timed')
    is_([now[n]['sync'] for n in ('n0', 'n1', 'n2')], [None, 'sync', 'async'], 'who is synchronous')
    is_([now[n]['weight'] for n in ('n0', 'n1', 'n2')], ['100'] * 3, 'weights')

with scenario('reads are spread by weight'):
    def shares(n, balance, **weights):
        """How many of N reads of one session each standby has got."""
        proxy.settings['cluster'] |= {'balance': balance}
        proxy.settings['nodes'] = alien | {name: {'weight': w} for name, w in weights.items()}
        proxy.reload()
        before = picture()
        with proxy.connect() as c:
            c.q('select 1')
            wait_for(lambda: is_fit('n1') and is_fit('n2'))
            for _ in range(n):
                c.q('select 1')
        after = picture()
        diag(f"{balance} {[(before[n]['statement_us'],after[n]['statement_us'],after[n]['latency_us']) for n in ('n1','n2')]}")
        is_([after[name]['in_flight'] for name in ('n1', 'n2')], ['0', '0'], f'{balance}: nothing is in flight when all is answered')
        return [int(after[name]['reads']) - int(before[name]['reads']) for name in ('n1', 'n2')]

    one, two = shares(400, 'round-robin', n1=100, n2=300)
    ok(abs(one - 100) <= 8 and abs(two - 300) <= 8, f'round-robin, 1 to 3: {one} and {two}')
    one, two = shares(400, 'least', n1=100, n2=100)
    ok(abs(one - two) < 120, f'least: {one} and {two}')  # six times the standard deviation
    one, two = shares(400, 'p2c', n1=100, n2=100)
    ok(one + two >= 392, f'p2c: {one} and {two}')
    one, two = shares(400, 'random', n1=0, n2=100)
    ok(one == 0 and two >= 392, f'weight 0: {one} and {two}')

with scenario('an idle cluster, whose next record begins behind a page header, has no lag'):
    cluster.query('select pg_switch_wal()')
    insert = cluster.one('select pg_current_wal_insert_lsn()')
    like(insert, '000028$', 'PostgreSQL says the place behind the header')
    wait_for(lambda: {node(n)['position'] for n in ('n0', 'n1', 'n2')} == {insert[:-2] + '00'}, what='the same place everywhere')
    ok(True, 'all are at the page')
    is_([(node(n)['lag_bytes'], node(n)['lag_ms']) for n in ('n1', 'n2')], [('0', '0')] * 2, 'no lag')

with scenario('lag in bytes'):
    cluster.pause_node(1)
    write(2000)
    now = wait_unfit('n1', 'above max_lag$')
    ok(int(now['lag_bytes']) > 1 << 20, f"{now['lag_bytes']} bytes behind")
    wait_fit('n2')
    ok(not is_fit('n1'), 'the other one has caught up')
    cluster.pause_node(1, False)
    wait_fit('n1')
    is_(node('n1')['lag_bytes'], '0', 'it has caught up and is back')

with scenario('lag in time'):
    cluster.pause_node(2)
    write()
    now = wait_unfit('n2', 'above max_lag_time')
    ok(4000 < int(now['lag_ms']), f"{now['lag_ms']} ms behind")
    ok(int(now['lag_bytes']) < 1 << 20, 'and few bytes')
    ok(is_fit('n1'), 'the other one stays')
    cluster.pause_node(2, False)
    wait_fit('n2')
    is_(node('n2')['lag_ms'], '0', 'it has caught up and is back')

with scenario('time that passes without a write is no lag'):
    with cluster.at(1) as c:
        wait_for(lambda: float(c.one('select extract(epoch from now() - pg_last_xact_replay_timestamp())')) > 4.5, what='an old last transaction')
    is_((node('n1')['lag_ms'], is_fit('n1')), ('0', True), 'an idle primary')

with scenario('a standby that is killed'):
    cluster.kill_node(1)
    wait_unfit('n1', 'does not answer')
    wait_for(lambda: node('n1')['reachable'] == 'no')
    ok(is_fit('n2'), 'the other one stays')
    cluster.start_node(1)
    wait_fit('n1')
    ok(True, 'it comes back by itself')
    like(proxy.log(), r'(?s)standby_unfit.*node=n1.*standby_fit.*node=n1', 'the log tells')

with scenario('a standby that hangs'):
    with cluster.at(2) as c:
        prober = int(c.one("select pid from pg_stat_activity where application_name = 'lunapool'"))
    hung = (cluster.process[2].pid, prober)
    for pid in hung:
        os.kill(pid, signal.SIGSTOP)
    wait_unfit('n2', 'does not answer')
    ok(is_fit('n1'), 'the other one stays')
    for pid in hung:
        os.kill(pid, signal.SIGCONT)
    wait_fit('n2')
    ok(True, 'it is left alone and comes back')

with scenario('a standby that receives nothing'):
    with cluster.at(1) as c:
        conninfo = c.one("select setting from pg_settings where name = 'primary_conninfo'")
    cluster.set_node(1, primary_conninfo='')
    with cluster.at(1) as c:
        wait_for(lambda: c.one('select count(*) from pg_stat_wal_receiver') == '0', what='no receiver')
    write(2000)
    wait_unfit('n1', 'max_lag|does not receive')
    cluster.set_node(1, primary_conninfo=conninfo.replace("'", "''"))
    wait_fit('n1')
    ok(True, 'it leaves and comes back')

with scenario('a service role that may see little'):
    proxy.settings['cluster'] |= {'service_user': 'nobody_special'}
    proxy.reload()
    wait_for(lambda: [node(n)['unseen'] for n in ('n0', 'n1', 'n2')] == [None, 'receiver', 'receiver'], what='less to be seen')
    wait_fit('n1', 'n2')
    cluster.query('revoke execute on function pg_control_system() from public')
    proxy.settings['cluster'] |= {'service_user': 'postgres'}
    proxy.reload()
    proxy.settings['cluster'] |= {'service_user': 'nobody_special'}
    proxy.reload()
    wait_for(lambda: [node(n)['unseen'] for n in ('n0', 'n1')] == ['system identifier', 'system identifier, receiver'], what='even less')
    wait_fit('n1', 'n2')
    is_(picture()['n0']['role'], 'primary', 'roles are known all the same')
    like(proxy.log(), r'probe_sees_less.*node=n1.*pg_monitor', 'the log tells what to grant')
    proxy.settings['cluster'] |= {'service_user': 'postgres'}
    proxy.reload()
    wait_for(lambda: node('n1')['unseen'] is None)

with scenario('somebody promotes a standby'):
    cluster.caught_up(1)
    cluster.kill_node(0)
    with cluster.at(1) as c:
        c.q('select pg_promote()')
    wait_for(lambda: [node(n)['role'] for n in ('n0', 'n1', 'n2')] == ['unknown', 'primary', 'standby'], what='the new primary')
    ok(node('n3')['role'] == 'foreign', "a foreign primary is not taken for ours meanwhile")
    wait_unfit('n2', 'receive|timeline|not known yet|answer')
    cluster.set_node(2, primary_conninfo=f'host={cluster.host} port={cluster.ports[1]} user=postgres')
    wait_fit('n2')
    is_([node(n)['timeline'] for n in ('n1', 'n2')], ['2', '2'], 'the other standby follows, and is fit again')
done()
