#!/usr/bin/env -S /usr/bin/python3
"""Nodes come back: old primaries are rewound, others built anew, by a policy's hooks with PostgreSQL's own programs."""
import os
import re
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from ha import signal_tree  # noqa: E402

proxy_only()

POLICY = '''
local lp = require "lunapool"
local M = { api = 1, tasks = {} }
local function options(node) return { options = "-p " .. node.port .. " -k %s" } end
function M.returning(event, node, cluster)
  lp.log(node.name .. " returns: " .. event.state .. ", tries " .. event.tries)
  return lp.kv.get("word") or "rejoin"
end
function M.failover(event, cluster)
  local order = {}
  for _, name in ipairs { "n1", "n2", "n0" } do
    if not event.refused[name] then order[#order + 1] = cluster:node(name) end
  end
  return order
end
function M.rejoin(op, node, primary)
  lp.log("rejoin " .. op.id .. " of " .. node.name)
  if (lp.kv.get("fail") or "") ~= "" then return nil, "not now" end
  if (lp.kv.get("hang") or "") ~= "" then lp.sleep(1000) end
  local ok, err = lp.rewind(node, primary)
  if not ok then return nil, err end
  return lp.start_standby(node, primary, options(node))
end
function M.recover(op, node, primary) return lp.rebuild(op, node, primary, options(node)) end
function M.tasks.set(task) lp.kv.set(task.args.key, task.args.value) end
return M
'''


class Scene:
    def __init__(self, **options):
        self.cluster = Cluster(standbys=2, extra='wal_log_hints = on\nfull_page_writes = on\nwal_retrieve_retry_interval = 200ms\n')
        self.cluster.query('create table t (id int primary key)')
        for i in (1, 2):
            self.cluster.caught_up(i)
        state, self.programs = temp_dir(), temp_dir()
        programs = self.programs
        os.chmod(state, 0o700)
        for name in ('pg_ctl', 'pg_rewind', 'pg_basebackup'):
            with open(f'{programs}/{name}', 'w') as f:
                f.write(f'#!/bin/sh\ncd /tmp\nexec setpriv {"--reuid=postgres --regid=postgres --clear-groups" if os.getuid() == 0 else ""} {tool(name)} "$@"\n')
            os.chmod(f.name, 0o755)
        nodes = {f'n{i}': {'ssh_host': 'local', 'data_dir': f'{self.cluster.dir}/n{i}', 'bin_dir': programs} for i in range(3)}
        self.proxy = Proxy(self.cluster, workers=2, pool={'size': 20}, options={'state_dir': state}, nodes=nodes, files={'main.lua': POLICY % self.cluster.dir},
                           cluster_options={'failover': 'auto', 'policy': 'main.lua', **options})
        self.admin = self.proxy.connect('lunapool')
        wait_for(lambda: self.fit() == {'n1', 'n2'}, what='both standbys fit')
        self.session = self.proxy.connect()
        atexit.register(self.stop_servers)

    def reconnect(self):
        self.admin, self.session = self.proxy.connect('lunapool'), self.proxy.connect()
        wait_for(self.primary, what='a primary')

    def rows(self):
        return {r['node']: r for r in self.admin.table('SHOW NODES')}

    def fit(self):
        return {n for n, r in self.rows().items() if r['fit'] == 'yes'}

    def rows_beside(self):
        """While the other connection waits for an answer."""
        with self.proxy.connect('lunapool') as c:
            return {r['node']: r for r in c.table('SHOW NODES')}

    def state(self, name):
        row = self.rows()[name]
        return row['state'], row['reason']

    def operations(self, kind):
        return [r for r in self.admin.table('SHOW OPERATIONS') if r['kind'] == kind]

    def primary(self):
        return next((n for n, r in self.rows().items() if r['role'] == 'primary'), None)

    def set(self, key, value):
        self.admin.q(f"RUN set key = {key} value = '{value}'")

    def send(self, i, number):
        signal_tree(self.cluster, i, number)

    def lose(self, i, number=signal.SIGKILL, standbys=2):
        """The primary; until another one has taken its place."""
        wait_for(lambda: len(self.fit()) == standbys, 30, 'the standbys fit')
        before = len(self.operations('failover'))
        self.send(i, number)
        wait_for(lambda: len([r for r in self.operations('failover') if r['state'] == 'done']) > before, 60, 'the failover')
        self.session.q(f'insert into t values ({before + 1})', 30)

    def expect_standby(self, name, says):
        wait_for(lambda: self.rows()[name]['fit'] == 'yes', 60, f'{name} as a standby')
        row = self.rows()[name]
        is_((row['role'], row['timeline']), ('standby', self.rows()[self.primary()]['timeline']), says)
        with self.cluster.at(int(name[1])) as c:
            is_(c.q('select count(*) from t'), self.session.q('select count(*) from t'), f'{says}: it has what the primary has')

    def stop_servers(self):
        for i in range(3):
            subprocess.run(as_postgres([tool('pg_ctl'), 'stop', '-D', f'{self.cluster.dir}/n{i}', '-m', 'immediate']), capture_output=True, cwd='/tmp')

    def close(self):
        self.proxy.stop()
        self.stop_servers()
        self.cluster.stop()


def refused(s, text, why):
    try:
        s.admin.q(text, 60)
        ok(False, f'{text} is refused')
    except WireError as e:
        like(str(e), why, f'{text} is refused: {why}')


with scenario('the primary is killed, and rejoins, rewound'):
    s = Scene()
    for text, why in (('RECOVER n0', 'is the primary'), ('REJOIN NODE n1', 'follows the primary already'), ('RECOVER n9', 'no node'), ('REJOIN', 'does not understand')):
        refused(s, text, why)
    s.lose(0)
    s.expect_standby('n0', 'killed, rewound')
    like(s.proxy.log(), 'policy_log .*n0 returns: down, tries 0', 'the policy was asked, of a node that is down')
    is_([(r['state'], r['target']) for r in s.operations('rejoin')], [('done', 'n0')], 'it was an operation')
    like(s.operations('rejoin')[0]['steps_ms'], r'^work 0, verify \d+$', 'with its steps')
    # one that fails comes again later, and a person may hasten it
    s.admin.q('MAINTENANCE ON')
    s.cluster.kill_node(2)
    wait_for(lambda: s.state('n2') == ('down', 'it does not answer'), what='n2 to be down')
    s.admin.q('MAINTENANCE OFF')
    s.set('fail', 'yes')
    refused(s, 'REJOIN NODE n2', 'the rejoin was given up: not now')
    is_(s.state('n2'), ('quarantined', 'its rejoin failed, try 1: not now'), 'it is in quarantine')
    like(s.proxy.log(), 'node_not_restored.*node=n2 try=1 pause_s=5 reason="not now"', 'with a pause')
    with open(f'{s.cluster.dir}/n2/postgresql.auto.conf', 'a') as f:
        f.write("primary_slot_name = 'for_n2'\n")
    out = run([PROGRAM, 'ctl', '-s', s.proxy.unix, 'recover', 'n2'])
    is_(out[0], 0, f'ctl recover: {out[2]}')
    s.expect_standby('n2', 'recovered by order, with pg_basebackup')
    with s.cluster.at(2) as c, s.cluster.at(int(s.primary()[1])) as p:
        is_((c.one('show primary_slot_name'), p.q('select slot_name, active from pg_replication_slots')), ('for_n2', [['for_n2', 't']]), 'it has kept its slot\'s name, and has one')
    # Lunapool is killed while pg_rewind runs: it is not run a second time beside itself
    with open(f'{s.programs}/pg_rewind') as f:
        fast = f.read()
    with open(f'{s.programs}/pg_rewind', 'w') as f:
        f.write(fast.replace('cd /tmp', 'echo begin $$ >>$0.log\nuntil [ -e $0.go ]; do sleep 0.02; done\necho end $$ >>$0.log\ncd /tmp'))
    s.set('fail', '')
    was = int(s.primary()[1])
    s.lose(was)

    def slow():
        with contextlib.suppress(FileNotFoundError), open(f'{s.programs}/pg_rewind.log') as f:
            return f.read().split()
        return []
    pid = wait_for(slow, what='pg_rewind to run')[1]
    s.proxy.kill()
    s.proxy.start()
    s.reconnect()
    left = s.proxy.wait_log(rf'command_left .*node=n{was} pid=(\d+) ').group(1)  # what runs pg_rewind
    wait_for(lambda: [r for r in s.admin.table('SHOW TASKS') if r['name'] == 'rejoin' and r['waits_for'] == f'process {left}, which works at n{was}'], what='the hook to wait')
    is_(slow(), ['begin', pid], 'Lunapool was killed under pg_rewind: its hook waits for the end of that one')
    with open(f'{s.programs}/pg_rewind.go', 'w'):
        pass
    s.expect_standby(f'n{was}', 'rewound after all')
    is_(slow()[:3] + slow()[4:5], ['begin', pid, 'end', 'begin'], 'one behind the other')
    # but not for a server that a command of it has started
    s.proxy.kill()
    s.proxy.start()
    s.reconnect()
    s.admin.q(f'RECOVER n{was}', 60)
    is_('command_left' in s.proxy.log(), False, 'nobody waits for the server that the hook has started')
    s.close()

with scenario('the primary freezes, and rejoins when it thaws'):
    s = Scene()
    is_([s.state(n) for n in ('n0', 'n1')], [('up', None)] * 2, 'all are up')
    s.admin.q('MAINTENANCE ON')
    s.send(0, signal.SIGSTOP)
    wait_for(lambda: s.state('n0') == ('suspect', 'it does not answer as it should'), what='n0 to be suspect')
    s.send(0, signal.SIGCONT)
    wait_for(lambda: s.state('n0')[0] == 'up', what='n0 to be up')
    s.cluster.set_node(1, primary_conninfo='')
    def away():
        s.session.q('insert into t values (0) on conflict (id) do update set id = 0')
        return s.state('n1')[0] == 'waiting'
    wait_for(away, what='n1 to wait')
    like(s.state('n1')[1], 'does not receive|its lag is above', 'it says what for')
    s.cluster.set_node(1, primary_conninfo=f'host={s.cluster.host} port={s.cluster.port} user=postgres')
    wait_for(lambda: s.state('n1')[0] == 'up', what='n1 to be up')
    s.admin.q('MAINTENANCE OFF')
    s.lose(0, signal.SIGSTOP)
    is_(re.findall('policy_log .*n0 returns', s.proxy.log()), [], 'nobody touches one that is frozen')
    with s.cluster.at(int(s.primary()[1])) as c:
        c.q('insert into t select generate_series(100, 200)')
    s.send(0, signal.SIGCONT)
    s.expect_standby('n0', 'thawed, rewound')
    like(s.proxy.log(), 'policy_log .*n0 returns: writable, tries 0', 'the policy was asked, of a node that is writable')
    s.cluster.process[0].wait()
    # a failover waits for no rejoin
    s.set('hang', 'yes')
    s.lose(int(s.primary()[1]))
    wait_for(lambda: [r for r in s.operations('rejoin') if r['state'] == 'under way'], 60, 'a rejoin that hangs')
    s.admin.q('DETACH n0')
    s.admin.q('ATTACH n0')
    wait_for(lambda: 'n0' in s.fit(), what='n0 to be fit')
    is_([r['state'] for r in s.operations('rejoin')][:1], ['under way'], 'orders are carried out beside it')
    s.lose(int(s.primary()[1]), standbys=1)
    is_([(r['kind'], r['state']) for r in s.admin.table('SHOW OPERATIONS') if r['id'] in ('4', '5')], [('failover', 'done'), ('rejoin', 'aborted')],
        'the failover has ended it')
    wait_for(lambda: [r for r in s.operations('rejoin') if r['state'] == 'under way'], what='the next rejoin that hangs')
    s.set('hang', '')
    hook = wait_for(lambda: [r['id'] for r in s.admin.table('SHOW TASKS') if r['name'] == 'rejoin' and r['state'] == 'running'], what='its hook')
    s.admin.q(f'STOP TASK {hook[0]}')
    for n in ('n1', 'n2'):
        s.expect_standby(n, f'{n} rejoins after all')
    s.close()

with scenario('a standby is drained, and attached again, while clients read'):
    s = Scene()
    reads, errors, stop = [0], [], []

    def read():
        with s.proxy.connect() as c:
            while not stop:
                try:
                    c.q('select count(*) from t')
                    reads[0] += 1
                except (WireError, OSError) as e:
                    errors.append(str(e))
                    return
    readers = [threading.Thread(target=read, daemon=True) for _ in range(4)]
    for t in readers:
        t.start()
    used = lambda n: int(s.rows()[n]['reads'])  # noqa: E731
    wait_for(lambda: used('n1') > 100 and used('n2') > 100, what='reads at both')
    for text, why in (('DRAIN n0', 'is the primary'), ('DRAIN n1 0s', 'does not understand'), ('DRAIN', 'does not understand')):
        refused(s, text, why)
    out = run([PROGRAM, 'ctl', '-s', s.proxy.unix, 'drain', 'n1', '20s'])
    is_(out[0], 0, f'ctl drain: {out[2]}')
    is_([s.rows()['n1'][k] for k in ('fit', 'sv_active', 'sv_idle')], ['no', '0', '0'], 'it is detached, without connections')
    is_(s.state('n1'), ('detached', 'drained, by order of lunapool'), 'it says so')
    before, there = reads[0], used('n1')
    wait_for(lambda: reads[0] > before + 100, what='reads to go on')
    is_(used('n1'), there, 'and gets no reads')
    s.admin.q('ATTACH n1')
    wait_for(lambda: used('n1') > there + 50, what='n1 to take reads again')
    # whoever is in a transaction there is not disturbed
    late = [s.proxy.connect() for _ in range(8)]
    for c in late:
        c.q('begin read only')
        c.q('select count(*) from t')
    watcher = s.cluster.at(2)
    there = lambda: int(watcher.one("select count(*) from pg_stat_activity where state = 'idle in transaction'"))  # noqa: E731
    n = there()
    ok(n > 0, f'{n} transactions run at n2')
    refused(s, 'DRAIN NODE n2 300ms', r'the drain was given up: \d+ connections to "n2" are in use: .*SHOW PINS')
    wait_for(lambda: s.rows()['n2']['fit'] == 'yes', what='n2 to go on')
    waits = threading.Thread(target=lambda: s.admin.q('DRAIN n2', 60))
    waits.start()
    s.proxy.wait_log('operation_step.*kind=drain.*target=n2', start=s.proxy.log().index('drain was given up'))
    is_([c.one('select count(*) > 0 from t') for c in late], ['f'] * 8, 'they go on')
    is_(there(), n, 'where they are')
    is_(s.rows_beside()['n2']['state'], 'draining', 'it is draining')
    for c in late:
        c.q('commit')
    waits.join()
    is_([(r['state'], r['target']) for r in s.operations('drain')], [('done', 'n2'), ('aborted', 'n2'), ('done', 'n1')], 'SHOW OPERATIONS tells of it')
    s.admin.q('RECOVER n2', 60)
    s.expect_standby('n2', 'recovered')
    stop.append(True)
    for t in readers:
        t.join()
    is_(errors, [], f'no error in {reads[0]} reads')
    s.close()
done()
