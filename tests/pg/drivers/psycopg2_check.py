"""psycopg2: simple queries only, COPY, NOTIFY, server-side cursors; each line says ok or not ok."""
import os
import select
import sys
import threading
from datetime import date, datetime, timedelta
from decimal import Decimal
from io import StringIO

import psycopg2
import psycopg2.extras

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from say import finish, ok, same  # noqa: E402


def types(c):
    psycopg2.extras.register_uuid()
    cur = c.cursor()
    values = [1, 2 ** 40, 1.5, Decimal('123.4500'), 'žluťoučký \'"\\', True, None, date(2024, 2, 29), datetime(2024, 2, 29, 1, 2, 3, 456),
              timedelta(days=1, seconds=2), [1, 2, 3], ['a', 'b"c']]
    cur.execute('select ' + ', '.join(['%s'] * len(values)), values)
    same(list(cur.fetchone()), values, 'types come back')
    cur.execute('select %s::bytea, %s::json', (b'\0\1\xff', '{"a": [1]}'))
    raw, doc = cur.fetchone()
    same((bytes(raw), doc), (b'\0\1\xff', {'a': [1]}), 'bytea and json')
    c.commit()


def transactions(c):
    cur = c.cursor()
    cur.execute('create table ta (n int)')
    c.commit()
    cur.execute('insert into ta values (1)')
    c.rollback()
    cur.execute('savepoint a')
    cur.execute('insert into ta values (2)')
    cur.execute('rollback to a')
    cur.execute('insert into ta values (3)')
    c.commit()
    cur.execute('select n from ta')
    same(cur.fetchall(), [(3,)], 'what was committed is there, what was rolled back is not')
    c.commit()
    for isolation in ('SERIALIZABLE', 'REPEATABLE READ'):
        c.set_session(isolation_level=isolation)
        cur.execute('show transaction_isolation')
        same(cur.fetchone()[0], isolation.lower(), f'isolation {isolation}')
        c.commit()
    c.set_session(isolation_level='READ COMMITTED')


def errors(c):
    cur = c.cursor()
    try:
        cur.execute('select 1/0')
        ok(False, 'an error is raised')
    except psycopg2.errors.DivisionByZero:
        ok(True, 'an error is raised')
    try:
        cur.execute('select 1')
        ok(False, 'the transaction is aborted')
    except psycopg2.errors.InFailedSqlTransaction:
        ok(True, 'the transaction is aborted')
    c.rollback()
    cur.execute('select 7')
    same(cur.fetchone(), (7,), 'after rollback it goes on')
    c.commit()


def prepared(c):
    cur = c.cursor()
    cur.execute("prepare p (int) as select 'psycopg2', $1 * 2")
    c.commit()
    for i in range(12):
        cur.execute('execute p (%s)', (i,))
        if cur.fetchone() != ('psycopg2', 2 * i):
            ok(False, f'execution {i}')
        c.commit()
    cur.execute('deallocate p')
    c.commit()
    ok(True, 'PREPARE serves twelve transactions')


def copy(c):
    cur = c.cursor()
    cur.execute('create table copied (n int, t text)')
    cur.copy_expert('copy copied from stdin', StringIO(''.join(f'{i}\trow {i}\n' for i in range(5000))))
    c.commit()
    out = StringIO()
    cur.copy_expert('copy (select * from copied order by n) to stdout', out)
    same(out.getvalue(), ''.join(f'{i}\trow {i}\n' for i in range(5000)), 'COPY both ways')
    try:
        cur.copy_expert('copy copied from stdin', StringIO('no number\tx\n'))
        ok(False, 'COPY of nonsense fails')
    except psycopg2.errors.InvalidTextRepresentation:
        ok(True, 'COPY of nonsense fails')
    c.rollback()


def server_cursor(c):
    cur = c.cursor('named')
    cur.itersize = 100
    cur.execute('select g from generate_series(1, 1000) g')
    same(sum(r[0] for r in cur), 500500, 'a server-side cursor is read to its end')
    c.commit()


def notify(c):
    c.autocommit = True
    cur = c.cursor()
    cur.execute('listen psycopg2_channel')
    with psycopg2.connect('') as other:
        other.cursor().execute("notify psycopg2_channel, 'hello'")
    for _ in range(100):
        select.select([c], [], [], 0.2)
        c.poll()
        if c.notifies:
            break
    same([n.payload for n in c.notifies], ['hello'], 'a notification arrives')
    cur.execute('unlisten *')
    c.autocommit = False


def crowd():
    def one(i, results):
        with psycopg2.connect('') as c:
            cur = c.cursor()
            cur.execute("select set_config('application_name', %s, false)", (f'crowd{i}',))
            c.commit()
            good = True
            for n in range(30):
                cur.execute("select current_setting('application_name'), %s", (f'{i}:{n}',))
                good = good and cur.fetchone() == (f'crowd{i}', f'{i}:{n}')
                (c.commit if n % 3 else c.rollback)()
            results[i] = good
        c.close()
    results = [False] * 8
    ts = [threading.Thread(target=one, args=(i, results)) for i in range(8)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    same(results, [True] * 8, 'eight connections see their own rows and settings')


c = psycopg2.connect('')
for part in (types, transactions, errors, prepared, copy, server_cursor, notify):
    part(c)
c.close()
crowd()
finish()
