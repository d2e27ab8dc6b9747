#!/usr/bin/env -S /usr/bin/python3
"""Reads run on standbys in each of the ways in which drivers send them: prepared under a name, in pipelines, with a row limit, by EXECUTE; and when a standby refuses, no name is left behind."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
import pgwire as w  # noqa: E402

proxy_only()
cluster = Cluster(standbys=1)
db = cluster.database(setup='''
create table t (i int primary key, v text);
insert into t select i, 'v' || i from generate_series(1, 100) i;
create table fresh (i int);
create function needs_primary() returns text language plpgsql stable as $$ declare t text; begin execute 'select pg_current_wal_' || 'insert_lsn()' into t; return 'yes'; end $$;
create function writes(int) returns int language plpgsql volatile as $$ begin insert into fresh values ($1); return $1; end $$;
''')
cluster.mark_nodes()
cluster.caught_up(1)
HERE = "select current_setting('test.node')"
END = w.execute() + w.sync()
proxy = Proxy(cluster, workers=1, pool={'size': 3, 'safe_functions': ['needs_primary', 'writes']})
c = proxy.connect(db)


def kinds(messages):
    return ''.join(m[0] for m in messages)


def rows(messages):
    return [w.text_row(m[1])[0] for m in messages if m[0] == 'D']


def states(messages):
    return [w.fields(m[1])['C'] for m in messages if m[0] == 'E']


def settled():
    wait_for(lambda: c.one(HERE) == 'n1', what='a read on the standby')


def gives(name):
    """What the statement NAME answers, or its SQLSTATE."""
    got = c.ask(w.bind('', name) + END)
    return rows(got) or states(got)


settled()
with scenario('a named Parse in front of its Bind'):
    got = c.ask(w.parse('s1', HERE) + w.bind('', 's1') + w.describe('P') + END)
    is_((kinds(got), rows(got)), ('12TDCZ', ['n1']), 'runs on the standby')
    is_(gives('s1'), ['n1'], '… and its name is there afterwards')
    got = c.ask(w.parse('s1', 'select 1') + w.bind('', 's1') + END)
    is_((kinds(got), states(got)), ('EZ', ['42P05']), 'a name that is taken is an error')
    is_(gives('s1'), ['n1'], '… and means what it did')
    got = c.ask(w.parse('s2', 'select i from t where i = $1') + w.describe('S', 's2') + w.bind('', 's2', [7]) + END)
    is_((kinds(got), rows(got)), ('1tT2DCZ', ['7']), 'with a Describe of the statement')
    got = c.ask(w.parse('s3', HERE) + w.bind('', 's3') + END)
    is_((kinds(got), rows(got)), ('12DCZ', ['n1']), 'answered from memory')
    is_(gives('s3'), ['n1'], '… its name is there, too')
    got = c.ask(w.parse('w1', 'insert into fresh values (1) returning i') + w.bind('', 'w1') + END)
    is_((kinds(got), rows(got)), ('12DCZ', ['1']), 'one that writes runs on the primary')

with scenario('what the standby refuses'):
    settled()
    for name, again in (('p1', 'the first time'), ('p2', 'with a Parse from memory')):
        got = c.ask(w.parse(name, 'select needs_primary()') + w.bind('', name) + w.describe('P') + END)
        is_((kinds(got), rows(got)), ('12TDCZ', ['yes']), f'is run on the primary, {again}')
        is_(gives(name), ['yes'], '… and its name is there')
        is_(states(c.ask(w.parse(name, HERE) + w.bind('', name) + END)), ['42P05'], '… once')
    got = c.ask(w.parse('e1', 'select nothing') + w.bind('', 'e1') + END)
    is_((kinds(got), states(got)), ('EZ', ['42703']), 'an error of the client is its own')
    is_(gives('e1'), ['26000'], '… and nothing has its name')
    got = c.ask(w.parse('e2', 'select 1 / i from t where i = $1 - 1') + w.bind('', 'e2', ['x']) + END)
    is_((kinds(got), states(got)), ('1EZ', ['22P02']), 'a value that is wrong')
    is_(rows(c.ask(w.bind('', 'e2', [2]) + END)), ['1'], '… leaves the statement')
    got = c.ask(w.parse('m1', HERE) + w.bind('', 'm1') + w.execute() + w.parse('m2', 'select needs_primary()') + w.bind('', 'm2') + END)
    is_(rows(got), ['n1', 'yes'], 'behind the first row there is no way back, and an error is one') if states(got) == [] else \
        is_((kinds(got), gives('m1'), gives('m2')), ('12DC12EZ', ['n1'], ['yes']), 'behind the first row there is no way back, and an error is one')

with scenario('pipelines'):
    settled()
    got = c.ask(b''.join(w.parse(f'l{i}', f'{HERE}, {i}') + w.bind('', f'l{i}') + w.describe('P') + w.execute() for i in range(4)) + w.sync())
    is_((kinds(got), rows(got)), ('12TDC' * 4 + 'Z', ['n1'] * 4), 'several statements in front of one Sync')
    c.send(b''.join(w.parse(f'k{i}', f'{HERE}, {i}, 5') + w.bind('', f'k{i}') + END for i in range(4)))
    got = c.until('Z', 4)
    is_((kinds(got), rows(got)), ('12DCZ' * 4, ['n1'] * 4), '… or each with its own')
    got = c.ask(w.bind('', 's1') + w.execute() + w.flush() + w.close('P') + w.bind('', 's2', [8]) + END)
    is_((kinds(got), rows(got)), ('2DC32DCZ', ['n1', '8']), 'with Flush, and Close of the portal')
    got = c.ask(w.close('S', 's3') + w.bind('', 's1') + END)
    is_((kinds(got), rows(got)), ('32DCZ', ['n1']), 'with Close of another statement')
    is_(gives('s3'), ['26000'], '… which is closed then')
    got = c.ask(w.close('S', 's2') + w.parse('s2', HERE) + w.bind('', 's2') + END)
    is_((kinds(got), len(rows(got))), ('312DCZ', 1), 'a name that is given again')
    is_(len(gives('s2')), 1, '… is there')

with scenario('a row limit'):
    settled()
    name = f'{HERE} from generate_series(1, 5)'
    got = c.ask(w.parse('', name) + w.bind('', '') + w.execute('', 2) + w.sync())
    is_((kinds(got), rows(got)), ('12DDsZ', ['n1'] * 2), 'suspends the portal')
    got = c.ask(w.bind('', '') + w.execute('', 2) + w.execute('', 2) + w.execute('', 9) + w.sync())
    is_((kinds(got), rows(got)), ('2DDsDDsDCZ', ['n1'] * 5), 'the portal goes on in front of Sync')
    is_(states(c.ask(w.execute('', 2) + w.sync())), ['34000'], '… and is gone behind it')
    c.q('begin')
    is_(kinds(c.ask(w.parse('', name) + w.bind('', '') + w.execute('', 2) + w.sync())), '12DDsZ', 'in a transaction it lasts')
    is_(kinds(c.ask(w.execute('', 9) + w.sync())), 'DDDCZ', '… until that ends')
    c.q('commit')

with scenario('EXECUTE'):
    c.q(f'prepare q1 as {HERE}')
    c.q('prepare q2 (int) as select v from t where i = $1')
    c.q('prepare q3 as select needs_primary()')
    c.q('prepare q4 (int) as insert into fresh values ($1) returning i')
    c.q('prepare q5 (int) as select writes($1)')
    settled()
    is_(c.q('execute q1'), [['n1']], 'of a read runs on the standby')
    is_(c.q('EXECUTE "q1"'), [['n1']], '… whatever its name is written like')
    is_(c.q('execute q2(3)'), [['v3']], '… with values')
    is_(c.q('execute s1'), [['n1']], '… of one that was prepared by Parse')
    ask = lambda sql: c.ask(w.parse('', sql) + w.bind('', '') + w.describe('P') + END)  # noqa: E731
    for sql, want in (('execute q1', ['n1']), ('execute q2(3)', ['v3']), ('execute s1', ['n1']), ('execute q3', ['yes']), ('execute q3', ['yes']), ('execute q1', ['n1'])):
        settled()
        got = ask(sql)
        is_((kinds(got), rows(got)), ('12TDCZ', want), f'{sql}: through the extended protocol, too')
    c.ask(w.parse('x1', 'execute q1') + w.sync())
    settled()
    is_(gives('x1'), ['n1'], '… prepared under a name')
    got = ask('/* lunapool: route=primary */ execute q1')
    is_((kinds(got), rows(got)), ('12TDCZ', ['n0']), '… and a hint counts')
    is_((rows(ask('execute q4(72)')), rows(ask('execute q5(73)'))), (['72'], ['73']), '… what writes runs on the primary')
    is_(states(ask('execute nothing')), ['26000'], '… what is not there is an error')
    settled()
    is_(c.q('execute q3'), [['yes']], 'what the standby refuses the primary runs')
    is_(c.q('execute q3'), [['yes']], '… each time')
    settled()
    is_(c.q('execute q1; execute q1'), [['n1'], ['n1']], 'several')
    is_(c.one(f'/* lunapool: route=primary */ execute q1'), 'n0', 'a hint counts')
    is_((c.q('execute q4(70)'), c.q('execute q5(71)')), ([['70']], [['71']]), 'of what writes it runs on the primary')
    settled()
    is_(c.q('execute q2(writes(4))'), [['v4']], '… and so does one whose values are made by what writes')
    is_(sorted(c.q('select i from fresh where i in (4, 70, 71)')), [['4'], ['70'], ['71']], '… and has written')
    settled()
    c.q('deallocate q1')
    is_(c.error('execute q1'), '26000', 'behind DEALLOCATE there is none')
    is_(c.error('execute q2'), '42601', 'an error is the client\'s')
    with proxy.connect(db) as d:
        is_(d.error('execute q2(1)'), '26000', 'nobody else has it')

done()
