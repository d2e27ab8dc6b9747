#!/usr/bin/env -S /usr/bin/python3
"""Sessions that LISTEN go on listening when their server is lost, and on the next primary after a failover."""
import os
import re
import signal
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import Scene, signal_tree  # noqa: E402
from pgwire import bind, execute, fields, parse, query, sync  # noqa: E402

proxy_only()
CHANNELS = "select coalesce(string_agg(c, ',' order by c), '') from pg_listening_channels() c"


def hears(c, payload):
    """It waits for that notification, doing nothing."""
    while payload not in [p for _, p in c.notifications]:
        m = c.recv()
        if m is None or m[0] == 'E':
            return False
    return True


def warned(c):
    return [n['C'] for n in c.notices]


with scenario('the books of what a session listens to'):
    cluster = Cluster.get()
    db = cluster.database()
    proxy = Proxy(cluster, workers=2, pool={'size': 4, 'max_pinned': 4}, options={'http_port': 0})
    sender = proxy.connect(db)

    def lose(c):
        """Its server goes, while it does nothing; it listens again by itself."""
        pid = c.one('select pg_backend_pid()')
        at = len(proxy.log())
        sender.q(f'select pg_terminate_backend({pid})')
        return at

    def after(*statements, before=()):
        """The channels it listens to on another server, having run STATEMENTS."""
        with proxy.connect(db) as c:
            for s in statements:
                c.ask(s if isinstance(s, bytes) else query(s))
            here = c.one(CHANNELS)
            pid = c.one('select pg_backend_pid()')
            if here:
                at = lose(c)
                proxy.wait_log('listen_moved', start=at)
                return here, c.one(CHANNELS), c.one('select pg_backend_pid()') != pid
            return here, '', True

    def one(text):
        return parse('', text) + bind('', '') + execute()

    for name, want, *statements in (
            ('one', 'a', 'listen a'),
            ('names that need quotes', 'A "b",it\'s', 'listen "A ""b"""', 'listen "it\'s"'),
            ('names beyond ASCII', 'ärger,日本', 'listen "ärger"; listen "日本"'),
            ('several in a Query', 'a,b', 'listen b; listen a'),
            ('twice', 'a', 'listen a', 'listen a'),
            ('as extended messages', 'a,b', one('listen a') + one('listen b') + sync()),
            ('prepared', 'a', parse('p', 'listen a') + bind('', 'p') + execute() + sync()),
            ('committed', 'a,b', 'begin', 'listen a', 'listen b', 'commit'),
            ('rolled back', '', 'begin', 'listen a', 'rollback'),
            ('one of two rolled back', 'a', 'listen a', 'begin; listen b; unlisten a; rollback'),
            ('undone by an error', 'a', 'listen a', 'listen b; select 1/0'),
            ('undone by an error in a segment', 'a', 'listen a', one('listen b') + one('select 1/0') + sync()),
            ('behind a commit in the same Query', 'a,b', 'listen a', 'listen b; commit; listen c; select 1/0'),
            ('rolled back to a savepoint', 'a,d', 'begin', 'listen a', 'savepoint s', 'listen b', 'savepoint t', 'listen c', 'rollback to s', 'listen d', 'commit'),
            ('released', 'a,b', 'begin', 'listen a', 'savepoint s', 'listen b', 'release s', 'commit'),
            ('a failed transaction', 'a', 'listen a', 'begin', 'listen b', 'select 1/0', 'commit'),
            ('UNLISTEN of one', 'b', 'listen a; listen b', 'unlisten a'),
            ('UNLISTEN of another', 'a', 'listen a', 'unlisten b'),
            ('UNLISTEN of all by name', '', 'listen a; listen b', 'unlisten a', 'unlisten b'),
            ('UNLISTEN *', '', 'listen a; listen b', 'unlisten *'),
            ('UNLISTEN * that is rolled back', 'a,b', 'listen a; listen b', 'begin; unlisten *; listen c; rollback'),
            ('UNLISTEN *, and again', 'c', 'listen a', 'begin; unlisten *; listen c; commit'),
            ('DISCARD ALL', '', 'listen a', 'discard all'),
            ('RESET ALL', 'a', 'listen a', 'reset all')):
        is_(after(*statements), (want, want, True), f'{name}: on another server, too')
    with proxy.connect(db) as c:
        c.q('listen a')
        c.q('unlisten a')
        with proxy.connect('lunapool') as admin:
            is_(admin.table('SHOW PINS'), [], 'who listens to nothing any more keeps no server')

with scenario('what a session is when it listens again'):
    c = proxy.connect(db)
    c.q("set application_name = 'mine'; set search_path = pg_catalog; listen a")
    c.ask(parse('p', 'select $1::int + 1') + sync())
    at = lose(c)
    proxy.wait_log('listen_moved', start=at)
    sender.q("notify a, 'again'")
    ok(hears(c, 'again'), 'it hears, by itself')
    is_(warned(c), ['01000'], '… and knows that it may have missed something')
    is_((c.one('show application_name'), c.one('show search_path'), c.ask(bind('', 'p', ['1']) + execute() + sync())[-1][0]), ('mine', 'pg_catalog', 'Z'),
        'its settings and statements are what they were')
    c.q('set client_min_messages = error')
    at = lose(c)
    proxy.wait_log('listen_moved', start=at)
    c.q('select 1')
    is_(warned(c), ['01000'], 'who wants no warnings gets none')
    port = proxy.wait_log(r'http_listening .*port=(\d+)').group(1)
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics', timeout=20) as r:
        like(r.read().decode(), fr"(?m)^lunapool_listens_moved_total {len(re.findall('listen_moved', proxy.log()))}$", 'it is counted')
    for what in ('create temp table t ()', 'do $$ begin end $$', 'listen "' + 'ü' * 40 + '"', 'set client_encoding = latin1; listen "ü"', 'select pg_advisory_lock(1)'):
        c = proxy.connect(db)
        c.q(f'listen a; {what}')
        lose(c)
        like(str([m for m in [c.recv()] if m]), '57P01', f'with {what} beside it, it ends')
    c = proxy.connect(db)
    c.q('listen "ü"')
    c.q('set client_encoding = latin1')
    lose(c)
    like(str([m for m in [c.recv()] if m]), '57P01', 'nor does one go on whose name has another encoding now')

with scenario('kill -9 of the primary'):
    s = Scene(pool=60)
    clients = [s.proxy.connect() for _ in range(20)]
    for i, c in enumerate(clients):
        c.q(f'listen common; listen own_{i}')
    busy, open_ = s.proxy.connect(), s.proxy.connect()
    busy.q('listen common')
    open_.q('listen common')
    open_.q("begin; listen never; insert into t values (1, 'never')")
    busy.send(query('select pg_sleep(100)'))
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.ends()
    n = len(clients) + 2
    wait_for(lambda: s.proxy.log().count('listen_moved') >= n, what='all to listen again')
    is_(s.proxy.log().count('listen_moved'), n, 'each listens again, once')
    with s.cluster.at(s.primary()) as other:
        other.q("notify common, 'all'")
        for i in range(20):
            other.q(f"notify own_{i}, 'own {i}'")
    is_([c for c in clients if not hears(c, 'all')], [], 'all hear what the new primary has to tell')
    is_([i for i, c in enumerate(clients) if not hears(c, f'own {i}')], [], 'each on its own channel')
    like(str([m[1] for m in busy.until('Z') if m[0] == 'E']), '08007', 'a statement under way fails')
    is_((hears(busy, 'all'), busy.one(CHANNELS)), (True, 'common'), '… and its session listens')
    is_((open_.error('select 1'), open_.q('rollback'), open_.one(CHANNELS)), ('40001', [], 'common'), 'a LISTEN of a transaction that was lost is none')
    is_([c.one('select 1') for c in clients], ['1'] * 20, 'and nobody was cut')
    s.close()

with scenario('row 80: switchover with 20 sessions that listen'):
    name = 'row 80'
    s = Scene(pool=60, switchover_timeout='1min')
    clients = [s.proxy.connect() for _ in range(20)]
    for i, c in enumerate(clients):
        c.q(f'listen common; listen own_{i}')
    s.load()
    # one notifies in a transaction that lasts until all others wait
    last, early = s.proxy.connect(), s.proxy.connect()
    early.q("set application_name = 'listening'; listen common")
    last.q("begin; notify common, 'last'; insert into t values (0, 'last')")
    told = s.proxy.connect('lunapool')
    told.send(query('SWITCHOVER TO n1'))
    s.proxy.wait_log('operation_step.*step=drain')
    wait_for(lambda: s.primary() is None, what='new transactions to wait')
    early.send(query("insert into t values (-1, 'early')"))
    wait_for(lambda: 'listening,waiting' in [f"{r['application_name']},{r['state']}" for r in s.admin.table('SHOW CLIENTS')], what='what a listener says to wait')
    last.q('commit')
    is_([m[0] for m in told.until('Z', 1, 30)], ['C', 'Z'], f'{name}: it is done')
    is_([m[0] for m in early.until('Z') if m[0] not in 'AN'], ['C', 'Z'], f'{name}: what a listener began meanwhile is done on the new primary')
    s.end_load()
    s.no_errors(name)
    s.consistent(name, 1)
    diag(f'{name}: writes stood still for {s.history.outage() * 1000:.0f} ms')
    wait_for(lambda: s.proxy.log().count('listen_moved') >= 21, what='all to listen again')
    is_([c for c in [*clients, early] if not hears(c, 'last')], [], f'{name}: all hear what was notified last on the old primary')
    with s.cluster.at(1) as other:
        is_(other.q('select id from t where id <= 0 order by id'), [['-1'], ['0']], f'{name}: what both have written is there')
        other.q("notify common, 'all'")
        for i in range(20):
            other.q(f"notify own_{i}, 'own {i}'")
    is_([i for i, c in enumerate(clients) if not hears(c, 'all') or not hears(c, f'own {i}')], [], f'{name}: and what the new one tells, each on its own channel')
    is_([c.notifications.count(('common', 'last')) for c in clients], [1] * 20, f'{name}: … once')
    ok(s.is_untouched(0), f'{name}: nobody listens at the old primary')
    s.close()

with scenario('row 80: clients who are in the way of a switchover'):
    name = 'row 80'
    s = Scene(pool=60, switchover_timeout='700ms')
    listens, temp, lock, open_ = (s.proxy.connect() for _ in range(4))
    listens.q('listen common')
    temp.q('create temp table mine (i int)')

    def findings(text):
        return [r['finding'] for r in s.admin.table(text)]

    def reconfigured(node, **options):
        """And all have been asked anew."""
        s.reconfigure(**options)
        s.admin.send(query(f'SWITCHOVER TO {node} DRY_RUN'))
        return wait_for(lambda: 'E' not in [m[0] for m in s.admin.until('Z')] or s.admin.send(query(f'SWITCHOVER TO {node} DRY_RUN')), what=f'{node} as a candidate')

    def refused(text):
        s.admin.send(query(text))
        return next(fields(m[1]) for m in s.admin.until('Z', 1, 30) if m[0] == 'E')

    e = refused('SWITCHOVER TO n1')
    like(e['M'], 'given up: 1 connections to "n0" are in use', f'{name}: who has a temporary table stops it')
    like(e['D'], r'^client \d+, user postgres, database postgres: temp$', f'{name}: … and is named')
    lock.q('select pg_advisory_lock(1)')
    open_.q("begin; insert into t values (1, 'open')")
    found = findings('SWITCHOVER TO n1 DRY_RUN')
    is_(found[0], 'n1 would be the primary instead of n0', f'{name}: a dry run tells who it would be')
    is_(sorted(x.split(': ', 1)[0] for x in found[1:3]), ['n1', 'n2'], f'{name}: … what is thought of each')
    is_(sorted(x.rsplit(': ', 1)[1] for x in found if x.startswith('in the way')), ['advisory_lock', 'in a transaction', 'temp'], f'{name}: … and who is in the way')
    like(found[-1], '^1 client only listens', f'{name}: … or not')
    is_(findings('SWITCHOVER DRY_RUN')[0][:2] in ('n1', 'n2'), True, f'{name}: of the best one, too')
    like(refused('SWITCHOVER TO n9 DRY_RUN')['M'], 'no node', f'{name}: what would be refused is')
    like(run([PROGRAM, 'ctl', '-s', s.proxy.unix, 'switchover', '--to', 'n1', '--dry-run'])[1], 'n1 would be the primary.*\n(.*\n)*in the way: client', f'{name}: ctl says the same')
    is_((len(s.operations()), s.primary()), (1, 0), f'{name}: it does nothing')
    others = [s.proxy.connect() for _ in range(25)]
    for c in others:
        c.q('create temp table mine (i int)')
    like(refused('SWITCHOVER')['D'], r'temp; client .* and \d+ more$', f'{name}: of many some are named')
    for c in others:
        c.quit()
    is_((temp.q('select * from mine'), lock.one('select pg_try_advisory_lock(1)'), open_.one('select count(*) from t'), warned(listens)), ([], 't', '1', []),
        f'{name}: nobody has lost anything')
    open_.q('commit')
    reconfigured('n1', switchover_timeout='1h')
    s.load()
    s.admin.q('SWITCHOVER TO n1 FORCE', 60)  # who is idle is not waited for
    s.end_load()
    s.no_errors(f'{name}, FORCE')
    for c, pin in ((temp, 'temp'), (lock, 'advisory_lock')):
        like(str([fields(m[1]) for m in iter(c.recv, None) if m[0] == 'E']), f"57P01.*{pin}", f'{name}, FORCE: {pin} is cut off, and is told why')
    s.proxy.wait_log('listen_moved')
    is_((open_.one('select 1'), listens.one(CHANNELS), warned(listens)), ('1', 'common', ['01000']), f'{name}, FORCE: nobody else is')
    like(s.proxy.log(), 'switchover_cuts.*connections=2', f'{name}, FORCE: it is in the log')
    open_.q("begin; insert into t values (-2, 'open')")
    wait_for(lambda: s.fit() == 1, what='the other standby to follow')
    reconfigured('n2', switchover_timeout='700ms')
    s.admin.q('SWITCHOVER TO n2 FORCE', 30)
    is_((open_.error('select 1'), open_.q('rollback'), open_.q('select id from t where id = -2')), ('40001', [], []), f'{name}, FORCE: a transaction that does not end is lost, its session is not')
    s.close()
done()
