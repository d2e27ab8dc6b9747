#!/usr/bin/env -S /usr/bin/python3
"""Pipelines: many Syncs, Flush without Sync, errors anywhere, simple Queries among extended messages, portals with row limits."""
import fcntl
import os
import struct
import sys
import termios

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, brief, close, copy_data, copy_done, describe, execute, flush, function_call, parse, query, sync  # noqa: E402

cluster = Cluster.get()
db = cluster.database(setup='create table t (i int primary key); create table c (i int)')
proxy = Proxy(cluster, workers=2, pool={'size': 2})


def one(sql, *values):
    return parse('', sql) + bind('', '', values) + execute()


def unread(c):
    """Bytes that the other side has not acknowledged yet."""
    return struct.unpack('i', fcntl.ioctl(c.sock, termios.TIOCOUTQ, b'1234'))[0]


def told(c, data, want, name, count=1):
    c.send(data)
    return is_(brief(c.until('Z', count)), want, name)


ROW = '1 2 D:{0} C:SELECT_1'
with scenario('segments'):
    c, other = proxy.connect(db), proxy.connect(db)
    told(c, b''.join(one(f'select {n}') + sync() for n in range(50)), ' '.join(ROW.format(n) + ' Z:I' for n in range(50)), '50 segments at once', 50)
    told(c, b''.join(one(f'select {n}') for n in range(50)) + sync(), ' '.join(ROW.format(n) for n in range(50)) + ' Z:I', '50 statements in one segment')
    told(c, sync() * 5, ' '.join(['Z:I'] * 5), 'Syncs alone', 5)
    told(c, one('select 1') + one('select 1/0') + one('select 2') + sync() + one('select 3') + sync(), '1 2 D:1 C:SELECT_1 1 E:22012 Z:I 1 2 D:3 C:SELECT_1 Z:I', 'an error skips to the next Sync', 2)
    told(c, one('insert into t values (1)') + one('select 1/0') + sync() + one('select count(*) from t') + sync(), '1 2 C:INSERT_0_1 1 E:22012 Z:I 1 2 D:0 C:SELECT_1 Z:I', 'a segment is a transaction', 2)
    told(c, one('select nope') + query('select 1') + function_call(870, ['X']) + sync(), 'E:42703 Z:I', 'what is skipped: Query and FunctionCall too')
    told(c, one('begin') + one('insert into t values (1)') + sync() + one('select 1/0') + sync() + one('select 1') + sync() + one('rollback') + sync(),
         '1 2 C:BEGIN 1 2 C:INSERT_0_1 Z:T 1 E:22012 Z:E E:25P02 Z:E 1 2 C:ROLLBACK Z:I', 'a transaction over segments', 4)
    told(c, one('select 1') + query('select 2') + one('select 3') + sync(), '1 2 D:1 C:SELECT_1 D:2 C:SELECT_1 Z:I 1 2 D:3 C:SELECT_1 Z:I', 'a Query among extended messages', 2)
    told(c, query('select 1') + one('select 2') + sync() + query('select 3; select 4') + one('select 5') + sync(), 'D:1 C:SELECT_1 Z:I 1 2 D:2 C:SELECT_1 Z:I D:3 C:SELECT_1 D:4 C:SELECT_1 Z:I 1 2 D:5 C:SELECT_1 Z:I', 'simple and extended by turns', 4)
    told(c, query('begin; select 1') + one('select 2') + sync() + query('select 1/0') + one('select 3') + sync() + query('rollback'), 'C:BEGIN D:1 C:SELECT_1 Z:T 1 2 D:2 C:SELECT_1 Z:T E:22012 Z:E E:25P02 Z:E C:ROLLBACK Z:I', 'and in a transaction', 5)
    told(c, one("set work_mem = '1MB'") + one('show work_mem') + sync() + one('show work_mem') + sync(), '1 2 C:SET 1 2 D:1MB C:SHOW Z:I 1 2 D:1MB C:SHOW Z:I', 'a SET holds for what comes behind it', 2)
    told(c, one("set work_mem = '2MB'") + one('select 1/0') + sync() + one('show work_mem') + sync(), '1 2 C:SET 1 E:22012 Z:I 1 2 D:1MB C:SHOW Z:I', 'and not when its segment fails', 2)
    told(c, one("set search_path = nowhere") + sync() + one('select 1 from t') + sync() + one('reset search_path') + sync() + one('select count(*) from t') + sync(), '1 2 C:SET Z:I E:42P01 Z:I 1 2 C:RESET Z:I 1 2 D:0 C:SELECT_1 Z:I', 'settings between segments', 4)
    told(c, parse('a', 'select $1::int') + b''.join(bind('', 'a', [n]) + execute() for n in range(20)) + close('S', 'a') + bind('', 'a', [1]) + execute() + sync(), '1 ' + ' '.join(f'2 D:{n} C:SELECT_1' for n in range(20)) + ' 3 E:26000 Z:I', 'a statement made, used and closed in one segment')
    told(c, parse('f', 'select 1/0') + parse('g', 'select 7') + parse('h', 'selekt') + parse('i', 'select 8') + sync() + bind('', 'g') + execute() + sync() + bind('', 'i') + execute() + sync(), '1 1 E:42601 Z:I 2 D:7 C:SELECT_1 Z:I E:26000 Z:I', 'what was parsed before an error is there, what behind it is not', 3)
    told(c, one('listen x') + one('notify x') + sync() + one('unlisten *') + sync(), '1 2 C:LISTEN 1 2 C:NOTIFY Z:I 1 2 C:UNLISTEN Z:I', 'LISTEN in a segment', 2)
    told(c, one('vacuum') + sync() + one('select 1') + one('vacuum') + sync() + one('select 9') + sync(), '1 2 C:VACUUM Z:I 1 2 D:1 C:SELECT_1 1 2 E:25001 Z:I 1 2 D:9 C:SELECT_1 Z:I', 'VACUUM, which refuses a pipeline', 3)
    is_(other.one('select 1'), '1', 'another client')

with scenario('Flush'):
    c.send(parse('', 'select 5') + flush())
    is_(brief(c.until('1')), '1', 'Flush: ParseComplete comes without a Sync')
    c.send(bind('', '') + describe('P') + flush())
    is_(brief(c.until('T')), '2', 'then BindComplete and RowDescription')
    c.send(execute() + flush())
    is_(brief(c.until('C')), 'D:5 C:SELECT_1', 'then the row')
    is_([other.one(f'select {n}') for n in range(3)], ['0', '1', '2'], 'others are served meanwhile')
    told(c, sync(), 'Z:I', 'then the Sync')
    c.send(one('select nope') + flush())
    is_(brief(c.until('E')), 'E:42703', 'an error comes at once')
    c.send(one('select 1') + flush())
    told(c, sync() + one('select 2') + sync(), 'Z:I 1 2 D:2 C:SELECT_1 Z:I', 'and all is skipped to the Sync', 2)
    c.send(one('begin') + flush())
    is_(brief(c.until('C')), '1 2 C:BEGIN', 'BEGIN with a Flush')
    c.send(one('select 1') + flush())
    is_(brief(c.until('C')), '1 2 D:1 C:SELECT_1', 'a statement')
    told(c, one('commit') + sync(), '1 2 C:COMMIT Z:I', 'COMMIT')
    c.send(one("select repeat('x', 20000)"))  # PostgreSQL sends when its buffer is full
    told(c, sync(), '1 2 D:' + 'x' * 20000 + ' C:SELECT_1 Z:I', 'messages without Flush, then the Sync')

with scenario('portals'):
    gen = 'select g from generate_series(1, 7) g'
    told(c, parse('', gen) + bind('p', '') + execute('p', 3) + execute('p', 3) + execute('p', 3) + execute('p', 3) + sync(), '1 2 D:1 D:2 D:3 s D:4 D:5 D:6 s D:7 C:SELECT_1 C:SELECT_0 Z:I', 'row limits')
    told(c, execute('p', 1) + sync(), 'E:34000 Z:I', 'a portal ends with its transaction')
    c.q('begin')
    told(c, parse('', gen) + bind('p', '') + execute('p', 2) + sync(), '1 2 D:1 D:2 s Z:T', 'in a transaction it lives over Syncs')
    told(c, parse('', gen) + bind('q', '') + execute('q', 1) + execute('p', 2) + sync(), '1 2 D:1 s D:3 D:4 s Z:T', 'two portals by turns')
    told(c, bind('p', '') + sync(), 'E:42P03 Z:E', 'a portal name in use')
    told(c, query('rollback'), 'C:ROLLBACK Z:I', 'ROLLBACK')
    c.q('begin; declare cur cursor for select g from generate_series(1, 5) g')
    told(c, describe('P', 'cur') + execute('cur', 2) + close('P', 'cur') + execute('cur', 2) + sync(), 'D:1 D:2 s 3 E:34000 Z:E', 'an SQL cursor is a portal')
    c.q('rollback')
    told(c, parse('', 'insert into t values (5) returning i') + bind('', '') + describe('P') + execute('', 1) + sync(), '1 2 D:5 s Z:I', 'RETURNING with a row limit')

with scenario('COPY in pipelines'):
    data = copy_data('1\n') + copy_data('2\n') + copy_done()
    told(c, parse('', 'copy c from stdin') + bind('', '') + execute() + data + sync() + one('select count(*) from c') + sync(), '1 2 G C:COPY_2 Z:I 1 2 D:2 C:SELECT_1 Z:I', 'COPY, its data at once', 2)
    told(c, parse('', 'copy c from stdin') + bind('', '') + execute() + sync() + data + sync() + one('select 3') + sync(), '1 2 G C:COPY_2 Z:I 1 2 D:3 C:SELECT_1 Z:I', 'a Sync before the data does not count', 2)
    told(c, parse('', 'copy c from stdin') + bind('', '') + execute() + sync() + pgwire.copy_fail('x') + sync() + close('S', 'no') + sync() + one('select 3') + sync(), '1 2 G E:57014 Z:I 3 Z:I 1 2 D:3 C:SELECT_1 Z:I', 'CopyFail, and a Close behind it', 3)
    told(c, query('copy c from stdin') + data + query('select 4'), 'G C:COPY_2 Z:I D:4 C:SELECT_1 Z:I', 'COPY by Query and another Query behind it', 2)
    told(c, query('copy c from stdin; select 5; copy c from stdin') + data + data + query('select 6'), 'G C:COPY_2 D:5 C:SELECT_1 G C:COPY_2 Z:I D:6 C:SELECT_1 Z:I', 'two COPYs in a Query', 2)
    told(c, parse('', 'copy c from stdin') + bind('', '') + execute() + copy_data('x\n') + data + sync() + one('select 7') + sync(), '1 2 G E:22P02 Z:I 1 2 D:7 C:SELECT_1 Z:I', 'COPY that fails', 2)
    told(c, one('copy (select 1) to stdout') + one('select 8') + sync(), '1 2 H d c C:COPY_1 1 2 D:8 C:SELECT_1 Z:I', 'COPY out among others')
    told(c, copy_data('z') + copy_done() + pgwire.copy_fail() + query('select 9'), 'D:9 C:SELECT_1 Z:I', 'stray CopyData outside of COPY is ignored')

with scenario('FunctionCall'):
    told(c, function_call(1598, []) + query('select 1'), 'V Z:I D:1 C:SELECT_1 Z:I', 'FunctionCall', 2)
    told(c, function_call(4711, []), 'E:42883 Z:I', 'of a function that is not there')
    c.q('begin; select 1')
    told(c, function_call(4711, []) + function_call(1598, []), 'E:42883 Z:E E:25P02 Z:E', 'in a transaction', 2)
    c.q('rollback')

with scenario('cut at every byte'):

    data = one('select 1') + query("select 'two'") + parse('n', 'select $1::int') + bind('', 'n', ['3']) + describe('P') + execute() + sync() + query('copy c from stdin') + copy_data('1\n') + copy_done() + one('begin') + sync() + one('rollback') + close('S', 'n') + sync()
    c.send(data)
    want = c.until('Z', 5)
    good = 0
    for at in range(1, len(data)):
        c.send(data[:at])
        c.send(data[at:])
        good += c.until('Z', 5) == want
    is_(good, len(data) - 1, f'a conversation of {len(data)} bytes that comes in two parts, wherever it is cut')
    for b in range(len(data)):
        c.send(data[b:b + 1])
    is_(c.until('Z', 5), want, 'and byte by byte')
    data = one('prepare cut as select 5') + one('execute cut') + one('deallocate cut') + one("select set_config('work_mem', $1, false)", '77kB') + sync()
    want = '1 2 C:PREPARE 1 2 D:5 C:SELECT_1 1 2 C:DEALLOCATE 1 2 D:77kB C:SELECT_1 Z:I'
    got = set()
    for at in range(1, len(data)):
        c.send(data[:at])
        wait_for(lambda: not unread(c), what='the first part to arrive')
        c.send(data[at:])
        got.add(brief(c.until('Z')))
    is_(got, {want}, 'names and settings that come in two parts, wherever they are cut')
    is_(c.one('show work_mem'), '77kB', 'and the last setting holds')
    told(c, query('execute cut'), 'E:26000 Z:I', 'the last name is gone')

with scenario('depth'):
    n = 20_000
    c.send(b''.join(one(f'select {k}') + (sync() if k % 7 == 6 else b'') for k in range(n)) + sync())
    got = [pgwire.text_row(m[1])[0] for m in c.until('Z', n // 7 + 1, timeout=60 * SLOW) if m and m[0] == 'D']
    is_(got, [str(k) for k in range(n)], f'{n} statements before anything is read')
    c.quit()
    other.quit()

done()
