#!/usr/bin/env -S /usr/bin/python3
"""A primary that answers and is of no use fails over within its bound; one that only waits for its standbys does not."""
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403

proxy_only()


class Scene:
    def __init__(self, prepare=None, **options):
        self.cluster = Cluster(standbys=1, extra='full_page_writes = on\nsynchronous_commit = on\n')
        self.mounted = temp_dir()
        atexit.register(run, ['umount', '-l', self.mounted])
        if prepare:
            self.cluster.kill_node(0, signal.SIGINT)
            prepare(self)
            self.cluster.start_node(0)
        self.cluster.query('create table t (id int, pad text)')
        self.cluster.caught_up(1)
        state = temp_dir()
        os.chmod(state, 0o700)
        self.proxy = Proxy(self.cluster, options={'state_dir': state},
                           cluster_options={'failover': 'auto', 'write_probe_interval': '100ms', 'write_probe_timeout': '1500ms', **options})
        self.admin = self.proxy.connect('lunapool')
        wait_for(lambda: self.role('n0') == 'primary' and 'yes' in [r['fit'] for r in self.admin.table('SHOW NODES')], what='both nodes')

    def role(self, name):
        return {r['node']: r for r in self.admin.table('SHOW NODES')}[name]['role']

    def expect_failover(self, evidence):
        self.proxy.wait_log('operation_ended.*end=done', 60)
        like(self.proxy.log(), f'primary_lost.*{evidence}', f'it is lost: {evidence}')
        is_(self.role('n1'), 'primary', 'the standby is primary')
        with self.proxy.connect() as c:
            c.q('insert into t values (2)', 30)
            is_(c.one('select inet_server_port()'), str(self.cluster.ports[1]), 'what is written next goes there')

    def close(self):
        self.proxy.stop()
        self.cluster.stop()
        subprocess.run(['umount', '-l', self.mounted], capture_output=True)


def can_mount():
    """As root, where the kernel lets us."""
    d = temp_dir()
    if os.getuid() != 0 or run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', d])[0]:
        return False
    run(['umount', d])
    return True


def in_background(conn, sql):
    """What the client is told, when it is."""
    told = []

    def ask():
        try:
            told.append(conn.q(sql, 90))
        except (WireError, OSError) as e:
            told.append(str(e))
    t = threading.Thread(target=ask, daemon=True)
    t.start()
    return t, told


with scenario('who waits for a standby is not sick; a postmaster that lets nobody in is, in time'):
    s = Scene(hung_accept_timeout='2s')
    s.cluster.set_node(0, synchronous_standby_names='nobody', synchronous_commit='on')
    writer = s.proxy.connect()
    thread, told = in_background(writer, 'insert into t values (0)')
    with s.cluster.at(0) as c:
        wait_for(lambda: c.q("select 1 from pg_stat_activity where wait_event = 'SyncRep'"), what='a commit that waits for a standby')
        written = "select 1 from pg_stat_activity where application_name = 'lunapool' and query like '%emit_message%'"
        wait_for(lambda: c.q(f"{written} and query_start > (select max(query_start) from pg_stat_activity where wait_event = 'SyncRep') + '2s'::interval"), what='writes of our own')
    is_(re.findall('primary_lost|state=sick', s.proxy.log()), [], 'row 38: that commits wait for a standby is no sickness')
    s.cluster.set_node(0, synchronous_standby_names=None, synchronous_commit=None)
    thread.join()
    is_(told, [[]], 'the commit is acknowledged')
    s.cluster.role('other')
    holder = s.proxy.connect()
    holder.q('begin')
    holder.q('insert into t values (1)')
    os.kill(s.cluster.process[0].pid, signal.SIGSTOP)
    told = []
    thread = threading.Thread(target=lambda: told.append(s.proxy.connect(user='other', timeout=60).q("select 'late'", 60)))  # he needs a new server
    thread.start()
    served = 0
    while not re.search('primary_state.*state=sick', s.proxy.log()):
        served += holder.one('select 1') == '1'
    ok(served, 'row 17: who is in is served')
    s.expect_failover('silent to a knock')
    os.kill(s.cluster.process[0].pid, signal.SIGCONT)
    thread.join()
    is_(told, [[['late']]], 'who came meanwhile was kept waiting, and served')
    s.close()


def on_a_disk_of_its_own(s):
    image = f'{s.cluster.dir}/image'
    run(['truncate', '-s', '300M', image])
    for command in (['mkfs.ext4', '-q', '-F', image], ['mount', '-o', 'loop', image, s.mounted]):
        status, _, err = run(command)
        if status:
            raise RuntimeError(err)
    os.rename(f'{s.cluster.dir}/n0', f'{s.cluster.dir}/was')
    run(['cp', '-a', f'{s.cluster.dir}/was', f'{s.mounted}/n0'])
    os.symlink(f'{s.mounted}/n0', f'{s.cluster.dir}/n0')


def freezes():
    d, image = temp_dir(), f'{temp_dir()}/image'
    run(['truncate', '-s', '16M', image])
    good = not run(['mkfs.ext4', '-q', '-F', image])[0] and not run(['mount', '-o', 'loop', image, d])[0]
    good = good and not run(['fsfreeze', '-f', d])[0] and not run(['fsfreeze', '-u', d])[0]
    run(['umount', d])
    return good


if not can_mount():
    skip('a disk that hangs, one that is full', 'nothing can be mounted here')
    done()

with scenario('row 25: the disk hangs: commits do not come back, all else is answered'):
    if freezes():
        s = Scene(on_a_disk_of_its_own)
        idle = s.proxy.connect()
        idle.q("set application_name to 'idle'")
        writer = s.proxy.connect()
        writer.q('insert into t values (0)')
        atexit.register(run, ['fsfreeze', '-u', s.mounted])
        run(['fsfreeze', '-f', s.mounted])
        try:
            thread, told = in_background(writer, 'insert into t values (1)')
            s.expect_failover('did not commit')
            thread.join()
        finally:
            run(['fsfreeze', '-u', s.mounted])
        like(told[0], '^(08007|57P01)', 'who was in the midst of a commit is told that nobody knows')
        is_(idle.q('show application_name'), [['idle']], 'who was idle has noticed nothing')
        s.close()
    else:
        skip('the disk hangs', 'no file system can be frozen here')


def with_small_tables(s):
    base = f'{s.cluster.dir}/n0/base'
    run(['mount', '-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', s.mounted])
    run(['cp', '-a', base, f'{s.mounted}/base'])
    shutil.rmtree(base)
    os.symlink(f'{s.mounted}/base', base)


with scenario('row 24: the disk is full, though there is room for WAL'):
    s = Scene(with_small_tables)
    reader = s.proxy.connect()
    writer = s.proxy.connect()
    writer.q('insert into t values (0)')
    with contextlib.suppress(OSError), open(f'{s.mounted}/ballast', 'wb', buffering=0) as f:
        while True:
            f.write(b'x' * 65536)
    try:
        writer.q("insert into t select i, repeat('x', 1000) from generate_series(1, 1000) i")
        ok(False, 'the disk is full')
    except WireError as e:
        like(str(e), '^53100', 'the disk is full')
    s.expect_failover('refused a write for its disk')
    is_(reader.one('select count(*) from t where id = 0'), '1', 'nothing is lost')
    s.close()


def only_to_be_read(base):
    atexit.register(run, ['umount', '-l', base])
    return [run(c)[0] for c in (['mount', '--bind', base, base], ['mount', '-o', 'remount,bind,ro', base])]


for name, happens in (('can only be read', only_to_be_read), ('is gone', lambda base: [run(['mv', base, f'{base}.away'])[0]] * 2)):
    with scenario(f'row 24: the disk {name}'):
        name = f'row 24: the disk {name}'
        s = Scene()
        s.proxy.connect().q('insert into t values (0)')
        writer = s.proxy.connect()
        writer.q("begin; insert into t values (1)")
        with s.cluster.at(0) as c:  # who is there goes on with the files that he has open, and so does who writes for us
            wait_for(lambda: c.q("select 1 from pg_stat_activity where application_name = 'lunapool' and query like '%emit_message%'"), what='a write of our own')
            base = f'{s.cluster.dir}/n0/base'
            is_(happens(base), [0, 0], name)
            s.expect_failover('refused a write for its disk')
        try:
            writer.q('commit')
            ok(False, f'{name}: who was in a transaction is told')
        except WireError as e:
            like(str(e), '^40001', f'{name}: who was in a transaction is told')
        with s.proxy.connect() as c:
            is_(c.one('select count(*) from t where id = 0'), '1', f'{name}: nothing is lost')
        run(['umount', '-l', base])
        s.close()


def with_small_wal(s):
    wal = f'{s.cluster.dir}/n0/pg_wal'
    run(['mount', '-t', 'tmpfs', '-o', 'size=160m', 'tmpfs', s.mounted])
    run(['cp', '-a', wal, f'{s.mounted}/pg_wal'])
    shutil.rmtree(wal)
    os.symlink(f'{s.mounted}/pg_wal', wal)


with scenario('row 23: the disk of the WAL is full'):
    name = 'row 23'
    s = Scene(with_small_wal)
    s.proxy.connect().q('insert into t values (0)')
    with contextlib.suppress(OSError), open(f'{s.mounted}/ballast', 'wb', buffering=0) as f:
        while True:
            f.write(b'x' * 65536)
    s.cluster.set_node(0, synchronous_standby_names='*')
    acked = 0
    with contextlib.suppress(WireError), s.proxy.connect() as c:
        for acked in range(1000):
            c.q("insert into t select 1, repeat(md5(i::text), 30) from generate_series(1, 1000) i", 60)
    s.expect_failover('refused connections|said that it starts|crashed')
    with open(f'{s.cluster.dir}/n0.log') as f:
        like(f.read(), 'PANIC:.*No space left on device', f'{name}: it has given up')
    with s.proxy.connect() as c:
        ok(int(c.one('select count(*) / 1000 from t where id = 1')) >= acked > 0, f'{name}: nothing is lost of {acked} statements')
    s.close()
done()
