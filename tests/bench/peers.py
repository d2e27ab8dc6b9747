"""peers — the proxies that are measured: how each is configured, started, and what its processes have cost so far.

Every peer listens on a port that was free a moment ago, has one thread for its clients and up to 20 server connections for the one database, logs no
connections and asks for no password: as alike as their configurations allow.
"""
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from ha import family  # noqa: E402
from pki import Pki  # noqa: E402
from harness import PROGRAM, Conn, Proxy, WireError, as_postgres, free_port, postgres_user, temp_dir, tool, wait_for  # noqa: E402

POOL = 20
CLIENTS_MAX = 12000


def cpu_us(pid):
    """Microseconds that all threads of all processes of a peer have run: the scheduler's own count, not its ticks."""
    total = 0
    for p in family(pid):
        with contextlib.suppress(OSError):
            for thread in os.listdir(f'/proc/{p}/task'):
                with contextlib.suppress(OSError):
                    with open(f'/proc/{p}/task/{thread}/schedstat') as f:
                        total += int(f.read().split()[0])
    return total / 1000


def memory_bytes(pid):
    """Proportional set size: pages that processes share count once."""
    total = 0
    for p in family(pid):
        with contextlib.suppress(OSError):
            with open(f'/proc/{p}/smaps_rollup') as f:
                total += sum(int(line.split()[1]) * 1024 for line in f if line.startswith('Pss:'))
    return total


class Peer:
    """A foreign proxy in front of CLUSTER.  WRAPPER: words in front of its command (valgrind …)."""
    needs_postgres = True  # refuses to run as root
    sslmode = 'disable'    # of its clients
    user = 'postgres'      # theirs

    def __init__(self, cluster, wrapper=()):
        self.cluster = cluster
        self.dir = temp_dir(postgres_user())
        self.port = free_port()
        command = self.command()
        command[0] = shutil.which(command[0]) or f'/usr/sbin/{command[0]}'
        command = [*wrapper, *command]
        if self.needs_postgres:
            command = as_postgres(command)
        self.log_path = f'{self.dir}/log'
        with open(self.log_path, 'w') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir, start_new_session=True)
        self.pid = self.process.pid
        wait_for(self.serves, 60, f'{self.name} to serve')

    def serves(self):
        if self.process.poll() is not None:
            with open(self.log_path) as f:
                raise RuntimeError(f'{self.name} does not start: {f.read()[-2000:]}')
        try:
            with Conn(('127.0.0.1', self.port), database='postgres') as c:
                return c.one('select 1') == '1'
        except (OSError, WireError):
            time.sleep(0.05)
            return False

    def write(self, name, text):
        path = f'{self.dir}/{name}'
        with open(path, 'w') as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    def stop(self, number=signal.SIGTERM):
        members = family(self.pid)
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            for p in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(p, signal.SIGKILL)
            self.process.wait()


class PgBouncer(Peer):
    name = 'pgbouncer'
    mode = 'transaction'

    def command(self):
        return ['pgbouncer', '-q', self.write('pgbouncer.ini', f"""[databases]
* = host=127.0.0.1 port={self.cluster.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
{self.auth()}pool_mode = {self.mode}
default_pool_size = {POOL}
max_client_conn = {CLIENTS_MAX}
log_connections = 0
log_disconnections = 0
ignore_startup_parameters = extra_float_digits,options
{self.more()}""")]

    def auth(self):
        return f"""auth_type = trust
auth_file = {self.write('users.txt', '"postgres" ""')}
"""

    def more(self):
        return ''


class PgBouncerTls(PgBouncer):
    name = 'pgbouncer TLS'
    sslmode = 'require'

    def more(self):
        pki = Pki(owner=postgres_user())
        pki.sign('server')
        return f"""client_tls_sslmode = allow
client_tls_cert_file = {pki.crt('server')}
client_tls_key_file = {pki.key('server')}
"""


SCRAM_HBA = 'host all scram_user 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n'


def scram_secret(cluster):
    """What the server has stored: who compares with it learns no password."""
    return cluster.one("select rolpassword from pg_authid where rolname = 'scram_user'")


class PgBouncerScram(PgBouncer):
    name = 'pgbouncer SCRAM'
    user = 'scram_user'

    def auth(self):
        users = self.write('users.txt', f'"postgres" ""\n"scram_user" "{scram_secret(self.cluster)}"\n')
        return f"""auth_type = hba
auth_hba_file = {self.write('hba', SCRAM_HBA)}
auth_file = {users}
"""


class PgBouncerSession(PgBouncer):
    name = 'pgbouncer session'
    mode = 'session'


class Haproxy(Peer):
    name = 'haproxy'
    needs_postgres = False

    def command(self):
        return ['haproxy', '-db', '-f', self.write('haproxy.cfg', f"""global
  maxconn 3000
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen postgres
  bind 127.0.0.1:{self.port}
  server primary 127.0.0.1:{self.cluster.port}
""")]


class Pgpool(Peer):
    name = 'pgpool2'

    def command(self):
        null = self.write('none', '')
        return ['pgpool', '-n', '-F', null, '-a', null, '-f', self.write('pgpool.conf', f"""backend_clustering_mode = 'streaming_replication'
listen_addresses = '127.0.0.1'
port = {self.port}
pcp_listen_addresses = '127.0.0.1'
pcp_port = {free_port()}
unix_socket_directories = '{self.dir}'
pcp_socket_dir = '{self.dir}'
{self.balancing()}num_init_children = 32
max_pool = 1
enable_pool_hba = off
health_check_period = 0
pid_file_name = '{self.dir}/pgpool.pid'
logdir = '{self.dir}'
""")]

    def balancing(self):
        return f"""backend_hostname0 = '127.0.0.1'
backend_port0 = {self.cluster.port}
backend_weight0 = 1
backend_flag0 = 'ALWAYS_PRIMARY'
load_balance_mode = off
sr_check_period = 0
"""


PROMOTE_SCRIPT = """#!/bin/sh
# failed node, old primary, the new one's data directory
[ "$1" = "$2" ] && exec {pg_ctl} promote -w -D "$3"
exit 0
"""
FOLLOW_SCRIPT = """#!/bin/sh
# node, its port and data directory, the new primary's port; the old primary, where it is there, is stopped
if [ "$({psql} -XAtqc 'select pg_is_in_recovery()' -h 127.0.0.1 -p $2 -U postgres postgres)" = t ]; then
	{psql} -Xq -h 127.0.0.1 -p $2 -U postgres postgres <<END
alter system set primary_conninfo = 'host=127.0.0.1 port=$4 user=postgres application_name=n$1';
select pg_reload_conf();
END
	PCPPASSFILE={passfile} pcp_attach_node -h 127.0.0.1 -p {pcp_port} -U postgres -w -n $1
else
	{pg_ctl} stop -m fast -D "$3"
fi
exit 0
"""


class PgpoolFailover(Pgpool):
    """In front of a primary and its standbys: it promotes and re-aims them by scripts."""

    def script(self, name, text):
        path = self.write(name, text)
        os.chmod(path, 0o755)
        return path

    def command(self):
        c = self.cluster
        self.pcp_port = free_port()
        self.passfile = self.write('pcppass', '*:*:*:secret\n')
        os.chmod(self.passfile, 0o600)
        if postgres_user():
            os.chown(self.passfile, postgres_user().pw_uid, -1)
        words = {'pg_ctl': tool('pg_ctl'), 'psql': tool('psql'), 'passfile': self.passfile, 'pcp_port': self.pcp_port}
        promote = self.script('failover.sh', PROMOTE_SCRIPT.format(**words))
        follow = self.script('follow_primary.sh', FOLLOW_SCRIPT.format(**words))
        pcp = self.write('pcp.conf', f'postgres:{hashlib.md5(b"secret").hexdigest()}\n')
        nodes = ''.join(f"""backend_hostname{i} = '127.0.0.1'
backend_port{i} = {port}
backend_weight{i} = 1
backend_data_directory{i} = '{c.dir}/n{i}'
backend_flag{i} = 'ALLOW_TO_FAILOVER'
backend_application_name{i} = 'n{i}'
""" for i, port in enumerate(c.ports))
        return ['pgpool', '-n', '-F', pcp, '-a', self.write('none', ''), '-f', self.write('pgpool.conf', f"""backend_clustering_mode = 'streaming_replication'
listen_addresses = '127.0.0.1'
port = {self.port}
pcp_listen_addresses = '127.0.0.1'
pcp_port = {self.pcp_port}
unix_socket_directories = '{self.dir}'
pcp_socket_dir = '{self.dir}'
{nodes}load_balance_mode = on
num_init_children = 32
max_pool = 4
child_life_time = 300
enable_pool_hba = off
sr_check_period = 10
sr_check_user = 'postgres'
sr_check_database = 'postgres'
delay_threshold = 10000000
health_check_period = 5
health_check_timeout = 20
health_check_user = 'postgres'
health_check_database = 'postgres'
health_check_max_retries = 3
health_check_retry_delay = 1
failover_command = '{promote} %d %P %R'
follow_primary_command = '{follow} %d %p %D %r'
pid_file_name = '{self.dir}/pgpool.pid'
logdir = '{self.dir}'
""")]


class Lunapool:
    """The program of this tree."""
    name = 'lunapool'
    sslmode = 'disable'
    user = 'postgres'
    engine = None  # whichever it chooses
    cluster_options = {}
    nodes = {}

    def listen(self):
        return {}

    def auth(self):
        return {}

    def __init__(self, cluster, wrapper=()):
        self.cluster = cluster
        engine = 'epoll' if wrapper else self.engine  # valgrind cannot follow io_uring
        p = self.proxy = Proxy(cluster, workers=1, pool={'size': POOL}, limits={'max_clients': CLIENTS_MAX}, listen=self.listen(), **self.auth(),
                               options={'engine': engine} if engine else {}, cluster_options=self.cluster_options, nodes=self.nodes, start=False)
        p.log_path = f'{p.dir}/log'
        command = ['setpriv', '--pdeathsig', 'SIGKILL', *wrapper, PROGRAM, '-c', p.path]
        with open(p.log_path, 'w') as log:  # in a session of its own, like the others: the kernel shares the CPU out by sessions
            p.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        Proxy.all.append(p)
        p.port = int(p.wait_log(r'listening.*\bport=(\d+)', 60).group(1))
        self.process = p.process
        self.port, self.pid = p.port, p.process.pid

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        self.process.wait(60)
        Proxy.all.remove(self.proxy)


class LunapoolTls(Lunapool):
    sslmode = 'require'

    def listen(self):
        pki = Pki()
        pki.sign('server')
        return {'tls': 'allow', 'tls_cert': pki.crt('server'), 'tls_key': pki.key('server')}


class LunapoolScram(Lunapool):
    user = 'scram_user'

    def auth(self):
        return {'hba': SCRAM_HBA, 'secrets': f'"scram_user" "{scram_secret(self.cluster)}"\n'}
