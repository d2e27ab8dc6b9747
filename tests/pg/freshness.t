#!/usr/bin/env -S /usr/bin/python3
"""What a read on a standby shows: its session's own writes, everybody's, or nobody's, as read_your_writes says; also after another node has become the primary."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403

proxy_only()
cluster = Cluster(standbys=2)
SETUP = 'create table t (i int primary key); create sequence s; insert into t values (0)'
db, lax = cluster.database(setup=SETUP), cluster.database('t_freshness_lax', setup=SETUP)
cluster.mark_nodes()
HERE = "select current_setting('test.node')"
proxy = Proxy(cluster, workers=2, cluster_options={'max_lag_time': 0}, databases={'*': {}, lax: {'read_your_writes': 'off'}})
admin = proxy.connect('lunapool')


def fit():
    return {n['node'] for n in admin.table('SHOW NODES') if n['fit'] == 'yes'}


def put(**options):
    proxy.settings['cluster'] = {'max_lag_time': 0, **options}
    like(proxy.reload(), ' reloaded ', f'{options}')


def where(c):
    return c.one(HERE)


def away(c):
    """This session reads on a standby again."""
    wait_for(lambda: where(c) != 'n0', what='a read on a standby')


def replay(paused):
    for i in (1, 2):
        cluster.pause_node(i, paused)


def count(c, i):
    return c.one(f'select count(*) from t where i = {i}')


wait_for(lambda: fit() == {'n1', 'n2'}, what='two standbys that are fit')
writer, others = proxy.connect(db), [proxy.connect(db) for _ in range(6)]  # on both workers
reader = others[0]
for c in (writer, *others):
    away(c)
    wait_for(lambda: int(c.one('select count(*) from t where i = 0')) == 1, what='the catalogue')

with scenario('session'):
    replay(paused=True)
    writer.q('insert into t values (1)')
    is_([count(writer, 1) for _ in range(50)], ['1'] * 50, 'who has written it reads it, although standbys do not show it')
    is_({count(c, 1) for c in others}, {'0'}, '… others read on standbys, which do not')
    is_('n0' in {where(c) for c in others}, False, '… indeed')
    replay(paused=False)
    away(writer)
    is_([count(writer, 1) for _ in range(20)], ['1'] * 20, 'it reads on a standby when that shows it')

with scenario('what writes nothing'):
    replay(paused=True)
    writer.q('insert into t values (20)')
    for sql in ('explain insert into t values (3)', 'select i from t for share', 'select count(*) from pg_stat_activity', "select nextval('s')", 'notify x',
                'select pg_current_xact_id(), pg_advisory_xact_lock(1)', 'prepare p as insert into t values (3)', 'begin; lock t; select i from t for update; commit'):
        reader.q(sql)
        is_(where(reader) == 'n0', False, f'behind {sql} standbys are good enough')
    for sql in ('begin isolation level serializable', 'select i from t', 'commit'):
        reader.q(sql)
    is_(where(reader) == 'n0', False, 'behind a transaction that was for the primary and has only read, too')
    reader.q('select i from t for update; delete from t where i = -1')
    is_(where(reader), 'n0', 'behind a write they are not')
    replay(paused=False)
    away(reader)

with scenario('cluster'):
    put(read_your_writes='cluster')
    away(reader)
    replay(paused=True)
    writer.q('insert into t values (2)')
    is_({count(c, 2) for c in others for _ in range(20)}, {'1'}, 'everybody reads what one has written')
    is_({where(c) for c in others}, {'n0'}, '… on the primary, as long as no standby shows it')
    late = proxy.connect(db)
    is_(count(late, 2), '1', '… who comes later, too')
    replay(paused=False)
    for c in others:
        away(c)
    is_({count(c, 2) for c in others}, {'1'}, 'they read on standbys when those show it')
    replay(paused=True)
    for sql in ('begin', 'insert into t values (7)', 'commit and chain'):
        writer.q(sql)
    is_({count(c, 7) for c in others}, {'1'}, 'a transaction that is followed by another at once has ended')
    writer.q('rollback')
    replay(paused=False)
    for i in (1, 2):
        cluster.delay_node(i, '200ms')
    misses, there = 0, 0
    for i in range(1000, 1200):
        writer.q(f'insert into t values ({i})')
        misses += count(others[i % len(others)], i) != '1'
        there += where(late) != 'n0'
    is_(misses, 0, '200 writes of one and reads of others, with standbys that are late: no miss')
    for i in (1, 2):
        cluster.delay_node(i, '0')
    with proxy.connect(lax) as c:
        away(c)
        replay(paused=True)
        c.q('insert into t values (3)')
        is_((count(c, 3), where(c) != 'n0'), ('0', True), 'a database that wants nothing of it reads on standbys all the same')
        replay(paused=False)

with scenario('off'):
    put(read_your_writes='off')
    away(writer)
    replay(paused=True)
    writer.q('insert into t values (4)')
    is_((count(writer, 4), where(writer) != 'n0'), ('0', True), 'not even who has written it is sure to read it')
    replay(paused=False)
    wait_for(lambda: count(writer, 4) == '1', what='replay')

with scenario('another primary'):
    put()
    for i in (1, 2):
        cluster.caught_up(i)
    wait_for(lambda: fit() == {'n1', 'n2'}, what='two standbys that are fit')
    cluster.delay_node(2, '3s')
    writer.q('insert into t values (5)')
    cluster.caught_up(1)
    is_(count(writer, 5), '1', 'it is written')
    wait_for(lambda: where(writer) == 'n1', what='a standby that shows it')
    cluster.kill_node(0)
    with cluster.at(1) as n:
        n.q('select pg_promote()')
    cluster.set_node(2, primary_conninfo=f'host=127.0.0.1 port={cluster.ports[1]} user=postgres')
    cluster.port = cluster.ports[1]
    wait_for(lambda: count(writer, 5) == '1', what='the new primary')
    is_([count(writer, 5) for _ in range(50)], ['1'] * 50, 'what was written before is read behind a failover, too')
    writer.q('insert into t values (6)')
    seen = set()
    wait_for(lambda: seen.add((count(writer, 5), count(writer, 6))) or (fit() == {'n2'} and where(writer) == 'n2'), 60, what='a read on the other standby')
    is_(seen, {('1', '1')}, 'what was written before it and behind it is read all the time, until the other standby shows it')
    is_((count(writer, 5), count(writer, 6)), ('1', '1'), '… and there')

done()
