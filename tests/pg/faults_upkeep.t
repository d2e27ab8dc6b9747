#!/usr/bin/env -S /usr/bin/python3
"""What is done to nodes while everything is well, or is forgotten, row by row of the catalogue of failures: passwords change, certificates expire, one node
after the other is restarted.  None of it is a failure, and nobody notices who is not meant."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import Scene  # noqa: E402
from programs import programs  # noqa: E402

proxy_only()


def stop_nodes(s):
    for i in range(3):
        subprocess.run(as_postgres([tool('pg_ctl'), 'stop', '-D', f'{s.cluster.dir}/n{i}', '-m', 'immediate']), capture_output=True, cwd='/tmp')


def started(s):
    """When each node was."""
    out = []
    for i in range(3):
        with s.cluster.at(i) as c:
            out.append(c.one('select pg_postmaster_start_time()'))
    return out


with scenario('row 89: a password changes; row 90: all nodes are restarted, one by one'):
    s = Scene(policy='return require "lunapool.by" { here = true }\n')
    atexit.register(stop_nodes, s)
    s.proxy.settings['nodes'] = {f'n{i}': {'data_dir': f'{s.cluster.dir}/n{i}', 'bin_dir': programs(s.cluster, i)} for i in range(3)}
    s.proxy.secrets = '"scram_user" "scram secret"\n'
    like(s.proxy.reload(), 'reloaded', 'the nodes have their programs')
    s.load()

    name = 'row 89'
    c = s.proxy.connect(user='scram_user')
    is_(c.one('select current_user'), 'scram_user', f'{name}: he is let in')
    s.cluster.query("alter role scram_user password 'another secret'; select pg_terminate_backend(pid) from pg_stat_activity where usename = 'scram_user'")

    def told():
        try:
            c.q('begin; insert into t values (-1)')
        except WireError as e:
            return str(e) if str(e)[:5] not in ('57P01', '08006') else None
    like(wait_for(told, what='a connection of his that is new'), '^28P01 .*password authentication failed', f'{name}: he is told what the server says')
    s.writes_go_on(name)
    s.nothing_begun(name)
    s.proxy.secrets = '"scram_user" "another secret"\n'
    like(s.proxy.reload(), 'reloaded', f'{name}: the new one is known')
    with s.proxy.connect(user='scram_user') as d:
        is_(d.one('select current_user'), 'scram_user', f'{name}: … and he is let in')

    name = 'row 90'
    before = started(s)
    for i in (1, 2):
        s.admin.q(f'DRAIN n{i}', 60)
        s.cluster.kill_node(i, signal.SIGINT)
        s.cluster.start_node(i)
        wait_for(lambda: s.row(i)['reachable'] == 'yes', what=f'n{i}')
        s.admin.q(f'ATTACH n{i}')
        wait_for(lambda: s.row(i)['fit'] == 'yes', 30, f'n{i} to take reads')
    s.admin.q('SWITCHOVER TO n1', 60)
    wait_for(lambda: s.row(0)['fit'] == 'yes', 60, 'n0 as a standby')
    s.end_load()
    s.no_errors(name)
    is_([a == b for a, b in zip(before, started(s))], [False] * 3, f'{name}: each has been started anew')
    is_((s.primary(), [o[:2] for o in s.operations() if o[0] != 'drain']), (1, [('rejoin', 'done'), ('switchover', 'done')]), f'{name}: by a switchover, and no failover')
    s.consistent(name, 1)
    s.proxy.stop()
    stop_nodes(s)
    s.close()
done()
