#!/usr/bin/env -S /usr/bin/python3
"""What everybody does first: psql scripts and pgbench, with fewer servers than clients."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403

cluster = Cluster.get()
db = cluster.database(setup='create table t (id int primary key, v text); create table big (id int, v text)')
proxy = Proxy(cluster, workers=2, pool={'size': 2})


def psql(name, sql, want, *flags, err=None, status=0):
    got = proxy.psql(sql, db, *flags)
    is_(got[:2], (status, want), f'psql: {name}')
    if err is not None:
        like(got[2], err, f'psql: {name}: what is said on stderr')


psql('one statement', 'select 1;', '1\n')
psql('several statements in one Query', r"select 1 \; select 2 \; select 'x';", '1\n2\nx\n')
psql('an empty statement', ';', '')
psql('an error, then life goes on', 'select 1/0; select 3;', '3\n', err='ERROR:  division by zero')
psql('an error stops a multi-statement Query', r'select 1 \; select 1/0 \; select 2;', '1\n', err='division by zero')
psql('ON_ERROR_STOP', 'select nope; select 3;', '', '-v', 'ON_ERROR_STOP=1', err='column "nope" does not exist', status=3)
psql('an error in a transaction', "begin; insert into t values (1, 'a'); select 1/0; select 5; commit; select count(*) from t;", '0\n',
     err='current transaction is aborted')
psql('a transaction', "begin; insert into t values (1, 'a'), (2, 'b'); commit; select * from t order by 1;", '1|a\n2|b\n')
psql('a rollback', 'begin; delete from t; rollback; select count(*) from t;', '2\n')
psql('savepoints', "begin; savepoint s; delete from t; rollback to s; insert into t values (3, 'c'); release s; commit; select count(*) from t;",
     '3\n')
psql('a notice', "do $$begin raise notice 'hello %', 1; end$$;", '', err='NOTICE:  hello 1')
psql('a warning outside a transaction', 'commit;', '', err='WARNING:  there is no transaction in progress')
psql('COPY to stdout', 'copy (select * from t order by 1) to stdout;', '1\ta\n2\tb\n3\tc\n')
psql('COPY from stdin', 'copy t from stdin;\n4\td\n5\te\n\\.\nselect count(*) from t;', '5\n')
psql('a COPY that fails', 'copy t from stdin;\n4\td\n\\.\nselect count(*) from t;', '5\n', err='duplicate key')
psql('\\copy in and out', f"\\copy (select generate_series(1, 1000), 'x') to '{temp_dir()}/c'\nselect 1;\n", '1\n')
psql('\\gdesc', 'select 1 as a, now() as b \\gdesc\n', 'a|integer\nb|timestamp with time zone\n')
psql('\\bind is not there in 15, PREPARE is', 'prepare p (int) as select $1 + 1; execute p(41); deallocate p;', '42\n')
psql('\\gset and variables', "select 7 as seven \\gset\nselect :seven * 2;\n", '14\n')
psql('\\gexec', "select 'select ' || g from generate_series(1, 3) g \\gexec\n", '1\n2\n3\n')
psql('\\crosstabview', "select 1, 'a', 5 \\crosstabview\n", '1|5\n')
psql('FETCH_COUNT uses a cursor', 'select g from generate_series(1, 5) g;', '1\n2\n3\n4\n5\n', '-v', 'FETCH_COUNT=2')
psql('a cursor', 'begin; declare c cursor for select g from generate_series(1, 10) g; fetch 2 from c; move 5 in c; fetch c; commit;',
     '1\n2\n8\n')
psql('AUTOCOMMIT off', "insert into t values (9, 'z');\nrollback;\nselect count(*) from t;\n", '5\n', '-v', 'AUTOCOMMIT=off')
psql('ON_ERROR_ROLLBACK', "begin;\nselect 1/0;\nselect 'alive';\ncommit;\n", 'alive\n', '-v', 'ON_ERROR_ROLLBACK=on')
psql('single transaction', "insert into t values (6, 'f'); select 1/0;", '', '-1', '-v', 'ON_ERROR_STOP=1', status=3)
psql('utf-8 text', "select 'übermäßig – 語', length('語');", 'übermäßig – 語|1\n')
psql('\\d', r'\d t' + '\n', 'id|integer||not null|\nv|text|||\n', '-P', 'footer=off', '-P', 'tuples_only=on')
psql('statements that refuse a transaction', 'vacuum t; create database t_basics_other; drop database t_basics_other; select 1;', '1\n')
psql('statements that refuse a transaction, after a setting', "set work_mem = '5MB';\nvacuum t;\nshow work_mem;\n", '5MB\n')
psql('explain', 'explain (costs off) select 1;', 'Result\n')

with scenario('large result'):
    with proxy.connect(db) as c:
        n = size = 0
        for m in c.ask(pgwire.query("select g, repeat('x', 1000) from generate_series(1, 20000) g")):
            if m[0] == 'D':
                n, size = n + 1, size + len(m[1])
        ok(n == 20000 and size > 20_000_000, 'a result of 20 MB arrives whole')
        is_(c.one("select length(repeat('y', 30000000))"), '30000000', 'and then a statement')
        is_(len(c.one("select repeat('y', 30000000)")), 30000000, 'one row of 30 MB arrives whole')
    with proxy.connect(db, unix=True) as c:
        is_(c.one('select 1'), '1', 'through the unix socket')

with scenario('pgbench'):
    rc, out, err = proxy.tool('pgbench', '-i', '-q', '-s', '1', database=db)
    is_(rc, 0, 'pgbench -i') or diag(err)
    for mode in ('simple', 'extended', 'prepared'):
        rc, out, err = proxy.tool('pgbench', '-n', '-S', '-M', mode, '-c', '16', '-j', '2', '-t', '250', database=db)
        ok(rc == 0 and 'actually processed: 4000/4000' in out, f'pgbench -S -M {mode}: 16 clients, 2 servers') or diag(out + err)
    commits = 0
    for mode in ('simple', 'extended', 'prepared'):
        before = int(cluster.one('select count(*) from pgbench_history', db))
        rc, out, err = proxy.tool('pgbench', '-n', '-M', mode, '-c', '16', '-j', '2', '-t', '100', database=db)
        done_now = int((re.search(r'actually processed: (\d+)', out) or [0, 0])[1])
        ok(rc == 0 and done_now == 1600, f'pgbench TPC-B -M {mode}: 16 clients, 2 servers') or diag(out + err)
        is_(int(cluster.one('select count(*) from pgbench_history', db)) - before, done_now, f'-M {mode}: every commit is there, once')
    sums = cluster.query("""select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers),
        (select sum(bbalance) from pgbench_branches), (select sum(delta) from pgbench_history)""", db)[0]
    is_(len(set(sums)), 1, 'all balances agree')
    if not DIRECT:
        ok(cluster.backends(db) <= 2, 'two servers were enough')
    path = f'{temp_dir()}/pipeline.sql'
    with open(path, 'w') as f:
        f.write('\\startpipeline\n' + 'select abalance from pgbench_accounts where aid = 1;\n' * 20 + '\\endpipeline\n')
    rc, out, err = proxy.tool('pgbench', '-n', '-M', 'extended', '-f', path, '-c', '8', '-t', '50', database=db)
    ok(rc == 0 and 'actually processed: 400/400' in out, 'pgbench pipelines') or diag(out + err)
    rc, out, err = proxy.tool('pgbench', '-n', '-M', 'prepared', '-f', path, '-c', '8', '-t', '50', database=db)
    ok(rc == 0 and 'actually processed: 400/400' in out, 'pgbench pipelines of prepared statements') or diag(out + err)
    rc, out, err = proxy.tool('pgbench', '-n', '-S', '-C', '-c', '4', '-t', '50', database=db)
    ok(rc == 0 and 'actually processed: 200/200' in out, 'pgbench that connects for each transaction') or diag(out + err)

with scenario('unix socket, one worker'):
    p = Proxy(cluster, workers=1, pool={'size': 1}, node={'host': cluster.dir})
    rc, out, err = p.tool('pgbench', '-n', '-S', '-M', 'prepared', '-c', '8', '-t', '100', database=db, env={'PGHOST': p.socket_dir})
    ok(rc == 0 and 'actually processed: 800/800' in out, 'pgbench through unix sockets on both sides') or diag(out + err)

done()
