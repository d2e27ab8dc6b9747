"""psycopg 3: extended queries, automatic prepared statements, pipelines, COPY, NOTIFY."""
import asyncio
import os
import sys
import uuid
from datetime import datetime, timezone
from decimal import Decimal

import psycopg

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from say import finish, ok, same  # noqa: E402


def types(c):
    values = [1, 2 ** 40, 1.5, Decimal('123.4500'), 'žluťoučký', True, None, datetime(2024, 2, 29, tzinfo=timezone.utc), [1, 2], b'\0\xff',
              uuid.UUID(int=5)]
    for binary in (False, True):
        row = c.execute('select ' + ', '.join(['%s'] * len(values)), values, binary=binary).fetchone()
        same(list(row), values, f'types come back, binary {binary}')
    c.commit()


def prepared(c):
    for i in range(20):  # prepared from the sixth on
        if c.execute('select %s::int * 2, %s', (i, 'p3')).fetchone() != (2 * i, 'p3'):
            ok(False, f'execution {i}')
        c.commit()
    ok(True, 'twenty executions, most of them prepared')
    c.execute('create table shape (a int)')
    c.commit()
    for i in range(10):
        c.execute('select * from shape', prepare=True)
        c.commit()
    c.execute('alter table shape add b int')
    c.commit()
    try:  # a server of its own refuses: its plan is cached; behind a proxy the statement may be prepared anew
        names = [d.name for d in c.execute('select * from shape', prepare=True).description]
    except psycopg.errors.FeatureNotSupported:
        names = ['a', 'b']
    same(names, ['a', 'b'], 'a changed table is refused or read anew')
    c.rollback()
    for i in range(150):  # more than the driver keeps: it deallocates
        c.execute(f'select {i}', prepare=True)
    c.commit()
    ok(True, 'statements beyond the cache are deallocated')


def transactions(c):
    c.execute('create table tx3 (n int)')
    c.commit()
    try:
        with c.transaction():
            c.execute('insert into tx3 values (1)')
            raise psycopg.Rollback
    except psycopg.Rollback:
        pass
    with c.transaction():
        c.execute('insert into tx3 values (2)')
        with c.transaction() as inner:
            c.execute('insert into tx3 values (3)')
            raise psycopg.Rollback(inner)
    same(c.execute('select n from tx3').fetchall(), [(2,)], 'nested transactions')
    c.commit()


def errors(c):
    for _ in range(10):
        try:
            c.execute('select 1/%s::int', (0,))
            ok(False, 'an error is raised')
        except psycopg.errors.DivisionByZero:
            pass
        try:
            c.execute('select %s', (1,))
            ok(False, 'the transaction is aborted')
        except psycopg.errors.InFailedSqlTransaction:
            pass
        c.rollback()
    same(c.execute('select %s::int', (9,)).fetchone(), (9,), 'after ten errors it goes on')
    c.commit()


def pipelines(c):
    with c.pipeline():
        cursors = [c.execute('select %s::int', (i,)) for i in range(200)]
        same([cur.fetchone()[0] for cur in cursors], list(range(200)), 'a pipeline of two hundred')
    c.commit()
    try:
        with c.pipeline():
            c.execute('select 1')
            c.execute('select 1/0')
            c.execute('select 2')
    except psycopg.errors.DivisionByZero:
        ok(True, 'an error in a pipeline is raised')
    c.rollback()
    c.execute('create table many (n int, t text)')
    c.commit()
    c.cursor().executemany('insert into many values (%s, %s)', [(i, str(i)) for i in range(500)])
    c.commit()
    same(c.execute('select count(*), sum(n) from many').fetchone(), (500, 124750), 'executemany')
    c.commit()


def copy(c):
    c.execute('create table copied3 (n int, t text)')
    with c.cursor().copy('copy copied3 from stdin') as out:
        for i in range(5000):
            out.write_row((i, f'row {i}'))
    c.commit()
    with c.cursor().copy('copy (select n from copied3 order by n) to stdout') as rows:
        same([int(r[0]) for r in rows.rows()], list(range(5000)), 'COPY both ways')
    c.commit()


def notify():
    with psycopg.connect('', autocommit=True) as c:
        c.execute('listen psycopg3_channel')
        with psycopg.connect('', autocommit=True) as other:
            other.execute("notify psycopg3_channel, 'hello'")
        for n in c.notifies():
            same(n.payload, 'hello', 'a notification arrives')
            break


async def crowd():
    async def one(i):
        async with await psycopg.AsyncConnection.connect('') as c:
            await c.execute("select set_config('application_name', %s, false)", (f'crowd{i}',))
            await c.commit()
            for n in range(40):
                row = await (await c.execute("select current_setting('application_name'), %s", (f'{i}:{n}',))).fetchone()
                if row != (f'crowd{i}', f'{i}:{n}'):
                    return row
                await c.commit()
        return None
    same(await asyncio.gather(*(one(i) for i in range(8))), [None] * 8, 'eight connections see their own rows and settings')


c = psycopg.connect('')
for part in (types, prepared, transactions, errors, pipelines, copy):
    part(c)
c.close()
notify()
asyncio.run(crowd())
finish()
