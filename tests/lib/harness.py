"""harness — a private PostgreSQL, a Lunapool in front of it, and TAP.

    from harness import *
    cluster = Cluster.get()            # the run's shared server (LUNAPOOL_CLUSTER, see with_cluster), else one of our own
    db = cluster.database()            # a fresh database named after this test
    proxy = Proxy(cluster, pool={'size': 2}, workers=2)
    with proxy.connect(db) as c: is_(c.one('select 1'), '1', 'a query')
    done()

With LUNAPOOL_DIRECT=1 a Proxy is the server itself: every test of behaviour must pass there too, which proves the test.
LUNAPOOL_LONG=1 asks for the long variants, VARIANT (release, asan, tsan) chooses the program,
LUNAPOOL_ENGINE (epoll, io_uring) its engine.
"""
import atexit
import contextlib
import glob
import json
import os
import pwd
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pgwire  # noqa: E402
from pgwire import Conn, Timeout, WireError  # noqa: E402,F401

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VARIANT = os.environ.get('VARIANT', 'release')
PROGRAM = os.environ.get('LUNAPOOL', f'{ROOT}/build/{VARIANT}/lunapool')
ENGINE = {'engine': os.environ['LUNAPOOL_ENGINE']} if os.environ.get('LUNAPOOL_ENGINE') else {}
DIRECT = os.environ.get('LUNAPOOL_DIRECT') == '1'
LONG = os.environ.get('LUNAPOOL_LONG') == '1'
SLOW = {'release': 1, 'debug': 1, 'asan': 3, 'tsan': 8}[VARIANT]  # how much longer things take
NAME = re.sub(r'\W', '_', os.path.basename(sys.argv[0]).removesuffix('.t')) or 'test'
BIN = sorted(glob.glob('/usr/lib/postgresql/*/bin'), key=lambda p: int(p.split('/')[4]))[-1]

for _name in [n for n in os.environ if n.startswith('PG')]:
    del os.environ[_name]
os.environ['PGCONNECT_TIMEOUT'] = '20'
os.environ['LC_ALL'] = 'C.UTF-8'


# ---- TAP ----------------------------------------------------------------------------------------------------------

_count = 0
_failed = 0
_fails_now = False  # what is said behind a failed test goes to stderr, too: prove hides the rest
_lock = threading.Lock()


def ok(value, name):
    global _count, _failed, _fails_now
    with _lock:
        _count += 1
        if not value:
            _failed += 1
        line = f"{'ok' if value else 'not ok'} {_count} - {name}".replace('\n', ' ').replace('#', '\\#')
        _fails_now = not value
        print(line, flush=True)
        if not value:
            print(f'{os.path.basename(sys.argv[0])}: {line}', file=sys.stderr, flush=True)
    return bool(value)


def is_(got, want, name):
    good = got == want
    ok(good, name)
    if not good:
        diag(f'     got: {got!r}'[:2000])
        diag(f'expected: {want!r}'[:2000])
    return good


def like(got, pattern, name):
    good = re.search(pattern, got or '') is not None
    ok(good, name)
    if not good:
        diag(f'     got: {got!r}'[:2000])
        diag(f' pattern: {pattern}')
    return good


def skip(name, why):
    global _count
    with _lock:
        _count += 1
        print(f'ok {_count} - {name} # SKIP {why}', flush=True)


def skip_all(why):
    print(f'1..0 # SKIP {why}', flush=True)
    sys.exit(0)


def proxy_only():
    """For tests of what only a proxy has (pool sizes, limits of clients)."""
    if DIRECT:
        skip_all('says nothing about a server without a proxy')


def diag(text):
    for line in str(text).split('\n'):
        print(f'# {line}', flush=True)
        if _fails_now:
            print(f'# {line}', file=sys.stderr, flush=True)


@contextlib.contextmanager
def scenario(name):
    """Whatever goes wrong inside is one failed test, and the next scenario still runs."""
    try:
        yield
    except Exception as e:
        ok(False, f'{name}: {type(e).__name__}: {e}')
        diag(''.join(traceback.format_exception(e)[-3:]).rstrip())


def done():
    for p in list(Proxy.all):
        p.stop()
    print(f'1..{_count}', flush=True)
    sys.exit(1 if _failed else 0)


def _unhandled(kind, value, tb):
    diag(''.join(traceback.format_exception(kind, value, tb)).rstrip())
    ok(False, f'{kind.__name__}: {value}')
    for p in list(Proxy.all):
        p.stop()
    print(f'1..{_count}', flush=True)


sys.excepthook = _unhandled


def wait_for(cond, deadline=20, what='a condition'):
    """Asks COND again and again until it is true; its value. Fails after DEADLINE seconds."""
    end = time.monotonic() + deadline * (1 if SLOW == 1 else 2)
    pause = 0.002
    while True:
        value = cond()
        if value:
            return value
        if time.monotonic() > end:
            raise Timeout(f'{what} did not come about in {deadline} s')
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def threads(*functions):
    """Runs all at once; the list of their results. The first exception is raised."""
    results = [None] * len(functions)
    trouble = []

    def run(i, fn):
        try:
            results[i] = fn()
        except BaseException as e:
            trouble.append(e)
    ts = [threading.Thread(target=run, args=(i, f), daemon=True) for i, f in enumerate(functions)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    if trouble:
        raise trouble[0]
    return results


def run(args, stdin=None, timeout=120, env=None, **kw):
    """(exit status, stdout, stderr) of a program."""
    p = subprocess.run(args, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, text=True,
                       timeout=timeout * (1 if SLOW == 1 else 2), env={**os.environ, **(env or {})}, **kw)
    return p.returncode, p.stdout, p.stderr


def tool(name):
    path = f'{BIN}/{name}'
    return path if os.path.exists(path) else name


def free_port():
    s = socket.socket()
    s.bind(('127.0.0.1', 0))
    port = s.getsockname()[1]
    s.close()
    return port


_trash = []


def temp_dir(owner=None):
    """A directory with a short path, removed at the end."""
    d = tempfile.mkdtemp(prefix='lp', dir='/tmp')
    os.chmod(d, 0o755)
    if owner is not None:
        os.chown(d, owner.pw_uid, owner.pw_gid)
    _trash.append(d)
    return d


def _fnv(name):
    h = 0xcbf29ce484222325
    for byte in name.encode() + b'\0':
        h = (h ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return h


@atexit.register
def _clean():
    for p in list(Proxy.all):
        p.kill()
    for c in list(Cluster.own):
        c.stop()
    for d in _trash:
        shutil.rmtree(d, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):  # as src/hooks/leftover.c names it, of a Lunapool that was killed there
            os.unlink(f'/dev/shm/lunapool.{os.geteuid()}.{_fnv(d):016x}')


# ---- PostgreSQL ---------------------------------------------------------------------------------------------------

def postgres_user():
    return pwd.getpwnam('postgres') if os.getuid() == 0 else None


def as_postgres(args):
    """PostgreSQL refuses to run as root; a server must not outlive the test that started it."""
    who = ['--reuid=postgres', '--regid=postgres', '--clear-groups'] if os.getuid() == 0 else []
    return ['setpriv', *who, '--pdeathsig', 'SIGQUIT', *args]


HBA = """local all all trust
local replication all trust
host all scram_user 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
"""

CONF = """
listen_addresses = '127.0.0.1'
max_connections = 400
shared_buffers = 16MB
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
jit = off
max_wal_size = 512MB
wal_keep_size = 256MB
wal_level = replica
max_wal_senders = 10
max_prepared_transactions = 10
log_destination = stderr
log_line_prefix = '%m [%p] %a '
log_statement = none
password_encryption = scram-sha-256
hot_standby = on
"""


class Cluster:
    """A primary and, if asked for, streaming standbys.

    All nodes are copies of what initdb makes once a run (LUNAPOOL_TEMPLATE, see with_cluster): a server that was stopped in order is a base backup of
    itself.  So clusters have one system identifier, but for those that live at once in a test."""
    own = []
    template = os.environ.get('LUNAPOOL_TEMPLATE')

    @classmethod
    def get(cls):
        where = os.environ.get('LUNAPOOL_CLUSTER')
        if where:
            c = cls.__new__(cls)
            with open(where) as f:
                c.__dict__.update(json.load(f))
            c.process = None
            return c
        return cls()

    def __init__(self, standbys=0, extra=''):
        self.dir = temp_dir(postgres_user())
        self.host = '127.0.0.1'
        self.ports = []
        self.process = {}  # by node: 0 is the primary, at first
        if Cluster.own:
            self.template = self.make_template()
        elif not Cluster.template:
            Cluster.template = self.make_template()
        Cluster.own.append(self)
        self._start_node(0, extra)
        self.port = self.ports[0]
        for i in range(1, standbys + 1):
            self._start_node(i, extra)
        self.query("create role scram_user login password 'scram secret'", 'postgres')

    def describe(self):
        return json.dumps({k: v for k, v in self.__dict__.items() if k != 'process'})

    @staticmethod
    def make_template():
        data = f'{temp_dir(postgres_user())}/data'
        Cluster._as(tool('initdb'), '-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync', '-E', 'UTF8', '--locale=C.UTF-8')
        with open(f'{data}/pg_hba.conf', 'w') as f:
            f.write(HBA)
        with open(f'{data}/postgresql.conf', 'a') as f:
            f.write(CONF)
        # A standby must have no less of these than is known of its primary, and a test may want little.
        Cluster._as(tool('postgres'), '--single', '-D', data, '-c', 'max_connections=10', '-c', 'max_wal_senders=1', '-c', 'max_worker_processes=1',
                    '-c', 'max_prepared_transactions=0', 'postgres')
        return data

    @staticmethod
    def _as(*args):
        kw = {'capture_output': True, 'text': True, 'cwd': '/tmp', 'stdin': subprocess.DEVNULL}
        p = subprocess.run(as_postgres(list(args)), **kw)
        if p.returncode:
            raise RuntimeError(f'{args[0]}: {p.stdout}{p.stderr}')

    def _start_node(self, i, extra):
        data = f'{self.dir}/n{i}'
        self._as('cp', '-a', '--reflink=auto', self.template, data)
        with open(f'{data}/postgresql.conf', 'a') as f:
            f.write(extra)
        if i > 0:
            self._as('touch', f'{data}/standby.signal')
            with open(f'{data}/postgresql.auto.conf', 'a') as f:
                f.write(f"primary_conninfo = 'user=postgres host={self.host} port={self.ports[0]}'\n")
        for _ in range(5):  # somebody may take the port between the look and the bind
            port = free_port()
            if self._launch(i, port):
                self.ports.append(port)
                return
        with open(f'{self.dir}/n{i}.log') as f:
            raise RuntimeError('PostgreSQL does not start: ' + f.read()[-2000:])

    def _launch(self, i, port):
        with open(f'{self.dir}/n{i}.log', 'a') as log:
            p = subprocess.Popen(as_postgres([tool('postgres'), '-D', f'{self.dir}/n{i}', '-p', str(port), '-k', self.dir]), stdout=log,
                                 stderr=log, stdin=subprocess.DEVNULL, cwd='/tmp', start_new_session=True)
        self.process[i] = p
        return self._wait_node(p, port)

    def kill_node(self, i, number=signal.SIGKILL):
        """kill -9; SIGINT is an orderly stop, SIGQUIT an immediate one."""
        self.process[i].send_signal(number)
        self.process[i].wait()

    def start_node(self, i):
        """Again, where it was: as long as children of the old one are left, PostgreSQL refuses."""
        wait_for(lambda: self._launch(i, self.ports[i]), 60, f'node {i}')

    def at(self, i, database='postgres', user='postgres', **kw):
        """A connection to one node itself."""
        return Conn((self.host, self.ports[i]), user=user, database=database, **kw)

    def set_node(self, i, **settings):
        """Changes settings of one node, without a restart; None is the default again."""
        with self.at(i) as c:
            for name, value in settings.items():
                c.q(f'alter system reset {name}' if value is None else f"alter system set {name} = '{value}'")
            c.q('select pg_reload_conf()')

    def mark_nodes(self, prefix='n'):
        """Each node says which one it is: current_setting('test.node'), which a read may ask, since a name with a dot is a session's."""
        for i in range(len(self.ports)):
            with open(f'{self.dir}/n{i}/postgresql.conf', 'a') as f:
                f.write(f"test.node = '{prefix}{i}'\n")
            with self.at(i) as c:
                c.q('select pg_reload_conf()')
                wait_for(lambda: c.one("select current_setting('test.node', true)") == f'{prefix}{i}', what='the setting')

    def delay_node(self, i, delay):
        """A standby replays what is committed only after DELAY ('2s'; 0: at once)."""
        self.set_node(i, recovery_min_apply_delay=delay)

    def pause_node(self, i, paused=True):
        """A standby replays nothing, or goes on."""
        with self.at(i) as c:
            c.q(f"select pg_wal_replay_{'pause' if paused else 'resume'}()")

    def caught_up(self, i):
        """Waits until a standby has replayed what the primary has written by now."""
        with self.connect() as c:
            c.q("set synchronous_commit = local")
            c.q("select pg_logical_emit_message(true, '', '')")  # its commit waits until all before it is on disk
            lsn = c.one('select pg_current_wal_flush_lsn()')
        with self.at(i) as c:
            wait_for(lambda: c.one(f"select pg_last_wal_replay_lsn() >= '{lsn}'") == 't', what=f'standby {i} to catch up')

    def _wait_node(self, p, port):
        end = time.monotonic() + 60
        while p.poll() is None and time.monotonic() < end:
            try:
                Conn((self.host, port), database='postgres').quit()
                return True
            except (OSError, WireError):
                time.sleep(0.02)
        return False

    def stop(self):
        for p in (self.process or {}).values():
            with contextlib.suppress(ProcessLookupError):
                p.send_signal(signal.SIGQUIT)
            p.wait()
        if self in Cluster.own:
            Cluster.own.remove(self)

    def connect(self, database='postgres', user='postgres', **kw):
        return Conn((self.host, self.port), user=user, database=database, **kw)

    def query(self, sql, database='postgres'):
        with self.connect(database) as c:
            return c.q(sql, 60)

    def one(self, sql, database='postgres'):
        rows = self.query(sql, database)
        return rows[0][0] if rows else None

    def database(self, name=None, setup=''):
        """A fresh database; what an earlier run left of it is dropped."""
        name = name or f't_{NAME}'
        self.query(f'drop database if exists "{name}" with (force)')
        self.query(f'create database "{name}" template template0')
        if setup:
            self.query(setup, name)
        return name

    def role(self, name, options='login'):
        if not self.query(f"select 1 from pg_roles where rolname = '{name}'"):
            self.query(f'create role "{name}" {options}')
        return name

    def backends(self, database, extra=''):
        """How many server processes work for a database, those that Lunapool asks by itself not counted."""
        return int(self.one(f"select count(*) from pg_stat_activity where datname = '{database}' and backend_type = 'client backend' and application_name <> 'lunapool' {extra}"))


# ---- Lunapool -----------------------------------------------------------------------------------------------------

def _conf_value(v):
    if isinstance(v, bool):
        return 'true' if v else 'false'
    if isinstance(v, (list, tuple)):
        return '{' + ', '.join(_conf_value(x) for x in v) + '}'
    if isinstance(v, int) or re.fullmatch(r'[0-9]+[A-Za-z]*|transaction|session|statement|epoll|io_uring|debug|info|warn|error|kv|json|true|false', v):
        return str(v)
    return '"' + v.replace('\\', '\\\\').replace('"', '\\"') + '"'


def _conf_block(head, options):
    return head + ' {\n' + ''.join(f'\t{k} = {_conf_value(v)}\n' for k, v in options.items()) + '}\n'


OPEN = 'local all,replication all trust\nhost all,replication all all trust\n'


class Proxy:
    """A running Lunapool (or, with LUNAPOOL_DIRECT=1, the server in its place)."""
    all = []

    def __init__(self, cluster, workers=2, pool=None, limits=None, databases=None, users=None, options=None, listen=None,
                 hba=OPEN, secrets='', cluster_options=None, node=None, auth=None, files=None, start=True, nodes=None,
                 redirects=None, others=None):
        """All nodes of CLUSTER, n0 … with what NODE says of each; NODES adds to one by its name, or adds one.
        OTHERS: more clusters, by name: (Cluster, its options)."""
        self.cluster = cluster
        self.host, self.port = cluster.host, cluster.port
        self.socket_dir = cluster.dir
        self.process = None
        if DIRECT:
            return
        self.dir = temp_dir()
        self.socket_dir = self.dir
        self.settings = {'workers': workers, 'pool': pool or {}, 'limits': limits or {}, 'databases': databases or {'*': {}},
                         'users': users or {}, 'options': options or {}, 'listen': listen or {}, 'cluster': cluster_options or {},
                         'node': node or {}, 'nodes': nodes or {}, 'auth': auth or {}, 'redirects': redirects or {}, 'others': others or {}}
        self.hba, self.secrets, self.files = hba, secrets, files or {}
        self.write_config()
        if start:
            self.start()

    def write_config(self):
        s = self.settings
        with open(f'{self.dir}/hba.conf', 'w') as f:
            f.write(self.hba)
        with open(f'{self.dir}/users.conf', 'w') as f:
            f.write(self.secrets)
        for name, content in self.files.items():
            with open(f'{self.dir}/{name}', 'w') as f:
                f.write(content)
        text = ''.join(f'{k} = {_conf_value(v)}\n' for k, v in {'workers': s['workers'], 'log_connections': False, **ENGINE, **s['options']}.items())
        text += _conf_block('listen', {'address': '127.0.0.1', 'port': 0, 'unix_socket_dir': self.dir, **s['listen']})
        text += _conf_block('auth', {'hba_file': 'hba.conf', 'users_file': 'users.conf', 'admin_users': ['postgres'], **s['auth']})
        nodes = {f'n{i}': {'host': self.cluster.host, 'port': port, **s['node']} for i, port in enumerate(self.cluster.ports)}
        for name, opts in s['nodes'].items():
            nodes[name] = {**nodes.get(name, s['node']), **opts}
        blocks = ''.join(_conf_block(f'node "{name}"', opts) for name, opts in nodes.items())
        blocks += ''.join(_conf_block(f'redirect "{name}"', opts) for name, opts in s['redirects'].items())
        text += _conf_block('cluster "main"', {'service_user': 'postgres', **s['cluster']})[:-2] + blocks + '}\n'
        for name, (other, options) in s['others'].items():
            blocks = ''.join(_conf_block(f'node "{name}_n{i}"', {'host': other.host, 'port': port}) for i, port in enumerate(other.ports))
            text += _conf_block(f'cluster "{name}"', {'service_user': 'postgres', **options})[:-2] + blocks + '}\n'
        text += _conf_block('pool', s['pool']) if s['pool'] else ''
        text += _conf_block('limits', s['limits']) if s['limits'] else ''
        for kind in ('databases', 'users'):
            for name, opts in s[kind].items():
                text += _conf_block(f'{kind[:-1]} "{name}"', ({'cluster': 'main'} if kind == 'databases' else {}) | opts)
        self.path = f'{self.dir}/lunapool.conf'
        with open(self.path, 'w') as f:
            f.write(text)

    def start(self):
        env = {**os.environ, 'ASAN_OPTIONS': 'exitcode=99:detect_leaks=1', 'UBSAN_OPTIONS': 'print_stacktrace=1',
               'TSAN_OPTIONS': 'exitcode=66:second_deadlock_stack=1'}
        self.log_path = f'{self.dir}/log'
        log = open(self.log_path, 'w')
        self.process = subprocess.Popen(['setpriv', '--pdeathsig', 'SIGKILL', PROGRAM, '-c', self.path], stdout=log, stderr=log,
                                        stdin=subprocess.DEVNULL, env=env)
        log.close()
        Proxy.all.append(self)
        m = self.wait_log(r'listening.*\bport=(\d+)', 30)
        self.port = int(m.group(1))

    @property
    def addr(self):
        return (self.host, self.port)

    @property
    def unix(self):
        return f'{self.socket_dir}/.s.PGSQL.{self.port}'

    def log(self):
        with open(self.log_path, errors='replace') as f:
            return f.read()

    def wait_log(self, pattern, deadline=20, start=0):
        def seen():
            if self.process.poll() is not None:
                raise RuntimeError(f'lunapool ended with status {self.process.returncode}:\n{self.log()[-3000:]}')
            return re.search(pattern, self.log()[start:])
        return wait_for(seen, deadline, f'log line /{pattern}/')

    def connect(self, database='postgres', user='postgres', unix=False, **kw):
        return Conn(self.unix if unix else self.addr, user=user, database=database, **kw)

    def env(self, database='postgres', user='postgres'):
        return {'PGHOST': self.host, 'PGPORT': str(self.port), 'PGUSER': user, 'PGDATABASE': database, 'PGSSLMODE': 'disable',
                'PGGSSENCMODE': 'disable'}

    def psql(self, sql, database='postgres', *flags, user='postgres', env=None, timeout=120):
        """(status, stdout, stderr) of psql -XAt fed with SQL."""
        return run([tool('psql'), '-XAtq', *flags], stdin=sql, env={**self.env(database, user), **(env or {})}, timeout=timeout)

    def tool(self, name, *args, database='postgres', user='postgres', timeout=300, env=None, **kw):
        return run([tool(name), *args], env={**self.env(database, user), **(env or {})}, timeout=timeout, **kw)

    def memory(self):
        """Resident bytes."""
        with open(f'/proc/{self.process.pid}/status') as f:
            return int(re.search(r'VmRSS:\s+(\d+)', f.read()).group(1)) * 1024

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.process.pid}/fd'))

    def signal(self, number):
        self.process.send_signal(number)

    def reload(self):
        """Writes the configuration anew and sends SIGHUP; the reload's log line."""
        at = len(self.log())
        self.write_config()
        self.signal(signal.SIGHUP)
        return self.wait_log(r'.* (reloaded|reload_refused) .*', start=at).group(0)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self in Proxy.all:
            Proxy.all.remove(self)

    def stop(self):
        """Stops it at once and says as a test whether it ended well."""
        if self not in Proxy.all:
            return
        early = self.process.poll()
        if early is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20 * SLOW)
            except subprocess.TimeoutExpired:
                diag('lunapool does not end on SIGINT')
                self.process.kill()
                self.process.wait()
        Proxy.all.remove(self)
        self.judge(early)

    def judge(self, early=None):
        log = self.log()
        bad = re.search(r'(Address|Thread|Leak|UndefinedBehavior)Sanitizer|runtime error:|assertion failed', log)
        good = self.process.returncode == 0 and early is None and not bad
        ok(good, 'lunapool ended in order')
        if not good:
            diag(f'status {self.process.returncode}' + (', before it was told to' if early is not None else ''))
            diag(log[bad.start():bad.start() + 6000] if bad else log[-3000:])
