#!/usr/bin/env -S /usr/bin/python3
"""Clients that vanish at any byte, servers that die, reloads under load: it costs whom it concerns and nobody else."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, brief, copy_data, copy_done, execute, parse, query, startup, sync  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database(setup='create table t (i int); create table c (i int)')


def one(sql, *values):
    return parse('', sql) + bind('', '', values) + execute()


def idle(what='the servers to be idle'):
    """Until no transaction is open, and no statement runs, in our database."""
    wait_for(lambda: cluster.one(f"select count(*) from pg_stat_activity where datname = '{db}' and application_name <> 'lunapool' and state <> 'idle'") == '0', what=what)


CLEAN = ['4MB', 'postgres', '', '0', '42P01', '26000', '0']


def looks(c):
    return [c.one('show work_mem'), c.one('select current_user'), c.one('show application_name'), c.one('select count(*) from pg_listening_channels()'), c.error('select * from pg_temp.left_behind'), c.error('execute st'), c.one("select count(*) from pg_cursors where is_holdable")]


with scenario('vanishing at any byte'):
    p = Proxy(cluster, workers=2, pool={'size': 2})
    witness = p.connect(db)
    talk = startup({'user': 'postgres', 'database': db}) + one("set work_mem = '7MB'") + sync() + query("begin; insert into t values (1); select repeat('x', 3000)") + parse('st', 'select 1') + one('create temp table left_behind (i int)') + sync() + query('commit') + \
        query('listen ch; prepare sp as select 1') + one('declare held cursor with hold for select 1') + sync() + query("set application_name = 'gone'") + query('copy c from stdin') + copy_data('1\n') + copy_data('2\n') + copy_done() + one("select pg_sleep(0.01)") + sync()
    step = 1 if LONG else 3
    for at in range(1, len(talk), step):
        k = Conn(p.addr, login=False)
        k.send(talk[:at])
        if at % 2:
            k.reset()
        else:
            k.drop()
    is_(witness.one('select 1'), '1', f'{len(range(1, len(talk), step))} clients vanished, each at another byte of {len(talk)}')
    idle()
    is_([looks(k) for k in (p.connect(db), p.connect(db), witness)], [CLEAN] * 3, 'nothing of them is left')
    ok(cluster.backends(db) <= 2, 'the pool kept its size')
    for sql in ("select repeat('x', 100000) from generate_series(1, 500)", 'copy (select repeat(\'x\', 100000) from generate_series(1, 500)) to stdout', 'select pg_sleep(30)', 'copy c from stdin', 'begin; select pg_sleep(30)', "select g, pg_sleep(0.01) from generate_series(1, 3000) g"):
        for how in ('drop', 'reset'):
            k = p.connect(db)
            k.send(query(sql) + (copy_data('77\n') * 500 if 'stdin' in sql else b''))
            k.recv() if 'sleep(30)' not in sql else wait_for(lambda: cluster.one(f"select count(*) from pg_stat_activity where datname = '{db}' and application_name <> 'lunapool' and state = 'active'") != '0')
            getattr(k, how)()
        start = time.monotonic()
        witness.q('begin; select 1')
        other = p.connect(db)
        is_(other.one('select 2'), '2', f'left in the middle: {sql[:40]}')
        other.quit()
        witness.q('commit')
        idle()
        ok(time.monotonic() - start < 15 * SLOW, 'the server is free at once')
    is_(cluster.one('select count(*) from c where i = 77', db), '0', 'half a COPY copied nothing')
    before = p.descriptors()
    for n in range(200):
        k = p.connect(db)
        k.q('select 1')
        (k.drop, k.reset, k.quit)[n % 3]()
    wait_for(lambda: p.descriptors() <= before + 2, what='the descriptors to be closed')
    ok(True, '200 more came and went: no descriptor is lost')
    p.stop()

with scenario('servers that die'):
    p = Proxy(cluster, workers=2, pool={'size': 2})
    a, b = p.connect(db), p.connect(db)
    kill = f"select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '{db}' and application_name <> 'lunapool'"
    admin = p.connect('lunapool')

    def kill_all(what):
        """Also those that are only coming; until Lunapool knows of it."""
        wait_for(lambda: (cluster.query(kill), cluster.backends(db) == 0 and all(r['database'] != db for r in admin.table('SHOW SERVERS')))[1],
                 what=what)

    for k in (a, b):
        k.q('begin; select 1')
    for k in (a, b):
        k.q('commit')
    a.q("set work_mem = '3MB'")
    a.ask(parse('s', 'select 5') + sync())
    kill_all('their end')
    is_((a.one('show work_mem'), b.one('select 2')), ('3MB', '2'), 'idle servers died: no client notices')
    is_(brief(a.ask(bind('', 's') + execute() + sync())), '2 D:5 C:SELECT_1 Z:I', 'nor do its statements')
    for how in ('simple', 'extended'):
        a.send(query('select pg_sleep(20)') if how == 'simple' else one('select pg_sleep(20)') + sync())
        wait_for(lambda: cluster.one(f"select count(*) from pg_stat_activity where datname = '{db}' and application_name <> 'lunapool' and state = 'active'") != '0')
        cluster.query(kill)
        got = brief(a.until('Z'))
        kill_all('the end of all')
        ok(got.split()[-2].startswith('E:') and got.endswith('Z:I'), f'a server dies under a statement ({how}): an ERROR, and the session lives: {got}')
        is_((a.one('show work_mem'), b.one('select 3')), ('3MB', '3'), 'with its state')
    a.q('begin; insert into t values (99)')
    kill_all('the end of all')
    got = brief(a.ask(query('select 1')))
    ok(got.startswith('E:') and got[-3:] in ('Z:E', 'Z:I'), f'a server dies in a transaction: {got}')
    got = brief(a.ask(query('commit')))
    ok('C:COMMIT' not in got or got.endswith('Z:I') and cluster.one('select count(*) from t where i = 99', db) == '0', f'nothing was committed: {got}')
    is_(cluster.one('select count(*) from t where i = 99', db), '0', 'indeed')
    a.ask(query('rollback'))
    is_(a.one('select 4'), '4', 'the session lives')
    a.q('create temp table gone (i int)')
    kill_all('its end')
    got = brief(a.ask(query('select 1')))
    ok(got.startswith('E:57P01') and got.endswith('EOF') or got == 'EOF', f'what was pinned to a server dies with it: {got}')
    is_(b.one('select 5'), '5', 'and nobody else')
    k = p.connect(db)
    k.send(query('copy c from stdin'))
    k.until('G')
    cluster.query(kill)
    k.send(copy_data('1\n') * 10 + copy_done())
    got = brief(k.until('Z'))
    ok('E:' in got or got == 'EOF', f'a server dies in a COPY: {got}')
    stop = False
    trouble = []

    def load(i):
        c = p.connect(db)
        while not stop:
            got = brief(c.ask(query(f'select {i}')))
            if got != f'D:{i} C:SELECT_1 Z:I':
                trouble.append(got)
                if got.endswith('EOF'):
                    c = p.connect(db)

    def killer():
        global stop
        for _ in range(30):
            wait_for(lambda: cluster.backends(db), what='a server to be killed')
            cluster.query(kill)
        stop = True

    threads(*[lambda i=i: load(i) for i in range(8)], killer)
    ok(not any('EOF' in x for x in trouble), f'servers die under load: {len(trouble)} statements failed, no session was lost') or diag(sorted(set(trouble)))
    is_(p.psql('select 1', db)[1], '1\n', 'and it goes on')
    p.stop()

with scenario('reload under load'):
    p = Proxy(cluster, workers=2, pool={'size': 2})
    stop = False
    trouble = []
    threads_ = [threading.Thread(target=load, args=(i,)) for i in range(8)]
    for t in threads_:
        t.start()
    try:
        for n in range(6):
            p.settings['pool'] = {'size': 1 + n % 3}
            p.reload()
        p.settings['pool'] = {'size': 1}
        p.reload()
        wait_for(lambda: cluster.backends(db) == 1, what='the smaller size')
        ok(True, 'a smaller size holds, although all servers are in use')
        good = p.settings
        p.settings = {**good, 'pool': {'size': 5, 'nonsense': 1}}
        at = len(p.log())
        p.reload()
        like(p.log()[at:], 'nonsense', 'a bad file is reported')
        is_(cluster.backends(db), 1, 'and changes nothing')
    finally:
        stop = True
        for t in threads_:
            t.join()
    is_(trouble, [], 'reloads under load: no client noticed')
    p.stop()

with scenario('SIGTERM'):
    p = Proxy(cluster, workers=2, pool={'size': 2})
    a, b = p.connect(db), p.connect(db)
    a.q('begin; insert into t values (123)')
    p.signal(signal.SIGTERM)
    got = b.until('Z')
    ok(brief(got) in ('E:57P01 EOF', 'EOF'), f'an idle client is told to go: {brief(got)}')
    is_(a.one('select count(*) from t where i = 123'), '1', 'a transaction goes on')
    a.send(query('commit'))
    ok(brief(a.until('Z')).startswith('C:COMMIT Z:I'), 'to its end')
    is_(a.until('Z')[-1], None, 'then its client goes, too')
    p.process.wait(20 * SLOW)
    is_(p.process.returncode, 0, 'and the program ends')
    is_(cluster.one('select count(*) from t where i = 123', db), '1', 'the transaction is there')
    Proxy.all.remove(p)
    p.judge()

done()
