#!/usr/bin/env -S /usr/bin/python3
"""Statements that wait for a primary are as many, and as long, as they may be; and those who have waited come to the new one a few at a time."""
import os
import re
import signal
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import Scene, signal_tree  # noqa: E402
from pgwire import query  # noqa: E402

proxy_only()

WAITS = '''
local lp = require "lunapool"
local M = { api = 1, tasks = {} }
function M.failover(event, cluster) if lp.kv.get("go") then return cluster:node("n1") end return nil, "not yet" end
function M.tasks.go() lp.kv.set("go", true) end
return M
'''


def held(s):
    rows = {r['kind']: int(r['taken']) for r in s.admin.table('SHOW LIMITS')}
    return rows['statements held'], rows['bytes held']


def metric(s, name):
    port = s.proxy.wait_log(r'http_listening .*port=(\d+)').group(1)
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics', timeout=20) as r:
        return float(re.search(rf'^lunapool_{name} (.*)$', r.read().decode(), re.M).group(1))


def insert(c, n, filler=''):
    c.send(query(f"insert into t values ({n}, 'held') /* {filler} */"))


def answer(c):
    """'' or the SQLSTATE, when the message has its ReadyForQuery."""
    return next((m[1].split(b'\0')[2][1:].decode() for m in c.until('Z', 1, 60) if m[0] == 'E'), '')


def refused(c, n, filler=''):
    try:
        c.q(f"insert into t values ({n}, 'refused') /* {filler} */", 60)
    except WireError as e:
        return str(e)[:5]
    return ''


with scenario('as many wait as may'):
    s = Scene(standbys=1, policy=WAITS, limits={'max_held': 20, 'max_held_bytes': '100kB'})
    crowd = [s.proxy.connect() for _ in range(20)]
    more = [s.proxy.connect() for _ in range(4)]
    is_(held(s), (0, 0), 'nobody waits while there is a primary')
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.proxy.wait_log('operation_waits.*not yet')
    for i, c in enumerate(crowd):
        insert(c, i)
    wait_for(lambda: held(s)[0] == 20, what='all of the crowd to wait')
    ok(20 * 30 < held(s)[1] < 20 * 100, 'SHOW LIMITS says how many wait, and what is kept of them')
    is_([refused(c, 100 + i) for i, c in enumerate(more)], ['57P03'] * 4, 'those beyond are told so at once')
    is_(held(s)[0], 20, '… and take nobody\'s place')
    is_([c.one('select 1') for c in more], ['1'] * 4, 'their sessions go on, and read')
    more[0].send(query('begin'))
    more[0].until('Z')
    is_(refused(more[0], 110), '57P03', 'in a transaction, too')
    is_(refused(more[0], 111), '25P02', '… which has failed then')
    more[0].q('rollback')
    crowd[0].drop()
    wait_for(lambda: held(s)[0] == 19, what='who has gone to be gone')
    s.proxy.settings['limits']['max_held'] = 21
    s.proxy.reload()
    for i in (1, 2):
        insert(more[i], 100 + i)
    wait_for(lambda: held(s)[0] == 21, what='as many to wait as may since a reload')
    is_(refused(more[3], 103), '57P03', 'after a reload the new bound counts')
    s.admin.q('RUN go')
    s.ends()
    is_([answer(c) for c in crowd[1:] + more[1:3]], [''] * 21, 'all who have waited are served')
    is_(held(s), (0, 0), 'nobody waits any more')
    more[3].q("insert into t values (104, 'later')")
    with s.cluster.at(1) as c:
        is_([int(r[0]) for r in c.q('select id from t order by 1')], [*range(1, 20), 101, 102, 104], 'each of them once, and nothing of those who were refused')
    s.close()

with scenario('as many bytes wait as may'):
    s = Scene(standbys=1, policy=WAITS, limits={'max_held_bytes': '30kB'}, program={'http_port': 0})
    a, b, c = (s.proxy.connect() for _ in range(3))
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.proxy.wait_log('operation_waits.*not yet')
    insert(a, 1, 'x' * 20000)
    wait_for(lambda: held(s)[1] > 20000, what='the first to wait')
    is_(refused(b, 2, 'x' * 20000), '57P03', 'what would be too much is refused')
    is_(held(s)[0], 1, '… and counts no more')
    insert(b, 3)
    insert(c, 4)
    wait_for(lambda: held(s)[0] == 3, what='short ones to wait')
    is_([metric(s, 'held_statements'), metric(s, 'held_refused_total')], [3, 1], 'the metrics say so, too')
    s.admin.q('RUN go')
    s.ends()
    is_([answer(x) for x in (a, b, c)], [''] * 3, 'who has waited is served')
    is_(held(s), (0, 0), 'nothing is kept any more')
    s.close()

with scenario('row 82: who has waited logs in a few at a time'):
    s = Scene(standbys=1, policy=WAITS, pool={'size': 40, 'max_connecting': 3}, extra='log_connections = on\nlog_disconnections = on\n')
    with s.cluster.at(0) as c:
        c.q('create role crowd login; grant all on t to crowd')
        s.cluster.caught_up(1)
    crowd = [s.proxy.connect(user='crowd') for _ in range(300)]
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.proxy.wait_log('operation_waits.*not yet')
    for i, c in enumerate(crowd):
        insert(c, i)
    wait_for(lambda: held(s)[0] == 300, what='all to wait')
    s.admin.q('RUN go')
    s.ends()
    is_([answer(c) for c in crowd], [''] * 300, 'all are served')
    with open(f'{s.cluster.dir}/n1.log') as f:
        log = f.read()
    pids = re.findall(r'\[(\d+)\].*connection authorized: user=crowd', log)
    under_way, most = set(), 0
    for pid, what in re.findall(r'\[(\d+)\].*LOG:  connection (received|authorized)', log):
        if pid in pids:
            (under_way.add if what == 'received' else under_way.discard)(pid)
            most = max(most, len(under_way))
    ok(3 <= len(pids) <= 40, f'{len(pids)} connections of 40 were opened')
    ok(1 <= most <= 3, f'{most} of 3 logins were under way at once')
    s.close()
done()
