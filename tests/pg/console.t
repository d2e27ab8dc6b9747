#!/usr/bin/env -S /usr/bin/python3
"""The console is PgBouncer's for who knows that one: columns, types, drivers and monitoring tools; its actions wait for what they must, and cost no client
an error that was not asked for; who may only look may only look."""
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import bind, brief, columns, describe, execute, fields, parse, query, startup, sync, text_row  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database(setup='create table t (i int)')
other = cluster.database(f'{db}_other')
for role in ('eye', 'nobody'):
    cluster.role(role)

# PgBouncer's columns: s text, i int4, q int8, N numeric, b bytea.  Ours may only come behind them.
SOCKETS = ('type:s user:s database:s replication:s state:s addr:s port:i local_addr:s local_port:i connect_time:s request_time:s wait:i wait_us:i '
           'close_needed:i ptr:s link:s remote_pid:i tls:s application_name:s prepared_statements:i id:i')
BUFFERS = ' recv_pos:i pkt_pos:i pkt_remain:i send_pos:i send_remain:i pkt_avail:i send_avail:i'
COUNTERS = 'server_assignment_count xact_count query_count {} {} xact_time query_time wait_time {}client_parse_count {}server_parse_count {}bind_count {}client_login_count'


def counters(prefix, received, sent, last=''):
    return ' '.join(f'{prefix}{n}:N' for n in COUNTERS.format(received, sent, *[last] * 4).split())


COLUMNS = {
    'ACTIVE_SOCKETS': SOCKETS + BUFFERS,
    'CLIENTS': SOCKETS,
    'CONFIG': 'key:s value:s default:s changeable:s',
    'DATABASES': 'name:s host:s port:i database:s force_user:s pool_size:i min_pool_size:i reserve_pool_size:i server_lifetime:i pool_mode:s '
                 'load_balance_hosts:s max_connections:i current_connections:i max_client_connections:i current_client_connections:i paused:i disabled:i',
    'DNS_HOSTS': 'hostname:s ttl:q addrs:s',
    'DNS_ZONES': 'zonename:s serial:q count:i',
    'FDS': 'fd:i task:s user:s database:s addr:s port:i cancel:q link:i client_encoding:s std_strings:s datestyle:s timezone:s password:s '
           'scram_client_key:b scram_server_key:b',
    'LISTS': 'list:s items:i',
    'MEM': 'name:s size:i used:i free:i memtotal:i',
    'PEERS': 'peer_id:i host:s port:i pool_size:i',
    'PEER_POOLS': 'peer_id:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active_cancel:i sv_login:i',
    'POOLS': 'database:s user:s cl_active:i cl_waiting:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active:i sv_active_cancel:i '
             'sv_being_canceled:i sv_idle:i sv_used:i sv_tested:i sv_login:i maxwait:i maxwait_us:i pool_mode:s load_balance_hosts:s',
    'SERVERS': SOCKETS,
    'SOCKETS': SOCKETS + BUFFERS,
    'STATE': 'key:s value:s',
    'STATS': 'database:s ' + counters('total_', 'received', 'sent') + ' ' + counters('avg_', 'recv', 'sent'),
    'STATS_AVERAGES': 'database:s ' + counters('', 'bytes_received', 'bytes_sent', 'avg_'),
    'STATS_TOTALS': 'database:s ' + counters('', 'bytes_received', 'bytes_sent'),
    'TOTALS': 'name:s value:N',
    'USERS': 'name:s pool_size:s reserve_pool_size:s pool_mode:s max_user_connections:i current_connections:i max_user_client_connections:i '
             'current_client_connections:i',
    'VERSION': 'version:s',
}
LISTS = ('databases users peers pools peer_pools free_clients used_clients login_clients free_servers used_servers dns_names dns_zones dns_queries '
         'dns_pending')
TYPES = {'s': 25, 'i': 23, 'q': 20, 'N': 1700, 'b': 17}


def rows(c, command):
    names, out = [], []
    for kind, body in c.ask(query(command)):
        if kind == 'T':
            names = [x[0] for x in columns(body)]
        elif kind == 'D':
            out.append(dict(zip(names, text_row(body))))
        elif kind == 'E':
            raise WireError(f"{fields(body)['C']} {fields(body)['M']}")
    return out


def pool(of=None):
    return ([r for r in rows(admin, 'SHOW POOLS') if r['database'] == (of or db)] or [None])[0]


def stats():
    return [r for r in rows(admin, 'SHOW STATS') if r['database'] == db][0]


proxy = Proxy(cluster, workers=2, pool={'size': 4}, auth={'stats_users': ['eye'], 'users_file': 'users.conf'})
admin = proxy.connect('lunapool')

with scenario('columns and types are PgBouncer\'s'):
    with proxy.connect(db) as c:
        c.q('select 1')
        for command, want in COLUMNS.items():
            want = [(w.split(':')[0], TYPES[w.split(':')[1]]) for w in want.split()]
            got = [m for m in admin.ask(query(f'SHOW {command}')) if m[0] == 'T'][0]
            is_([x[:2] for x in columns(got[1])][:len(want)], want, f'SHOW {command}')
    is_([r['list'] for r in rows(admin, 'SHOW LISTS')], LISTS.split(), 'SHOW LISTS: the rows')
    is_([r['key'] for r in rows(admin, 'SHOW STATE')][:3], ['active', 'paused', 'suspended'], 'SHOW STATE: the rows')
    is_(len(rows(admin, 'SHOW TOTALS')), 24, 'SHOW TOTALS: the rows')

with scenario('what is counted'):
    with proxy.connect(db) as c:
        c.q('select 1')
        was = stats()

        def grew(step):
            step()
            now = stats()
            by = [int(now[f'total_{k}']) - int(was[f'total_{k}']) for k in
                  ('xact_count', 'query_count', 'bind_count', 'client_parse_count', 'server_parse_count', 'server_assignment_count', 'client_login_count',
                   'received', 'sent')]
            was.update(now)
            return by
        # bytes from the client: each message; to it: what the server said (not what we answered without one)
        one = sum(5 + len(m[1]) for m in c.ask(query('select 1')))
        was.update(stats())
        is_(grew(lambda: c.q('select 1')), [1, 1, 0, 0, 0, 1, 0, len(query('select 1')), one], 'a statement')
        is_(grew(lambda: c.q('begin')), [0, 1, 0, 0, 0, 0, 0, len(query('begin')), 0], 'BEGIN, which no server has heard of')
        is_(grew(lambda: c.q('select 1'))[:8], [0, 1, 0, 0, 0, 1, 0, len(query('select 1'))], '… a statement in it')
        is_(grew(lambda: c.q('commit'))[:8], [1, 1, 0, 0, 0, 0, 0, len(query('commit'))], '… its end')
        is_(grew(lambda: (c.q('begin'), c.q('rollback')))[:7], [1, 2, 0, 0, 0, 0, 0], 'a transaction of nothing')
        is_(grew(lambda: c.q('select 1; select 2'))[:7], [1, 1, 0, 0, 0, 1, 0], 'two statements in one Query')
        is_(grew(lambda: c.error('select 1/0'))[:7], [1, 1, 0, 0, 0, 1, 0], 'a failure')
        is_(grew(lambda: c.ask(parse('s', 'select $1::int') + bind('', 's', ['1']) + execute() + bind('', 's', ['2']) + execute() + sync()))[:7],
            [1, 2, 2, 1, 1, 1, 0], 'a pipeline')
        is_(grew(lambda: c.ask(bind('', 's', ['3']) + execute() + sync()))[:7], [1, 1, 1, 0, 0, 1, 0], 'a statement that is prepared')
        is_(grew(lambda: c.ask(parse('', 'begin') + bind('', '') + execute() + sync()))[:2], [0, 1], 'BEGIN by the extended protocol')
        is_(grew(lambda: c.q('commit'))[:2], [1, 1], '… its end')
        is_(grew(lambda: c.ask(query('copy t from stdin') + b'd\0\0\0\x062\n' + b'c\0\0\0\4'))[:7], [1, 1, 0, 0, 0, 1, 0], 'COPY')
        is_(grew(lambda: proxy.connect(db).quit()), [0, 0, 0, 0, 0, 0, 1, 0, 0], 'a login')
        was = stats()
        c.q('begin')
        c.q('select pg_sleep(0.05)')
        c.q('commit')
        now = stats()
        ok(all(50000 <= int(now[k]) - int(was[k]) < 20000000 for k in ('total_xact_time', 'total_query_time')), 'microseconds in transactions and statements')
    was = stats()
    holders = [proxy.connect(db) for _ in range(4)]
    for h in holders:
        h.q('begin; select 1')
    waiter = proxy.connect(db)
    waiter.send(query('select 1'))
    wait_for(lambda: int(pool()['cl_waiting']) == 1, what='a waiter')
    wait_for(lambda: int(pool()['maxwait_us']) > 20000, what='its wait')
    holders[0].q('commit')
    waiter.until()
    ok(int(stats()['total_wait_time']) - int(was['total_wait_time']) > 20000, 'microseconds of waiting')
    for h in holders + [waiter]:
        h.quit()

with scenario('who waits, whatever for, waits in SHOW POOLS, too'):
    three = [proxy.connect(db) for _ in range(3)]
    for c in three:
        c.q('select 1')
    admin.q(f'PAUSE {db}')
    for c in three:
        c.send(query('select 1'))
    late = proxy.connect(db)
    late.send(query('select 1'))
    wait_for(lambda: [r['state'] for r in rows(admin, 'SHOW CLIENTS') if r['database'] == db] == ['waiting'] * 4, what='the waiters')
    is_([(p['cl_active'], p['cl_waiting'], int(p['maxwait_us']) > 0) for p in rows(admin, 'SHOW POOLS')], [('0', '4', True)], 'for RESUME')
    admin.q(f'RESUME {db}')
    for c in three + [late]:
        c.until()
    is_((pool()['cl_active'], pool()['cl_waiting'], pool()['maxwait_us']), ('4', '0', '0'), '… until then')
    for c in three + [late]:
        c.quit()

with scenario('who waits for a primary is shown, too'):
    p = Proxy(cluster, workers=2, node={'port': free_port()}, start=False)
    with open(p.path) as f:
        text = f.read()
    with open(p.path, 'w') as f:
        f.write(text.replace('node "n0" {', f'node "n1" {{ host = "127.0.0.1" port = {free_port()} }}\nnode "n0" {{'))
    p.start()
    p.wait_log(' started ')
    waiting = []
    for _ in range(3):
        s = socket.create_connection(p.addr)
        s.sendall(startup({'user': 'postgres', 'database': db}))
        waiting.append(s)
    a = p.connect('lunapool')
    wait_for(lambda: [r['doing'] for r in rows(a, 'SHOW CLIENTS')].count('no_primary') == 3, what='the waiters')
    is_([(r['database'], r['user'], r['cl_active'], r['cl_waiting'], r['node'], r['pool_mode'], int(r['maxwait_us']) > 0) for r in rows(a, 'SHOW POOLS')],
        [(db, 'postgres', '0', '3', 'n1', 'transaction', True)], 'where its reads would set out')
    is_(run([PROGRAM, 'ctl', '-s', p.unix, 'show', 'nodes'])[0], 0, '… and the console can be asked')
    for s in waiting:
        s.close()
    wait_for(lambda: not rows(a, 'SHOW POOLS'), what='their end')
    a.quit()
    p.stop()

with scenario('who is counted for what, with a user of the database\'s own'):
    cluster.role('boss')
    p = Proxy(cluster, workers=1, databases={'*': {'max_client_connections': 9}, 'forced': {'dbname': db, 'user': 'boss', 'max_connections': 8}}, pool={'size': 3},
              users={'eye': {'pool_size': 2, 'reserve_pool_size': 1, 'max_client_connections': 5}}, limits={'max_clients_per_address': 40},
              options={'memory_limit': '1GB'})
    a = p.connect('lunapool')
    cs = [p.connect('forced', user='eye') for _ in range(2)]
    cs[0].q('begin; select 1')
    is_([(r['database'], r['user'], r['cl_active'], r['sv_active']) for r in rows(a, 'SHOW POOLS') if r['database'] == 'forced'],
        [('forced', 'boss', '2', '1')], 'SHOW POOLS: as whom servers are logged in to')
    is_([(r['name'], r['pool_size'], r['reserve_pool_size'], r['current_connections'], r['current_client_connections'])
         for r in rows(a, 'SHOW USERS') if r['name'] != 'postgres'],
        [('boss', '', '', '1', '0'), ('eye', '        2', '        1', '0', '2')], 'SHOW USERS: clients are who logged in')
    is_([(r['database'], r['force_user'], r['max_connections'], r['current_connections'], r['current_client_connections'])
         for r in rows(a, 'SHOW DATABASES') if r['name'] == 'forced'], [(db, 'boss', '8', '1', '2')], 'SHOW DATABASES: the forced user')
    limits = {(r['kind'], r['name']): (r['taken'], r['max']) for r in rows(a, 'SHOW LIMITS')}
    is_([limits.get(k) for k in (('clients', 'all'), ('clients of database', 'forced'), ('servers of database', 'forced'), ('clients of user', 'eye'),
                                 ('servers of user', 'boss'), ('servers of node', 'n0'), ('clients of address', '127.0.0.1'))],
        [('3', '10000'), ('2', None), ('1', '8'), ('2', '5'), ('1', None), ('1', None), ('3', '40')], 'SHOW LIMITS')
    used, most = limits['bytes of memory', 'all']
    ok(200000 < int(used) < int(most) == 1 << 30, '… memory')
    was = [r['request_time'] for r in rows(a, 'SHOW SERVERS') if r['state'] == 'active'][0]
    wait_for(lambda: cs[0].q('select 1') and [r['request_time'] for r in rows(a, 'SHOW SERVERS') if r['state'] == 'active'][0] > was, what='another second')
    ok(True, 'SHOW SERVERS: request_time is that of its client\'s last request')
    p.stop()
    p = Proxy(cluster, hba='host lunapool all all trust\nhost all all all scram-sha-256\n', limits={'auth_failures_per_address': 7, 'auth_failure_delay': '1ms'})
    for _ in range(3):
        try:
            p.connect(db, secret='wrong')
        except WireError:
            pass
    with p.connect('lunapool') as a:
        is_([(r['name'], r['taken'], r['max']) for r in rows(a, 'SHOW LIMITS') if r['kind'] == 'failed logins of address'], [('127.0.0.1', '3', '7')],
            'SHOW LIMITS: failed logins')
    p.stop()

with scenario('the console can be reached when nothing else can'):
    p = Proxy(cluster, limits={'max_clients': 3})
    cs = [p.connect(db) for _ in range(3)]
    try:
        p.connect(db)
        ok(False, 'three clients are all')
    except WireError as e:
        like(str(e), '^53300 ', 'three clients are all')
    a = p.connect('lunapool')
    is_(len([r for r in rows(a, 'SHOW CLIENTS') if r['database'] == db]), 3, 'an administrator comes in all the same')
    more = [a]
    try:
        for _ in range(20):
            more.append(p.connect('lunapool'))
        ok(False, '… not any number of them')
    except WireError as e:
        is_((str(e)[:5], len(more)), ('53300', 8), '… not any number of them')
    is_(run([PROGRAM, 'ctl', '-s', p.unix, 'kill_client', [r['id'] for r in rows(a, 'SHOW CLIENTS') if r['database'] == db][0]])[:2], (0, 'KILL_CLIENT\n'),
        '… but for the owner, who can do something about it')
    for c in cs + more:
        c.drop()
    p.stop()
    p = Proxy(cluster, options={'memory_limit': '1MB'})
    p.wait_log(' started ')
    p.wait_log('memory_limit_reached')
    like(run([PROGRAM, 'ctl', '-s', p.unix, 'show', 'limits'])[1], 'bytes of memory\tall\t[0-9]+\t1048576\n', '… nor does memory_limit keep him out')
    p.stop()

with scenario('memory'):
    p = Proxy(cluster, workers=1)
    a = p.connect('lunapool')
    cs = [p.connect(db) for _ in range(10)]
    for i, c in enumerate(cs):
        c.x('select $1::int', ['1'], name='s')
        c.x(f'select $1::int + {i % 3}', ['1'], name='t')
    mem = {r['name']: r for r in rows(a, 'SHOW MEM')}
    used = {k: r['used'] for k, r in mem.items()}
    is_(used, {'client_cache': '11', 'server_cache': '1', 'client_prepared_statement_cache': '4', 'server_prepared_statement_cache': '4'},
        'SHOW MEM: clients, a server, what is prepared, each text once')
    ok(all(int(r['memtotal']) == int(r['size']) * (int(r['used']) + int(r['free'])) for r in mem.values() if r['size']), '… and what it takes')
    half = socket.create_connection(p.addr)
    lists = wait_for(lambda: (x := dict(a.q('SHOW LISTS')))['login_clients'] == '1' and x, what='who has not said hello')
    is_((lists['used_clients'], lists['used_servers'], lists['pools'], lists['databases']), ('11', '1', '1', '1'), 'SHOW LISTS')
    half.close()
    for c in cs + [a]:
        c.quit()
    p.stop()

with scenario('descriptors'):
    with proxy.connect(db) as c:
        c.q('begin; select 1')
        fds = rows(admin, 'SHOW FDS')
        mine = [r for r in fds if r['task'] == 'client' and r['port'] == str(c.sock.getsockname()[1])][0]
        its = [r for r in fds if r['task'] == 'server' and r['fd'] == mine['link']][0]
        is_((its['link'], its['port'], its['database'], mine['client_encoding'], mine['std_strings']), (mine['fd'], str(cluster.port), db, 'UTF8', 'on'),
            'SHOW FDS: of a client and its server')
        ok(os.readlink(f"/proc/{proxy.process.pid}/fd/{mine['fd']}").startswith('socket:'), '… are those of the process')
        is_({(r['cancel'], r['password'], r['scram_client_key'], r['scram_server_key']) for r in fds}, {(None,) * 4}, '… without secrets')
        c.q('rollback')

with scenario('orders that make no sense'):
    is_([admin.error(q) for q in ('PAUSE lunapool', 'KILL pgbouncer', 'DISABLE lunapool', 'RECONNECT lunapool', 'WAIT_CLOSE lunapool', 'SUSPEND',
                                  'PAUSE 0', 'PAUSE 5s 5s', 'KILL_CLIENT 0', 'KILL_CLIENT 4294967297', 'ENABLE', f'KILL_CLIENT {1 << 70}')],
        ['0A000'] * 6 + ['08P01'] * 2 + ['42704'] * 2 + ['08P01'] * 2, 'are refused')
    admin.q('DISABLE "*"')
    is_([r['disabled'] for r in rows(admin, 'SHOW DATABASES') if r['name'] == db], ['1'], '"*" is every database')
    is_(proxy.connect('lunapool').one('SHOW VERSION')[:8], 'Lunapool', '… but the console')
    admin.q('ENABLE "*"')
    a = proxy.connect('lunapool')
    ident = [r['id'] for r in rows(a, 'SHOW CLIENTS') if r['local_addr'] == '127.0.0.1' and r['port'] == str(a.sock.getsockname()[1])][0]
    is_(brief(a.send(query(f'KILL_CLIENT {ident}')) or a.until('E')), 'E:57P01', 'who kills himself is killed')
    ok(proxy.wait_log(rf'order_done order=KILL_CLIENT client={ident} by=postgres'), '… and the log says who it was')

with scenario('both protocols'):
    is_(brief(admin.ask(parse('', 'SHOW VERSION') + bind('', '') + describe('P') + execute() + sync())),
        f"1 2 D:{admin.one('SHOW VERSION')} C:SHOW Z:I", 'extended')
    many = [proxy.connect(db) for _ in range(5)]
    got = brief(admin.ask(parse('', 'SHOW CLIENTS') + bind('', '') + execute('', 2) + execute('', 3) + execute('', 0) + sync()))
    is_((got.count('D:C'), got.count(' s ')), (6, 2), 'rows of all workers, a few at a time')
    for c in many:
        c.quit()
    is_(brief(admin.ask(parse('', 'SHOW VERSION', [23]) + sync())), 'E:0A000 Z:I', 'parameters there are not')
    everything = [r[0] for r in admin.q('SHOW HELP') if r[0].startswith('SHOW')]
    is_((len(everything) > 24, proxy.psql(';\n'.join(everything) + ';\n', 'lunapool', '-v', 'ON_ERROR_STOP=1')[0]), (True, 0), 'psql shows everything')
    rc, out, err = run(['sh', '-c', f"echo 'show version \\watch 0.01' | {tool('psql')} -XAtq | head -n 6"], env=proxy.env('lunapool'))
    ok(out.count('Lunapool') > 2, '… again and again (\\watch)')
    rc, out, err = proxy.psql('show version \\gset\n\\echo :version\nbegin;\nshow state \\crosstabview key value\ncommit;\n', 'lunapool')
    like(out, 'Lunapool', '… in variables (\\gset)')
    is_(proxy.psql('show version', 'pgbouncer')[0], 0, 'by PgBouncer\'s name')

PSYCOPG3 = """
import psycopg
with psycopg.connect('', dbname='lunapool') as c:                       # in a transaction
    with c.cursor() as cur:
        assert cur.execute('SHOW LISTS').fetchall()[0][0] == 'databases'
        assert [d.type_code for d in cur.description] == [25, 23]
    with c.cursor(binary=True) as cur:
        row = {r[0]: r[1] for r in cur.execute('SHOW LISTS').fetchall()}
        assert row['peers'] == 0 and row['used_clients'] >= 1, row
        totals = dict(cur.execute('SHOW TOTALS').fetchall())
        assert totals['total_client_bytes'] > 100, totals
    for _ in range(8):                                                  # prepared by now
        assert c.execute('SHOW VERSION', prepare=True).fetchone()[0].startswith('Lunapool')
    c.rollback()
    try:
        c.execute('SELECT 1')
        raise SystemExit('SELECT 1 was answered')
    except psycopg.errors.ProtocolViolation:
        c.rollback()
print('good')
"""
DBD = """
use DBI; my $h = DBI->connect("dbi:Pg:dbname=lunapool", '', '', { RaiseError => 1, AutoCommit => 1, pg_server_prepare => 1 });
my $s = $h->prepare('SHOW DATABASES'); $s->execute; my $r = $s->fetchall_hashref('name'); print exists $r->{$ARGV[0]} ? "good\\n" : "bad\\n";
"""
JAVA = """
import java.sql.*;
public class ConsoleCheck {
  public static void main(String[] a) throws Exception {
    try (Connection c = DriverManager.getConnection(a[0])) {
      for (int i = 0; i < 8; i++)
        try (PreparedStatement s = c.prepareStatement("SHOW LISTS"); ResultSet r = s.executeQuery()) {
          r.next();
          if (!r.getString("list").equals("databases") || r.getInt("items") < 1) throw new Exception("rows");
        }
      c.setAutoCommit(false);
      try (Statement s = c.createStatement()) {
        s.setFetchSize(3);
        int n = 0;
        try (ResultSet r = s.executeQuery("SHOW LISTS")) { while (r.next()) n++; }
        if (n != 14) throw new Exception("fetched " + n);
      }
      c.commit();
    }
    System.out.println("good");
  }
}
"""
LIB_PQ = """package main
import ("database/sql"; "fmt"; "os"; _ "github.com/lib/pq")
func main() {
	db, err := sql.Open("postgres", os.Args[1]); if err != nil { panic(err) }
	if err = db.Ping(); err != nil { panic(err) }
	for _, q := range []string{"SHOW STATS", "SHOW VERSION;", "SHOW LISTS;", "SHOW CONFIG;", "SHOW databases;", "SHOW stats_totals;", "SHOW pools;"} {
		rows, err := db.Query(q); if err != nil { panic(q + ": " + err.Error()) }
		names, _ := rows.Columns()
		for rows.Next() {
			cells := make([]interface{}, len(names)); at := make([]interface{}, len(names))
			for i := range cells { at[i] = &cells[i] }
			if err := rows.Scan(at...); err != nil { panic(err) }
		}
		if err := rows.Err(); err != nil { panic(err) }
	}
	st, err := db.Prepare("SHOW VERSION"); if err != nil { panic(err) }
	var v string
	if err := st.QueryRow().Scan(&v); err != nil { panic(err) }
	fmt.Println("good")
}
"""

PSYCOPG2 = """
import psycopg2
c = psycopg2.connect('')                                                # in a transaction
cur = c.cursor()
cur.execute('SHOW POOLS')
assert [d.type_code for d in cur.description][:3] == [25, 25, 23] and type(cur.fetchall()[0][2]) is int
try:
    cur.execute('SELECT 1')
    raise SystemExit('SELECT 1 was answered')
except psycopg2.errors.ProtocolViolation:
    c.rollback()
c.set_session(autocommit=True, readonly=True)
c.set_client_encoding('UTF8')
cur.execute('SHOW STATS')
assert cur.description[0].name == 'database'
print('good')
"""
ASYNCPG = """
import asyncio, asyncpg
async def main():
    c = await asyncpg.connect()                                         # binary, prepared
    for _ in range(3):
        assert {r['list']: r['items'] for r in await c.fetch('SHOW LISTS')}['used_clients'] >= 1
    assert (await c.fetch('SHOW STATS'))[0]['total_query_count'] >= 1
    async with c.transaction():
        assert [x async for x in c.cursor('SHOW LISTS', prefetch=3)][13]['list'] == 'dns_pending'
    assert await c.execute('SHOW VERSION') == 'SHOW'
    await c.close()
asyncio.run(main())
print('good')
"""


def at_prompt(args, env, dialogue):
    """Runs a program in a terminal: after each text that it shows, a line is typed.  What it did not show, with what it did instead; None: all was well."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execvpe(args[0], args, {**os.environ, **env, 'TERM': 'xterm'})
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('4H', 60, 250, 0, 0))
    end = time.monotonic() + 30 * SLOW
    try:
        for want, line in dialogue:
            shown = ''
            while want not in shown:
                if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
                    return f'{want!r} in {shown!r}'
                try:
                    got = os.read(fd, 65536)
                except OSError:
                    return f'{want!r} in {shown!r}, its last words'
                if b'\x1b[6n' in got:  # it asks where the cursor is
                    os.write(fd, b'\x1b[1;1R')
                shown += re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]', '', got.decode(errors='replace'))
            os.write(fd, line.encode() + b'\r')
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)


with scenario('drivers and tools'):
    with proxy.connect(db) as c:
        c.q('select 1')
        env = {**proxy.env('lunapool'), 'PYTHONDONTWRITEBYTECODE': '1'}
        d = temp_dir()
        for name, text in (('ConsoleCheck.java', JAVA), ('console_check.go', LIB_PQ)):
            with open(f'{d}/{name}', 'w') as f:
                f.write(text)
        go = {'GO111MODULE': 'off', 'GOPATH': '/usr/share/gocode', 'GOCACHE': f'{ROOT}/build/gocache', 'GOFLAGS': '-p=2', 'CGO_ENABLED': '0'}
        dsn = f'host={proxy.host} port={proxy.port} user=postgres dbname=pgbouncer sslmode=disable'
        for name, args, more in (
                ('psycopg 3', ['/usr/bin/python3', '-c', PSYCOPG3], {}),
                ('psycopg2', ['/usr/bin/python3', '-c', PSYCOPG2], {}),
                ('asyncpg', ['/usr/bin/python3', '-c', ASYNCPG], {}),
                ('DBD::Pg', ['perl', '-e', DBD, db], {}),
                ('JDBC', ['java', '-XX:TieredStopAtLevel=1', '-cp', '/usr/share/java/postgresql.jar', f'{d}/ConsoleCheck.java',
                          f'jdbc:postgresql://{proxy.host}:{proxy.port}/lunapool?user=postgres&sslmode=disable'], {}),
                ('lib/pq, as the Go exporter asks', ['go', 'run', f'{d}/console_check.go', dsn], go)):
            rc, out, err = run(args, env={**env, **more}, timeout=200)
            is_((rc, out.strip()), (0, 'good'), name) or diag(err[-2000:])
        said = at_prompt(['/usr/bin/pgcli', '-h', proxy.host, '-p', str(proxy.port), '-U', 'postgres', '-d', 'pgbouncer'], {**env, 'HOME': d, 'PAGER': 'cat'}, [
            ('pgbouncer>', 'SHOW LISTS;'), ('SHOW 14', 'SHOW HELP;'), ('PAUSE [database] [time]', 'PAUSE;'), ('\nPAUSE', 'RESUME;'), ('\nRESUME', 'SELECT 1;'),
            ('does not understand', '\\d'), ('no parameters', 'show stats;'), ('total_xact_count', 'exit'), ('Goodbye', '')])
        is_(said, None, 'pgcli at its prompt')
        port = free_port()
        exporter = subprocess.Popen(['/usr/bin/prometheus-pgbouncer-exporter', '--host', '127.0.0.1', '--port', str(port), '--pgbouncer-host', proxy.host,
                                     '--pgbouncer-port', str(proxy.port), '--pgbouncer-user', 'postgres', '--licence-location', '/dev/null'],
                                    env={**env, 'PYTHONUNBUFFERED': '1'}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

        def scraped():
            try:
                return urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics', timeout=10).read().decode()
            except OSError:
                return None
        try:
            text = wait_for(scraped, 30, 'the exporter')
            ok(f'pgbouncer_active_clients{{database="{db}",user="postgres"}} 1.0' in text and
               re.search(rf'pgbouncer_requests_total{{database="{db}"}} [1-9]', text) and 'pgbouncer_used_clients 3.0' in text,
               'prometheus-pgbouncer-exporter of Debian') or diag(text[-3000:])
        finally:
            exporter.terminate()
            exporter.communicate()

with scenario('who may what'):
    try:
        proxy.connect('lunapool', user='nobody')
        ok(False, 'who is on no list stays outside')
    except WireError as e:
        like(str(e), '^42501 ', 'who is on no list stays outside')
    with proxy.connect('lunapool', user='eye') as eye:
        is_(len(eye.q('SHOW VERSION')), 1, 'who may look looks')
        for command in ('KILL_CLIENT 1', 'PAUSE', 'RESUME', 'RELOAD', 'SHUTDOWN', 'KILL', 'SET log_level = debug', f'DISABLE {db}', 'SHOW FDS'):
            is_(eye.error(command), '42501', f'… and may not {command.split()[0]} (CVE-2026-6667 of PgBouncer)' if 'KILL_C' in command
                else f'… and may not {command}')
        is_(brief(eye.ask(parse('', 'KILL_CLIENT 1') + bind('', '') + execute() + sync())), '1 2 E:42501 Z:I', '… by no protocol')
        proxy.settings['auth'] = {'stats_users': []}
        like(proxy.reload(), 'reload', 'taken off the list')
        wait_for(lambda: eye.error('SHOW VERSION') == '42501', what='the reload')
        ok(True, '… it may nothing any more, at once')
    proxy.settings['auth'] = {'stats_users': ['eye']}
    proxy.reload()
    with proxy.connect('lunapool', user='lunapool', unix=True) as c:
        is_(c.error('RESUME'), '55000', 'the owner comes in over the unix socket, and may anything')
    try:
        proxy.connect('lunapool', user='lunapool')
        ok(False, '… not over TCP')
    except WireError as e:
        like(str(e), '^42501 ', '… not over TCP')

with scenario('PAUSE and RESUME'):
    busy, idle = proxy.connect(db), proxy.connect(db)
    busy.q('begin; insert into t values (1)')
    idle.q('select 1')
    second = proxy.connect('lunapool')
    second.send(query(f'PAUSE {db}'))
    wait_for(lambda: [r for r in rows(admin, 'SHOW DATABASES') if r['name'] == db][0]['paused'] == '1', what='the pause')
    idle.send(query('select 2'))
    fresh = proxy.connect(db)
    fresh.send(query('select 3'))
    wait_for(lambda: [r['doing'] for r in rows(admin, 'SHOW CLIENTS') if r['database'] == db].count('paused') == 2, what='the waiters')
    ok(not second.has_input(), 'PAUSE waits for the running transaction')
    is_(busy.q('select 1'), [['1']], '… which goes on')
    with proxy.connect(other) as c:
        is_(c.one('select 1'), '1', 'other databases go on')
    busy.q('commit')
    is_(brief(second.until()), 'C:PAUSE Z:I', 'PAUSE is done when it has ended')
    is_(cluster.backends(db), 0, '… and no server connection is left')
    is_(second.error(f'PAUSE {db}'), '55000', 'twice is an error')
    ok(not idle.has_input() and not fresh.has_input(), 'clients wait')
    is_(brief(second.ask(query(f'RESUME {db}'))), 'C:RESUME Z:I', 'RESUME')
    is_((brief(idle.until()), brief(fresh.until())), ('D:2 C:SELECT_1 Z:I', 'D:3 C:SELECT_1 Z:I'), '… and are served')
    is_(second.error(f'RESUME {db}'), '55000', 'RESUME of what is not paused')
    is_(second.error('PAUSE nowhere_at_all'), '', 'a database of "*" may be paused before it is used')
    second.q('RESUME nowhere_at_all')
    busy.q('begin; select 1')
    is_(second.error(f'PAUSE {db} 100ms'), '57014', 'a time limit')
    is_(idle.one('select 4'), '4', '… takes it back')
    second.send(query('PAUSE'))
    wait_for(lambda: rows(admin, 'SHOW STATE')[1]['value'] == 'yes', what='the pause of all')
    second.cancel()
    is_(brief(second.until()), 'E:57014 Z:I', 'a cancel request')
    is_(idle.one('select 5'), '5', '… takes it back')
    second.send(query('PAUSE'))
    wait_for(lambda: rows(admin, 'SHOW STATE')[1]['value'] == 'yes', what='the pause of all')
    admin.q('KILL_CLIENT ' + [r['id'] for r in rows(admin, 'SHOW CLIENTS') if r['port'] == str(second.sock.getsockname()[1])][0])
    wait_for(lambda: rows(admin, 'SHOW STATE')[1]['value'] == 'no', what='its end')
    is_(idle.one('select 6'), '6', 'who ordered it is killed: it is taken back')
    second = proxy.connect('lunapool')
    second.send(query('PAUSE'))
    wait_for(lambda: rows(admin, 'SHOW STATE')[1]['value'] == 'yes', what='the pause of all')
    second.drop()
    wait_for(lambda: rows(admin, 'SHOW STATE')[1]['value'] == 'no', what='its end')
    is_(idle.one('select 6'), '6', 'who ordered it goes: it is taken back')
    ok(proxy.wait_log('order_refused order=PAUSE by=postgres sqlstate=57014 error="who gave it has gone"'), '… which the log tells')
    for c in (busy, idle, fresh):
        c.quit()

with scenario('actions under load'):
    stop, errors, done_n = threading.Event(), [], [0] * 6

    def load(i):
        c = proxy.connect(db)
        try:
            while not stop.is_set():
                if i % 2:
                    c.q('begin')
                    c.q('select 1')
                    c.q('commit')
                else:
                    c.x('select $1::int', ['7'])
                done_n[i] += 1
        except Exception as e:  # noqa: BLE001
            errors.append(repr(e))
        c.quit()

    workers = [threading.Thread(target=load, args=(i,)) for i in range(6)]
    for w in workers:
        w.start()
    wait_for(lambda: min(done_n) > 5, what='load')
    for _ in range(10 if LONG else 3):
        for command in (f'PAUSE {db}', f'RESUME {db}', 'RECONNECT', 'WAIT_CLOSE', 'RELOAD', f'RECONNECT {db}', 'PAUSE', 'RESUME',
                        'SET pool.size = 3', 'SET pool.size = 4', f'DISABLE {db}', f'ENABLE {db}', 'SHOW CLIENTS', 'SHOW STATS'):
            got = brief(admin.ask(query(command)))
            if 'E:' in got:
                errors.append(f'{command}: {got}')
        n = min(done_n)
        wait_for(lambda: min(done_n) > n, what='life')
    stop.set()
    for w in workers:
        w.join()
    is_(errors, [], 'no client had an error, nor had we')

with scenario('RECONNECT, KILL, DISABLE, SET'):
    c = proxy.connect(db)
    pid = c.one('select pg_backend_pid()')
    admin.q(f'RECONNECT {db}')
    admin.q(f'WAIT_CLOSE {db}')
    ok(c.one('select pg_backend_pid()') != pid, 'RECONNECT: another server connection')
    c.q('begin')
    pid = c.one('select pg_backend_pid()')
    admin.q('RECONNECT')
    is_(c.one('select pg_backend_pid()'), pid, '… not in a transaction')
    is_([r['close_needed'] for r in rows(admin, 'SHOW SERVERS') if r['remote_pid'] == pid], ['1'], '… it closes afterwards')
    second = proxy.connect('lunapool')
    second.send(query('WAIT_CLOSE'))
    c.q('commit')
    is_(brief(second.until()), 'C:WAIT_CLOSE Z:I', 'WAIT_CLOSE waits for that')
    ident = [r['id'] for r in rows(admin, 'SHOW CLIENTS') if r['database'] == db][0]
    admin.q(f'KILL_CLIENT {ident}')
    is_(c.error('select 1'), '57P01', 'KILL_CLIENT')
    is_(admin.error(f'KILL_CLIENT {ident}'), '42704', '… of nobody')
    a, b = proxy.connect(db), proxy.connect(other)
    a.q('begin; select 1')
    admin.q(f'KILL {db}')
    is_(fields(a.recv()[1])['C'], '57P01', 'KILL')
    is_(b.one('select 1'), '1', '… not the others')
    wait_for(lambda: cluster.backends(db) == 0, what='the end of its servers')
    c = proxy.connect(db)
    c.send(query('select 1'))
    wait_for(lambda: 'paused' in [r['doing'] for r in rows(admin, 'SHOW CLIENTS')], what='a waiter')
    admin.q(f'RESUME {db}')
    is_(brief(c.until()), 'D:1 C:SELECT_1 Z:I', '… leaves it paused until RESUME')
    admin.q(f'DISABLE {db}')
    try:
        proxy.connect(db)
        ok(False, 'DISABLE')
    except WireError as e:
        like(str(e), '^55000 ', 'DISABLE')
    is_(c.one('select 1'), '1', '… who is there goes on')
    admin.q(f'ENABLE {db}')
    proxy.connect(db).quit()
    ok(True, 'ENABLE')
    refused = {}
    for setting in ('pool.size = 0', 'pool.size = many', 'no.such = 1', 'workers = 4', "auth.hba_file = '/x'", 'listen.port = 1',
                    "cluster.main.service_password = 'x'", 'cluster.main.tls = verify-full', 'pool.min_size = 99', 'database.*.min_pool_size = 99',
                    'listen.tls = require', "auth.query = 'select 1'", 'limits.max_message_size = 100', 'cluster.main.tls_negotiation = direct',
                    "database.*.cluster = 'elsewhere'", 'max_user_connections = 3'):
        refused[setting] = [fields(m[1]) for m in admin.ask(query(f'SET {setting}')) if m[0] == 'E'][0:1]
    is_([(x[0]['C'] if x else '') for x in refused.values()],
        ['22023', '22023', '42704', '55P02', '55P02', '55P02', '55P02'] + ['22023'] * 8 + ['42704'], 'SET: what it refuses, as a file would be')
    like(refused['listen.port = 1'][0]['M'], 'sockets, which RELOAD opens', '… and says why')
    for key, value in (('auth.stats_users', 'eye, nobody'), ('pool.safe_functions', 'f'), ('cluster.main.service_user', 'postgres'), ('auth.query_dbname', db),
                       ('cluster.main.node.n0.host', '127.0.0.2'), ('cluster.main.node.n0.host', '127.0.0.1'), ('max_client_conn', '77'), ('default_pool_size', '3'),
                       ('cluster.main.tls_ciphers', 'ECDHE+AESGCM'), ('auth.stats_users', '')):
        is_((admin.error(f"SET {key} = '{value}'"), [r['value'] for r in rows(admin, 'SHOW CONFIG') if r['key'] == key]), ('', [value]), f'SET {key}')
        if value == 'eye, nobody':
            is_(proxy.connect('lunapool', user='nobody').one('SHOW VERSION')[:8], 'Lunapool', '… is in force')
    is_([r['value'] for r in rows(admin, 'SHOW CONFIG') if r['key'] in ('limits.max_clients', 'pool.size')], ['3', '77'], 'SET by PgBouncer\'s names')
    admin.q('RELOAD')
    admin.q('SET pool.query_wait_timeout = 100ms')
    admin.q('SET pool.size = 1')
    is_([r['value'] for r in rows(admin, 'SHOW CONFIG') if r['key'] in ('pool.size', 'pool.query_wait_timeout')], ['1', '100ms'], '… and is shown')
    wait_for(lambda: int(pool()['sv_idle']) <= 1, what='a smaller pool')
    a = proxy.connect(db)
    a.q('begin; select 1')
    is_(c.error('select 1'), '53300', '… and is in force')
    a.q('commit')
    admin.q('RELOAD')
    is_([r['value'] for r in rows(admin, 'SHOW CONFIG') if r['key'] == 'pool.size'], ['4'], '… until RELOAD')
    with open(proxy.path, 'a') as f:
        f.write('pool { nonsense = 1 }\n')
    got = [fields(m[1]) for m in admin.ask(query('RELOAD')) if m[0] == 'E'][0]
    is_((got['C'], 'lunapool.conf:' in got['M']), ('F0000', True), 'RELOAD says what is wrong, and where')
    proxy.write_config()
    for x in (a, b, c, second):
        x.drop()

with scenario('large tables and slow readers'):
    crowd = [proxy.connect(db) for _ in range(1000)]
    is_(len([r for r in rows(admin, 'SHOW CLIENTS') if r['database'] == db]), 1000, 'all rows')
    slow = [proxy.connect('lunapool', params={'application_name': f'slow{i}'}) for i in range(3)]
    before = proxy.memory()
    for s in slow:
        s.send(query('SHOW CLIENTS') * 120)  # some 25 MB each that nobody reads
    wait_for(lambda: len([r for r in rows(admin, 'SHOW SOCKETS') if r['application_name'].startswith('slow') and int(r['send_avail']) > 0]) == 3,
             what='full sockets')
    with proxy.connect(db) as c, proxy.connect('lunapool') as third:
        is_(c.one('select 1'), '1', 'nobody else waits for a slow reader')
        is_(len(rows(third, 'SHOW CLIENTS')) > 1000, True, '… nor does another console')
    ok(proxy.memory() - before < 8 << 20 or VARIANT != 'release', 'what it does not read is not kept')
    admin.q('KILL_CLIENT ' + [r['id'] for r in rows(admin, 'SHOW CLIENTS') if r['application_name'] == 'slow1'][0])
    slow[2].recv()
    slow[2].drop()
    wait_for(lambda: [r['application_name'] for r in rows(admin, 'SHOW CLIENTS') if r['application_name'].startswith('slow')] == ['slow0'],
             what='the end of two of them')
    ok(True, 'it can be killed, or vanish, in the middle')
    for c in crowd[500:]:  # while it reads
        c.drop()
    got = [m[0] for m in slow[0].until('Z', 120, timeout=120)]
    is_((got.count('T'), got.count('C'), got.count('E'), got.count('D') > 120 * 500), (120, 120, 0, True), '… and it gets all of it when it reads')
    for c in crowd[:500] + slow:
        c.drop()
    is_(admin.one('SHOW VERSION')[:8], 'Lunapool', '… while life goes on')

with scenario('lunapool ctl'):
    def ctl(*args, **kw):
        return run([PROGRAM, 'ctl', '-s', proxy.unix, *args], **kw)
    with proxy.connect(db) as c:
        c.q('select 1')
        rc, out, err = ctl('--json', 'show', 'pools')
        got = [r for r in json.loads(out) if r['database'] == db][0]
        is_((rc, got['cl_active'], got['pool_mode'], got['load_balance_hosts']), (0, 1, 'transaction', None), '--json: rows as objects')
        is_(json.loads(ctl('reload', '--json')[1]), {'done': 'RELOAD'}, '… or the tag')
        rc, out, err = ctl('show', 'pools')
        is_(out.split('\n')[0].split('\t')[:3], ['database', 'user', 'cl_active'], 'lines for programs')
        rc, out, err = run(['script', '-qec', f'{PROGRAM} ctl -s {proxy.unix} show version', '/dev/null'])
        like(out, r'^version *\r?\nLunapool ', 'a table for a terminal')
        proxy.settings['pool']['size'] = 6
        proxy.write_config()
        rc, out, err = ctl('reload', '--dry-run')
        is_((rc, out), (0, 'change\npool: size 4 -> 6\n'), 'reload --dry-run says what would change')
        is_(json.loads(ctl('--json', 'show', 'pools')[1])[0]['pool_size'], 4, '… and changes nothing')
        proxy.settings['pool']['size'] = 4
        proxy.write_config()
        rc, out, err = ctl('set', 'pool.size', '=', 'x')
        is_((rc, out), (1, ''), 'a command that fails')
        like(err, 'pool.size|size', '… says why on stderr')
        is_((ctl()[0], ctl('--wrong')[0]), (2, 2), 'wrong usage')
        is_(run([PROGRAM, 'ctl', '-s', f'{proxy.dir}/nothing', 'reload'])[0], 3, 'nobody there')
        is_(ctl('pause', db, '10s')[0], 0, 'pause')
        is_(ctl('resume', db)[0], 0, 'resume')
        like(run([PROGRAM, 'ctl', '-c', proxy.path, 'show', 'version'])[2], 'give it with -s', 'port 0: the socket must be named')
        c.q('begin; select 1')
        rc, out, err = ctl('pause', db, '50ms')
        is_((rc, err), (1, 'lunapool ctl: PAUSE was taken back: the time is over; 1 server connection was still in use\n'), 'what could not be done')
        c.q('commit')
        ctl('pause')
        like(ctl('resume', db)[2], f'"{db}" is not paused by its name; everything is: RESUME', 'what is paused, and how to end it')
        ctl('resume')
        is_(run(['sh', '-c', f'{PROGRAM} ctl -s {proxy.unix} show config >/dev/full'])[0], 1, 'an answer that cannot be written is no success')
        with proxy.connect('lunapool', params={'application_name': 'evil\x1b[2J\n\t'}) as evil:
            rc, out, err = run(['script', '-qec', f'{PROGRAM} ctl -s {proxy.unix} show clients', '/dev/null'])
            ok('evil?[2J??' in out and '\x1b' not in out, 'an application\'s name gives no orders to a terminal')

    def at_socket(answer):
        """Exit status and complaint where something else sits at the socket."""
        path = f'{temp_dir()}/s'
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)
            s.listen(1)

            def serve():
                c, _ = s.accept()
                c.recv(4096)
                c.send(answer)
                c.close()
            got = threads(serve, lambda: run([PROGRAM, 'ctl', '-s', path, 'show', 'version']))[1]
        return got[0], got[2].replace(path, 'SOCKET').strip()
    is_([at_socket(x) for x in (b'HTTP/1.1 400 Bad Request\r\n\r\n', b'E\0\0\0\x06XX', b'')],
        [(3, 'lunapool ctl: what answers at SOCKET does not speak PostgreSQL\'s protocol'),
         (3, 'lunapool ctl: what answers at SOCKET is no Lunapool that this version understands'), (3, 'lunapool ctl: the connection was closed')],
        'what is no Lunapool')
    rc, out, err = run([PROGRAM, 'ctl', '-s', f'{cluster.dir}/.s.PGSQL.{cluster.port}', 'show', 'version'])
    is_((rc, err.split('\n')[0]), (3, f'lunapool ctl: {cluster.dir}/.s.PGSQL.{cluster.port} does not let us in: role "lunapool" does not exist'), '… is named')
    is_([run([PROGRAM, 'ctl', *a])[0] for a in (['-s', '/x' * 60, 'reload'], ['-s', proxy.unix, ''], ['-s', proxy.unix, ' ; '])], [3, 2, 2],
        'a path that is too long, no command')
    like(run([PROGRAM, 'ctl', '-c', '/nowhere', 'reload'])[2], 'ctl -s', 'a configuration that cannot be read: the socket can be named')
    if os.getuid() == 0:
        rc, out, err = run(as_postgres([PROGRAM, 'ctl', '-s', proxy.unix, 'show', 'version']))
        is_((rc, 'as the user that Lunapool runs as' in err), (3, True), 'somebody else is told who may')
    p = Proxy(cluster, listen={'port': free_port()})
    p.wait_log(' started ')
    is_(run([PROGRAM, 'ctl', '-c', p.path, 'show version'])[0], 0, 'the configuration says where')
    is_(run([PROGRAM, 'ctl', 'show', 'version'], env={'LUNAPOOL_CONFIG': p.path})[0], 0, '… or the environment says which')
    with p.connect(db) as c:
        c.q('begin; select 1')
        rc, out, err = run([PROGRAM, 'ctl', '-c', p.path, 'shutdown', 'wait_for_servers'])
        is_((rc, out), (0, 'SHUTDOWN\n'), 'shutdown wait_for_servers')
        is_(c.one('select 1'), '1', '… lets the transaction end')
        c.q('commit')
        p.process.wait(20 * SLOW)
    p.judge()
    Proxy.all.remove(p)
    p = Proxy(cluster)
    with p.connect('lunapool') as a, p.connect(db) as c:
        c.q('begin; select 1')
        a.q(f'PAUSE {other}')
        a.q('SHUTDOWN WAIT_FOR_SERVERS')
        a.q('SHUTDOWN WAIT_FOR_SERVERS')
        a.q(f'RESUME {other}')
        c.q('commit')
        p.process.wait(20 * SLOW)
        ok(True, 'shutdown wait_for_servers, twice; RESUME of another database does not take it back')
    p.judge()
    Proxy.all.remove(p)
    p = Proxy(cluster)
    c = p.connect(db)
    is_(run([PROGRAM, 'ctl', '-s', p.unix, 'shutdown', 'wait_for_clients'])[1], 'SHUTDOWN\n', 'shutdown wait_for_clients')
    p.process.wait(20 * SLOW)
    p.judge()
    Proxy.all.remove(p)
    p = Proxy(cluster)
    p.wait_log(' started ')
    is_(run([PROGRAM, 'ctl', '-s', p.unix, 'shutdown'])[1], 'SHUTDOWN\n', 'shutdown')
    p.process.wait(20 * SLOW)
    p.judge()
    Proxy.all.remove(p)
done()
