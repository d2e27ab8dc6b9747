#!/usr/bin/env -S /usr/bin/python3
"""A reload changes what has changed, at once or not at all, and costs no client an error that it did not have to."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import brief, query  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database('t_changes', setup='create table t (i int)')

with scenario('a database is gone while a session keeps a server of its pool'):
    for mode, keep in (('transaction', 'listen x'), ('session', 'select 1')):
        p = Proxy(cluster, workers=2, pool={'mode': mode}, databases={'alias': {'dbname': db}, '*': {}})
        pinned, idle = p.connect('alias'), p.connect('alias')
        idle.q('select 1')
        idle.quit()
        pinned.q(keep)
        pid = pinned.one('select pg_backend_pid()')
        idle = p.connect('alias')
        del p.settings['databases']['alias']
        like(p.reload(), 'reloaded', f'{mode} mode: the block is gone')
        is_(brief(idle.ask(query('select 1'), timeout=15)), 'E:3D000 Z:I', 'a statement that needs a server is told why there is none')
        is_(pinned.one('select pg_backend_pid()'), pid, 'the session that keeps its server goes on')
        p.settings['databases']['alias'] = {'dbname': db}
        p.reload()
        is_(idle.one('select 1'), '1', 'the block is back, and the other goes on, too')
        p.stop()

done()
