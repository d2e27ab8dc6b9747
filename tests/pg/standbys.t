#!/usr/bin/env -S /usr/bin/python3
"""Late and dead standbys under pgbench: a session always reads what it has written, a killed standby costs nobody a statement and comes back by itself.

LUNAPOOL_LONG=1: 100,000 writes that are read at once, with one and with two workers, and several deaths in each way to send statements.
"""
import os
import re
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
import pgwire as w  # noqa: E402

proxy_only()
MODES = ('simple', 'extended', 'prepared')
cluster = Cluster(standbys=2)
db = cluster.database(setup="""
create table own (client int, i int, primary key (client, i));
create table seen (i int primary key); insert into seen values (1);
create table pgbench_accounts (aid int primary key, bid int, abalance int, filler char(84));
insert into pgbench_accounts select i, 1, 0, '' from generate_series(1, 100000) i;
create table pgbench_branches (bid int primary key, bbalance int, filler char(88)); insert into pgbench_branches values (1, 0);
""")
for n in (1, 2):
    cluster.caught_up(n)


def nodes(admin):
    """SHOW NODES by node and column."""
    answer = admin.ask(w.query('show nodes'))
    names = [c[0] for m in answer if m[0] == 'T' for c in w.columns(m[1])]
    rows = [dict(zip(names, w.text_row(m[1]))) for m in answer if m[0] == 'D']
    return {r['node']: r for r in rows}


def proxies(**kw):
    """A Lunapool whose standbys take reads, and its console."""
    p = Proxy(cluster, pool={'size': 20}, **kw)
    admin = p.connect('lunapool')
    wait_for(lambda: sum(n['fit'] == 'yes' for n in nodes(admin).values()) == 2, what='two standbys that are fit')
    with p.connect(db) as c:
        wait_for(lambda: dict(c.q('explain route select abalance from pgbench_accounts where aid = 1'))['statement'] == 'only reads', what='the catalogue')
    return p, admin


def script(proxy, name, text):
    with open(f'{proxy.dir}/{name}', 'w') as f:
        f.write(text)
    return f'{proxy.dir}/{name}'


def pgbench(proxy, *args):
    """(transactions done, what it said of errors)"""
    status, out, err = proxy.tool('pgbench', '-n', *args, database=db, timeout=1800)
    done = re.search(r'actually processed: (\d+)', out)
    said = '\n'.join(line for line in err.splitlines() if 'error' in line or 'aborted' in line)
    return int(done.group(1)) if done else 0, said[:1000] + (f' status {status}' if status else '')


def scans(table):
    """How often each node has read TABLE, as it says itself; of sessions that have ended all is counted."""
    counts = []
    for i in range(3):
        with cluster.at(i, db) as c:
            wait_for(lambda: c.one(f"select count(*) from pg_stat_activity where datname = '{db}' and backend_type = 'client backend'") == '1',
                     what='no other session')
            counts.append(int(c.one(f"select coalesce(sum(seq_scan + idx_scan), 0) from pg_stat_user_tables where relname = '{table}'")))
    return counts


# A write that is not found divides by zero, which ends the client that misses it.
PAIR = """\\set i {first} + :n
insert into own values (:client_id, :i);
{pause}select 1 / count(*) from own where client = :client_id and i = :i;
\\set n :n + 1
"""


def own_writes(workers, pairs):
    before = {table: scans(table) for table in ('own', 'pgbench_accounts')}
    proxy, _ = proxies(workers=workers)
    clients, quiet = 12, 24
    first = workers * 10000000
    at_once = script(proxy, 'at_once.sql', PAIR.format(first=first, pause=''))
    # By then the position is sampled and the standby that is not late may have it, or has it not.
    later = script(proxy, 'later.sql', PAIR.format(first=first + 5000000, pause='\\set us random(1, 1500) * 1000\n\\sleep :us us\n'))
    others, over = [], threading.Event()

    def other():
        while not over.is_set():
            others.append(pgbench(proxy, '-S', '-c', '4', '-t', '500', '-s', '1'))

    reader = threading.Thread(target=other)
    reader.start()
    try:
        each = pairs // (clients * len(MODES))
        slow = max(3, pairs // 2000)
        runs = threads(lambda: [pgbench(proxy, '-M', mode, '-c', str(clients), '-j', '1', '-t', str(each), '-D', f'n={k * each}', '-f', at_once)
                                for k, mode in enumerate(MODES)],
                       lambda: [pgbench(proxy, '-c', str(quiet), '-t', str(slow), '-D', 'n=0', '-f', later)])
    finally:
        over.set()
        reader.join()
    with cluster.connect(db) as c:
        last = int(c.one(f'select max(i) from own where client = 0 and i < {first} + 5000000'))
    proxy.stop()
    done = sum(d for run in runs for d, _ in run)
    is_([said for run in runs for _, said in run if said], [], f'workers = {workers}: {done} writes were read by their sessions, of which none was missed')
    is_(done, each * clients * len(MODES) + quiet * slow, '… of as many as there were to be')
    is_((last, [said for _, said in others if said]), (first + each * len(MODES) - 1, []), '… and nobody else had an error')
    own, accounts = ([b - a for a, b in zip(before[t], scans(t))] for t in ('own', 'pgbench_accounts'))
    ok(own[2] > quiet * slow // 10, f'… standbys take such reads when they have the write: {own[0]} ran on the primary, {own[1]} on the late standby, {own[2]} on the other')
    ok(min(accounts[1:]) > 0.2 * sum(accounts), f'… and both take those of other sessions: {accounts}')


with scenario('read your writes'):
    cluster.delay_node(1, '2s')
    with cluster.at(1, db) as late, cluster.connect(db) as c:
        wait_for(lambda: late.one('show recovery_min_apply_delay') == '2s', what='the delay')
        c.q('update seen set i = i + 1')
        is_(late.one('select i from seen'), '1', 'a standby is late by 2 s')
    for workers in (1, 2):
        own_writes(workers, 100000 if LONG else 1800)
    cluster.delay_node(1, '0')


def dies(proxy, admin, modes, node):
    """One death and return under pgbench in MODES at once, each with 16 clients."""
    over, runs = threading.Event(), {mode: [] for mode in modes}

    def traffic(mode):
        while not over.is_set():
            runs[mode].append(pgbench(proxy, '-S', '-M', mode, '-c', '16', '-j', '1', '-t', '200', '-s', '1'))

    def passed(n=2):
        want = {mode: len(runs[mode]) + n for mode in modes}
        wait_for(lambda: all(len(runs[mode]) >= want[mode] for mode in modes), 120, 'traffic')

    def reads():
        return int(nodes(admin)[f'n{node}']['reads'])

    clients = [threading.Thread(target=traffic, args=(mode,)) for mode in modes]
    for t in clients:
        t.start()
    try:
        passed()
        cluster.kill_node(node)
        wait_for(lambda: nodes(admin)[f'n{node}']['fit'] == 'no', what='the death seen')
        passed()
        cluster.start_node(node)  # by the main thread: the server ends with whoever started it
        wait_for(lambda: nodes(admin)[f'n{node}']['fit'] == 'yes', 60, 'the return')
        before = reads()
        wait_for(lambda: reads() > before, 60, 'reads on it')
        passed()
    finally:
        over.set()
        for t in clients:
            t.join()
    told = [(mode, done, said) for mode in modes for done, said in runs[mode] if said or done != 3200]
    is_(told, [], f'kill -9 of n{node} under pgbench -S -M {", ".join(modes)}: no error in {sum(d for r in runs.values() for d, _ in r)} statements')


with scenario('a standby is killed'):
    for workers in (1, 2) if LONG else (2,):
        proxy, admin = proxies(workers=workers)
        deaths = [(MODES, 2)] if not LONG else [((mode,), 1 + k % 2) for k, mode in enumerate(MODES * 3)] + [(MODES, 1), (MODES, 2)]
        for modes, node in deaths:
            dies(proxy, admin, modes, node)
        proxy.stop()

def foretold(c, sql):
    return dict(c.q(f'explain route {sql}'))


with scenario('nobody is the primary'):
    proxy, admin = proxies(cluster_options={'hold_timeout': '1s'})
    roaming = Proxy(cluster, cluster_options={'policy': 'main.lua'}, files={'main.lua': 'return { api = 1 }'}, others={'other': (cluster, {})},
                    redirects={'listed': {'application': ['listed'], 'to': 'standby'}})
    roamers = [roaming.connect(db), roaming.connect(db, params={'application_name': 'listed'})]
    for c in roamers:
        c.q('select count(*) from seen')
    known, wrote, by_name, reading = (proxy.connect(db) for _ in range(4))
    known.q('select 1')
    by_name.ask(w.parse('named', 'select count(*) from seen') + w.sync())
    reading.q('begin read only')
    reading.one('select count(*) from seen')
    wrote.q('update seen set i = i where false')
    cluster.kill_node(0)
    wait_for(lambda: nodes(admin)['n0']['role'] == 'unknown', what='the death seen')
    was = int(known.one('select count(*) from seen'))
    for what, c in (('who is known', known), ('who comes now', proxy.connect(db)), ('a transaction that was under way', reading)):
        is_([int(c.one('select count(*) from seen')) for _ in range(3)], [was] * 3, f'{what} goes on reading')
    reading.q('commit')
    reading.q('begin read only')
    is_(int(reading.one('select count(*) from seen')), was, '… reads again')
    reading.q('commit')
    roaming_admin = roaming.connect('lunapool')
    wait_for(lambda: nodes(roaming_admin)['n0']['role'] == 'unknown', what='the death seen')
    is_([int(c.one('select count(*) from seen')) for c in roamers], [was] * 2, 'whose policy may send him to other clusters, or whom a list sends to standbys, goes on reading')
    is_([m[0] for m in by_name.ask(w.bind('', 'named') + w.execute() + w.sync())], ['2', 'D', 'C', 'Z'], 'statements by name, too')
    is_(wrote.error('select count(*) from seen'), '08006', 'who has written, and may not see it yet, waits')
    is_(known.error('update seen set i = i where false'), '08006', 'who writes waits')
    is_(known.error('select count(*) from seen for update'), '08006', '… and who locks')
    is_(int(known.one('select count(*) from seen')), was, '… and reads behind that')
    for c in (known, *roamers):
        told = foretold(c, 'select count(*) from seen')
        ok(told['runs on'] in ('n1', 'n2') and told['runs on'] == next(n for n in ('n1', 'n2') if ', chosen' in told[n]), f'EXPLAIN ROUTE tells the standby that takes a read: {told["runs on"]}')
    for c, sql in ((known, 'update seen set i = 1'), (wrote, 'select count(*) from seen')):
        is_(foretold(c, sql)['runs on'], 'nothing: no primary is known', f'… and that nobody takes: {sql}')
    with proxy.connect(db) as c:
        c.q('begin')
        like(foretold(c, 'update seen set i = 1')['runs on'], 'nothing: no primary is known', '… in a transaction, too')
    cluster.start_node(0)
    wait_for(lambda: nodes(admin)['n0']['role'] == 'primary', 60, 'the return')
    for c in (known, wrote, by_name, reading):
        c.q('update seen set i = i where false')
    is_(int(wrote.one('select count(*) from seen')), was, 'all write and read again')
    roaming.stop()
    proxy.stop()

cluster.stop()
done()
