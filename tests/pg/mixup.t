#!/usr/bin/env -S /usr/bin/python3
"""Hundreds of clients over a pool of 30: nobody ever sees anything of another's session, or loses anything of its own."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from harness import postgres_user  # noqa: E402
from pki import Pki  # noqa: E402

SETUP = """create table mix (id int, life int, n bigint); create table mix_copy (who text); create sequence mix_seq;
create table whoami as select 'public' as v;
grant all on all tables in schema public to public; grant all on all sequences in schema public to public;""" + ''.join(f"""
create schema mix_s{i}; grant usage on schema mix_s{i} to public;
create table mix_s{i}.whoami as select 'mix_s{i}' as v; grant select on mix_s{i}.whoami to public;""" for i in range(8))
db = 't_mixup'
program = f'{ROOT}/build/tests/mixup'
rc, out, err = run(['make', '-s', '-C', ROOT, 'build/tests/mixup'])
is_(rc, 0, 'tests/mixup is built') or diag(err)

statements = 1_000_000 if LONG else 50_000
clients = 300


def secured():
    """A server that has TLS, and what both sides of Lunapool need for it."""
    theirs, ours = Pki(owner=postgres_user()), Pki()
    theirs.sign('server', san='IP:127.0.0.1')
    ours.sign('server', san='IP:127.0.0.1')
    c = Cluster(extra=f"ssl = on\nssl_cert_file = '{theirs.crt('server')}'\nssl_key_file = '{theirs.key('server')}'\n")
    return c, {'listen': {'tls': 'require', 'tls_cert': ours.crt('server'), 'tls_key': ours.key('server')},
               'cluster_options': {'tls': 'verify-full', 'tls_ca': theirs.ca}}


def with_standbys():
    """Reads run on standbys, and come back from there."""
    return Cluster(standbys=2), {'cluster_options': {'probe_interval': '10ms'}}


def plain():
    return Cluster.get(), {}


for workers, share, kind in ((2, 0.5, plain), (1, 0.2, plain), (2, 0.2, secured), (2, 0.1, with_standbys)):
    sslmode = 'require' if kind == secured else 'disable'
    if DIRECT and kind != plain:
        continue
    with scenario(f'{workers} workers, {kind.__name__}'):
        cluster, more = kind()
        for i in range(8):
            cluster.role(f'mix_role_{i}')
        cluster.database(db, SETUP)
        p = Proxy(cluster, workers=workers, pool={'size': 30, 'query_wait_notify': 0}, **more)
        seed = os.environ.get('LUNAPOOL_SEED', str(os.getpid()))
        where = f'host={p.host} port={p.port} user=postgres dbname={db} sslmode={sslmode} gssencmode=disable'
        rc, out, err = run([program, where, str(clients), str(int(statements * share)), '8', seed], timeout=3600,
                           env={'MIXUP_DIRECT': f'host={cluster.host} port={cluster.port} user=postgres dbname={db}'})
        ok(rc == 0, f'{workers} workers, {kind.__name__}: ' + (out.strip().split('\n') or [''])[-1])
        diag(out + err + f'seed {seed}')
        if kind == with_standbys:
            with p.connect('lunapool') as admin:
                ok(sum(int(n['reads']) for n in admin.table('SHOW NODES')) > statements * share / 100, 'the standbys took their part')
        if not DIRECT:
            wait_for(lambda: cluster.backends(db) <= 30, what='backends that were told to go')  # PostgreSQL takes its time
            ok(True, 'the pool kept its size')
            p.stop()
done()
