#!/usr/bin/env -S /usr/bin/python3
"""What is done to nodes while everything is well, or is forgotten, row by row of the catalogue of failures: passwords change, certificates expire, one node
after the other is restarted.  None of it is a failure, and nobody notices who is not meant."""
import os
import re
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import Scene  # noqa: E402
from pki import Pki  # noqa: E402
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
            return str(e) if str(e)[:5] not in ('57P01', '08006', '08007', '40001') else None  # of the connection that was there
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

PROBES = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'lunapool'"

with scenario('row 88: certificates of the nodes expire'):
    name = 'row 88'
    pki = Pki(owner=postgres_user())
    for cert, days in (('good', 30), ('old', 3), ('expired', -1)):
        pki.sign(cert, san='IP:127.0.0.1', days=days)
    s = Scene(standbys=1, extra=f"ssl = on\nssl_cert_file = '{pki.crt('good')}'\nssl_key_file = '{pki.key('good')}'\n", tls='verify-full', tls_ca=pki.ca)

    def shows(cert):
        """From now on, to who comes; who asks comes anew."""
        for i in (0, 1):
            s.cluster.set_node(i, ssl_cert_file=pki.crt(cert), ssl_key_file=pki.key(cert))
            with s.cluster.at(i) as c:
                wait_for(lambda: c.one('show ssl_cert_file') == pki.crt(cert), what='the certificate')
        at = len(s.proxy.log())
        for i in (0, 1):
            with s.cluster.at(i) as c:
                c.q(PROBES)
        return at
    is_(re.findall('certificate_expires', s.proxy.log()), [], f'{name}: 30 days are no news')
    at = shows('old')
    for node in ('n0', 'n1'):
        like(s.proxy.wait_log(f'certificate_expires.*node={node}.*', start=at).group(0), 'warn|days=2', f'{name}: {node} has two days left, which is told')
    s.load()
    at = shows('expired')
    for node in ('n0', 'n1'):
        s.proxy.wait_log(f'probe_refused.*node={node}.*certificate verify failed', start=at)
    s.writes_go_on(name)
    s.cluster.role('stranger')
    try:
        s.proxy.connect(user='stranger').q('select 1')
        ok(False, f'{name}: who needs a new connection is told why there is none')
    except WireError as e:
        like(str(e), 'certificate has expired', f'{name}: who needs a new connection is told why there is none')
    s.writes_go_on(name)
    s.nothing_begun(name)
    shows('good')
    with s.proxy.connect(user='stranger') as c:
        wait_for(lambda: s.fit() == 1, what='all to be asked again')
        is_(c.one('select 1'), '1', f'{name}: a new one is taken when it is there')
    s.end_load()
    s.no_errors(name)
    s.close()
done()
