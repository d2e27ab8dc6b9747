#!/usr/bin/env -S /usr/bin/python3
"""max_message_size and max_row_size: what is longer fails with 54000, and the client stays, in every protocol it may use."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, brief, execute, msg, parse, query, sync  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database(setup='create table t (i int, x text); create table big as select repeat(\'x\', 150000) as x')
KB = 1024

with scenario('messages'):
    p = Proxy(cluster, workers=2, pool={'size': 1}, limits={'max_message_size': '100kB'})
    a = p.connect(db)
    long = 'x' * (101 * KB)
    huge = 'x' * (3000 * KB)
    for text in long, huge:
        n = len(text) // KB
        is_(brief(a.ask(query(f"select '{text}'"))), 'E:54000 Z:I', f'a Query of {n} kB')
        is_(brief(a.ask(parse('', f"select '{text}'") + bind('', '') + execute() + sync())), 'E:54000 Z:I', f'a Parse of {n} kB: the rest of its segment is skipped')
        is_(brief(a.ask(parse('', 'select length($1::text)') + bind('', '', [text]) + execute() + sync())), '1 E:54000 Z:I', f'a Bind of {n} kB')
        is_(a.one('select 1'), '1', 'the session goes on')
    is_(brief(a.ask(query("select '" + 'x' * (99 * KB) + "' = ''"))), 'D:f C:SELECT_1 Z:I', 'what is not longer passes')
    a.q('begin; insert into t values (1)')
    is_(brief(a.ask(query(f"select '{long}'"))), 'E:54000 Z:E', 'in a transaction it fails that')
    is_(brief(a.ask(query('commit'))), 'C:ROLLBACK Z:I', 'which is rolled back')
    a.q('begin')
    is_(brief(a.ask(query(f"select '{long}'"))), 'E:54000 Z:E', 'also one that no server takes part in yet')
    a.q('rollback')
    a.send(query('select 1') + query(f"select '{long}'") + query('select 2') + parse('', f"select '{long}'") + sync() + parse('', 'select 3') + bind('', '') + execute() + sync())
    is_([brief(a.until('Z')) for _ in range(5)], ['D:1 C:SELECT_1 Z:I', 'E:54000 Z:I', 'D:2 C:SELECT_1 Z:I', 'E:54000 Z:I', '1 2 D:3 C:SELECT_1 Z:I'], 'in a flight each has its answer')
    is_(cluster.one('select count(*) from t', db), '0', 'nothing took effect')

    def copy(*pieces):
        a.send(query('copy t from stdin'))
        a.until('G')
        a.send(b''.join(msg('d', x.encode()) for x in pieces) + msg('c', b''))
        return brief(a.until('Z'))
    is_(copy('1\ta\n', '2\tb\n'), 'C:COPY_2 Z:I', 'COPY')
    is_(copy('3\ta\n', f'4\t{long}\n', '5\tb\n', f'6\t{long}\n'), 'E:54000 Z:I', 'a CopyData that is too long fails it')
    is_(copy('7\ta\n'), 'C:COPY_1 Z:I', 'the next one is fine')
    a.send(query('copy t from stdin') + msg('d', f'8\t{long}\n'.encode()) + msg('d', b'9\tx\n') + msg('c', b'') + query('select 1'))
    is_([brief(a.until('Z')) for _ in range(2)], ['G E:54000 Z:I', 'D:1 C:SELECT_1 Z:I'], 'sent before the server asked for it, too')
    a.send(parse('', 'copy t from stdin') + bind('', '') + execute() + msg('d', f'8\t{long}\n'.encode()) + msg('c', b'') + sync() + query('select 2'))
    is_([brief(a.until('Z')) for _ in range(2)], ['1 2 G E:54000 Z:I', 'D:2 C:SELECT_1 Z:I'], 'and in the extended protocol')
    a.send(parse('', 'select 1') + bind('', '') + execute() + query('copy t from stdin') + msg('d', f'8\t{long}\n'.encode()) + msg('c', b'') + query('select 2'))
    is_([brief(a.until('Z')) for _ in range(2)], ['1 2 D:1 C:SELECT_1 G E:54000 Z:I', 'D:2 C:SELECT_1 Z:I'], 'behind a segment without its Sync, too')
    a.send(msg('d', long.encode()) + query('select 3'))
    is_(brief(a.until('Z')), 'D:3 C:SELECT_1 Z:I', 'outside a COPY it is ignored')
    is_(a.one('select string_agg(i::text, \',\' order by i) from t'), '1,2,7', 'only whole COPYs have an effect')
    is_(brief(a.ask(query('select x from t where i < 0 and x <> pg_sleep(0)::text'))), 'C:SELECT_0 Z:I', 'and the session is sound')
    p.settings['limits'] = {}
    p.reload()
    is_(a.one(f"select length('{huge}')"), str(len(huge)), 'without the limit it passes')
    p.settings['limits'] = {'max_message_size': '1kB'}
    like(p.reload(), 'refused', 'a limit below what the protocol needs is refused')
    p.stop()

with scenario('rows'):
    for limit, row in ((100 * KB, 'select x from big'), (2 * KB, "select repeat('x', 3000)"), (100 * KB, "select repeat('x', 20000000)")):
        p = Proxy(cluster, workers=2, pool={'size': 1}, limits={'max_row_size': f'{limit // KB}kB'})
        a = p.connect(db)
        first = "select generate_series(1, 3)::text union all "
        endless = " union all select repeat('z', 100) from generate_series(1, 30000000)"

        def rows(ask):
            """What ASK is answered, without the rows, of which none may be too long."""
            got = a.ask(ask, timeout=30)
            ok(all(len(m[1]) <= limit for m in got if m[0] in 'Dd'), f'no longer row arrives ({sum(m[0] == "D" for m in got)} rows)')
            return brief([m for m in got if m[0] not in 'DdH'])
        is_(rows(query(row + endless)), 'E:54000 Z:I', f'{row} with a limit of {limit // KB} kB: Query')
        is_(a.one('select 1'), '1', 'the session goes on')
        is_(rows(parse('', first + row + endless) + bind('', '') + execute() + sync()), '1 2 E:54000 Z:I', 'extended, behind rows that are not too long')
        is_(rows(query(row)), 'E:54000 Z:I', 'a statement that ends with that row')
        is_(rows(query(first + row + '; select 1; select 2')), 'E:54000 Z:I', 'a Query of several parts')
        is_(rows(query(f'copy ({first}{row}) to stdout')), 'E:54000 Z:I', 'COPY')
        a.q('begin; insert into t values (100)')
        is_(rows(query(row)), 'E:54000 Z:E', 'in a transaction it fails that')
        is_(a.error('select 1'), '25P02', 'for sure')
        is_(brief(a.ask(query('commit'))), 'C:ROLLBACK Z:I', 'which is rolled back')
        is_(a.one('select count(*) from t where i = 100'), '0', 'on the server, too')
        a.q('begin; declare c cursor for ' + first + row)
        is_(rows(query('fetch 3 from c')), 'C:FETCH_3 Z:T', 'rows of a cursor')
        is_(rows(query('fetch 1 from c')), 'E:54000 Z:E', 'and one that is too long')
        a.q('rollback')
        a.send(query('select 1') + query(row + endless) + query('select 2'))
        is_([brief([m for m in a.until('Z', timeout=30) if m[0] != 'd']) for _ in range(3)], ['D:1 C:SELECT_1 Z:I', 'E:54000 Z:I', 'D:2 C:SELECT_1 Z:I'],
            'in a flight each has its answer')
        is_(a.one("select length(repeat('y', 1000))"), '1000', 'and the session is sound')
        ok('row_refused' in p.log(), 'it is logged')
        p.stop()

done()
