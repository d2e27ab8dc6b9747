"""dialogue — random conversations of a client, and what came back, in a form that two servers can be compared by.

A dialogue is a list of flights; a flight is bytes that are sent at once, after which the client reads until it has seen
the flight's barrier.  A barrier must work in any transaction state and change nothing: five Close of statements that do
not exist (five CloseComplete in a row), behind a Sync (kind SYNC) or, to see replies come without one, before a Flush (kind
FLUSH; those flights consist of extended messages only, so an error tells that nothing more comes until a Sync,
and the next flight gets one).

What may differ between a server and a proxy in front of it is taken out by Told: process ids, table OIDs, source lines of
errors, and the place in the stream of ParameterStatus (what the client has been told is compared at each ReadyForQuery).
"""
import random
import struct

import pgwire as w

BARRIER = 5
SYNC, FLUSH = 'sync', 'flush'


def barrier(kind):
    closes = b''.join(w.close('S', 'no_such_statement') for _ in range(BARRIER))
    return w.sync() + closes + w.sync() if kind == SYNC else closes + w.flush()


class Told:
    """What a client was told, message by message, comparable."""

    def __init__(self, conn):
        self.conn = conn
        self.lines = []

    def add(self, m):
        kind, body = m
        if kind == 'S':
            return
        if kind in 'EN':
            f = w.fields(body)
            for field in 'FLR':
                f.pop(field, None)
            self.lines.append((kind, tuple(sorted(f.items()))))
        elif kind == 'T':
            self.lines.append((kind, self.without_tables(body)))
        elif kind == 'A':
            self.lines.append((kind, body[4:]))
        elif kind == 'Z':
            known = tuple(sorted((k, v) for k, v in self.conn.parameters.items()))
            self.lines.append((kind, body, known))
        else:
            self.lines.append((kind, body))

    @staticmethod
    def without_tables(body):
        out, at = [], 2
        for _ in range(struct.unpack_from('!h', body)[0]):
            end = body.index(b'\0', at)
            oid = struct.unpack_from('!I', body, end + 1)[0]
            out.append((body[at:end], oid != 0, body[end + 5:end + 19]))
            at = end + 19
        return tuple(out)


def converse(conn, flights, timeout):
    """Runs the flights; a list of what was told, one list per flight. The last line of the last one may be ('EOF',) or ('SILENCE',)."""
    out = []
    skipping = False
    for data, kind in flights:
        if skipping:
            kind = SYNC  # after an error nothing is answered without one
        told = Told(conn)
        out.append(told.lines)
        end = None
        try:
            conn.send(data + barrier(kind))
            closes, failed = 0, False
            while True:
                m = conn.recv(timeout)
                if m is None:
                    end = ('EOF',)
                    break
                told.add(m)
                closes = closes + 1 if m[0] == '3' else closes if m[0] in 'NSA' else 0 if m[0] != 'Z' else (BARRIER + 1 if closes == BARRIER else 0)
                failed = failed or m[0] == 'E'
                if kind == SYNC and closes > BARRIER:
                    break
                if kind == FLUSH and (closes == BARRIER or failed):
                    break
            skipping = kind == FLUSH and failed
        except w.Timeout:
            end = ('SILENCE',)
        except OSError:
            end = ('EOF',)
        if end:
            told.lines.append(end)
            break
    return out


SETUP = """
create schema if not exists {me};
create table {me}.t (id int primary key, v text, n numeric);
insert into {me}.t select g, 'row ' || g, g * 1.5 from generate_series(1, 20) g;
create sequence {me}.s;
create table {me}.d (id int primary key deferrable initially deferred);
"""

SETTINGS = [
    ('work_mem', ["'1MB'", "'77kB'", "'3MB'"]), ('statement_timeout', ['0', '10000', "'1h'"]), ('search_path', ['{me}', '{me}, public', "''", "'$user', {me}"]),
    ('application_name', ["'one'", "'two words'", "'ümlaut'", "''"]), ('datestyle', ["'ISO, DMY'", "'German'", "'ISO, MDY'"]), ('timezone', ["'UTC'", "'Asia/Tokyo'", '2']),
    ('extra_float_digits', ['0', '3']), ('client_min_messages', ['notice', 'warning', 'error']), ('bytea_output', ["'hex'", "'escape'"]),
    ('intervalstyle', ["'iso_8601'", "'postgres'"]), ('lock_timeout', ['0', "'9s'"]), ('lp.custom', ["'a'", "'b'"]),
    ('standard_conforming_strings', ['on', 'off']), ('enable_seqscan', ['on', 'off']), ('row_security', ['on', 'off']), ('client_encoding', ["'UTF8'", "'LATIN1'", "'SQL_ASCII'"]),
    ('nonsense', ['1']), ('work_mem', ["'nonsense'"]), ('datestyle', ["'nonsense'"]), ('default_transaction_isolation', ["'serializable'", "'read committed'"]), ('default_transaction_read_only', ['on', 'off']),
]
SHOWN = ['work_mem', 'statement_timeout', 'search_path', 'application_name', 'datestyle', 'timezone', 'lock_timeout', 'client_min_messages', 'bytea_output',
         'intervalstyle', 'enable_seqscan', 'client_encoding', 'transaction_isolation', 'transaction_read_only', 'role', 'session_authorization', 'row_security', 'default_transaction_isolation']


class Author:
    """Writes random dialogues for client ME, whose tables nobody else uses."""

    def __init__(self, seed, me):
        self.r = random.Random(seed)
        self.me = me
        self.n = 0

    def number(self):
        self.n += 1
        return self.n

    def pick(self, *weighted):
        """pick((3, 'a'), (1, 'b')); callables are called."""
        total = sum(x[0] for x in weighted)
        at = self.r.random() * total
        for weight, value in weighted:
            at -= weight
            if at < 0:
                break
        return value() if callable(value) else value

    # -- SQL

    def read(self):
        return self.r.choice([
            f"select '{self.me}' as who, {self.number()} as n", f'select * from {self.me}.t where id < {self.r.randint(0, 8)} order by id',
            f'select count(*) from {self.me}.t', 'select current_user, session_user', f"select g, '{self.me}' from generate_series(1, {self.r.randint(0, 30)}) g",
            'table pg_temp.tt', 'select 1.5::float8, now() > \'2020-01-01\', interval \'1 day\', \'\\x0102\'::bytea', '/* comment */ select 1 -- more', 'values (1, 2), (3, null)',
            "select timestamptz '2024-05-06 07:08:09+00'", 'select', f"with x as (select {self.number()}) select * from x", 'select $$quoted$$, E\'es\\\'caped\'',
            f'select last_value > 0 from {self.me}.s', f'select * from {self.me}.t order by id limit 3 for update', f"select repeat('{self.me}', 5000)",
        ])

    def write(self):
        i = self.r.randint(1, 40)
        return self.r.choice([
            f"insert into {self.me}.t values ({i}, 'new', {i})", f"insert into {self.me}.t values ({i}, 'new', {i}) on conflict do nothing returning *", f"update {self.me}.t set v = v || 'x' where id = {i}",
            f'delete from {self.me}.t where id = {i} returning id', f'select nextval(\'{self.me}.s\')', f'insert into {self.me}.d values ({i % 4})', f'delete from {self.me}.d',
            f'truncate {self.me}.d', f"with w as (update {self.me}.t set n = n + 1 where id = {i} returning n) select * from w",
        ])

    def wrong(self):
        return self.r.choice(['select 1/0', 'select nope', 'selekt 1', 'select * from nowhere', "select 'x'::int", 'select (', "select '", f'insert into {self.me}.t values (1)', 'call nothing()', 'rollback to nowhere',
                              'fetch from nowhere', 'close nowhere', 'execute nowhere', 'deallocate nowhere', 'drop table nowhere', 'set nonsense = 1', 'set role nobody_at_all', 'show nonsense', 'reset nonsense'])

    def transaction(self):
        return self.r.choice(['begin', 'begin', 'begin', 'commit', 'commit', 'commit', 'rollback', 'rollback', 'start transaction', 'end', 'abort', 'begin isolation level serializable', 'begin read only', 'begin isolation level repeatable read, read write, not deferrable',
                              'commit and chain', 'rollback and chain', 'commit and no chain', 'savepoint a', 'savepoint a', 'savepoint b', 'release a', 'release savepoint b', 'rollback to a', 'rollback to savepoint b', 'set transaction read only',
                              'set transaction isolation level serializable', 'begin work', 'commit work', 'begin transaction', 'rollback work', 'set session characteristics as transaction read write', 'begin /* x */', 'BEGIN;', 'set constraints all immediate'])

    def setting(self):
        name, values = self.r.choice(SETTINGS)
        value = self.r.choice(values).format(me=self.me)
        text = value.replace("'", "''")
        return self.pick((6, f'set {name} = {value}'), (3, f'set local {name} = {value}'), (2, f'set session {name} to {value}'), (3, f'reset {name}'), (1, f'set {name} to default'),
                         (1, f"select set_config('{name}', '{text}', false)" if not value.startswith("'") else f"select set_config('{name}', {value}, false)"), (0.5, f"select set_config('{name}', '9', true)"),
                         (0.4, 'reset all'), (0.3, 'discard all'), (0.2, 'discard plans'), (0.2, 'set role none'), (0.5, f'set role {self.me}'), (0.3, f'set local role {self.me}'), (0.2, 'reset role'),
                         (0.2, f'set session authorization {self.me}'), (0.2, 'reset session authorization'), (0.2, f"set time zone 'Europe/Berlin'"), (0.2, "set names 'UTF8'"))

    def showing(self):
        name = self.r.choice(SHOWN)
        return self.r.choice([f'show {name}', f"select current_setting('{name}')", f"select current_setting('{self.r.choice(SHOWN)}'), current_setting('{name}')"])

    def special(self):
        return self.r.choice([
            'create temp table tt (a int)', 'insert into pg_temp.tt values (1)', 'drop table pg_temp.tt', 'create temp table if not exists tt on commit drop as select 1 as a', f'listen {self.me}', f"notify {self.me}, 'hello'", f'unlisten {self.me}', 'unlisten *',
            f"select pg_notify('{self.me}', 'x')", "declare c cursor with hold for select g from generate_series(1, 5) g", 'declare c2 cursor for select g from generate_series(1, 5) g', 'fetch 2 from c', 'fetch 2 from c2', 'close c', 'close all', 'move 1 in c',
            f"select pg_advisory_lock(hashtext('{self.me}'))", f"select pg_advisory_unlock(hashtext('{self.me}'))", f"select pg_try_advisory_xact_lock(hashtext('{self.me}'))", 'select pg_advisory_unlock_all()',
            f"prepare sp as select '{self.me}', {self.number()}", 'prepare sp2 (int) as select $1 + 1', 'execute sp', 'execute sp2(4)', 'deallocate sp', 'deallocate sp2', 'deallocate all', 'deallocate prepare sp', "do $$begin perform 1; raise notice 'do'; end$$", "do $$begin perform set_config('work_mem', '123kB', false); end$$",
            'explain (costs off) select 1', f'analyze {self.me}.t', f'vacuum {self.me}.d', f'lock {self.me}.t', f'alter table {self.me}.t add column if not exists extra int', f'alter table {self.me}.t drop column if exists extra', f'create table if not exists {self.me}.x (a int)', f'drop table if exists {self.me}.x',
            'load \'auto_explain\'', f"select pg_catalog.set_config('search_path', '{self.me}', false)", 'checkpoint', 'set schema \'public\'', 'select count(*) >= 0 from pg_prepared_statements', "select count(*) from pg_cursors", f"comment on table {self.me}.t is 'c'",
            f'create or replace function {self.me}.f() returns int language sql as $$select 1$$', f'select {self.me}.f()',
        ])

    def sql(self):
        return self.pick((30, self.read), (15, self.write), (8, self.wrong), (25, self.transaction), (15, self.setting), (10, self.showing), (9, self.special), (1, ''), (0.5, ';'), (0.5, '-- nothing'))

    def simple(self):
        if self.r.random() < 0.25:
            return w.query('; '.join(self.sql() for _ in range(self.r.randint(2, 5))))
        return w.query(self.sql())

    # -- protocol

    def statement_name(self):
        return self.r.choice(['', '', '', '', 's1', 's2', 's3', 'ghost'])

    def portal_name(self):
        return self.r.choice(['', '', '', '', '', 'p1', 'p2'])

    def parameters(self):
        """A parse with parameters, and values for it."""
        return self.r.choice([
            ('select $1::int + $2::int', (), ['3', '4']), ('select $1::text', (25,), ["it's"]), ('select $1', (), ['untyped']), ("select set_config('work_mem', $1, false)", (), ['2MB']), ("select set_config($1, $2, $3)", (), ['lock_timeout', '7s', 'f']),
            (f'insert into {self.me}.t values ($1, $2, $3)', (), [str(self.r.randint(1, 60)), None, '1.25']), (f'select * from {self.me}.t where id = any($1) order by 1', (), ['{1,2,3}']), ('select $1::int / $2::int', (), ['1', '0']),
            ('select $1::int', (), ['not a number']), ('select $1', (), []), (f'select v from {self.me}.t where id = $1', (20,), ['5']),
        ])

    def extended(self):
        """One to several extended messages, without Sync."""
        r = self.r.random()
        name, portal = self.statement_name(), self.portal_name()
        if r < 0.40:
            rows = self.r.choice([0, 0, 0, 0, 1, 2, 100])
            out = w.parse(name, self.sql())
            if self.r.random() < 0.3:
                out += w.describe('S', name)
            out += w.bind(portal, name, results=self.r.choice([(), (), (), (1,)]))
            if self.r.random() < 0.6:
                out += w.describe('P', portal)
            out += w.execute(portal, rows)
            if rows and self.r.random() < 0.7:
                out += w.execute(portal, rows)
            return out
        if r < 0.60:
            sql, types, values = self.parameters()
            return w.parse(name, sql, types) + w.bind(portal, name, values) + (w.describe('P', portal) if self.r.random() < 0.5 else b'') + w.execute(portal)
        if r < 0.80:
            return w.bind(portal, name, [] if self.r.random() < 0.8 else ['1']) + w.execute(portal)
        # Not the unnamed portal without its own Bind: that may be a simple Query's of before, whose text PostgreSQL 15 has freed (it crashes).
        named = self.r.choice(['p1', 'p2'])
        return self.pick((3, lambda: w.describe('S', name)), (2, lambda: w.describe('P', named)), (2, lambda: w.close('S', name)), (1, lambda: w.close('P', portal)), (2, lambda: w.execute(named)), (2, lambda: w.parse(name, self.sql())), (1, w.flush),
                         (1, lambda: w.bind(portal, name)), (1, lambda: w.parse(name, self.read() + '; ' + self.read())))

    def copy(self):
        sql = self.r.choice([f'copy {self.me}.t from stdin', f'copy {self.me}.d from stdin', f'copy {self.me}.t (id, v) from stdin with csv', 'copy nowhere from stdin'])
        data = b''.join(w.copy_data(self.r.choice([f'{self.r.randint(1, 200)}\tx\t1\n', f'{self.r.randint(1, 9)}\n', '5,csv\n', 'broken\n', '\\.\n', f'{self.r.randint(300, 900)}\ta', '\tb\n'])) for _ in range(self.r.randint(0, 5)))
        end = w.copy_done() if self.r.random() < 0.8 else w.copy_fail('changed my mind')
        out = self.r.choice([f'copy (select 1, 2) to stdout', f'copy {self.me}.t to stdout', "copy (select repeat('x', 10000) from generate_series(1, 20)) to stdout with csv", f'copy {self.me}.t to stdout (format binary)'])
        if self.r.random() < 0.3:
            return w.query(out) if self.r.random() < 0.5 else w.parse('', out) + w.bind('', '') + w.execute() + w.sync()
        how = self.r.random()
        if how < 0.5:
            return w.query(sql) + data + end
        if how < 0.6:
            return w.query(f'select 1; {sql}; select 2') + data + end
        if how < 0.8:
            return w.parse('', sql) + w.bind('', '') + w.execute() + data + end + w.sync()
        return w.parse('', sql) + w.bind('', '') + w.execute() + w.sync() + data + end + w.sync()

    def function(self):
        return self.r.choice([w.function_call(870, ['LOUD']), w.function_call(870, ['LOUD']), w.function_call(4, [])])

    def flight(self):
        r = self.r.random()
        if r < 0.38:
            return self.simple(), SYNC
        if r < 0.45:
            return b''.join(self.simple() for _ in range(self.r.randint(2, 4))), SYNC
        if r < 0.53:
            return self.copy(), SYNC
        if r < 0.55:
            return self.function(), SYNC
        if r < 0.65:
            return b''.join(self.extended() for _ in range(self.r.randint(1, 3))), FLUSH
        out = b''
        for _ in range(self.r.randint(1, 7)):
            out += self.pick((8, self.extended), (3, w.sync), (1, self.simple), (0.4, self.copy), (0.7, w.flush))
        return out, SYNC

    def dialogue(self):
        return [self.flight() for _ in range(self.r.randint(3, 14))]


def messages(data):
    out, at = [], 0
    while at + 5 <= len(data):
        end = at + 1 + struct.unpack_from('!i', data, at + 1)[0]
        out.append(data[at:end])
        at = end
    return out


def smaller(flights, differs):
    """The flights and messages without those that the difference does not need.  A Bind stays with its Parse and Execute: see extended()."""
    at = len(flights) - 1
    while at >= 0 and len(flights) > 1:
        less = flights[:at] + flights[at + 1:]
        if differs(less):
            flights = less
        at -= 1
    for n, (data, kind) in enumerate(flights):
        parts = messages(data)
        at = len(parts) - 1
        while at >= 0:
            less = parts[:at] + parts[at + 1:]
            if chr(parts[at][0]) in 'QSDCHEd' and differs(flights[:n] + [(b''.join(less), kind)] + flights[n + 1:]):
                parts = less
                flights = flights[:n] + [(b''.join(less), kind)] + flights[n + 1:]
            at -= 1
    return flights
