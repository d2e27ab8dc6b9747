#!/usr/bin/env -S /usr/bin/python3
"""What goes wrong when an old primary shall rejoin, row by row of the catalogue of failures: it cannot be rewound, its rewind is cut off half way, its
new copy is.  It is left as it is or gets a new copy, and nobody starts what is neither the old nor the new."""
import os
import re
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import Scene, signal_tree  # noqa: E402
from programs import programs  # noqa: E402

proxy_only()
POLICY = 'return require "lunapool.by" { here = true, rebuild = %s }\n'
# A signal ends it in the midst of a file of WAL; what has crashed recovers first, which a limit would be in the way of.
CUT_OFF = 'dir=; for word; do case $word in --target-pgdata=*) dir=${word#*=};; esac; done\n$as_postgres $bin/postgres --single -F -D "$dir" template1 </dev/null >&2\nulimit -c 0; ulimit -f 2048'


def reload_with(s, rebuild, **instead):
    s.proxy.settings['nodes'].update({f'n{i}': {'data_dir': f'{s.cluster.dir}/n{i}', 'bin_dir': programs(s.cluster, i, **instead)} for i in (0, 1)})
    s.proxy.files['main.lua'] = POLICY % str(rebuild).lower()
    like(s.proxy.reload(), 'reloaded', 'the policy is in force')


def refused(s, text, why, name):
    try:
        s.admin.q(text, 60)
        ok(False, name)
    except WireError as e:
        like(str(e), why, name)


def stop_nodes(s):
    for i in (0, 1):
        subprocess.run(as_postgres([tool('pg_ctl'), 'stop', '-D', f'{s.cluster.dir}/n{i}', '-m', 'immediate']), capture_output=True, cwd='/tmp')


def files(s, i):
    """What is there of a node, and beside it."""
    return sorted(n for n in os.listdir(s.cluster.dir) if n.startswith(f'n{i}') and not n.endswith('.log'))


def lives_nowhere(s, i):
    return s.rows()[f'n{i}']['state'] == 'quarantined' and not os.path.exists(f'{s.cluster.dir}/n{i}/postmaster.pid')


def is_standby(s, i, name):
    wait_for(lambda: s.row(i)['fit'] == 'yes', 60, f'n{i} as a standby')
    with s.cluster.at(i) as c, s.proxy.connect() as d:
        d.q('insert into t values (0)')
        there = d.q('select count(*), sum(id) from t')
        wait_for(lambda: c.q('select count(*), sum(id) from t') == there, what=f'{name}: what the primary has')
    is_(files(s, i), [f'n{i}'], f'{name}: it is a standby, with what the primary has, and nothing is left beside it')


with scenario('rows 36, 37: an old primary shall rejoin'):
    s = Scene(standbys=1, policy='return { api = 1 }', extra='wal_log_hints = off\n')
    atexit.register(stop_nodes, s)
    s.cluster.set_node(1, wal_log_hints='on')
    s.cluster.kill_node(1, signal.SIGINT)
    s.cluster.start_node(1)
    wait_for(lambda: s.fit() == 1, what='the standby')
    with s.cluster.at(0) as c:
        c.q('insert into t select generate_series(1, 1000)')

    name = 'row 36: it cannot be rewound'
    reload_with(s, rebuild=False)
    signal_tree(s.cluster, 0, signal.SIGKILL)
    s.ends()
    s.proxy.wait_log('node_not_restored.*node=n0.*wal_log_hints')
    s.admin.q('MAINTENANCE ON')  # which leaves what happens next to us
    ok(lives_nowhere(s, 0), f'{name}: it is left out')
    is_(files(s, 0), ['n0'], f'{name}: it is as it was')
    name = 'row 36: … and its new copy is cut off'
    reload_with(s, rebuild=True, pg_basebackup='ulimit -c 0; ulimit -f 2048')
    before = os.stat(f'{s.cluster.dir}/n0').st_ino
    for again in ('', ', again'):
        refused(s, 'REJOIN NODE n0', 'pg_basebackup', f'{name}{again}')
        ok(lives_nowhere(s, 0), f'{name}{again}: it is left out')
        is_(os.stat(f'{s.cluster.dir}/n0').st_ino, before, f'{name}{again}: what it had is in its place')
    name = 'row 36: … and it gets one'
    reload_with(s, rebuild=True)
    s.admin.q('REJOIN NODE n0', 60)
    is_standby(s, 0, name)

    name = 'row 37: its rewind is cut off'
    reload_with(s, rebuild=False, pg_rewind=CUT_OFF)
    s.admin.q('MAINTENANCE OFF')
    at = len(s.proxy.log())
    signal_tree(s.cluster, 1, signal.SIGKILL)
    s.ends(start=at)
    s.proxy.wait_log('node_not_restored.*node=n1.*pg_rewind', start=at)
    s.admin.q('MAINTENANCE ON')
    ok(lives_nowhere(s, 1), f'{name}: nobody starts it')
    is_(files(s, 1), ['n1', 'n1.rewinding'], f'{name}: it is said beside it')
    reload_with(s, rebuild=False)
    refused(s, 'REJOIN NODE n1', 'was cut off: only a new copy helps', f'{name}: it is not rewound again')
    ok(lives_nowhere(s, 1), f'{name}: … nor started')
    name = 'row 37: … and it gets a new copy'
    reload_with(s, rebuild=True)
    s.admin.q('REJOIN NODE n1', 60)
    is_standby(s, 1, name)
    s.proxy.stop()
    stop_nodes(s)
    s.close()
done()
