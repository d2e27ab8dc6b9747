#!/usr/bin/env -S /usr/bin/python3
"""Reads run on standbys and nobody can tell: what a session wrote it reads, what a standby refuses the primary answers, a dead standby costs nobody a statement."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
import pgwire as w  # noqa: E402

proxy_only()
cluster = Cluster(standbys=2)
db = cluster.database(setup='''
create table t (i int primary key, v text);
insert into t select i, 'v' || i from generate_series(1, 100) i;
create table fresh (i int);
create function needs_primary() returns text language plpgsql stable as $$ declare t text; begin execute 'select pg_current_wal_' || 'insert_lsn()' into t; return 'yes'; end $$;
''')
cluster.mark_nodes()
HERE = "select current_setting('test.node')"


def nodes(admin):
    """SHOW NODES by node and column."""
    answer = admin.ask(w.query('SHOW NODES'))
    names = [c[0] for m in answer if m[0] == 'T' for c in w.columns(m[1])]
    rows = [dict(zip(names, w.text_row(m[1]))) for m in answer if m[0] == 'D']
    return {r['node']: r for r in rows}


def proxies(**kw):
    p = Proxy(cluster, **{'workers': 2, 'pool': {'size': 3, 'safe_functions': ['needs_primary']}, **kw})
    admin = p.connect('lunapool')
    wait_for(lambda: sum(n['fit'] == 'yes' for n in nodes(admin).values()) == 2, what='two standbys that are fit')
    return p, admin


def settled(c):
    """All standbys show what was written, and this session's reads go there again."""
    for i in (1, 2):
        lsn = cluster.one('select pg_current_wal_insert_lsn()')
        with cluster.at(i) as n:
            wait_for(lambda: n.one(f"select pg_last_wal_replay_lsn() >= '{lsn}'") == 't', what='replay')
    for i in (1, 2):
        wait_for(lambda: c.one(f'/* lunapool: node=n{i} */ {HERE}') == f'n{i}', what='a read on a standby')
    wait_for(lambda: where(c) != 'n0', what='… by itself')


def where(c):
    return c.one(HERE)


def segment(sql):
    return w.parse('', sql) + w.bind('', '') + w.execute() + w.sync()


def pipelined(c, units):
    """What each of them says, or its SQLSTATE, sent at once."""
    c.send(b''.join(units))
    return [w.text_row(m[1])[0] if m[0] == 'D' else w.fields(m[1])['C'] for m in c.until('Z', len(units)) if m[0] in 'DE']


with scenario('reads and writes'):
    proxy, admin = proxies()
    c = proxy.connect(db)
    settled(c)
    seen = [where(c) for _ in range(100)]
    ok({'n1', 'n2'} <= set(seen) and seen.count('n0') < 50, 'reads are spread over the standbys')
    is_(c.x(HERE)[0][0] != 'n0', True, '… extended ones, too')
    is_([c.q(q)[-1][0] for q in (f'begin; {HERE}; commit', f'{HERE} from t where i = 1 for update', f'with x as (delete from t where i = -1 returning 1) {HERE}')],
        ['n0'] * 3, 'what writes or locks runs on the primary')
    settled(c)
    rows = c.ask(w.parse('', f'{HERE}, $1::int + v::int from (select 1 v) x') + w.bind('', '', [4]) + w.describe('P') + w.execute() + w.sync())
    is_([m[0] for m in rows], ['1', '2', 'T', 'D', 'C', 'Z'], 'a segment is answered in order')
    is_(w.text_row(rows[3][1])[0] != 'n0', True, '… by a standby')
    c.x(f'{HERE} as named', name='s1')
    is_([w.text_row(m[1])[0] != 'n0' for m in c.ask(w.bind('', 's1') + w.execute() + w.sync()) if m[0] == 'D'], [True], 'a prepared statement is a read by its name')
    c.send(b''.join(w.query(HERE) for _ in range(5)) + w.query('insert into fresh values (0)') + w.query(HERE))
    got = [w.text_row(m[1])[0] for m in c.until('Z', 7) if m[0] == 'D']
    is_([g != 'n0' for g in got], [True] * 5 + [False], 'of a pipeline the reads in front of the write run on a standby, that behind it on the primary')

with scenario('what a standby refuses'):
    settled(c)
    is_(c.q('select needs_primary()'), [['yes']], 'a function that only the primary can run is run there')
    is_(c.x('select needs_primary()'), [['yes']], '… in the extended protocol')
    is_(c.error('select 1/(i - i) from t'), '22012', 'an error of the client is its own')
    is_(c.error('select nothing'), '42703', '… of any kind')
    cluster.query('create table brand_new as select 7 i', db)
    is_(c.q('select i from brand_new'), [['7']], 'what is not replayed is found on the primary')

with scenario('a read behind a read, that the standby refuses'):
    c = proxy.connect(db)
    wait_for(lambda: where(c) != 'n0', what='a read on a standby')
    told = []
    for _ in range(20):
        c.send(w.query(HERE) + w.close('S', 's3') + segment('select nope'))
        told.append([m[0] for m in c.until() + c.until()])
    is_(told, [['T', 'D', 'C', 'Z', '3', 'E', 'Z']] * 20, 'what is answered without a server is answered once')

with scenario('read your writes'):
    cluster.delay_node(1, '1s')
    cluster.delay_node(2, '1s')
    reader = proxy.connect(db)
    missed = 0
    for n in range(1, 300):
        c.q(f'insert into fresh values ({n})')
        missed += c.one(f'select count(*) from fresh where i = {n}') != '1'
    is_(missed, 0, 'a session reads what it has written, although standbys are late')
    is_(where(reader) != 'n0', True, '… and others still read there')
    cluster.delay_node(1, '0')
    cluster.delay_node(2, '0')

with scenario('hints and the session\'s setting'):
    settled(c)
    is_(c.one('/* lunapool: route=primary */ ' + HERE), 'n0', 'a hint asks for the primary')
    is_(c.one('/*NO LOAD BALANCE*/ ' + HERE), 'n0', '… in the words of Pgpool-II, too')
    is_({c.one('/* lunapool: node=n2 */ ' + HERE) for _ in range(20)}, {'n2'}, '… or for a node')
    c.q("set lunapool.route = 'primary'")
    is_({where(c) for _ in range(10)}, {'n0'}, 'a session asks for the primary')
    c.q('reset lunapool.route')
    settled(c)
    is_(c.q('/* lunapool: node=n2 */ insert into fresh values (1000) returning i'), [['1000']], 'a hint sends no write to a standby')
    settled(c)
    asked = ['node=n1', 'route=primary', 'node=n2', 'node=n1', 'route=standby', 'node=n2', 'route=primary', 'node=n2']
    asked = [f'/* lunapool: {a} */ {HERE}' for a in asked]
    meant = ['n1', 'n0', 'n2', 'n1', 'n1', 'n2', 'n0', 'n2']
    is_(pipelined(c, [w.query(a) for a in asked]), meant, 'in a pipeline each read has its own hint')
    is_(pipelined(c, [segment(a) for a in asked]), meant, '… extended ones, too')
    reads = sum(int(n['reads']) for n in nodes(admin).values())
    is_(len(set(pipelined(c, [w.query(HERE)] * 20))), 1, 'plain reads in one pipeline go together')
    is_(sum(int(n['reads']) for n in nodes(admin).values()) - reads, 1, '… in one trip')


def explained(c, sql):
    return dict(c.q('explain route ' + sql))


with scenario('EXPLAIN ROUTE'):
    settled(c)
    e = explained(c, HERE)
    is_((e['statement'], e['runs on'] in ('n1', 'n2'), e['decision'], e['decided by']), ('only reads', True, 'the standbys', 'built-in routing'), 'of a read')
    like(e['n1'], '^standby, (chosen|candidate), lag ', '… with what is known of a standby')
    e = explained(c, 'insert into fresh values (3000)')
    is_((e['statement'], e['runs on']), ('is for the primary: writes', 'n0'), 'of a write')
    is_(c.one('select count(*) from fresh where i = 3000'), '0', '… which does not run')
    is_(explained(c, '/* lunapool: node=n2 */ ' + HERE)['runs on'], 'n2', 'of a hint')
    c.q('begin; insert into fresh values (3001)')
    like(explained(c, HERE)['runs on'], '^the server of its transaction or session: n0$', 'in a transaction')
    c.q('rollback')

with scenario('policy'):
    POLICY = """
local M = { api = 1 }
function M.route(query, cluster)
  if query.text:find('at home', 1, true) then return cluster.primary end
  if query.text:find('unwanted', 1, true) then return require('lunapool').reject('not today', '53000') end
  if query.application == 'reporting' then return cluster:node('n2'), 'reports live on n2' end
  if query.application == 'nobody' and query.is_read then return require('lunapool').reject('not today', '53000') end
  if query.application == 'patient' then return require('lunapool').wait(20000) end
  if query.application == 'loop' then while true do end end
  if query.application == 'raises' then error('on purpose') end
  return cluster.primary
end
return M
"""
    asked, aadmin = proxies(cluster_options={'policy': 'main.lua'}, files={'main.lua': POLICY})
    b = asked.connect(db)
    wait_for(lambda: explained(b, HERE)['statement'] == 'only reads', what='the catalogue')

    def as_(name):
        b.q(f"set application_name = '{name}'")
        return b
    is_({where(as_('other')) for _ in range(10)}, {'n0'}, 'a policy keeps reads on the primary')
    settled(as_('reporting'))
    is_({where(b) for _ in range(20)}, {'n2'}, '… or sends them to a node')
    is_(b.q('insert into fresh values (2000) returning i'), [['2000']], '… but writes to no standby')
    as_('nobody')
    is_(b.error(HERE), '53000', '… or refuses them')
    is_(b.ask(w.parse('', HERE) + w.bind('', '') + w.execute() + w.sync())[-2:][0][0], 'E', '… also extended ones')
    settled(as_('reporting'))
    parts = [f"{HERE} as \"{name}\"" for name in ('any', 'at home', 'any', 'unwanted', 'any')]
    is_(pipelined(b, [w.query(p) for p in parts]), ['n2', 'n0', 'n2', '53000', 'n2'], 'of a pipeline each statement is asked for')
    is_(pipelined(b, [segment(p) for p in parts]), ['n2', 'n0', 'n2', '53000', 'n2'], '… of extended ones, too')
    as_('patient')
    b.q('insert into fresh values (2001)')
    is_(where(b) != 'n0', True, 'a read waits until a standby shows what its session has written')
    is_(b.one('select count(*) from fresh where i = 2001'), '1', '… and sees it')
    settled(as_('reporting'))
    e = explained(b, HERE)
    is_((e['runs on'], e['decision']), ('n2', 'certain nodes: reports live on n2'), 'EXPLAIN ROUTE tells what the policy says')
    like(e['decided by'], 'main.lua:', '… and where')
    as_('raises')
    ok(where(b) in ('n1', 'n2', 'n0'), 'a policy that raises is done without')
    as_('loop')
    is_([where(b) in ('n1', 'n2', 'n0') for _ in range(8)], [True] * 8, 'a policy that does not end is stopped')
    as_('other')
    b.quit()
    asked.stop()

with scenario('routing is switched off while a read is under way'):
    own, oadmin = proxies(workers=1)
    d = own.connect(db)
    settled(d)
    d.send(w.query(f'{HERE}, count(*) from generate_series(1, 3000000)'))
    wait_for(lambda: sum(int(n['in_flight']) for n in nodes(oadmin).values()) == 1, what='a read under way')
    own.settings['cluster'] = {'read_write_split': False}
    own.write_config()
    oadmin.q('RELOAD')
    is_([m[0] for m in d.until()], ['T', 'D', 'C', 'Z'], 'it ends')
    is_(d.q('insert into fresh values (4000) returning i'), [['4000']], 'a write behind it runs on the primary')
    is_({where(d) for _ in range(10)}, {'n0'}, '… and so do reads')
    is_(sum(int(n['in_flight']) for n in nodes(oadmin).values()), 0, 'nothing is in flight')
    own.stop()

with scenario('a standby dies'):
    settled(c)
    stop = threading.Event()
    errors, counts = [], [0] * 8

    def client(i):
        with proxy.connect(db) as x:
            while not stop.is_set():
                try:
                    if i % 2:
                        x.q(f'select v from t where i = {i + 1}')
                    else:
                        x.x('select v from t where i = $1', [i + 1])
                    counts[i] += 1
                except Exception as e:
                    errors.append(repr(e))
                    return
    ts = [threading.Thread(target=client, args=(i,)) for i in range(8)]
    for t in ts:
        t.start()
    wait_for(lambda: min(counts) > 50, what='traffic')
    cluster.kill_node(2)
    before = list(counts)
    wait_for(lambda: nodes(admin)['n2']['fit'] == 'no', what='the death seen')
    try:
        wait_for(lambda: min(a - b for a, b in zip(counts, before)) > 100, what='traffic without it')
    except Timeout:
        for r in admin.q('SHOW CLIENTS'):
            print(r)
        print(proxy.log()[-6000:])
    cluster.start_node(2)
    wait_for(lambda: nodes(admin)['n2']['fit'] == 'yes', 60, what='the return')
    reads = int(nodes(admin)['n2']['reads'])
    wait_for(lambda: int(nodes(admin)['n2']['reads']) > reads, 60, what='reads on it')
    stop.set()
    for t in ts:
        t.join()
    is_(errors, [], 'no client notices that a standby was killed, and none when it returns')

done()
