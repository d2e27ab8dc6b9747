#!/usr/bin/env -S /usr/bin/python3
"""A BEGIN that was answered here and travels with the first statement of its transaction: what becomes of it when the server does not take it."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from middleman import Middleman  # noqa: E402
from pgwire import bind, brief, execute, flush, parse, query, sync  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database(setup='create table t (i int primary key)')


def one(sql):
    return parse('', sql) + bind('', '') + execute()


def told(c, data, want, name, count=1):
    c.send(data)
    return is_(brief(c.until('Z', count)), want, name)


with scenario('a deferred BEGIN that the server does not take'):  # as when a cancel strikes it
    middle = Middleman(cluster.host, cluster.port)
    through = Proxy(cluster, pool={'size': 1}, node={'port': middle.port})
    c, other = through.connect(db), through.connect(db)
    for settings in ([], ["set work_mem = '1MB'"]):
        for s in settings:
            c.q(s)
        for insert, end, tag in ((one('insert into t values (77)') + sync(), one('commit') + sync(), '1 2 '), (query('insert into t values (77)'), query('commit'), ''), (query('insert into t values (77)'), query('end; select 1'), None)):
            other.q('reset work_mem')
            middle.change = lambda data: data
            told(c, query('begin'), 'C:BEGIN Z:T', 'BEGIN is answered')
            middle.change = lambda data: data.replace(b'begin', b'begun')
            c.send(insert + insert + end)
            got = brief(c.until('Z', 3))
            want = 'E:42601 Z:E E:25P02 Z:E ' + ('C:ROLLBACK D:1 C:SELECT_1 Z:I' if tag is None else f'{tag}C:ROLLBACK Z:I')
            is_(got, want, 'the transaction has failed, and what was sent behind it is in it')
            middle.change = lambda data: data
            is_(other.one('select count(*) from t where i = 77'), '0', 'nothing of it was done, and others get the server')
            c.send(query('begin') + query('select 1/0') + query('rollback'))
            is_(brief(c.until('Z', 3)), 'C:BEGIN Z:T E:22012 Z:E C:ROLLBACK Z:I', 'the session lives on')
    told(c, query('begin'), 'C:BEGIN Z:T', 'BEGIN is answered')
    middle.change = lambda data: data.replace(b'begin', b'begun')
    c.send(one('select 1') + flush())
    is_(brief(c.until('E')), 'E:42601', 'the server does not take it')
    middle.change = lambda data: data
    cluster.query("select pg_terminate_backend(pid, 20000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()", db)
    told(c, sync(), 'Z:E', 'and is gone before the Sync')
    told(c, query('rollback'), 'C:ROLLBACK Z:I', 'which the client need not care about')
    told(c, query('begin') + query('select 1') + query('commit'), 'C:BEGIN Z:T D:1 C:SELECT_1 Z:T C:COMMIT Z:I', 'the next transaction knows nothing of it', 3)
    c.quit()
    other.quit()
    through.stop()
    through = Proxy(cluster, pool={'size': 1}, node={'port': middle.port}, limits={'transaction_timeout': '500ms'})
    c = through.connect(db)
    c.q('begin')
    middle.change = lambda data: data.replace(b'begin', b'begun')
    told(c, query('select 1'), 'E:42601 Z:E', 'a transaction that has failed so')
    is_(brief(c.until('E')), 'E:25P04', 'does not outlast transaction_timeout')
    c.drop()
    through.stop()
    middle.stop()


done()
