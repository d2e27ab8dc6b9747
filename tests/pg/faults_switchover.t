#!/usr/bin/env -S /usr/bin/python3
"""What comes in the way of a switchover, and of those who wait meanwhile, row by row of the catalogue of failures: it is done, or it is given up and
nobody has lost anything."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import Scene, signal_tree  # noqa: E402
from pgwire import query  # noqa: E402

proxy_only()

with scenario('row 78: the candidate does not get what was written last; row 46: the archive does not work'):
    name = 'row 78'
    s = Scene(fed_through_relay=True, extra="archive_mode = on\narchive_command = 'false'\n", switchover_timeout='1s')
    s.load()
    s.feed.stall()
    s.writes_go_on()
    try:
        s.admin.q('SWITCHOVER TO n1', 30)
        ok(False, f'{name}: it is refused')
    except WireError as e:
        like(str(e), 'given up: the candidate did not get', f'{name}: it is given up, and it says why')
    s.writes_go_on(name)
    is_((s.primary(), s.promotions(2)), (0, 0), f'{name}: the primary is what it was')
    s.no_errors(name)
    s.feed.flow()
    wait_for(lambda: s.fit() == 2, 30, 'both standbys to have caught up')
    name = 'row 46'
    s.admin.q('SWITCHOVER TO n1', 30)
    s.end_load()
    is_(s.primary(), 1, f'{name}: it does not wait for the archive')
    s.no_errors(name)
    s.consistent(name, 1)
    s.close()

with scenario('row 81: a crowd waits, and some go; row 82: and all come at once'):
    name = 'row 81'
    n = 2000 if LONG else 300
    s = Scene(policy='local lp = require "lunapool"\nlocal M = { api = 1, tasks = {} }\n'
              'function M.failover(event, cluster) if lp.kv.get("go") then return cluster:node("n1") end return nil, "not yet" end\n'
              'function M.tasks.go() lp.kv.set("go", true) end\nreturn M\n')
    crowd = [s.proxy.connect() for _ in range(n)]
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.proxy.wait_log('operation_waits.*not yet')
    memory = s.proxy.memory()
    for i, c in enumerate(crowd):
        c.send(query(f"insert into t values ({i}, 'crowd')"))
    for c in crowd[::3]:
        c.drop()
    s.admin.q('RUN go')
    s.ends()
    stay = [i for i in range(n) if i % 3]
    answers = [crowd[i].until('Z', 1, 60)[-2:] for i in stay]
    is_([i for i, a in zip(stay, answers) if a[0] is None or a[0][0] != 'C'], [], f'{name}: who has waited is served')
    with s.cluster.at(1) as c:
        there = [int(r[0]) for r in c.q('select id from t')]
    is_(([i for i in stay if i not in there], len(there) - len(set(there))), ([], 0), f'{name}: … once')
    ok(s.proxy.memory() - memory < n * 100_000 * SLOW, f'{name}: it took little memory')
    name = 'row 82'
    with s.cluster.at(1) as c:
        used = int(c.one("select count(*) from pg_stat_activity where backend_type = 'client backend' and application_name <> 'lunapool' and pid <> pg_backend_pid()"))
    ok(used <= 10, f'{name}: {used} connections of 10 were opened for them')
    s.close()

with scenario('row 84: a commit waits for its standby when the primary is cut off'):
    name = 'row 84'
    s = Scene(fed_through_relay=True, sync='ANY 1 (n1, n2)')
    a = s.proxy.connect()
    a.q("insert into t values (1, 'before')")
    s.feed.stall(to_server=False)
    a.send(query("insert into t values (2, 'waits')"))
    with s.cluster.at(0) as c:
        wait_for(lambda: c.one("select count(*) from pg_stat_activity where wait_event = 'SyncRep'") == '1', what='the commit to wait')
    signal_tree(s.cluster, 0, signal.SIGKILL)
    like(str([m[1] for m in a.until('Z') if m[0] == 'E']), '08007', f'{name}: nobody knows')
    s.feed.cut()
    s.ends()
    is_(a.one('select count(*) from t where id = 1'), '1', f'{name}: what was acknowledged is there, the session goes on')
    s.close()
done()
