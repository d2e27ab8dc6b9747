#!/usr/bin/env -S /usr/bin/python3
"""What ran where, and why: EXPLAIN ROUTE says what then happens, SHOW ROUTES counts what was sent, and nobody sees a constant."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
import pgwire as w  # noqa: E402

proxy_only()
cluster = Cluster(standbys=2)
db = cluster.database(setup='''
create table t (i int primary key, v text);
insert into t select i, 'v' || i from generate_series(1, 100) i;
create table planned (i int);
create function on_primary() returns text language plpgsql stable as $$ declare x text; begin execute 'select pg_current_wal_' || 'insert_lsn()' into x; return x; end $$;
create function writes() returns int language sql volatile as $$ insert into t values (1000 + (random() * 1e6)::int) returning i $$;
''')
cluster.mark_nodes()
HERE = "current_setting('test.node')"


def rows_of(answer):
    names = [c[0] for m in answer if m[0] == 'T' for c in w.columns(m[1])]
    return [dict(zip(names, w.text_row(m[1]))) for m in answer if m[0] == 'D']


def shown(admin, what):
    return rows_of(admin.ask(w.query(what)))


def proxies(**kw):
    p = Proxy(cluster, **{'workers': 2, 'pool': {'size': 3, 'safe_functions': ['on_primary']}, **kw})
    admin = p.connect('lunapool')
    wait_for(lambda: sum(n['fit'] == 'yes' for n in shown(admin, 'SHOW NODES')) == 2, what='two standbys that are fit')
    return p, admin


def settled(c):
    """All standbys show what was written, and this session's reads go there again."""
    for i in (1, 2):
        lsn = cluster.one('select pg_current_wal_insert_lsn()')
        with cluster.at(i) as n:
            wait_for(lambda: n.one(f"select pg_last_wal_replay_lsn() >= '{lsn}'") == 't', what='replay')
    wait_for(lambda: c.one('select ' + HERE) != 'n0', what='a read on a standby')


def counted(admin, statement=None):
    """SHOW ROUTES of our database: (statement, node, decided by, because): count."""
    sums = {}
    for r in shown(admin, 'SHOW ROUTES'):
        if r['database'] == db and statement in (None, r['statement']):
            key = (r['statement'], r['node'], r['decided_by'], r['because'])
            if key in sums:
                ok(False, f'one row for {key}')
            sums[key] = int(r['count'])
    return sums


with scenario('SHOW ROUTES counts what was sent, where it ran'):
    proxy, admin = proxies(workers=2)
    clients = [proxy.connect(db) for _ in range(6)]  # of both workers
    c = clients[0]
    for each in clients:
        settled(each)
    sent = {}

    def ran(statement, node, by, because, n=1):
        key = (statement, node, by, because)
        sent[key] = sent.get(key, 0) + n

    def read(each, literal):
        ran('select current_setting(?),?', each.one(f'select {HERE}, {literal}'), 'built-in routing', 'only reads')
    for i, each in enumerate(clients * 10):
        read(each, i)
        read(each, f"'secret {i}'")
    for i, each in enumerate(clients):
        ran('select current_setting(?),$1', each.x(f'select {HERE}, $1', [str(i)])[0][0], 'built-in routing', 'only reads')
    unseen = (' where i = -1', ' where i = - ?')
    for each in clients:
        for sql, shape, node, by, because in (
                ('begin', 'begin', None, 'session', 'it needs no server'),
                (f'select {HERE} from t' + unseen[0], 'select current_setting(?)from t' + unseen[1], 'n0', 'built-in routing', 'its transaction is for the primary'),
                (f"update t set v = 'secret'" + unseen[0], 'update t set v = ?' + unseen[1], 'n0', 'session', 'its transaction is there'),
                ('commit', 'commit', 'n0', 'session', 'its transaction is there'),
                ("update t set v = 'secret'" + unseen[0], 'update t set v = ?' + unseen[1], 'n0', 'built-in routing', 'writes'),
                ('select writes() /* secret */ limit 0', 'select writes()limit ?', 'n0', 'built-in routing', 'calls a volatile function: writes'),
                ("/* lunapool: route=primary */ select v from t where v = 'secret'", 'select v from t where v = ?', 'n0', 'hint', 'as decided'),
                ('/* lunapool: node=n2 */ insert into t select 1 where false', 'insert into t select ? where false', 'n0', 'hint', 'writes'),
                ("prepare p as select v from t where v = 'secret'", 'prepare p as select v from t where v = ?', 'n0', 'built-in routing', 'it asks for no rows'),
                ("set secret.key = 'secret'", 'set secret . key = ?', 'n0', 'built-in routing', 'changes the session')):
            each.q(sql)
            ran(shape, node, by, because)
    got = {k: n for k, n in counted(admin).items() if k[0] != 'select current_setting(?)'}
    for key in sorted(set(got) | set(sent), key=str):
        is_(got.get(key), sent.get(key), f'of {key}')
    all_of_it = str(shown(admin, 'SHOW ROUTES')) + proxy.log()
    is_([word for word in ("'secret 1", 'secret 1', "'secret'", '= secret') if word in all_of_it], [], 'no constant is told')
    is_({r['cached'] for r in shown(admin, 'SHOW ROUTES') if r['statement'] == 'commit' and r['database'] == db}, {'2 of 2'}, 'both workers have seen it')
    one = [r for r in shown(admin, 'SHOW ROUTES') if r['statement'] == 'select current_setting(?),?' and r['database'] == db]
    is_([int(r['count']) for r in one], sorted((int(r['count']) for r in one), reverse=True), 'the busiest first')
    ok(all(int(r['mean_us']) <= int(r['total_us']) <= int(r['mean_us']) * int(r['count']) + int(r['count']) for r in one), 'times add up')

with scenario('log_routes'):
    proxy.settings['options'] = {'log_routes': 1}
    proxy.write_config()
    admin.q('RELOAD')
    settled(c)
    at = len(proxy.log())
    c.q(f"/* lunapool: node=n2 */ select {HERE}, 'secret', 424242")
    line = proxy.wait_log(r'.*route .*node=n2.*', start=at).group(0)
    for fact in ('by=hint', 'because="as decided"', 'shape="select current_setting(?),?,?"', f'database={db}'):
        ok(fact in line, f'the line has {fact}') or diag(line)
    is_([word for word in ('secret', '424242') if word in proxy.log()[at:]], [], '… and no constant')
    c.x("select $1 || 'secret'", ['secret'])
    proxy.wait_log(r'.*route .*shape="select \$1 \|\| \?".*', start=at)
    proxy.settings['options'] = {'log_routes': '0.25'}
    proxy.write_config()
    admin.q('RELOAD')
    at = len(proxy.log())
    for i in range(400):
        c.q(f'select {i}')
    n = proxy.log()[at:].count('route ')
    ok(30 < n < 200, f'a share of the statements: {n} of 400')
    is_([r['value'] for r in shown(admin, 'SHOW CONFIG') if r['key'] == 'log_routes'], ['0.25'], 'SHOW CONFIG has the share')


def explained(c, sql):
    return dict(c.q('explain route ' + sql))


def told(answer):
    """The errors in it."""
    return ', '.join(f"{e['C']} {e['M']}" for e in (w.fields(m[1]) for m in answer if m[0] == 'E'))


def last(c):
    return dict(c.q('show last route'))


NODE = r'(?P<role>primary|standby), (?P<state>chosen|candidate|no candidate: [^,]+)(, lag (\d+ bytes|unknown), (\d+ ms|unknown), (?P<shows>shows|lacks) what was written)?, ' \
    r'weight (?P<weight>\d+)(, share (?P<share>\d+) %)?, \d+ in flight(, \d+ us each)?'


def nodes_of(e):
    """What is told of the nodes, each checked for its form."""
    told = {n: re.fullmatch(NODE, e[n]) for n in ('n0', 'n1', 'n2')}
    if not all(told.values()):
        ok(False, f'each node is told of: {e}')
    return {n: m.groupdict() for n, m in told.items()}


def may_run_on(e):
    return {n for n, m in nodes_of(e).items() if m['state'] in ('chosen', 'candidate')}


def agrees(c, sql, expected, here=0):
    """EXPLAIN ROUTE says what EXPECTED does, and then it happens: SQL tells its node in column HERE.  SHOW LAST ROUTE says the same afterwards."""
    e = explained(c, sql)
    for what, answer in expected.items():
        is_(e.get(what), answer, f'{sql}: {what}')
    is_(nodes_of(e)[e['runs on']]['state'], 'chosen', f'{sql}: … {e["runs on"]}')
    ran_on = c.q(sql)[-1][here]
    ok(ran_on in may_run_on(e), f'{sql}: runs there, on {ran_on}')
    l = last(c)
    is_((l['ran on'], l['statement'], l['shape'], l['decided by']), (ran_on, e['statement'], e['shape'], e['decided by']), f'{sql}: SHOW LAST ROUTE says so')
    is_(l['because'], e['because'], f'{sql}: … for the same reason')
    return e


READ = {'statement': 'only reads', 'decision': 'the standbys', 'decided by': 'built-in routing', 'because': 'only reads'}
WRITES = {'statement': 'is for the primary: writes', 'decision': 'the primary', 'decided by': 'built-in routing', 'runs on': 'n0', 'because': 'writes'}

with scenario('EXPLAIN ROUTE says what then happens'):
    settled(c)
    is_(last(proxy.connect(db)), {'statement': '(none yet)'}, 'nothing was last')
    e = agrees(c, f'select {HERE}', {**READ, 'kind': 'select', 'shape': 'select current_setting(?)'})
    is_({n: (m['role'], m['shows'], m['weight'], m['share']) for n, m in nodes_of(e).items()},
        {'n0': ('primary', None, '100', None), 'n1': ('standby', 'shows', '100', '50'), 'n2': ('standby', 'shows', '100', '50')}, 'of each node its role, its data, its weight')
    is_(nodes_of(e)['n0']['state'], 'no candidate: not meant', 'the primary is not asked for')
    agrees(c, f"select {HERE}, v from t where i = 5 and v = 'v5'", READ)
    agrees(c, f'values ({HERE})', READ)
    agrees(c, f'select 0, {HERE} union table t order by 1 limit 1', READ, here=1)
    settled(c)
    for sql, why in ((f'select {HERE} from t limit 1 for update', 'locks rows'), (f'select {HERE} from (select writes()) x', 'calls a volatile function: writes'),
                     (f'insert into t values (5000) returning {HERE}', 'writes'), (f'delete from t where i = 5000 returning {HERE}', 'writes'),
                     (f"with x as (insert into t values (5001) returning 1) select {HERE} from x", 'writes'), (f'create table x5 as select {HERE}', 'writes')):
        e = explained(c, sql)
        is_((e['runs on'], e['decided by'], e['because']), ('n0', 'built-in routing', e['statement'].replace('is for the primary: ', '')), f'{sql}: on the primary')
        like(e['statement'], f'^is for the primary: {why}', f'{sql}: why')
        is_(may_run_on(e), {'n0'}, '… and on no other')
    is_(c.one('select count(*) from t where i >= 5000'), '0', 'none of them has run')
    agrees(c, f'insert into t values (5000) returning {HERE}', WRITES)
    e = explained(c, f'select {HERE}')
    if e['runs on'] == 'n0':
        is_({m['state'] for n, m in nodes_of(e).items() if n != 'n0'}, {'no candidate: does not show yet what was written'}, 'behind a write')
        is_(e['because'], 'no standby was fit and fresh enough', '… the primary takes reads')
    settled(c)
    agrees(c, f'/* lunapool: node=n2 */ select {HERE}', {'decision': 'certain nodes: hint', 'decided by': 'hint', 'runs on': 'n2', 'because': 'as decided'})
    agrees(c, f'/* lunapool: route=primary */ select {HERE}', {'decision': 'the primary: hint', 'decided by': 'hint', 'runs on': 'n0', 'because': 'as decided'})
    agrees(c, f'/* lunapool: route=any */ select {HERE}', {'decision': 'any node: hint', 'decided by': 'hint', 'because': 'as decided'})
    settled(c)
    agrees(c, f'/* lunapool: node=n2 */ insert into t values (5002) returning {HERE}', {'decided by': 'hint', 'runs on': 'n0', 'because': 'writes'})
    settled(c)
    c.q("set lunapool.route = 'primary'")
    agrees(c, f'select {HERE}', {'decision': 'the primary: setting lunapool.route', 'decided by': 'setting', 'runs on': 'n0', 'because': 'as decided'})
    c.q('reset lunapool.route')
    WRONG = ('22023 invalid value for parameter "lunapool.route": "primery"', '42704 unrecognized configuration parameter "lunapool.rout"')
    for name, value, error in (('route', 'primery', WRONG[0]), ('rout', 'primary', WRONG[1])):
        for sql in (f"set lunapool.{name} = '{value}'", f"set local lunapool.{name} to '{value}'", f"select set_config('lunapool.{name}', '{value}', false)"):
            is_(told(c.ask(w.query(sql))), error, f'{sql}: an error, and what is wrong')
            is_(told(c.ask(w.parse('', sql) + w.bind('', '') + w.execute() + w.sync())), error, '… in the extended protocol, too')
        is_(told(c.ask(w.parse('', 'select set_config($1, $2, false)') + w.bind('', '', [f'lunapool.{name}', value]) + w.execute() + w.sync())), error, '… and with parameters')
        try:
            proxy.connect(db, params={f'lunapool.{name}': value})
            ok(False, f'lunapool.{name} at the start of a session')
        except Exception as e:  # noqa: BLE001
            is_(str(e), error, f'lunapool.{name} = {value} at the start of a session')
    is_(c.one("select set_config('lunapool.route', 'ANY', false)"), 'ANY', 'what it takes, it takes')
    is_(explained(c, 'select 1')['decision'], 'any node: setting lunapool.route', '… and keeps')
    c.q('reset lunapool.route')
    at = len(proxy.log())
    for hint, what, by in (('node=n9', 'n9', 'built-in routing'), ('route=primery', 'primery', 'built-in routing'), ('nod=n2', 'nod', 'built-in routing'),
                           ('primary', 'primary', 'built-in routing'), ('route=primary, nod=n2', 'nod', 'hint')):
        e = explained(c, f'/* lunapool: {hint} */ select {HERE}')
        is_((e['hint'], e['decided by']), (f'not understood: {what}', by), f'{hint}: EXPLAIN ROUTE tells')
        c.q(f'/* lunapool: {hint} */ select {HERE}')
        is_(last(c)['reason'], 'its hint is not understood', '… so does SHOW LAST ROUTE')
    is_(explained(c, f'/* lunapool: node=n2, class=any */ select {HERE}').get('hint'), None, 'a good one is')
    is_(len(re.findall(r'hint_not_understood .*what=n9 statements=1', proxy.log()[at:])), 1, 'the log tells')
    is_(proxy.log()[at:].count('hint_not_understood'), 1, '… once in a while')
    wait_for(lambda: (c.q(f'/* lunapool: nod=n2 */ select {HERE}'), [r for r in shown(admin, 'SHOW ROUTES') if r['reason'] == 'its hint is not understood'])[1],
             what='what is used to be in SHOW ROUTES')  # other rows may take its place
    ok(True, 'SHOW ROUTES counts them')
    e = explained(c, 'selct 1')
    is_((e['statement'], e['parser'], e['runs on']), ('is for the primary: is not understood', 'syntax error at or near "selct"', 'n0'), 'what is wrong with a statement is told')
    like(explained(c, "select 'open")['parser'], 'has no end', '… also without a shape')
    like(explained(c, 'select ' + '(' * 2000 + '1' + ')' * 2000)['parser'], 'too deep', '… or too deep')
    is_(explained(c, '')['kind'], 'empty', 'nothing is a statement, too')
    for sql in (f'/* why */ explain /* not */ route select {HERE}', f'-- why\nEXPLAIN\tROUTE\nselect {HERE};'):
        is_(dict(c.q(sql))['statement'], 'only reads', f'comments and blanks: {sql!r}')
    is_([c.error(sql) for sql in ('explain routes select 1', 'explain route_ select 1', 'show last route 1')], ['42601'] * 3, 'other words are the server\'s')
    is_(dict(c.q(' show  LAST route ; '))['decided by'], 'built-in routing', 'SHOW LAST ROUTE, however written')

with scenario('in a transaction'):
    c.q('begin')
    is_(dict(c.q('explain route select 1'))['because'], 'its transaction is for the primary', 'that has not begun on a server')
    c.q('insert into t values (6000)')
    e = explained(c, f'select {HERE}')
    is_((e['runs on'], e['decided by'], e['because'], e.get('decision')), ('the server of its transaction or session: n0', 'session', 'its transaction is there', None), 'it goes on')
    is_([m[0] for m in c.ask(w.query('explain route selct'))][-1:] + [c.ask(w.query('show last route'))[-1]], ['Z', ('Z', b'T')], '… undisturbed')
    is_((last(c)['shape'], last(c)['ran on'], last(c)['because']), ('insert into t values(?)', 'n0', 'writes'), 'SHOW LAST ROUTE')
    c.error('select 1/0')
    is_(c.ask(w.query('explain route select 1'))[-1], ('Z', b'E'), 'when it has failed, it stays so')
    is_(last(c)['shape'], 'select ? / ?', '… and what failed is told')
    c.q('rollback')
    is_(c.one('select count(*) from t where i = 6000'), '0', 'it was rolled back')
    settled(c)
    for begin, moves in (('begin read only', False), ('begin', True)):
        c.q('set lunapool.route = standby') if moves else None
        settled(c) if moves else None
        c.q(begin)
        first = c.one(f'select {HERE}')
        ok(first in ('n1', 'n2'), f'{begin}: on a standby')
        is_((last(c)['ran on'], last(c)['decided by']), (first, 'setting' if moves else 'built-in routing'), f'{begin}: SHOW LAST ROUTE')
        e = explained(c, f'select {HERE}')
        is_((e['runs on'], e['because']), (f'the server of its transaction or session: {first}', 'its transaction is there'), f'{begin}: it goes on there')
        is_(c.ask(w.parse('', 'explain route select 1') + w.bind('', '') + w.execute() + w.sync())[-1], ('Z', b'T'), '… extended')
        is_(c.one(f'select {HERE}'), first, '… undisturbed')
        if moves:
            is_(explained(c, 'insert into t values (6001)')['runs on'], 'the server of its transaction or session: n0', 'a write would move it')
            is_(c.one(f'select {HERE}'), first, '… but has not')
        c.q('rollback')
    c.q('reset lunapool.route')
    c.q('create temp table mine (i int)')
    is_(explained(c, 'select 1')['because'], 'its session keeps that server', 'with a pin')
    c.q('discard all')

with scenario('the extended protocol'):
    settled(c)

    def pairs(answer):
        return {k: v for k, v in (w.text_row(m[1]) for m in answer if m[0] == 'D')}

    def kinds(answer):
        return re.sub('D+', 'D', ''.join(m[0] for m in answer))
    E = f'explain route select {HERE}, $1::int'
    a = c.ask(w.parse('', E) + w.bind('', '', ['1']) + w.describe('P') + w.execute() + w.sync())
    is_((kinds(a), pairs(a)['statement'], a[-2]), ('12TDCZ', 'only reads', ('C', b'EXPLAIN\0')), 'all at once, as psycopg and JDBC send it')
    is_([n for n, *_ in w.columns(a[2][1])], ['what', 'answer'], 'with its columns')
    a = c.ask(w.parse('mine', E, [23]) + w.describe('S', 'mine') + w.sync())
    is_((kinds(a), a[1]), ('1tTZ', ('t', b'\0\1\0\0\0\x17')), 'prepared by a name, as asyncpg does it')
    a = c.ask(w.bind('', 'mine', ['1'], [], [1]) + w.execute() + w.sync())
    is_((kinds(a), pairs(a)['runs on'] in ('n1', 'n2')), ('2DCZ', True), '… and run')
    is_(c.ask(w.parse('mine', E) + w.sync())[0][0], 'E', 'a name is taken once')
    is_(kinds(c.ask(w.close('S', 'mine') + w.sync())), '3Z', '… until it is closed')
    is_(c.ask(w.bind('', 'mine') + w.sync())[0][0], 'E', '… and then unknown')
    a = c.ask(w.parse('', E) + w.bind('', '', ['1']) + w.execute('', 1) + w.sync())
    is_(kinds(a), '12DsZ', 'as many rows as are asked for')
    a = c.ask(w.parse('', 'show last route') + w.bind('p', '') + w.describe('P', 'p') + w.execute('p') + w.close('P', 'p') + w.sync())
    is_((kinds(a), a[-3]), ('12TDC3Z', ('C', b'SHOW\0')), 'through a portal with a name')
    a = c.ask(w.parse('', "select 'a'") + w.bind('', '') + w.execute() + w.parse('', E) + w.bind('', '', ['1']) + w.describe('P') + w.execute() +
              w.parse('', "select 'b'") + w.bind('', '') + w.execute() + w.sync())
    is_(kinds(a), '12DC12TDC12DCZ', 'among others, in order')
    a = c.ask(w.parse('', 'select 1/0') + w.bind('', '') + w.execute() + w.parse('', E) + w.bind('', '', ['1']) + w.execute() + w.sync())
    is_(kinds(a), '1EZ', 'behind an error it is skipped')
    a = c.ask(w.query('insert into t values (7000)') + w.parse('', E) + w.bind('', '', ['1']) + w.execute() + w.sync() + w.query(f'select {HERE}'))
    a += c.until('Z', 2)
    is_(kinds(a), 'CZ12DCZTDCZ', 'in a pipeline')
    a = c.ask(w.parse('', 'begin') + w.bind('', '') + w.execute() + w.parse('', E) + w.bind('', '', ['1']) + w.execute() + w.sync())
    is_((kinds(a), a[-1], pairs(a)['because']), ('12C12DCZ', ('Z', b'T'), 'its transaction is for the primary'), 'behind BEGIN')
    c.q('rollback')
    c.q('begin; insert into t values (7001)')
    a = c.ask(w.parse('', E) + w.bind('', '', ['1']) + w.execute() + w.sync())
    is_((a[-1], pairs(a)['runs on']), (('Z', b'T'), 'the server of its transaction or session: n0'), 'in a transaction')
    c.error('select 1/0')
    a = c.ask(w.parse('', E) + w.bind('', '', ['1']) + w.execute() + w.sync())
    is_((kinds(a), a[-1]), ('12DCZ', ('Z', b'E')), 'in one that has failed')
    c.q('rollback')
    is_([r for r in shown(admin, 'SHOW ROUTES') if r['statement'].startswith(('explain route ', 'show last route')) and r['database'] == db and r['statement'] != 'show last route ?'], [], 'none of these was counted, as none was sent')

with scenario('drivers'):
    env = {**proxy.env(db), 'PYTHONDONTWRITEBYTECODE': '1'}
    url = f"host={env['PGHOST']} port={env['PGPORT']} user=postgres dbname={db} sslmode=disable"
    for name, program in (
            ('psycopg 3', f"""
import psycopg
c = psycopg.connect({url!r})
print(dict(c.execute('explain route select 1', prepare=True).fetchall())['statement'])
print(dict(c.execute('explain route select %s', (1,)).fetchall())['statement'])
print(dict(c.cursor(binary=True).execute('show last route').fetchall())['statement'])
with c.pipeline():
    print(c.execute('select 1').fetchone(), dict(c.execute('show last route').fetchall())['statement'])
"""), ('asyncpg', f"""
import asyncio, asyncpg
async def main():
    c = await asyncpg.connect(host={env['PGHOST']!r}, port={env['PGPORT']}, user='postgres', database={db!r}, ssl=False)
    for _ in range(2):
        print(dict(await c.fetch('explain route select 1'))['statement'])
    print((await c.fetchrow('explain route select $1::int', '1'))['answer'])
    await c.fetchval('select 1')
    print(dict(await c.fetch('show last route'))['statement'])
asyncio.run(main())
""")):
        rc, out, err = run(['/usr/bin/python3', '-c', program], env=env, timeout=60)
        is_((rc, out.count('only reads')), (0, 4), name) or diag(out + err)
    path = f'{temp_dir()}/Explain.java'
    with open(path, 'w') as f:
        f.write("""
import java.sql.*;
class Explain {
    public static void main(String[] a) throws Exception {
        Connection c = DriverManager.getConnection(a[0]);
        for (boolean auto : new boolean[] { true, false }) {
            c.setAutoCommit(auto);
            PreparedStatement s = c.prepareStatement("explain route select ?::int");
            s.setInt(1, 5);
            for (int i = 0; i < 7; i++) {
                ResultSet r = s.executeQuery();
                r.next();
                System.out.println(r.getString("answer"));
            }
        }
        ResultSet r = c.createStatement().executeQuery("show last route");
        r.next();
        System.out.println(r.getString(1));
        c.commit();
    }
}
""")
    rc, out, err = run(['java', '-XX:TieredStopAtLevel=1', '-cp', '/usr/share/java/postgresql.jar', path,
                        f"jdbc:postgresql://{env['PGHOST']}:{env['PGPORT']}/{db}?user=postgres&sslmode=disable"], env=env, timeout=120)
    is_((rc, out.count('only reads'), out.count('statement')), (0, 14, 1), 'JDBC') or diag(out + err)
    rc, out, err = proxy.psql('explain route select 1; show last route', db)
    ok(rc == 0 and 'statement|only reads' in out, 'psql') or diag(out + err)

with scenario('a standby that could not'):
    settled(c)
    c.q('select on_primary()')
    l = last(c)
    is_((l['ran on'], l['because'], l['reason']), ('n0', 'a standby could not answer it', '55000'), 'is named in the end')

with scenario('on the console'):
    e = dict(admin.q(f'EXPLAIN ROUTE FOR {db} AS "postgres" select {HERE}'))
    is_({k: e.get(k) for k in READ}, READ, 'for a user in a database')
    ok(e['runs on'] in ('n1', 'n2') and may_run_on(e) == {'n1', 'n2'}, '… with the nodes')
    is_(dict(admin.q(f'explain route for "{db}" insert into t values (1)'))['because'], 'writes', 'of a write')
    e = dict(admin.x(f'explain route /* x */ for {db} /* lunapool: node=n1 */ select {HERE};'))
    is_((e['runs on'], e['decided by']), ('n1', 'hint'), 'extended, with comments and a hint')
    is_(dict(admin.q('explain route select 1')), {'error': 'in which database? EXPLAIN ROUTE FOR database statement'}, 'which database must be said')
    is_([admin.error(sql) for sql in ('explain route', f'explain route for {db}', f'explain route for "{db} select 1', f'explain route for {db} as')], ['08P01'] * 4, 'what is not right is refused')
    is_(c.one('select count(*) from t where i = 1 and v is null'), '0', 'nothing has run')
    one = Proxy(cluster, databases={db: {}})
    with one.connect('lunapool') as a:
        wait_for(lambda: dict(a.q('explain route update t set v = 1')).get('because') == 'writes', what='an answer, where there is only one')
    one.stop()
    is_(run([PROGRAM, 'ctl', '-s', proxy.unix, 'explain', 'route', 'for', db, 'select', '1'])[0], 0, 'lunapool ctl')

with scenario('policy'):
    POLICY = """
local M = { api = 1 }
function M.plan(statement)
  if statement:touches('planned') then return require('lunapool').cluster('main'):node('n1'), 'planned lives on n1' end
end
function M.route(query, cluster)
  if query.application == 'reporting' then return cluster:node('n2'), 'reports live on n2' end
  if query.application == 'nobody' and query.is_read then return require('lunapool').reject('not today', '53000') end
  if query.application == 'raises' then error('on purpose') end
  if query.is_read then return cluster.standbys, 'a secret-free reason' end
end
return M
"""
    asked, aadmin = proxies(cluster_options={'policy': 'main.lua'}, files={'main.lua': POLICY})
    b = asked.connect(db)
    settled(b)
    place = r'/main\.lua:'

    def as_(name):
        b.q(f"set application_name = '{name}'")
        settled(b)
        return b
    is_(explained(b, 'select 1')['generation'], '1', 'the generation is told')
    e = agrees(b, f'select {HERE}', {'decision': 'the standbys: a secret-free reason', 'because': 'as decided'})
    like(e['decided by'], f'^route, .*{place}6$', 'who, and where it stands')
    is_(last(b)['reason'], 'a secret-free reason', 'SHOW LAST ROUTE has the reason')
    e = agrees(b, f'select {HERE} from planned right join t on true limit 1', {'decision': 'certain nodes: planned lives on n1', 'runs on': 'n1'})
    like(e['decided by'], f'^plan, .*{place}3$', 'of plan')
    as_('reporting')
    agrees(b, f'select {HERE}', {'decision': 'certain nodes: reports live on n2', 'runs on': 'n2'})
    e = agrees(b, f'insert into t values (8000) returning {HERE}', {'runs on': 'n0', 'because': 'writes'})
    b.q("set application_name = 'nobody'")
    e = explained(b, f'select {HERE}')
    is_((e['error'], e.get('runs on'), e['because']), ('53000 not today', None, 'refused'), 'of a refusal')
    is_(b.error(f'select {HERE}'), '53000', '… which comes')
    is_((last(b)['ran on'], last(b)['because']), ('no server', 'refused'), '… and is counted')
    b.q("set application_name = 'raises'")
    e = explained(b, f'select {HERE}')
    ok(e['decided by'].startswith('built-in routing') and 'on purpose' in e['decision'], 'of a policy that fails, with its error') or diag(str(e))
    wait_for(lambda: 'left alone' in explained(b, f'select {HERE}')['decision'], what='its end')
    is_(explained(b, f'select {HERE}')['decided by'].split(',')[0], 'built-in routing', '… and of one that is left alone')
    asked.files['main.lua'] = POLICY.replace('\nfunction M.route', '\n\n\nfunction M.route')
    asked.write_config()
    aadmin.q('RELOAD')
    as_('reporting')
    e = agrees(b, f'select {HERE}', {'generation': '2', 'runs on': 'n2'})
    like(e['decided by'], f'^route, .*{place}8$', 'after a reload')
    rows = [r for r in shown(aadmin, 'SHOW ROUTES') if r['statement'] == 'select current_setting(?)' and r['reason'] == 'reports live on n2' and r['node'] == 'n2']
    is_([(r['node'], r['decided_by'], r['generation']) for r in rows], [('n2', 'route', '2')], 'SHOW ROUTES has the reason, and the generation of the last')
    ok(int(rows[0]['count']) >= 2 and re.search(place + '8$', rows[0]['policy']), '… its place, and all that were counted')
    asked.stop()

proxy.stop()

done()
