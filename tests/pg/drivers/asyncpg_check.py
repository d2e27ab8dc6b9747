"""asyncpg: binary extended protocol, its own cache of prepared statements, cursors, COPY, NOTIFY, RESET when a pool takes a connection back."""
import asyncio
import io
import os
import sys
import uuid
from datetime import date, timedelta
from decimal import Decimal

import asyncpg

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from say import finish, ok, same  # noqa: E402


async def types(c):
    row = await c.fetchrow("select $1::int, $2::bigint, $3::float8, $4::numeric, $5::text, $6::bool, $7::date, $8::int[], $9::bytea, "
                           "$10::uuid, $11::interval, null", 1, 2 ** 40, 1.5, Decimal('1.50'), 'žlu', True, date(2024, 2, 29), [1, 2], b'\0\xff',
                           uuid.UUID(int=7), timedelta(seconds=5))
    same(tuple(row), (1, 2 ** 40, 1.5, Decimal('1.50'), 'žlu', True, date(2024, 2, 29), [1, 2], b'\0\xff', uuid.UUID(int=7),
                      timedelta(seconds=5), None), 'types come back')


async def prepared(c):
    st = await c.prepare('select $1::int + 1')
    for i in range(20):
        if await st.fetchval(i) != i + 1 or await c.fetchval('select $1::int * 3', i) != 3 * i:
            ok(False, f'execution {i}')
    ok(True, 'prepared statements are reused')
    for i in range(150):  # more than statement_cache_size
        if await c.fetchval(f'select {i}') != i:
            ok(False, f'statement {i}')
    ok(True, 'statements beyond the cache')
    await c.execute('create table shape_a (a int); insert into shape_a values (1)')
    same(len(await c.fetchrow('select * from shape_a')), 1, 'one column')
    await c.execute('alter table shape_a add b int')
    same(len(await c.fetchrow('select * from shape_a')), 2, 'two columns after ALTER TABLE')


async def transactions(c):
    await c.execute('create table txa (n int)')
    try:
        async with c.transaction():
            await c.execute('insert into txa values ($1)', 1)
            raise KeyError
    except KeyError:
        pass
    async with c.transaction(isolation='serializable'):
        await c.execute('insert into txa values ($1)', 2)
        try:
            async with c.transaction():
                await c.execute('insert into txa values ($1)', 3)
                await c.fetchval('select 1/$1::int', 0)
        except asyncpg.DivisionByZeroError:
            pass
        same([r[0] async for r in c.cursor('select g from generate_series(1, 200) g', prefetch=7)], list(range(1, 201)), 'a cursor')
    same(await c.fetch('select n from txa'), [(2,)], 'nested transactions')


async def errors(c):
    for i in range(10):
        try:
            await c.fetchval('select 1/$1::int', 0)
            ok(False, 'an error is raised')
        except asyncpg.DivisionByZeroError:
            pass
        if await c.fetchval('select $1::int', i) != i:
            ok(False, 'after an error it goes on')
    ok(True, 'ten errors')
    try:
        await c.fetchval('select pg_sleep(30)', timeout=0.2)
        ok(False, 'a timeout is raised')
    except asyncio.TimeoutError:
        ok(True, 'a timeout cancels the statement')
    same(await c.fetchval('select 5'), 5, 'after a timeout it goes on')


async def copy(c):
    await c.execute('create table copied_a (n int, t text)')
    await c.copy_records_to_table('copied_a', records=[(i, f'row {i}') for i in range(5000)])
    out = io.BytesIO()
    await c.copy_from_query('select n, t from copied_a order by n', output=out)
    same(out.getvalue().decode(), ''.join(f'{i}\trow {i}\n' for i in range(5000)), 'COPY both ways')


async def notify(c):
    heard = asyncio.get_running_loop().create_future()
    await c.add_listener('asyncpg_channel', lambda conn, pid, channel, payload: heard.done() or heard.set_result(payload))
    other = await asyncpg.connect()
    await other.execute("select pg_notify('asyncpg_channel', 'hello')")
    await other.close()
    same(await asyncio.wait_for(heard, 20), 'hello', 'a notification arrives')
    await c.reset()


async def crowd():
    async with asyncpg.create_pool(min_size=8, max_size=8) as pool:
        async def one(i):
            for n in range(30):
                async with pool.acquire() as c:  # each release resets the session
                    async with c.transaction():
                        await c.execute(f"set local application_name = 'crowd{i}'")
                        row = await c.fetchrow("select current_setting('application_name'), $1::text", f'{i}:{n}')
                        if tuple(row) != (f'crowd{i}', f'{i}:{n}'):
                            return row
        same(await asyncio.gather(*(one(i) for i in range(8))), [None] * 8, 'eight connections see their own rows and settings')


async def main():
    c = await asyncpg.connect()
    for part in (types, prepared, transactions, errors, copy, notify):
        await part(c)
    await c.close()
    await crowd()

asyncio.run(main())
finish()
