#!/usr/bin/env -S /usr/bin/python3
"""What happens to standbys, row by row of the catalogue of failures: nobody at the primary notices, and who may not become primary does not.

LUNAPOOL_LONG=1: those that come and go, and those that cannot follow.
"""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import Scene, signal_tree  # noqa: E402

proxy_only()

with scenario('row 38: the synchronous standby is lost; row 39: the primary, too'):
    name = 'row 38'
    s = Scene(sync='n1')
    s.load(readers=1)
    signal_tree(s.cluster, 1, signal.SIGKILL)
    wait_for(lambda: s.row(1)['fit'] == 'no', what='n1 to be lost')
    with s.cluster.at(0) as c:
        wait_for(lambda: c.one("select count(*) from pg_stat_activity where wait_event = 'SyncRep'") == '4', what='all writers to wait')
    s.nothing_begun(name)
    s.cluster.start_node(1)
    s.writes_go_on(f'{name}: writes')
    s.no_errors(name)
    name = 'row 39'
    wait_for(lambda: s.fit() == 2, 30, 'both standbys fit')
    for i in (0, 1):
        signal_tree(s.cluster, i, signal.SIGKILL)
    s.proxy.wait_log('operation_waits.*acknowledged may be on synchronous standbys')
    ok(not s.is_writable(2), f'{name}: the asynchronous one is not promoted')
    s.cluster.start_node(1)
    s.ends()
    s.end_load()
    ok(s.primary() in (1, 2), f'{name}: when the synchronous one is back, it is, or who has as much')
    s.consistent(name, s.primary())
    is_(s.errors, [], f'{name}: clients have waited')
    s.close()

with scenario('row 40: all are lost, and come back one by one'):
    name = 'row 40'
    s = Scene(sync='ANY 1 (n1, n2)')
    s.load()
    # n2 stays behind
    s.cluster.set_node(2, primary_conninfo='host=127.0.0.1 port=1')
    with s.cluster.at(2) as c:
        c.q("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'walreceiver'")
    s.writes_go_on()
    for i in (0, 1, 2):
        signal_tree(s.cluster, i, signal.SIGKILL)
    s.proxy.wait_log('operation_waits')
    s.cluster.start_node(2)
    s.proxy.wait_log('operation_waits.*1 of 2 needed do')
    ok(not s.is_writable(2), f'{name}: who is behind is not promoted as the first')
    s.cluster.start_node(1)
    s.ends()
    s.end_load()
    is_(s.primary(), 1, f'{name}: the one that has everything is')
    s.consistent(name, 1)
    is_(s.errors, [], f'{name}: clients have waited')
    s.close()

with scenario('row 44: another cluster is at a standby\'s address'):
    name = 'row 44'
    other = Cluster()
    s = Scene(relays=True)
    s.load()
    s.relay[2].server = (other.host, other.port)
    s.relay[2].cut()
    s.proxy.wait_log('node_foreign|another cluster|system identifier')
    s.end_load()
    wait_for(lambda: 'another cluster' in (s.row(2)['why_not'] or ''), what='n2 to be foreign')
    ok(True, f'{name}: it takes nothing, and says why')
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.ends()
    is_(s.primary(), 1, f'{name}: … and it is no candidate')
    is_(other.one("select count(*) from pg_stat_database where datname = 'postgres' and xact_commit > 0 and exists (select from pg_class where relname = 't')"), '0', f'{name}: nothing of ours is there')
    s.close()
    other.stop()

with scenario('row 42: only a delayed standby is left'):
    name = 'row 42'
    s = Scene(standbys=1)
    s.cluster.delay_node(1, '1h')
    s.load(writers=2, readers=1)
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.proxy.wait_log('operation_waits.*with a delay on purpose')
    ok(not s.is_writable(1), f'{name}: it is not promoted')
    s.cluster.start_node(0)
    s.end_load()
    is_((s.primary(), s.errors), (0, []), f'{name}: the primary is back, clients have waited')
    s.close()

with scenario('row 45: whom a standby shall follow has no slot for it; what is left of slots where nobody needs them'):
    name = 'row 45'
    s = Scene(policy='return { api = 1, failover = function(event, cluster) return { cluster:node("n1"), cluster:node("n2") } end }')
    with s.cluster.at(0) as c:
        for slot in ('for_n2', 'of_somebody'):
            c.q(f"select pg_create_physical_replication_slot('{slot}')")
        s.cluster.set_node(2, primary_slot_name='for_n2')
        wait_for(lambda: c.one("select active from pg_replication_slots where slot_name = 'for_n2'") == 't', what='n2 to use its slot')
    wait_for(lambda: s.fit() == 2, 30, 'both to be fit')
    s.load(writers=2)
    s.cluster.kill_node(0, signal.SIGINT)
    s.ends()
    wait_for(lambda: s.row(2)['fit'] == 'yes', 30, 'n2 to stream')
    s.end_load()
    is_(s.primary(), 1, f'{name}: n1 is the primary')
    slots = 'select slot_name, slot_type, active from pg_replication_slots order by 1'
    with s.cluster.at(1) as c:
        is_(c.q(slots), [['for_n2', 'physical', 't']], f'{name}: it has a slot for who follows it')
    is_(s.errors, [], f'{name}: clients have waited')
    with open(f'{s.cluster.dir}/n0/standby.signal', 'w'), open(f'{s.cluster.dir}/n0/postgresql.auto.conf', 'a') as f:
        f.write(f"primary_conninfo = 'host={s.cluster.host} port={s.cluster.ports[1]} user=postgres application_name=n0'\n")
    s.cluster.start_node(0)
    s.proxy.wait_log('slots_dropped.*slots=for_n2')
    with s.cluster.at(0) as c:
        is_(c.q(slots), [['of_somebody', 'physical', 'f']], f'{name}: where it was primary, what n2 had is gone, and nothing else')
    s.close()

if LONG:
    with scenario('row 41: the upstream of a cascading standby dies'):
        name = 'row 41'
        s = Scene()
        s.feed_standby(2, s.cluster.ports[1])
        with s.cluster.at(2) as c:
            wait_for(lambda: c.one(f'select count(*) from pg_stat_wal_receiver where sender_port = {s.cluster.ports[1]}') == '1', what='n2 to follow n1')
        wait_for(lambda: s.fit() == 2, what='both to be fit')
        s.load()
        signal_tree(s.cluster, 1, signal.SIGKILL)
        wait_for(lambda: s.row(1)['fit'] == 'no', what='n1 to be lost')
        s.writes_go_on()
        with s.cluster.at(2) as c:
            wait_for(lambda: c.one(f"select count(*) from pg_stat_wal_receiver where status = 'streaming' and sender_port = {s.cluster.ports[0]}") == '1', 40, 'n2 to be told to follow n0')
        wait_for(lambda: s.row(2)['fit'] == 'yes', 30, what='n2 to be fit again')
        ok(True, f'{name}: it follows the primary itself')
        s.end_load()
        s.nothing_begun(name)
        s.no_errors(name)
        s.close()

    with scenario('row 43: a standby that comes and goes'):
        name = 'row 43'
        s = Scene()
        s.load(readers=4)
        for _ in range(10):
            signal_tree(s.cluster, 2, signal.SIGKILL)
            wait_for(lambda: s.row(2)['fit'] == 'no', what='n2 to be lost')
            s.cluster.start_node(2)
            wait_for(lambda: s.row(2)['fit'] == 'yes', 60, what='n2 to be back')
        s.end_load()
        s.nothing_begun(name)
        s.no_errors(name)
        s.close()

done()
