#!/usr/bin/env -S /usr/bin/python3
"""Prepared statements belong to the client, whatever server it meets: named, unnamed, by protocol and by SQL."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, brief, close, describe, execute, flush, parse, query, sync  # noqa: E402

cluster = Cluster.get()
db = cluster.database(setup='create schema a; create schema b; create table a.t as select 1 as v; create table b.t as select 2 as v; create table t (id int)')
proxy = Proxy(cluster, workers=2, pool={'size': 2, 'max_server_statements': 10})
single = Proxy(cluster, workers=1, pool={'size': 1, 'max_server_statements': 10})


def told(c, data, want, name):
    return is_(brief(c.ask(data)), want, name)


def error_text(c, data):
    return next((pgwire.fields(m[1])['M'] for m in c.ask(data) if m[0] == 'E'), None)


def run_named(name, *values):
    return bind('', name, values) + execute() + sync()


with scenario('one name, many clients'):
    cs = [p.connect(db) for p in (proxy, single) for _ in range(5)]
    for i, c in enumerate(cs):
        c.ask(parse('s', f'select {i}, $1::text') + sync())
    good = all(c.ask(run_named('s', 'x')) and brief(c.ask(run_named('s', f'v{n}'))) == f'2 D:{i},v{n} C:SELECT_1 Z:I' for n in range(20) for i, c in enumerate(cs))
    ok(good, 'each client runs its own statement of that name')
    good = True
    for n in range(10):
        blocker = cs[n % 5]
        blocker.q('begin; select 1')  # holds a server: the others get another one
        for i, c in enumerate(cs[:5]):
            if c is not blocker:
                good = good and brief(c.ask(run_named('s', 'y'))) == f'2 D:{i},y C:SELECT_1 Z:I'
        blocker.q('commit')
    ok(good, 'and does over changing servers')
    for c in cs:
        c.quit()

for p, what in ((proxy, 'two servers'), (single, 'one server')):
    with scenario(what):
        c, d = p.connect(db), p.connect(db)
        told(c, run_named('ghost'), 'E:26000 Z:I', f'{what}: an unknown statement is an ERROR')
        told(c, describe('S', 'ghost') + sync(), 'E:26000 Z:I', 'Describe of an unknown one too')
        told(c, run_named(''), 'E:26000 Z:I', 'and the unnamed one before any Parse')
        told(c, execute('ghost') + sync(), 'E:34000 Z:I', 'an unknown portal is an ERROR')
        is_(error_text(c, run_named('ghost')), 'prepared statement "ghost" does not exist', "in PostgreSQL's words")
        told(c, parse('s', 'select 1') + sync(), '1 Z:I', 'Parse')
        told(c, parse('s', 'select 2') + sync(), 'E:42P05 Z:I', 'a name in use is an ERROR')
        told(c, parse('s', 'select 1') + sync(), 'E:42P05 Z:I', 'also with the same text')
        told(c, run_named('s'), '2 D:1 C:SELECT_1 Z:I', 'the first statement of that name is still there')
        told(c, close('S', 's') + close('S', 's') + parse('s', 'select 3') + run_named('s'), '3 3 1 2 D:3 C:SELECT_1 Z:I', 'after Close the name is free')
        told(d, run_named('s'), 'E:26000 Z:I', 'another client has no such statement')
        told(c, parse('bad', 'select nope') + sync(), 'E:42703 Z:I', 'a Parse that fails')
        told(c, run_named('bad'), 'E:26000 Z:I', 'makes no statement')
        told(c, parse('two', 'select 1; select 2') + sync(), 'E:42601 Z:I', 'two commands in one statement are refused')
        told(c, parse('', 'select 7') + sync(), '1 Z:I', 'unnamed')
        d.q('select 1')
        told(c, run_named(''), '2 D:7 C:SELECT_1 Z:I', 'the unnamed statement outlives its segment')
        told(c, parse('', 'select 8') + run_named(''), '1 2 D:8 C:SELECT_1 Z:I', 'and is replaced by the next')
        c.q('select 1')
        told(c, run_named(''), 'E:26000 Z:I', 'a simple query ends it')
        told(c, parse('e', '') + run_named('e'), '1 2 I Z:I', 'an empty statement')
        long_name = 'n' * 200
        told(c, parse(long_name, 'select 9') + run_named(long_name) + run_named('n' * 199), '1 2 D:9 C:SELECT_1 Z:I', 'a name of 200 bytes')
        c.until('Z')
        told(c, parse("it's \"x\" \\", 'select 10') + run_named("it's \"x\" \\"), '1 2 D:10 C:SELECT_1 Z:I', 'a name of odd characters')
        m = c.ask(parse('types', 'select $1', (23,)) + describe('S', 'types') + sync())
        is_([x for x in m if x[0] == 't'][0][1], b'\0\1\0\0\0\x17', 'Describe tells the types')
        told(d, parse('types', 'select $1', (25,)) + run_named('types', 'text'), '1 2 D:text C:SELECT_1 Z:I', 'the same text with other types is another statement')
        told(c, run_named('types', '12'), '2 D:12 C:SELECT_1 Z:I', 'for each its own')
        c.quit()
        d.quit()

    with scenario('SQL PREPARE'):
        c, d = p.connect(db), p.connect(db)
        is_(c.q('prepare q (int) as select $1 * 2; execute q(4)'), [['8']], f'{what}: PREPARE and EXECUTE in one Query')
        d.q('select 1; prepare q as select 0')
        is_(c.q('execute q(5)'), [['10']], 'EXECUTE later')
        told(c, run_named('q', '6'), '2 D:12 C:SELECT_1 Z:I', 'a PREPAREd statement by protocol')
        told(c, parse('q', 'select 1') + sync(), 'E:42P05 Z:I', 'its name is taken for Parse')
        c.ask(parse('w', 'select $1::int + 1') + sync())
        is_(c.q('execute w(1)'), [['2']], 'EXECUTE of a statement made by Parse')
        is_(c.error('prepare w as select 1'), '42P05', 'PREPARE of a name in use')
        is_(c.q('explain (costs off) execute w(1)'), [['Result']], 'EXPLAIN EXECUTE')
        c.q('create temp table made as execute q(21)')
        is_(c.one('select * from made'), '42', 'CREATE TABLE AS EXECUTE')
        c.q('drop table made; discard temp')
        c.q('deallocate w')
        told(c, run_named('w', '1'), 'E:26000 Z:I', 'DEALLOCATE forgets what Parse made')
        is_(c.error('deallocate w'), '26000', 'and only once')
        is_(c.error('execute w(1)'), '26000', 'EXECUTE of none')
        told(c, parse('', 'prepare x as select 5') + run_named('') + parse('', 'execute x') + run_named(''), '1 2 C:PREPARE Z:I', 'PREPARE through the extended protocol')
        is_(brief(c.until('Z')), '1 2 D:5 C:SELECT_1 Z:I', 'EXECUTE through the extended protocol')
        told(c, parse('', 'deallocate x') + run_named(''), '1 2 C:DEALLOCATE Z:I', 'DEALLOCATE through the extended protocol')
        is_(c.error('execute x'), '26000', 'took effect')
        is_(c.error('prepare kept as select 6; select 1/0'), '22012', 'an error behind a PREPARE')
        is_(c.one('execute kept'), '6', 'does not undo it: statements are not transactional')
        c.q('begin; prepare kept2 as select 7; rollback')
        is_(c.one('execute kept2'), '7', 'nor does ROLLBACK')
        c.q('begin')
        c.q('deallocate kept2')
        c.q('rollback')
        is_(c.error('execute kept2'), '26000', 'nor does it undo a DEALLOCATE')
        c.ask(parse('z', 'select 1') + sync())
        c.q('deallocate all')
        told(c, run_named('z'), 'E:26000 Z:I', 'DEALLOCATE ALL forgets all')
        is_(c.error('execute q(1)'), '26000', 'of both kinds')
        is_(d.q('execute q'), [['0']], 'but no other client\'s')
        d.ask(parse('z', 'select 1') + sync())
        d.q('discard all')
        told(d, run_named('z'), 'E:26000 Z:I', 'so does DISCARD ALL')
        is_(c.error('prepare broken as select nope'), '42703', 'a PREPARE that fails')
        is_(c.error('execute broken'), '26000', 'prepares nothing')
        is_(c.q("prepare \"Odd Name\" as select 'odd'; execute \"Odd Name\""), [['odd']], 'a quoted name')
        is_(c.error('execute odd'), '26000', 'keeps its case')
        c.q("prepare ins as insert into t values ($1)")
        is_(c.ask(query('execute ins(3)'))[0], ('C', b'INSERT 0 1\0'), 'the command tag of EXECUTE is the statement\'s')
        c.q('begin')
        told(c, parse('in_tx', 'select 11') + sync(), '1 Z:T', 'Parse in a transaction')
        c.error('select 1/0')
        told(c, parse('in_failed', 'select 11') + sync(), 'E:25P02 Z:E', 'Parse in a failed transaction')
        c.q('rollback')
        told(c, run_named('in_tx'), '2 D:11 C:SELECT_1 Z:I', 'what was parsed before is there')
        told(c, run_named('in_failed'), 'E:26000 Z:I', 'what was refused is not')
        c.quit()
        d.quit()

    with scenario('what the text means depends on the session'):
        c, d = p.connect(db), p.connect(db)
        c.q('set search_path = a')
        d.q('set search_path = b')
        for k in (c, d):
            k.ask(parse('s', 'select v from t') + sync())
        got = [brief(k.ask(run_named('s'))) for k in (c, d, c, d)]
        is_(got, ['2 D:1 C:SELECT_1 Z:I', '2 D:2 C:SELECT_1 Z:I'] * 2, f'{what}: one text under two search paths')
        c.q('set search_path = b')
        told(c, run_named('s'), '2 D:2 C:SELECT_1 Z:I', 'a statement follows its session\'s search path')
        c.q('set search_path = a')
        told(c, run_named('s'), '2 D:1 C:SELECT_1 Z:I', 'and back')
        cluster.role('stmt_role')
        c.ask(parse('who', 'select current_user') + sync())
        c.q('set role stmt_role')
        told(c, run_named('who'), '2 D:stmt_role C:SELECT_1 Z:I', 'a statement runs under the session\'s role')
        c.q('reset role')
        told(c, run_named('who'), '2 D:postgres C:SELECT_1 Z:I', 'of the moment')
        c.quit()
        d.quit()

    with scenario('tables change'):
        c, d = p.connect(db), p.connect(db)
        d.q('drop table if exists ch; create table ch (id int); insert into ch values (1)')
        c.ask(parse('s', 'select * from ch') + sync())
        told(c, run_named('s'), '2 D:1 C:SELECT_1 Z:I', f'{what}: before the ALTER')
        d.q("alter table ch add column more text default 'm'")
        first, second = brief(c.ask(run_named('s'))), brief(c.ask(run_named('s')))
        if DIRECT:
            is_((first, second), ('E:0A000 Z:I',) * 2, 'PostgreSQL: cached plan must not change result type')
        else:
            ok(first in ('2 D:1,m C:SELECT_1 Z:I', 'E:0A000 Z:I'), f'after the ALTER: {first}')
            is_(second, '2 D:1,m C:SELECT_1 Z:I', 'a changed result type heals')
        d.q('alter table ch drop column more')
        cs = [p.connect(db) for _ in range(4)]
        for k in cs:
            k.ask(parse('s', 'select * from ch') + sync())
            k.ask(run_named('s'))
        d.q('alter table ch add column more text')
        for k in cs:
            k.ask(run_named('s'))
        if not DIRECT:
            is_([brief(k.ask(run_named('s'))) for k in cs], ['2 D:1,NULL C:SELECT_1 Z:I'] * 4, 'for every client')
        for k in cs:
            k.quit()
        if not DIRECT and p is proxy:
            told_by = {'Describe of it': describe('S', 's') + bind('', 's'), 'Describe of a portal': bind('', 's') + describe('P')}
            for how, ddl in [(h, q) for h in told_by for q in ('create table unrelated (i int); drop table unrelated', "alter table wide add column more text default 'm'")]:
                d.q('create table wide (id int); insert into wide values (1)')
                k, holders = p.connect(db), [p.connect(db) for _ in range(2)]
                k.ask(parse('s', 'select * from wide') + told_by[how] + execute() + sync())
                there = k.one('select pid from pg_stat_activity where pid = pg_backend_pid()')
                for h in holders:
                    h.q('begin')
                    if h.one('select pg_backend_pid()') != there:
                        free = h
                free.q('commit')  # the server that lacks the statement is the only one now
                d.q(ddl)
                if 'unrelated' in ddl:
                    told(k, run_named('s'), '2 D:1 C:SELECT_1 Z:I', f'{how}: DDL that does not concern it')
                else:
                    told(k, run_named('s'), 'E:0A000 Z:I', f'{how}: refused where it never was, after DDL that changed its columns')
                    told(k, run_named('s'), '2 D:1,m C:SELECT_1 Z:I', 'and heals')
                for x in (k, *holders):
                    x.quit()
                d.q('drop table wide')
        d.q('drop table ch')
        is_(brief(c.ask(parse('s2', 'select * from ch') + sync())), 'E:42P01 Z:I', 'a dropped table is seen by the next Parse')
        told(c, run_named('s'), 'E:42P01 Z:I', 'and by the next Bind')
        d.q('create table ch (id int)')
        told(c, parse('s2', 'select * from ch') + run_named('s2'), '1 2 C:SELECT_0 Z:I', 'made again, it is found')
        c.q('begin; create table gone (id int)')
        told(c, parse('g', 'select * from gone') + sync(), '1 Z:T', 'a statement on a table of this transaction')
        c.q('rollback')
        told(c, run_named('g'), 'E:42P01 Z:I', 'is an ERROR when that was rolled back')
        told(c, parse('h', 'select * from gone') + sync(), 'E:42P01 Z:I', 'as is Parse')
        is_(c.one('select 1'), '1', 'the session lives')
        d.q('drop table ch')
        c.quit()
        d.quit()

    with scenario('many statements'):
        r = random.Random(7)
        cs = [p.connect(db) for _ in range(3)]
        for i, c in enumerate(cs):
            c.send(b''.join(parse(f's{n}', f'select {i} * 1000 + {n} + $1::int') for n in range(60)) + sync())
            c.until('Z')
        bad = []
        for n in range(600):
            i, k, v = r.randrange(3), r.randrange(60), r.randrange(9)
            got = brief(cs[i].ask(run_named(f's{k}', v)))
            if got != f'2 D:{i * 1000 + k + v} C:SELECT_1 Z:I':
                bad.append((i, k, v, got))
        is_(bad, [], f'{what}: 180 statements, of which a server keeps 10')
        got = cs[0].ask(b''.join(bind('', f's{k}', ['0']) + execute() for k in range(60)) + sync())
        is_([pgwire.text_row(m[1])[0] for m in got if m[0] == 'D'], [str(k) for k in range(60)], 'all of a client in one segment')
        if not DIRECT:
            kept = int(cs[0].one('select count(*) from pg_prepared_statements'))
            ok(kept <= 12, f'a server keeps no more than it may ({kept} of 10)')
        for c in cs:
            c.quit()

with scenario('a full server that skips'):
    c, other = single.connect(db), single.connect(db)
    c.ask(b''.join(parse(f'full{n}', f'select {n}') + bind('', f'full{n}') + execute() for n in range(12)) + sync())
    c.send(parse('', 'select 1/0') + bind('', '') + execute() + flush())
    is_(brief(c.until('E')), '1 E:22012', 'a segment fails')
    told(c, parse('late', 'select 99') + bind('', 'late') + execute() + sync(), 'Z:I', 'what comes behind it is skipped')
    told(c, run_named('full3'), '2 D:3 C:SELECT_1 Z:I', 'then all is as it was')
    told(c, run_named('late'), 'E:26000 Z:I', 'and what was skipped is not there')
    is_(other.one('select 5'), '5', 'another client')
    c.quit()
    other.quit()

with scenario('memory'):
    count = 1_000_000 if LONG else 20_000
    c = proxy.connect(db)
    for round_ in range(2):
        for at in range(0, count // 2, 100):
            c.send(b''.join(parse('', f'select {round_}{at + n} as a_column_{round_}_{at + n}') + bind('', '') + execute() for n in range(100)) + sync())
            c.until('Z')
        if not DIRECT:
            after = proxy.memory()
            if round_ == 0:
                before = after
    if not DIRECT and VARIANT == 'release':
        ok(after - before < 30_000_000, f'{count} different statements: memory grew by {(after - before) // 1000} kB in the second half')
    c.quit()
    if not DIRECT:
        small = Proxy(cluster, workers=2, pool={'size': 2}, limits={'client_statement_bytes': '20kB'})
        c = small.connect(db)
        text = "select '" + 'x' * 6000 + "'"
        got = [brief(c.ask(parse(f's{n}', text + f' as c{n}') + sync())) for n in range(5)]
        is_((got[:3], got[4]), (['1 Z:I'] * 3, 'E:53200 Z:I'), 'the text of a client\'s statements is bounded')
        is_(c.one('select 1'), '1', 'the session lives')
        told(c, close('S', 's0') + parse('s9', text) + sync(), '3 1 Z:I', 'Close makes room')
        c.q('begin; select 1')
        told(c, parse('s10', text + ' as z') + sync(), 'E:53200 Z:E', 'in a transaction the ERROR fails it')
        told(c, query('select 1'), 'E:25P02 Z:E', 'as an ERROR does')
        c.q('rollback')
        c.quit()

done()
