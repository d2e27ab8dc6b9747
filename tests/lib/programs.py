"""programs — PostgreSQL's programs for one node of a test's cluster, as a policy that fails over by commands runs them: a folder for its bin_dir."""
import os

from harness import BIN, temp_dir

AS_POSTGRES = 'setpriv --reuid=postgres --regid=postgres --clear-groups' if os.getuid() == 0 else ''


def programs(cluster, i, **before):
    """They run as PostgreSQL's user.  What a node is started with is not in its files, since pg_rewind takes those of another.  BEFORE: by a program's
    name, what its script does first; $as_postgres and $bin are known there."""
    folder = temp_dir()
    for name in ('pg_ctl', 'pg_rewind', 'pg_basebackup'):
        start = f'[ "$1" = start ] && set -- "$@" -o "-p {cluster.ports[i]} -k {cluster.dir}"\n' if name == 'pg_ctl' else ''
        with open(f'{folder}/{name}', 'w') as f:
            f.write(f'#!/bin/sh\ncd /\nas_postgres="{AS_POSTGRES}" bin={BIN}\n{start}{before.get(name, "")}\nexec $as_postgres $bin/{name} "$@"\n')
        os.chmod(f'{folder}/{name}', 0o755)
    return folder
