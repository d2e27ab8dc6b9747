#!/usr/bin/env -S /usr/bin/python3
"""The primary dies, in several ways, and a standby takes its place: sessions stay, what waits goes on, nothing that was acknowledged is lost."""
import os
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import Scene, signal_tree  # noqa: E402

proxy_only()


with scenario('kill -9 of all of the primary, one synchronous standby'):
    s = Scene(sync='ANY 1 (n1, n2)')
    idle = s.proxy.connect()
    idle.q("set application_name to 'idle'")
    s.load()
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.ends()
    s.end_load()
    new = s.primary()
    s.judge('kill -9', new, 5)
    is_(idle.q('show application_name'), [['idle']], 'who was idle has noticed nothing')
    other = 3 - new
    wait_for(lambda: s.rows()[f'n{other}']['fit'] == 'yes', what='the other standby to follow')
    is_(s.rows()[f'n{other}']['timeline'], '2', 'the other standby follows on the new timeline')
    is_(s.promotions(2), 1, 'one promotion')
    # it comes back as it was: writable, on the old timeline
    s.cluster.start_node(0)
    wait_for(lambda: s.rows()['n0']['reachable'] == 'yes')
    is_([s.rows()['n0'][k] for k in ('role', 'fit')], ['unknown', 'no'], 'row 35: the old primary, back and writable, is nothing')
    like(s.rows()['n0']['why_not'], 'quarantine', '… and it says why')
    s.proxy.wait_log(r'node_diverged.*node=n0 timeline=1 range="0/[0-9A-F]+ to 0/[0-9A-F]+" bytes=\d+')
    ok(True, '… and what it has alone')
    with s.proxy.connect() as c:
        is_({c.one('select inet_server_port()') for _ in range(50)} & {str(s.cluster.ports[0])}, set(), 'no statement goes there')
    # the record outlives us
    s.proxy.stop()
    s.restart_proxy()
    s.wait_primary(f'n{new}')
    like(s.proxy.log(), r'journal_read.*epoch=2', 'a Lunapool that is started again remembers')
    wait_for(lambda: s.rows()['n0']['why_not'] and 'quarantine' in s.rows()['n0']['why_not'], what='the quarantine')
    ok(s.is_untouched(0), '… and nobody is at the old primary')
    # made a standby of the new one by its administrator, it proves itself
    with s.cluster.at(0) as c:
        c.q('set synchronous_commit = local')
        c.q('create table only_there (i int)')
    s.cluster.kill_node(0, signal.SIGINT)
    with s.cluster.at(new) as c:
        c.q('checkpoint')  # pg_rewind reads the timeline from the control file
    s.cluster._as(tool('pg_rewind'), '-D', f'{s.cluster.dir}/n0', '-R', f'--source-server=host={s.cluster.host} port={s.cluster.ports[new]} user=postgres dbname=postgres')
    s.cluster.start_node(0)
    s.proxy.wait_log('node_released.*node=n0')
    wait_for(lambda: s.rows()['n0']['fit'] == 'yes', what='the old primary as a standby')
    ok(True, 'row 35: rewound, it takes reads again')
    s.close()

with scenario('the primary freezes, thaws, and is in quarantine'):
    s = Scene(sync='ANY 1 (n1, n2)')
    s.load()
    signal_tree(s.cluster, 0, signal.SIGSTOP)
    s.ends()
    s.end_load()
    new = s.primary()
    s.judge('frozen', new, 8)
    signal_tree(s.cluster, 0, signal.SIGCONT)
    with s.cluster.at(0) as c:
        wait_for(lambda: c.one("select count(*) from pg_stat_activity where application_name = 'lunapool'") != '0', what='it is asked again')
        is_([int(r[0]) for r in c.q('select id from t') if int(r[0]) in set(s.acked[-50:])], [], 'nothing was written there after it')
    wait_for(lambda: s.is_untouched(0), what='the backends that were frozen to end')
    ok(True, 'nobody is at the old primary')
    is_(s.role(f'n{new}'), 'primary', 'the new one stays')
    s.close()

for name, number in (('pg_ctl stop -m fast', signal.SIGINT), ('pg_ctl stop -m immediate', signal.SIGQUIT)):
    with scenario(name):
        s = Scene()
        s.load()
        s.cluster.kill_node(0, number)
        s.ends()
        s.end_load()
        is_(s.errors, [], f'{name}: no other error than for what was in flight')
        ok(len(s.unknown) <= 14, f'{name}: {len(s.unknown)} statements were at one of the 10 servers, or on the way there')
        diag(f'{name}: writes stood still for {s.history.longest_wait() * 1000:.0f} ms')
        is_(s.promotions(2), 1, f'{name}: one promotion')
        s.close()

with scenario('a crash of one backend is no death'):
    s = Scene()
    with s.proxy.connect() as c:
        def works():
            with contextlib.suppress(WireError):
                return c.q('insert into t select coalesce(max(id), 0) + 1 from t returning id')
        def ready():
            with open(f'{s.cluster.dir}/n0.log') as f:
                return f.read().count('ready to accept connections')
        c.q('insert into t values (1)')
        before = ready()
        with s.cluster.at(0) as victim:
            os.kill(int(victim.one('select pg_backend_pid()')), signal.SIGKILL)
        wait_for(lambda: ready() > before, what='its recovery')
        wait_for(works, what='writes to go on')
    is_(re.findall('primary_lost', s.proxy.log()), [], 'row 14: nothing was begun')
    # I15: it is full, and refuses the service role
    full = [s.cluster.at(0) for _ in range(3)]
    s.cluster.set_node(0, max_connections=None)
    with open(f'{s.cluster.dir}/n0/pg_hba.conf', 'r+') as f:
        rules = f.read()
        f.seek(0)
        f.write('host all postgres 127.0.0.1/32 reject\n' + rules)
    full[0].q('select pg_reload_conf()')
    full[0].q("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lunapool'")
    s.proxy.wait_log('probe_refused.*node=n0')
    with open(f'{s.cluster.dir}/n0/pg_hba.conf', 'w') as f:
        f.write(rules)
    full[0].q('select pg_reload_conf()')
    wait_for(lambda: s.role('n0') == 'primary')
    is_(re.findall('primary_lost', s.proxy.log()), [], 'row 21: nothing was begun')
    # row 33: somebody promotes a standby beside it
    with s.cluster.at(2) as c:
        c.q('select pg_promote()')
    s.proxy.wait_log('node_quarantined.*node=n2')
    is_(s.role('n0'), 'primary', 'row 33: the recorded one keeps')
    ok(s.is_untouched(2), '… and nobody is at the other')
    s.close()

with scenario('by the example that has nothing but SQL'):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../examples/failover_by_sql.lua')) as f:
        s = Scene(sync='ANY 1 (n1, n2)', policy=f.read())
    s.load()
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.ends()
    s.end_load()
    new = s.primary()
    s.consistent('by SQL', new)
    wait_for(lambda: s.row(3 - new)['fit'] == 'yes', 30, 'the other standby to follow')
    is_(s.row(3 - new)['timeline'], '2', 'the policy has told the other standby whom to follow')
    is_([r['state'] for r in s.admin.table('SHOW TASKS') if r['name'] == 'follow_primary'], ['done'], '… by its hook')
    s.close()

with scenario('orders of administrators'):
    s = Scene()
    order = lambda text: s.admin.q(text)  # noqa: E731
    reader = s.proxy.connect()
    reader.q('select count(*) from t')
    order('DETACH n2')
    is_([s.rows()['n2'][k] for k in ('fit', 'sv_active', 'sv_idle')], ['no', '0', '0'], 'a node that is detached has no connections')
    ports = {reader.one('select inet_server_port()') for _ in range(40)}
    is_(str(s.cluster.ports[2]) in ports, False, '… and gets no reads')
    for text, why in (('DETACH n2', 'detached already'), ('DETACH n0', 'is the primary'), ('DETACH n9', 'no node'), ('ATTACH n1', 'not detached'),
                      ('MAINTENANCE OFF', 'not on'), ('MAINTENANCE ON other', 'no cluster')):
        try:
            order(text)
            ok(False, f'{text} is refused')
        except WireError as e:
            like(str(e), why, f'{text} is refused: it says why')
    s.proxy.stop()
    s.restart_proxy()
    s.wait_primary('n0')
    wait_for(lambda: 'cut off' in (s.rows()['n2']['why_not'] or ''), what='n2 to stay away')
    ok(True, 'it stays detached over a restart')
    order('ATTACH main.n2')
    wait_for(lambda: s.rows()['n2']['fit'] == 'yes', what='n2 to take reads')
    ok(True, 'ATTACH takes it back')
    # maintenance: a death is looked at and nothing is done
    writer = s.proxy.connect()
    order('MAINTENANCE ON')
    s.cluster.kill_node(2)
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.proxy.wait_log('primary_state.*state=dead')
    is_(s.admin.table('SHOW OPERATIONS'), [], 'in maintenance nothing is begun')
    waiting = threading.Thread(target=lambda: writer.q('insert into t values (1)', 30))
    waiting.start()
    order('MAINTENANCE OFF')
    s.ends()
    waiting.join()
    rows = s.admin.table('SHOW OPERATIONS')
    is_([(r['id'], r['kind'], r['state'], r['source'], r['target']) for r in rows], [('1', 'failover', 'done', 'n0', 'n1')], 'SHOW OPERATIONS tells what was done')
    like(rows[0]['steps_ms'], r'^confirm 0, .*promote \d+, publish \d+, follow \d+$', '… when')
    like(rows[0]['candidates'], r'n2: it does not answer', '… who was no candidate')
    like(rows[0]['reason'], r'refused connections', '… and why')
    # a standby that was away finds the new primary
    s.cluster.start_node(2)
    wait_for(lambda: s.rows()['n2']['fit'] == 'yes', 60, what='n2 to follow')
    is_(s.rows()['n2']['timeline'], '2', 'a standby that comes back later is told whom to follow')
    s.close()

with scenario('switchover'):
    s = Scene(sync='ANY 1 (n1, n2)')
    order = lambda text: s.admin.q(text, 30)  # noqa: E731

    def refused(text, why):
        try:
            order(text)
            ok(False, f'{text} is refused')
        except WireError as e:
            like(str(e), why, f'{text} is refused: {why}')
    refused('SWITCHOVER TO n0', 'to be replaced')
    refused('SWITCHOVER n7', 'no node')
    busy = s.proxy.connect()
    busy.q('begin; insert into t values (-1)')
    refused('SWITCHOVER TO n2', 'given up: 1 connections .* are in use')
    is_(busy.one('select id from t where id = -1'), '-1', 'who was in a transaction goes on')
    busy.q('commit')
    s.load()
    order('SWITCHOVER TO n2')
    s.end_load()
    s.no_errors('switchover')
    is_(s.role('n2'), 'primary', 'n2 it is')
    diag(f'switchover: writes stood still for {s.history.longest_wait() * 1000:.0f} ms')
    ok(s.history.longest_wait() < 3 * SLOW, 'and for a moment only')
    s.acked.append(-1)
    s.consistent('switchover', 2)
    wait_for(lambda: s.rows()['n1']['fit'] == 'yes', what='n1 to follow')
    is_([s.rows()[n]['timeline'] for n in ('n1', 'n2')], ['2', '2'], 'the other standby follows')
    like(s.rows()['n0']['why_not'], 'quarantine', 'the old primary waits for its rewind')
    rows = s.admin.table('SHOW OPERATIONS')
    is_([(r['kind'], r['state']) for r in rows], [('switchover', 'done'), ('switchover', 'aborted')], 'both are told of')
    like(rows[0]['steps_ms'], r'^drain 0, hold \d+, fence \d+, choose \d+, promote \d+, publish \d+, follow \d+$', '… with their steps')
    s.close()

with scenario('row 48: Lunapool is killed at any time of a failover'):
    for ms in range(20, 320, 60) if not LONG else range(0, 400, 10):
        s = Scene(standbys=2)
        signal_tree(s.cluster, 0, signal.SIGKILL)
        time.sleep(ms / 1000)  # which step that is differs from run to run, and that is what is wanted
        s.kill_proxy()
        before = re.findall(r'operation_step.* step=(\w+)', s.proxy.log())
        s.restart_proxy()
        with s.proxy.connect() as c:
            c.q('insert into t values (1)', 30)
        new = s.primary()
        with open(glob.glob(f'{s.state}/*.record')[0]) as f:
            record = f.read()
        is_((re.search(r'epoch (\d+)', record).group(1), s.rows()[f'n{new}']['timeline']), ('2', '2'),
            f'row 48: after {ms} ms, at {before[-1] if before else "nothing"}: one promotion')
        s.close()
done()
