#!/usr/bin/env -S /usr/bin/python3
"""A policy is checked, loaded and reloaded: all workers have the new one, or everybody keeps the old."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from harness import PROGRAM  # noqa: E402
from pgwire import columns, query, text_row  # noqa: E402

proxy_only()
cluster = Cluster.get()
GOOD = 'return { api = 1, route = function(query, cluster) return cluster.primary end }\n'
BAD = {
    'a syntax error': ('return {\n', r'main\.lua:2: .*expected'),
    'an unknown hook': ('local M = { api = 1 }\nfunction M.on_failover() end\nreturn M\n', r'main\.lua:2: there is no hook on_failover'),
    'a hook of later': ('local M = { api = 1 }\n\nfunction M.vip_up() end\nreturn M\n', r'main\.lua:3: the hook vip_up is not supported yet'),
    'no table': ('return 7\n', r'main\.lua:1: a policy returns a table of functions, not a number'),
    'a selftest that fails': ('return {\n  api = 1,\n  selftest = function()\n    assert(1 == 2, "one is not two")\n  end }\n',
                              r'main\.lua:4: one is not two'),
    'an endless loop': ('while true do end\n', r'main\.lua:1: it ran longer than 200 ms'),
    'a memory bomb': ('local t = {}\nwhile true do t[#t + 1] = ("x"):rep(9e5) .. #t end\n', r'main\.lua.*: it needs more than the 16 MB of memory'),
}

p = Proxy(cluster, workers=2, start=False, cluster_options={'policy': 'main.lua'}, files={'main.lua': BAD['a syntax error'][0]})


def program(*args):
    r = subprocess.run([PROGRAM, *args, '-c', p.path], capture_output=True, text=True)
    return r.returncode, r.stdout + r.stderr


for what, (text, told) in BAD.items():
    p.files['main.lua'] = text
    p.write_config()
    status, said = program('--check')
    is_(status, 1, f'--check refuses {what}')
    like(said, told, '… and says where')
status, said = program()
is_(status, 1, 'a program with a bad policy does not start')
like(said, r'start_failed.*main\.lua', '… and says where')
p.files['main.lua'] = GOOD
p.write_config()
is_(program('--check')[0], 0, '--check has nothing to say of a good one')

p.start()
admin = p.connect('lunapool')


def policy():
    rows, names = [], []
    for kind, body in admin.ask(query('SHOW POLICY')):
        if kind == 'T':
            names = [c[0] for c in columns(body)]
        elif kind == 'D':
            rows.append(dict(zip(names, text_row(body))))
    return rows[0] if rows else None


first = policy()
is_((first['cluster'], first['breaker'], first['errors'], first['last_error']), ('main', 'closed', '0', None), 'SHOW POLICY')
is_(first['file'], f'{p.dir}/main.lua', '… which file')
like(p.reload(), ' reloaded ', 'a reload of the same')
is_(policy()['generation'], first['generation'], '… changes nothing')
for what, (text, told) in BAD.items():
    p.files['main.lua'] = text
    like(p.reload(), r' reload_refused .*' + told, f'a reload with {what} is refused')
    is_(policy()['generation'], first['generation'], '… and the old policy stays')
    like(policy()['refused'], told, '… SHOW POLICY says why')
p.files['main.lua'] = GOOD + '-- other words\n'
at = len(p.log())
like(p.reload(), ' reloaded ', 'a good one again')
like(p.log()[at:], r'policy_changed cluster=main', '… is said to be another')
ok(int(policy()['generation']) > int(first['generation']), '… and has a generation of its own')
is_(policy()['refused'], None, '… and no reload is refused any more')
p.files['shards.lua'] = 'return { n = 4 }\n'
p.files['main.lua'] = 'local shards = require "shards"\nassert(shards.n == 4)\n' + GOOD
like(p.reload(), ' reloaded ', 'modules beside the policy are read')
before = policy()['generation']
p.files['shards.lua'] = 'return { n = 4, m = 5 }\n'
like(p.reload(), ' reloaded ', 'a module has changed')
ok(int(policy()['generation']) > int(before), '… and so has the policy')
p.settings['cluster'] = {}
like(p.reload(), ' reloaded ', 'a configuration without a policy')
is_(policy(), None, '… has none')
p.stop()
done()
