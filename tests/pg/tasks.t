#!/usr/bin/env -S /usr/bin/python3
"""Tasks that do something to nodes, while clients work: nobody gets an error, and nobody sees what he should not."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from harness import BIN, ROOT  # noqa: E402

proxy_only()
os.environ['PATH'] = f'{BIN}:{os.environ["PATH"]}'


class Load:
    """Clients that do STEP(connection, state) again and again, each with a state of its own, until the end; the errors that they got."""

    def __init__(self, proxy, step, n=3, **kw):
        self.ends, self.errors, self.states = False, [], [{'n': 0} for _ in range(n)]
        self.threads = [threading.Thread(target=self.work, args=(proxy, step, s, kw), daemon=True) for s in self.states]
        for t in self.threads:
            t.start()
        self.more(2)

    def work(self, proxy, step, state, kw):
        try:
            with proxy.connect(**kw) as c:
                while not self.ends:
                    step(c, state)
                    state['n'] += 1
        except Exception as e:
            self.errors.append(f'{type(e).__name__}: {e}')

    def more(self, n=5):
        """Until each has done N more; or has failed."""
        want = [s['n'] + n for s in self.states]
        wait_for(lambda: self.errors or all(s['n'] >= w for s, w in zip(self.states, want)), what='clients to go on')

    def end(self):
        self.ends = True
        for t in self.threads:
            t.join()
        return self.errors


STANDBYS = '''
local lp = require "lunapool"
local M = { api = 1, tasks = {}, on = {} }
function M.tasks.service(task, cluster)
  local node = cluster:node(task.args.node)
  local ok, err = lp.drain(node)
  if not ok then return nil, err end
  lp.metric("drained", 1)
  local rows = lp.sql(node, "select count(*) as n from pg_stat_activity where application_name = 'reader' and state = 'active'")
  lp.log(node.status .. " with " .. rows[1].n)
  ok, err = lp.detach(node)
  if not ok then return nil, err end
  lp.kv.set("at", "detached")
  while lp.kv.get("at") ~= "go" do lp.sleep(0.005) end
  return lp.attach(node)
end
function M.tasks.go(task) lp.kv.set("at", "go") end
function M.tasks.try(task, cluster) return lp.drain(cluster:node(task.args.node), { timeout = 0.2 }) end
function M.tasks.hold(task, cluster)
  local hold, err = lp.hold(cluster)
  if not hold then return nil, err end
  lp.kv.set("at", "held")
  while lp.kv.get("at") ~= "go" do lp.sleep(0.005) end
  return hold:release()
end
function M.tasks.at(task) return lp.kv.get("at") or "nowhere" end
function M.on.node_detached(event) lp.notify(event.node.name .. " " .. event.reason) end
function M.on.node_attached(event) lp.log(event.node.name) end
function M.on.notice(event) lp.log("heard: " .. event.reason) end
local efm = require "efm"
M.tasks["efm-detach"], M.tasks["efm-attach"] = efm.tasks["efm-detach"], efm.tasks["efm-attach"]
return M
'''
with open(f'{ROOT}/examples/efm.lua') as f:
    EFM = f.read()

with scenario('a standby is drained, detached, attached, and a primary held'):
    cluster = Cluster(standbys=2)
    cluster.query('create table t (id int)')
    state = temp_dir()
    os.chmod(state, 0o700)
    proxy = Proxy(cluster, workers=2, pool={'size': 6}, options={'state_dir': state},
                  cluster_options={'policy': 'main.lua', 'hold_timeout': '20s', 'max_lag_time': 0, 'read_your_writes': 'off'}, files={'main.lua': STANDBYS, 'efm.lua': EFM})
    admin = proxy.connect('lunapool')

    def nodes():
        return {r['node']: r for r in admin.table('SHOW NODES')}

    def lines(name):
        return [r['last_line'] for r in admin.table('SHOW TASKS') if r['name'] == name]

    def at(where):
        wait_for(lambda: admin.q('RUN at') == [[where]], what=f'the task to be {where}')

    def task(*words):
        result = []
        t = threading.Thread(target=lambda: result.append(run([PROGRAM, 'ctl', '-s', proxy.unix, 'run', *words])), daemon=True)
        t.start()
        return lambda: (t.join(), result[0])[1]

    wait_for(lambda: sum(r['fit'] == 'yes' for r in nodes().values()) == 2, what='both standbys fit')
    readers = Load(proxy, lambda c, s: c.q("set application_name = 'reader'") if not s['n'] else c.q('select count(*) from t'))
    writer = Load(proxy, lambda c, s: c.q('insert into t values (1)'), n=1)
    service = task('service', '--node=n1')
    at('detached')
    is_(nodes()['n1']['sv_active'] + nodes()['n1']['sv_idle'], '00', 'no connection to it is left')
    readers.more(20)
    is_(run([PROGRAM, 'ctl', '-s', proxy.unix, 'run', 'service', '--node=n0'])[0], 1, 'a primary is not drained')
    admin.q('RUN go')
    is_(service()[:2], (0, 'output\ndraining with 0\n'), 'the task has ended well')
    is_(lines('service')[-1], 'draining with 0', 'nobody was there when it was drained')
    wait_for(lambda: nodes()['n1']['fit'] == 'yes', what='it to be fit again')
    is_((lines('node_detached'), lines('notice'), lines('node_attached')),
        (['n1 by order of service'], ['heard: n1 by order of service'], ['n1']), 'what has happened is told')
    is_([(r['name'], r['value']) for r in admin.table('SHOW METRICS')], [('drained', '1')], 'what was measured is shown')

    with proxy.connect() as c:
        c.q('begin read only')
        c.q('select count(*) from t')

        def busy(i):
            with cluster.at(i) as n:
                return n.one("select count(*) from pg_stat_activity where state = 'idle in transaction'") == '1'
        node = wait_for(lambda: next((f'n{i}' for i in (1, 2) if busy(i)), None), what='a transaction at a standby')
        out = run([PROGRAM, 'ctl', '-s', proxy.unix, 'run', 'try', f'--node={node}'])
        like(out[2], f'drain of {node} was given up: . connections to it are in use', 'who stays there is not cut off')
        is_(c.one('select 2'), '2', '… and goes on')
        c.q('commit')
    wait_for(lambda: nodes()[node]['fit'] == 'yes', what='it to be fit again: the task has ended')

    efm = [run([PROGRAM, 'ctl', '-s', proxy.unix, 'run', f'efm-{what}', f'--host={node}'])[:2]
           for what, node in (('detach', 'n2'), ('detach', 'n0'), ('attach', 'n2'), ('attach', 'n2'), ('attach', 'elsewhere'))]
    is_([status for status, _ in efm], [0, 0, 0, 0, 1], "EFM's scripts detach and attach, and again")
    like(efm[1][1], 'n0 is the primary', '… a primary needs none of that')
    wait_for(lambda: nodes()['n2']['fit'] == 'yes', what='n2 to be fit again')

    held = task('hold')
    at('held')
    before = writer.states[0]['n']
    readers.more(20)
    ok(writer.states[0]['n'] <= before + 1, 'writers wait, readers do not')
    admin.q('RUN go')
    is_(held()[0], 0, 'it is released')
    writer.more()
    held = task('hold')
    at('held')
    with proxy.connect('lunapool') as other:
        other.q('STOP TASK ' + next(r['id'] for r in admin.table('SHOW TASKS') if r['name'] == 'hold' and r['state'] == 'running'))
    is_(held()[0], 1, 'a task that is stopped …')
    writer.more()
    ok(True, '… holds nothing any more')
    admin.q('RUN go')
    proxy.settings['cluster']['hold_timeout'] = '2s'
    like(proxy.reload(), 'reloaded', 'hold_timeout is shorter')
    held = task('hold')
    at('held')
    writer.more()
    like(proxy.log(), 'hold_too_long.*cluster=main task=hold', 'who holds for longer than that does so no more')
    admin.q('RUN go')
    like(held()[2], 'the hold was over already', '… and hears of it')
    is_((readers.end(), writer.end()), ([], []), 'nobody got an error')
    proxy.stop()
    cluster.stop()

with scenario('the reporting cluster is refreshed while it is asked'):
    servers = {f'report{i}': Cluster() for i in (1, 2, 3)}
    for c in servers.values():
        c.database('reports', "create table facts as select 1 as version, i from generate_series(1, 200) i")
    etl = servers['report1']
    etl.database('etl', "create table facts as select 2 as version, i from generate_series(1, 200) i")
    dump = f'{temp_dir()}/dump'
    with open(f'{ROOT}/examples/rolling_refresh.lua') as f:
        text = f.read().replace('host=etl dbname=reports user=refresh', f'host=127.0.0.1 port={etl.port} dbname=etl user=postgres')

    class Reporting(Proxy):
        """The harness's first cluster is called main: here it is report1."""

        def write_config(self):
            super().write_config()
            with open(self.path) as f:
                conf = f.read()
            with open(self.path, 'w') as f:
                f.write(conf.replace('"main"', '"report1"'))

    proxy = Reporting(etl, workers=2, pool={'size': 5}, cluster_options={'policy': 'main.lua'}, files={'main.lua': text},
                      others={n: (servers[n], {}) for n in ('report2', 'report3')})

    def report(c, s):
        """In a transaction, too: what is seen there stays the same."""
        rows = c.q('select min(version), max(version), count(*) from facts')
        if s['n'] % 3 == 0:
            c.q('begin')
            rows += c.q('select min(version), max(version), count(*) from facts')
            c.q('select pg_sleep(0.005)')
            again = c.q('select min(version), max(version), count(*) from facts')
            c.q('commit')
            if again != rows[-1:]:
                raise RuntimeError(f'{rows} and then {again}')
        for low, high, count in rows:
            if low != high or count != '200' or int(low) < s.get('version', 1):
                raise RuntimeError(f'{rows} behind version {s.get("version", 1)}')
            s['version'] = int(low)

    clients = Load(proxy, report, n=4, database='reports')
    out = run([PROGRAM, 'ctl', '-s', proxy.unix, 'run', 'rolling-refresh', f'--dump={dump}'])
    is_(out[:2], (0, f'output\n3 servers have the data of {dump}\n'), 'it was done')
    clients.more()
    is_(clients.end(), [], 'nobody got an error, or old data behind new')
    is_({s['version'] for s in clients.states}, {2}, 'everybody sees the new data')
    is_([c.one('select min(version) from facts', 'reports') for c in servers.values()], ['2', '2', '2'], '… which all have')
    out = run([PROGRAM, 'ctl', '-s', proxy.unix, 'run', 'rolling-refresh', '--dump=/nowhere/dump'])
    is_(out[0], 1, 'a dump that cannot be written is an error')
    like(out[2], 'pg_dump ended with status 1', '… that says which program')
    with proxy.connect('reports') as c:
        is_(c.one('select max(version) from facts'), '2', '… and changes nothing')
    proxy.stop()
    for c in servers.values():
        c.stop()
done()
