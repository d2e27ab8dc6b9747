#!/usr/bin/env -S /usr/bin/python3
"""A cancel reaches exactly the statement it was meant for, from any worker, and never a later one or another client's."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import CANCEL_REQUEST, bind, brief, execute, parse, query, request, sync  # noqa: E402

cluster = Cluster.get()
db = cluster.database(setup='create table t (id int primary key, n int); insert into t select g, 0 from generate_series(1, 50) g')
SLEEP = 'select pg_sleep(30)'


def running(text):
    """Waits until a server runs TEXT."""
    wait_for(lambda: cluster.one(f"select count(*) from pg_stat_activity where datname = '{db}' and state = 'active' and query like '%{text}%'") != '0', what=f'the start of {text}')


for workers in (1, 2):
    with scenario(f'{workers} worker'):
        p = Proxy(cluster, workers=workers, pool={'size': 2})
        for version, name in ((pgwire.V30, '3.0'), (0x30002, '3.2')):
            cs = [p.connect(db, version=version) for _ in range(4)]
            if not DIRECT:
                is_(len({c.key for c in cs}), 4, f'{workers} worker, protocol {name}: each client has its own key of {len(cs[0].key)} bytes')
            cs[0].send(query(SLEEP + ', 1'))
            cs[1].send(query(SLEEP + ', 2'))
            running('pg_sleep(30), 1')
            running('pg_sleep(30), 2')
            cs[0].cancel()
            is_(brief(cs[0].until('Z')), 'E:57014 Z:I', 'the statement is cancelled')
            ok(not cs[1].has_input(), 'the other client\'s goes on')
            is_(cs[0].one('select 1'), '1', 'the session lives')
            for n in range(20):
                cs[0].cancel()
                is_(cs[0].one(f'select {n}'), str(n), 'a cancel of an idle client does nothing') if n == 0 else cs[0].one('select 1')
            cs[1].cancel()
            is_(brief(cs[1].until('Z')), 'E:57014 Z:I', 'the other one too when it is asked for')
            cs[0].send(parse('', SLEEP + ', 3') + bind('', '') + execute() + sync() + parse('', 'select 5') + bind('', '') + execute() + sync())
            running('pg_sleep(30), 3')
            cs[0].cancel()
            is_(brief(cs[0].until('Z', 2)), '1 2 E:57014 Z:I 1 2 D:5 C:SELECT_1 Z:I', 'in a pipeline only the running segment is hit')
            cs[0].q('begin; select 1')
            cs[0].send(query(SLEEP + ', 4'))
            running('pg_sleep(30), 4')
            cs[0].cancel()
            is_(brief(cs[0].until('Z')), 'E:57014 Z:E', 'in a transaction')
            cs[0].q('rollback')
            cs[0].q('begin; select 1')
            cs[0].cancel()
            is_(cs[0].q('select 2; commit'), [['2']], 'an idle transaction is not hurt')
            if not DIRECT:
                cs[0].q('begin; select 1')
                cs[1].q('begin; select 1')
                cs[2].send(query('select 42'))
                cs[3].send(parse('', 'select 43') + bind('', '') + execute() + sync())
                for k in (cs[2], cs[3]):
                    wait_for(lambda: k.cancel() or k.has_input(), what='an answer')
                    is_(brief(k.until('Z')), 'E:57014 Z:I', 'a statement that waits for a server')
                cs[0].q('commit')
                cs[1].q('commit')
                is_([k.one('select 7') for k in cs], ['7'] * 4, 'all sessions live')
                one_less = Conn(p.addr, login=False)
                one_less.send(request(CANCEL_REQUEST, cs[0].key[:-1] + bytes([cs[0].key[-1] ^ 1])))
                cs[0].send(query('select pg_sleep(0.3)'))
                one_less.recv()
                is_(brief(cs[0].until('Z')), 'D: C:SELECT_1 Z:I', 'a key that is wrong in one bit cancels nothing')
            cs[0].send(query('copy t (id, n) from stdin'))
            cs[0].until('G')
            cs[0].send(pgwire.copy_data('900\t1\n'))
            cs[0].cancel()
            # PostgreSQL looks when the next data comes
            cs[0].send(pgwire.copy_data('901\t1\n') + pgwire.copy_done())
            got = brief(cs[0].until('Z'))
            ok(got in ('E:57014 Z:I', 'C:COPY_2 Z:I'), f'COPY FROM: {got}')
            cs[0].q('delete from t where id >= 900')
            for k in cs:
                k.quit()
        rc, out, err = run(['timeout', '-s', 'INT', '1', tool('psql'), '-XAtqc', SLEEP], env=p.env(db))
        like(err, 'canceling statement due to user request', 'Ctrl-C in psql')


def storm(p, seconds, clients):
    """Each client counts in its own row and sometimes cancels its own statements; nobody else's may ever fail or count twice."""
    stop = time.monotonic() + seconds
    tally = [None] * clients

    def client(i):
        r = random.Random(i)
        c = p.connect(db, timeout=60)
        hit = missed = strange = count = 0
        while time.monotonic() < stop:
            mine = i % 2 == 0 and r.random() < 0.5  # the odd ones never cancel: whatever they see was meant for another
            if mine:
                c.send(query(f'update t set n = n + 1 where id = {i + 1}; select pg_sleep({r.choice((0, 0.001, 0.01, 5))})'))
                for _ in range(r.randint(1, 4)):
                    c.cancel()
                got = brief(c.until('Z', timeout=60))
                if got.startswith('C:UPDATE_1 E:57014') or got.startswith('E:57014'):
                    hit += 1
                elif got == 'C:UPDATE_1 D: C:SELECT_1 Z:I':
                    missed, count = missed + 1, count + 1
                else:
                    strange += 1
                    diag(f'client {i}: {got}')
                if got.endswith('E:57014 Z:I') and r.random() < 0.5:
                    c.cancel()
            else:
                got = brief(c.ask(query(f"update t set n = n + 1 where id = {i + 1}; select 'x'"), timeout=60))
                if got == 'C:UPDATE_1 D:x C:SELECT_1 Z:I':
                    count += 1
                elif got.endswith('E:57014 Z:I') and i % 2 == 0:
                    pass  # a cancel of a moment ago that came late: PostgreSQL does that, too
                else:
                    strange += 1
                    diag(f'client {i}: {got}')
        c.quit()
        tally[i] = (hit, missed, strange, count)

    threads(*[lambda i=i: client(i) for i in range(clients)])
    return tally


with scenario('storm'):
    p = Proxy(cluster, workers=2, pool={'size': 4})
    cluster.query('update t set n = 0', db)
    tally = storm(p, 60 if LONG else 6, 24)
    is_(sum(t[2] for t in tally), 0, f'a storm: {sum(t[0] for t in tally)} statements cancelled, {sum(t[3] for t in tally)} went through, none was hit that was not meant')
    counts = dict((int(a), int(b)) for a, b in cluster.query('select id, n from t', db))
    is_([i for i, t in enumerate(tally) if counts[i + 1] != t[3]], [], 'each update is there exactly if its client was told so')
    if not DIRECT:
        ok(cluster.backends(db) <= 4 + 4, 'the pool kept its size')

done()
