#!/usr/bin/env -S /usr/bin/python3
"""Failover with PostgreSQL's own programs, by a policy of one line: pg_ctl promotes, standbys follow, the old primary is rewound, one is built anew."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import signal_tree  # noqa: E402
from harness import BIN  # noqa: E402

proxy_only()


def programs(cluster, i):
    """bin_dir of a node: PostgreSQL's programs, as its user; what a node is started with is not in its files, since pg_rewind takes those of another."""
    folder = temp_dir()
    for name in ('pg_ctl', 'pg_rewind', 'pg_basebackup'):
        start = f'[ "$1" = start ] && set -- "$@" -o "-p {cluster.ports[i]} -k {cluster.dir}"\n' if name == 'pg_ctl' else ''
        told = f'exec 2>>{folder}/pg_rewind.log\n' if name == 'pg_rewind' else ''
        with open(f'{folder}/{name}', 'w') as f:
            f.write(f'#!/bin/sh\ncd /\n{start}{told}[ $(id -u) = 0 ] || exec {BIN}/{name} "$@"\n'
                    f'exec setpriv --reuid=postgres --regid=postgres --clear-groups {BIN}/{name} "$@"\n')
        os.chmod(f'{folder}/{name}', 0o755)
    return folder


with scenario('by commands'):
    cluster = Cluster(standbys=2, extra='wal_log_hints = on\nfull_page_writes = on\n')
    cluster.query('create table t (id int)')
    state = temp_dir()
    os.chmod(state, 0o700)
    own = {f'n{i}': {'data_dir': f'{cluster.dir}/n{i}', 'bin_dir': programs(cluster, i)} for i in range(3)}
    config = own['n0']['config_dir'] = temp_dir()
    with open(f'{config}/postgresql.conf', 'w') as f:  # as Debian has it
        f.write(f"include '{cluster.dir}/n0/postgresql.conf'\ncluster_name = 'elsewhere'\ndata_directory = '{cluster.dir}/n0'\n"
                f"hba_file = '{cluster.dir}/n0/pg_hba.conf'\nident_file = '{cluster.dir}/n0/pg_ident.conf'\n")
    os.chmod(config, 0o755)
    proxy = Proxy(cluster, workers=2, pool={'size': 5}, options={'state_dir': state}, nodes=own,
                  cluster_options={'failover': 'auto', 'switchover_timeout': '20s', 'policy': 'main.lua'}, files={'main.lua': 'return require "lunapool.by_commands"\n'})
    admin = proxy.connect('lunapool')

    def nodes():
        return {r['node']: r for r in admin.table('SHOW NODES')}

    def states(name):
        return [r['state'] for r in admin.table('SHOW TASKS') if r['name'] == name]

    def server_log(name):
        with open(f'{cluster.dir}/{name}.log') as f:
            return f.read()

    def fit(n):
        wait_for(lambda: sum(r['fit'] == 'yes' for r in nodes().values()) == n, 60, f'{n} standbys to be fit')

    try:
        fit(2)
        session = proxy.connect()
        session.q('insert into t values (1)')
        for i in (1, 2):
            cluster.caught_up(i)
        signal_tree(cluster, 0, signal.SIGKILL)
        proxy.wait_log('operation_ended.*kind=failover end=done', 60)
        session.q('insert into t values (2)')
        new = next(n for n, r in nodes().items() if r['role'] == 'primary')
        ok(states('promote') in (['done'], ['stopped']), 'pg_ctl has promoted: the hook said so, or the node did before it')
        is_(states('follow_primary'), ['done'], 'the other one was told whom to follow')
        fit(2)
        is_((states('rejoin')[:1], nodes()['n0']['role']), (['done'], 'standby'), 'the old primary was rewound and is a standby')
        with cluster.at(0) as c:
            wait_for(lambda: c.q('select id from t order by 1') == [['1'], ['2']], what='it to have what was written since')
            is_(c.one('show cluster_name'), 'elsewhere', '… with the settings of its config_dir')
        other = next(f'n{i}' for i in (1, 2) if f'n{i}' != new)
        admin.q(f'RECOVER {other}')
        fit(2)
        is_(states('recover'), ['done'], 'one is built anew by order')
        is_((states('fence'), 'not_fenced' in proxy.log()), (['failed'], True), 'a failover does not stop the old primary')
        admin.q(f'SWITCHOVER TO {other}')
        session.q('insert into t values (3)')
        is_(states('fence')[:1], ['done'], 'a switchover does')
        like(server_log(new), 'received fast shutdown request(?s:.*)database system is shut down', '… cleanly')
        like(server_log(new), 'checkpoint starting: immediate force wait(?s:.*)received fast shutdown request', '… behind a checkpoint that nobody has waited for')
        like(next(r['steps_ms'] for r in admin.table('SHOW OPERATIONS') if r['kind'] == 'switchover'), r'^confirm 0, drain \d+, hold', '… as its steps say')
        fit(2)
        with open(f'{own[new]["bin_dir"]}/pg_rewind.log') as f:
            like(f.read(), 'no rewind required', 'so that the new one has all that it had')
        is_((states('rejoin')[:2], nodes()[new]['role']), (['done'] * 2, 'standby'), 'who was primary before a switchover is a standby')
        is_(session.one('select count(*) from t'), '3', 'the session has lived through all of it')
    finally:
        proxy.stop()
        for i in range(3):
            with contextlib.suppress(Exception):
                cluster._as(tool('pg_ctl'), 'stop', '-D', f'{cluster.dir}/n{i}', '-m', 'immediate')
        cluster.stop()
done()
