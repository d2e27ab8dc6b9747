#!/usr/bin/env -S /usr/bin/python3
"""Policies of every kind of badness are loaded under traffic: nobody notices but the operator, who sees file and line, and a good one restores all.

LUNAPOOL_LONG=1: thousands of reloads, a broken policy now and then, under pgbench in all ways to send statements.
"""
import contextlib
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
import pgwire as w  # noqa: E402

proxy_only()
cluster = Cluster(standbys=2)
db = cluster.database(setup='create table t (i int primary key); insert into t select generate_series(1, 100); create table log (i int)')
cluster.mark_nodes()
with cluster.connect(db) as c:
    run([tool('pgbench'), '-i', '-q', '-h', cluster.host, '-p', str(cluster.port), '-U', 'postgres', db])
cluster.caught_up(1)
cluster.caught_up(2)
HERE = "select current_setting('test.node') from t where i = 7"
RESTORED = 'local M = { api = 1 }\nfunction M.route(query, cluster)\n  return query.is_read and cluster:node("n1") or nil, "all to n1"\nend\nreturn M\n'


def rows(admin, what):
    answer = admin.ask(w.query(what))
    names = [c[0] for m in answer if m[0] == 'T' for c in w.columns(m[1])]
    return [dict(zip(names, w.text_row(m[1]))) for m in answer if m[0] == 'D']


class Traffic:
    """pgbench until it is stopped, in each way to send statements, reads only and transactions; all cores have to do in the long variant only."""
    LOADS = [['-M', mode, *what] for mode in ('simple', 'extended', 'prepared') for what in (['-S', '-c', '4'], ['-b', 'tpcb-like', '-c', '2'])]

    def __init__(self, proxy):
        self.proxy = proxy
        self.logs = [open(f'{proxy.dir}/pgbench.{k}', 'w+') for k in range(len(self.LOADS))]
        pace = [] if LONG else ['--rate=150']
        self.processes = [subprocess.Popen(['setpriv', '--pdeathsig', 'SIGKILL', tool('pgbench'), '-n', '-T', '100000', *pace, *load],
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **proxy.env(db)})
                          for load, log in zip(self.LOADS, self.logs)]

    def stop(self):
        """What they had to say, and who ended by itself."""
        ended = [p.poll() for p in self.processes]
        for p in self.processes:
            with contextlib.suppress(ProcessLookupError):
                p.terminate()
            p.wait()
        said = []
        for log in self.logs:
            log.seek(0)
            said += [line for line in log if 'error' in line.lower() or 'aborted' in line]
        return [status for status in ended if status is not None], said[:10]


LATE = 'it ran longer than 5 ms'
WORK = 'too much work for one call of a policy'
MEMORY = 'it needs more than the 16 MB of memory|not enough memory'
ROUTE = 'local lp = require "lunapool"\nlocal M = { api = 1 }\nfunction M.route(query, cluster)\n  %s\nend\nreturn M\n'
AT_LOAD = {  # these are refused, and what was in force stays
    'a syntax error': ('local M = {\n  route = function( return 1\n}\nreturn M\n', r'main\.lua:2: .*expected'),
    'an unknown hook': ('local M = { api = 1 }\nfunction M.rout() end\nreturn M\n', r'main\.lua:2: there is no hook rout'),
    'a hook that is no function': ('local M = { api = 1 }\nM.route = "primary"\nreturn M\n', r'main\.lua.*route'),
    'no table': ('return 7\n', r'main\.lua:1: a policy returns a table of functions, not a number'),
    'a selftest that fails': ('return {\n  api = 1,\n  selftest = function()\n    error("no")\n  end }\n', r'main\.lua:4: no'),
    'an endless loop while it is loaded': ('\nwhile true do end\n', r'main\.lua:2: it ran longer than'),
    'a memory bomb while it is loaded': ('local t = {}\nwhile true do t[#t + 1] = ("x"):rep(1e5) .. #t end\n', rf'main\.lua.*: (it ran longer than|{MEMORY})'),
    'an error while it is loaded': ('error("never")\n', r'main\.lua:1: never'),
    'bytecode': ('\x1bLJ\x02', r'main\.lua'),
    'nothing at all': ('', r'main\.lua'),
}
IN_CALLS = {  # these are loaded, and fail when they are asked
    'a number': ('return 7', r'main\.lua:3: .*number'),
    'a text': ('return "n1"', r'main\.lua:3: .*string'),
    'true': ('return true', r'main\.lua:3: .*boolean'),
    'a table of something else': ('return { "n1", "n2" }', r'main\.lua:3: '),
    'a function': ('return function() end', r'main\.lua:3: .*function'),
    'the cluster': ('return cluster', r'main\.lua:3: '),
    'a reason that is no text': ('return cluster.primary, {}', r'main\.lua:3: '),
    'a wait without end': ('return lp.wait(1/0)', r'main\.lua:[34]: '),
    'a negative wait': ('return lp.wait(-1)', r'main\.lua:[34]: '),
    'a reject without a text': ('return lp.reject(nil)', r'main\.lua:[34]: '),
    'a reject with something else than an SQLSTATE': ('return lp.reject("no", "what")', r'main\.lua:[34]: '),
    'a node that is not there': ('return cluster:node("n9").name', r'main\.lua:[34]: '),
    'a field that is not there': ('return query.statment', r'main\.lua:[34]: '),
    'an assignment': ('query.user = "postgres"', r'main\.lua:[34]: '),
    'a global': ('here = 1', r'main\.lua:[34]: '),
    'an error': ('error("on purpose")', r'main\.lua:4: on purpose'),
    'an error that is a table': ('error({})', r'an error was raised that is a table'),
    'an error that is nil': ('error()', r'main\.lua'),
    'an error of a megabyte': ('error(("x"):rep(1e6))', r'main\.lua:4: x+'),
    'a nil that is called': ('cluster.nodes[9].name:upper()', r'main\.lua:4: attempt'),
    'an endless loop (row 74)': ('while true do end', r'main\.lua:4: ' + LATE),
    'an endless repeat': ('repeat until false', r'main\.lua:4: ' + LATE),
    'a for that is very long': ('for i = 1, 1e18 do end', r'main\.lua:4: ' + LATE),
    'a goto': ('::again:: goto again', LATE),
    'an endless loop in a pcall, for ever': ('while true do pcall(function() while true do end end) end', LATE),
    'errors in a pcall, for ever': ('while true do pcall(error, "x") end', LATE),
    'an error handler that does not end': ('xpcall(function() while true do end end, function() while true do end end)', 'there is no global xpcall'),
    'recursion': ('local function f() return 1 + f() end return f()', 'stack overflow|calls itself without end'),
    'tail calls': ('local function f() return f() end return f()', LATE),
    'recursion in a pcall': ('local function f() pcall(f) f() end return f()', f'stack overflow|{LATE}|error in error handling'),
    'a metamethod that does not end': ('return setmetatable({}, { __index = function() while true do end end }).x', LATE),
    'a metamethod that asks itself': ('local t t = setmetatable({}, { __index = function(_, k) return t[k .. "x"] end }) return t.x',
                                      f'stack overflow|C stack|{MEMORY}|{LATE}'),
    'an __index of itself': ('local t = {} return setmetatable(t, { __index = t }).x', r'main\.lua:[34]: '),
    'a comparison that does not end': ('return setmetatable({}, { __lt = function() while true do end end }) < setmetatable({}, {})', '.'),
    'a collector\'s metamethod': ('local p = newproxy(true) getmetatable(p).__gc = function() while true do end end', '.'),
    'a coroutine': ('return coroutine.wrap(function() while true do end end)()', r'main\.lua:[34]: .*coroutine'),
    'string.find': ("string.find(('a'):rep(2000), 'a-a-b')", WORK),
    'string.match': ("return (('a'):rep(2000)):match('.-.-.-b')", WORK),
    'string.gmatch': ("for x in (('a'):rep(2000)):gmatch('a-a-b') do end", WORK),
    'string.gsub': ("(('a'):rep(2000)):gsub('a-a-b', '')", WORK),
    'string.gsub with a function': ("(('a'):rep(2000)):gsub('a', function() while true do end end)", LATE),
    'string.find in a pcall, for ever': ("while true do pcall(string.find, ('a'):rep(2000), 'a-a-b') end", f'{WORK}|{LATE}'),
    'string.rep': ("return (('x'):rep(1e9))", 'the result would be longer than 1 MB'),
    'string.rep again and again': ("while true do local s = ('x'):rep(1e6) end", f'{WORK}|{LATE}|{MEMORY}'),
    'string.format': ("return (('%' .. ('9'):rep(50) .. 'd'):format(1))", 'invalid'),
    'table.sort': ('local t = {} for i = 1, 20000 do t[i] = 1 end while true do table.sort(t, function() return true end) end', '.'),
    'table.concat': ('local t = {} for i = 1, 1e5 do t[i] = i end while true do table.concat(t) end', '.'),
    'a memory bomb': ('local t = {} while true do t[#t + 1] = ("x"):rep(1e6) .. #t end', f'{MEMORY}|{LATE}|{WORK}'),
    'a memory bomb of tables': ('local t = {} while true do t = { t, t, t, t, t, t, t, t } end', f'{MEMORY}|{LATE}'),
    'a memory bomb in a pcall': ('local t = {} while true do pcall(function() t[#t + 1] = ("x"):rep(1e6) .. #t end) end', f'{MEMORY}|{LATE}|{WORK}'),
    'a text that doubles': ('local s = "x" while true do s = s .. s end', f'{MEMORY}|{LATE}'),
    'a question to the outside': ('return os.execute("true")', r'main\.lua:[34]: '),
    'a file': ('return io.open("/etc/passwd")', r'main\.lua:[34]: '),
}
KNOWN_GOOD = ('a comparison that does not end', 'a collector\'s metamethod')  # may also be harmless

p = Proxy(cluster, workers=2, pool={'size': 20}, cluster_options={'policy': 'main.lua'}, files={'main.lua': RESTORED})
admin = p.connect('lunapool')
wait_for(lambda: sum(n['fit'] == 'yes' for n in rows(admin, 'show nodes')) == 2, what='two standbys that are fit')
c = p.connect(db)
wait_for(lambda: c.one(HERE) == 'n1', what='the catalogue is known, so that this is a read')
traffic = Traffic(p)


def put(text):
    at = len(p.log())
    p.files['main.lua'] = text
    p.write_config()
    error = admin.error('reload')
    return error, p.log()[at:]


def state():
    return rows(admin, 'show policy')[0]


def queries():
    """Statements by now, of all clients."""
    return sum(int(r['total_query_count']) for r in rows(admin, 'show stats'))


def goes_on(n=100):
    was = queries()
    wait_for(lambda: queries() > was + n, what='traffic')


with scenario('what is refused'):
    for what, (text, told) in AT_LOAD.items():
        was = state()['generation']
        error, log = put(text)
        got = (bool(error), bool(re.search(f'reload_refused .*{told}', log)), bool(re.search(told, state()['refused'] or '')), state()['generation'] == was)
        goes_on()
        is_((got, c.one(HERE)), ((True,) * 4, 'n1'), f'{what}: a reload is refused, log and SHOW POLICY say where, and the old policy stays') or diag(log[-1500:])
    is_(put(RESTORED + '-- again\n')[0], '', 'a good one is taken')
    is_(state()['refused'], None, '… and nothing is refused any more')

with scenario('what fails when it is asked'):
    for k, (what, (line, told)) in enumerate(IN_CALLS.items()):
        error, log = put(ROUTE % line)
        at = len(p.log())
        seen = {c.one(HERE) for _ in range(12)}
        if what not in KNOWN_GOOD:
            wait_for(lambda: state()['breaker'] == 'open', what=f'{what}: five errors')
        goes_on()
        now = state()
        got = (error, c.one('select i from t where i = 7'), c.q(f'insert into log values ({k}) returning i'), seen <= {'n0', 'n1', 'n2'})
        good = is_(got, ('', '7', [[str(k)]], True), f'{what}: traffic goes on')
        if what not in KNOWN_GOOD:
            good = like(now['last_error'], told, '… SHOW POLICY has the error') and good
            good = like(now['last_error'], r'main\.lua:[3-5]: ', '… with file and line') and good
            good = like(p.log()[at - len(log):], r'policy_failed cluster=main hook=route error=".*main\.lua:[3-5]: [^\0]*policy_off cluster=main',
                        '… so has the log, which says when it is left alone') and good
        if not good:
            diag(now)
    is_(put(RESTORED + '-- at last\n')[0], '', 'a good one is taken')
    with p.connect(db) as x:  # who has not written may read anywhere
        is_(({x.one(HERE) for _ in range(30)}, state()['breaker'], state()['last_error']), ({'n1'}, 'closed', None), '… and decides at once')

with scenario('other hooks fail'):
    for hook, text in {'plan': 'function M.plan(statement, cluster) error("no plan") end', 'balance': 'function M.balance(query, nodes) while true do end end',
                       'admit': 'function M.admit(client) return 7 end'}.items():
        is_(put(f'local M = {{ api = 1 }}\n{text}\nreturn M\n')[0], '', f'a bad {hook}')
        at = len(p.log())
        for _ in range(6):
            with p.connect(db) as x:  # with a transaction: reads of others may be behind
                is_(x.q('begin; select count(*) from t; commit')[-1], ['100'], '… a client comes in') if _ == 0 else x.q(HERE)
        like(state()['last_error'], r'main\.lua:[12]: ', f'… SHOW POLICY has what is wrong with {hook}')
        goes_on()
    is_(put(RESTORED)[0], '', 'a good one is taken')

with scenario('reloads under load'):
    import random
    chosen = random.Random(4)
    bad_at_load, bad_in_calls = list(AT_LOAD.values()), [v[0] for k, v in IN_CALLS.items()]
    was, wrong = queries(), []
    n_refused = n_faulty = 0
    for k in range(3000 if LONG else 60):
        kind = chosen.choice(('good', 'good', 'good', 'good', 'same', 'refused', 'faulty'))
        if kind == 'refused':
            text, n_refused = chosen.choice(bad_at_load)[0], n_refused + 1
        elif kind == 'faulty':
            text, n_faulty = ROUTE % chosen.choice(bad_in_calls), n_faulty + 1
        elif kind == 'good':
            text = RESTORED.replace('n1', f'n{k % 3}') + f'-- {k}\n'
        if k % 2:
            error, _ = put(text)
        else:
            p.files['main.lua'] = text
            error = 'reload_refused' in p.reload()
        if kind != 'same' and bool(error) != (kind == 'refused'):
            wrong.append((k, kind, error))
    is_(wrong, [], f'{k + 1} reloads by SIGHUP and by RELOAD: {n_refused} were to be refused, {n_faulty} failed when asked')
    ok(True, f'… under {queries() - was} statements')
    is_(put(RESTORED)[0], '', 'a good one is taken')
    wait_for(lambda: {c.one(HERE) for _ in range(10)} == {'n1'}, what='the good one')
    ok(p.memory() < (2000 if VARIANT == 'tsan' else 400) << 20, '… and old policies are gone')
is_(traffic.stop(), ([], []), 'none of the clients had an error, in all of this')
p.stop()
cluster.stop()
done()
