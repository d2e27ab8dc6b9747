#!/usr/bin/env -S /usr/bin/python3
"""GET /metrics tells what the console tells, in Prometheus' format; nobody can do harm by HTTP, and a reload moves the port."""
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from harness import PROGRAM  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database()
POLICY = "local lp = require 'lunapool' return { api = 1, tasks = { measure = function(task) lp.metric('disk_free', tonumber(task.args.value)) end }, route = function(query) if query.application == 'raises' then error('on purpose') end end }\n"
p = Proxy(cluster, workers=2, options={'http_port': 0}, cluster_options={'policy': 'main.lua'}, files={'main.lua': POLICY})


def port(nth=1):
    wait_for(lambda: len(re.findall(r'http_listening .*port=(\d+)', p.log())) >= nth, what='the port')
    return int(re.findall(r'http_listening .*port=(\d+)', p.log())[-1])


def get(path, method='GET', at=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(f'http://127.0.0.1:{at or port()}{path}', method=method), timeout=20) as r:
            return r.status, r.headers['Content-Type'], r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.headers['Content-Type'], e.read().decode()


def metrics(at=None):
    """name{labels}: value; checks the format on the way."""
    values, types, told = {}, {}, None
    for line in get('/metrics', at=at)[2].split('\n')[:-1]:
        if m := re.fullmatch(r'# TYPE (lunapool_\w+) (gauge|counter)', line):
            told = m[1]
            if told in types or m[2] == 'counter' and not told.endswith('_total'):
                ok(False, f'a type once, counters called so: {line}')
            types[told] = m[2]
        elif not line.startswith('# HELP '):
            m = re.fullmatch(r'((lunapool_\w+)(?:\{(?:\w+="(?:[^"\\\n]|\\.)*",?)+\})?) (-?[0-9.e+]+)', line)
            if not m or m[2] != told or m[1] in values:
                ok(False, f'a sample of its metric, once: {line}')
            else:
                values[m[1]] = float(m[3])
    return values


with scenario('what it tells'):
    before = metrics()
    is_(get('/metrics')[1], 'text/plain; version=0.0.4; charset=utf-8', 'the type that Prometheus asks for')
    c = p.connect(db)
    for i in range(7):
        c.q(f'select {i}')
    label = f'{{database="{db}"}}'
    wait_for(lambda: metrics().get('lunapool_database_statements_total' + label, 0) >= 7, what='statements to be counted')
    after = metrics()
    is_(after['lunapool_database_statements_total' + label], 7, 'statements')
    is_(after['lunapool_database_logins_total' + label] - before.get('lunapool_database_logins_total' + label, 0), 1, 'logins')
    is_(after['lunapool_clients'] - before['lunapool_clients'], 1, 'clients')
    with p.connect('lunapool') as admin:
        node = admin.table('SHOW NODES')[0]
        is_(after[f'lunapool_node_primary{{cluster="{node["cluster"]}",node="{node["node"]}"}}'], 1, 'who is primary')
        stats = [r for r in admin.table('SHOW STATS') if r['database'] == db][0]
        is_(after['lunapool_database_transactions_total' + label], int(stats['total_xact_count']), 'as SHOW STATS')
    of_policy = f'{{cluster="{node["cluster"]}"}}'
    is_(after['lunapool_policy_reload_failed' + of_policy], 0, 'no reload has failed')

with scenario('what a policy measures'):
    measured = f'lunapool_policy_value{{cluster="{node["cluster"]}",name="disk_free"}}'
    ok(measured not in metrics(), 'nothing yet')
    for value in ('0.25', '3'):
        with p.connect('lunapool') as admin:
            admin.q(f"RUN measure value = '{value}'")
        is_(metrics()[measured], float(value), f'{value}, by lp.metric')

with scenario('a policy that fails is seen'):
    c.q("set application_name = 'raises'")
    for _ in range(3):
        c.q('select 1')
    ok(metrics()['lunapool_policy_errors_total' + of_policy] >= 3, 'calls that failed')
    p.files['main.lua'] = 'return {\n'
    p.write_config()
    with p.connect('lunapool') as admin:
        ok(admin.error('RELOAD') is not None, 'a reload is refused')
        is_(metrics()['lunapool_policy_reload_failed' + of_policy], 1, '… and seen')
        p.files['main.lua'] = POLICY
        p.write_config()
        admin.q('RELOAD')
        is_(metrics()['lunapool_policy_reload_failed' + of_policy], 0, '… until one is not')

with scenario('names of all kinds'):
    odd = 'od"d\\ na\nme'
    with cluster.at(0) as direct:
        direct.q('create database "od""d\\ na\nme"')
    with p.connect(odd) as o:
        o.q('select 1')
    ok('lunapool_database_statements_total{database="od\\"d\\\\ na\\nme"}' in metrics(), 'are escaped')
    with cluster.at(0) as direct:
        direct.q('drop database "od""d\\ na\nme" with (force)')

with scenario('what else may be asked'):
    is_(get('/health'), (200, 'text/plain', 'serving\n'), 'health')
    is_(get('/metrics', 'HEAD')[0], 200, 'HEAD')
    is_(get('/metrics', 'HEAD')[2], '', '… without the page')
    is_(get('/nothing')[0], 404, 'no other page')
    is_(get('/metrics', 'POST')[0], 405, 'nothing is changed')

with scenario('who asks badly'):
    at = port()
    raw = []
    for text in (b'', b'GET', b'GET /metrics HTTP/1.1\r\nHost: a\r\n', b'\x00' * 1000, b'GET /' + b'a' * 100000 + b' HTTP/1.1\r\n\r\n', b'\x16\x03\x01' * 100):
        s = socket.create_connection(('127.0.0.1', at))
        raw.append(s)
        try:
            s.sendall(text)
        except OSError:
            pass
    is_(c.one('select 1'), '1', 'is nobody else\'s trouble')
    is_(get('/health')[0], 200, '… nor of who asks well')
    crowd = [socket.create_connection(('127.0.0.1', at)) for _ in range(40)]
    is_(c.one('select 2'), '2', 'nor are forty who say nothing')
    for s in crowd + raw:
        s.close()

    def is_answered():
        try:
            return get('/health')[0] == 200
        except OSError:  # no place yet
            return False
    wait_for(is_answered, what='a place')

with scenario('a reload moves it'):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        p.settings['options']['http_port'] = taken.getsockname()[1]
        p.write_config()
        with p.connect('lunapool') as admin:
            admin.q('RELOAD')
        like(p.log(), r'http_not_listening .*' + str(taken.getsockname()[1]), 'a port that somebody has is told of')
        try:
            get('/health', at=at)
            ok(False, 'the old one is closed')
        except urllib.error.URLError:
            ok(True, 'the old one is closed')
    is_(get('/health', at=port(2))[0], 200, '… and opened when it is free')

with scenario('a successor'):
    at = port()
    with open(f'{p.dir}/log2', 'w') as log:
        q = subprocess.Popen(['setpriv', '--pdeathsig', 'SIGKILL', PROGRAM, '--takeover', '-c', p.path], stdout=log, stderr=log)
    said = lambda what: re.search(what, open(f'{p.dir}/log2').read())
    wait_for(lambda: said(r'http_listening .*port=%d' % at), what='the successor to have the port')
    is_(get('/health', at=at)[0], 200, 'has the port')
    is_(metrics(at)['lunapool_clients'], 0, 'and tells of itself')
    c.sock.close()
    is_(p.process.wait(60), 0, 'who went before has ended')
    q.terminate()
    is_(q.wait(60), 0, 'as it does')

Proxy.all.remove(p)  # it has ended
done()
