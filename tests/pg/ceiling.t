#!/usr/bin/env -S /usr/bin/python3
"""memory_limit: clients that do not read, or hold much, are closed before the process grows without end; all others notice nothing."""
import os
import re
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pgwire import brief, parse, query, sync  # noqa: E402

proxy_only()
cluster = Cluster.get()
db = cluster.database(setup="create table wide as select repeat('x', 1000) as x from generate_series(1, 20000)")
MB = 1 << 20


def steady(p, n=20):
    """Clients that hold little are served."""
    for _ in range(n):
        with p.connect(db) as c:
            assert c.one('select count(*) from wide') == '20000'


with scenario('clients that do not read'):
    p = Proxy(cluster, workers=2, pool={'size': 60}, node={'host': cluster.dir})  # over TCP the kernel may keep 32 MB that it has received
    good = p.connect(db)
    good.q('select 1')
    slow = [p.connect(db) for _ in range(40)]
    for c in slow:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.send(query('select * from wide'))
    wait_for(lambda: cluster.backends(db, "and wait_event = 'ClientWrite'") == 40, what='full sockets')
    p.settings['options'] = {'memory_limit': '8MB'}
    p.reload()
    wait_for(lambda: 'client_shed' in p.log(), what='the first that goes')
    wait_for(lambda: 'memory_limit_kept' in p.log(), what='the end of it')
    closed = len(re.findall('warn client_shed', p.log()))
    ok(closed > 0, f'{closed} of 40 are closed')
    is_(set(re.findall(r'client_shed .*? sqlstate=(\w+)', p.log())), {'53200'}, 'for lack of memory, says the log')
    held = [int(x) for x in re.findall(r'client_shed .*? bytes=(\d+)', p.log())]
    ok(min(held) >= 32768, f'only those that hold much ({min(held)} to {max(held)} bytes)')
    is_(good.one('select 1'), '1', 'who holds little stays')
    steady(p)
    ok(True, 'and others may come')
    for c in slow:
        c.sock.close()
    wait_for(lambda: cluster.backends(db, "and state = 'active' and pid <> pg_backend_pid()") == 0, what='the end of their statements')
    ok(True, 'their statements end on the servers')
    p.stop()

with scenario('many at once'):
    p = Proxy(cluster, workers=1, pool={'size': 10})
    good = p.connect(db)
    slow = [p.connect(db, unix=True) for _ in range(150)]
    for c in slow:
        c.send(query('select * from wide limit 400'))
    for c in slow:
        c.recv_byte()
    wait_for(lambda: cluster.backends(db, "and state = 'active' and pid <> pg_backend_pid()") == 0, what='the end of all statements')
    p.settings['options'] = {'memory_limit': '8MB'}
    p.reload()
    wait_for(lambda: 'memory_limit_kept' in p.log(), what='the end of it')
    closed = int(re.search(r'memory_limit_reached .*clients_closed=(\d+)', p.log()).group(1))
    ok(closed > 64, f'as many are closed at the first look as it takes ({closed} of 150 by one worker)')
    is_(good.one('select 1'), '1', 'who holds little stays')
    for c in slow:
        c.sock.close()
    p.stop()

with scenario('texts of prepared statements'):
    p = Proxy(cluster, workers=2, options={'statement_cache': '64kB'})
    small, heavy = p.connect(db), [p.connect(db) for _ in range(6)]
    small.q('select 1')
    for i, c in enumerate(heavy):
        is_(brief(c.ask(parse('s', f"select '{i}' || '" + 'x' * (6 * MB) + "'") + sync())), '1 Z:I', 'a large statement')
    p.settings['options'] |= {'memory_limit': '24MB'}
    p.reload()
    wait_for(lambda: 'memory_limit_kept' in p.log(), what='the end of it')
    told = [brief(c.until('')) if c.has_input() else brief(c.ask(query('select 1'))) for c in heavy]
    ok('D:1 C:SELECT_1 Z:I' in told, f'some stay: {told}')
    ok('E:53200 EOF' in told, 'who goes is told why')
    is_(small.one('select 1'), '1', 'who holds little stays')
    for c in heavy:
        c.sock.close()
    steady(p)
    ok(True, 'and others may come')
    p.stop()

with scenario('nothing to shed'):
    p = Proxy(cluster, workers=2)
    cs = [p.connect(db) for _ in range(5)]
    p.settings['options'] = {'memory_limit': '1kB'}
    p.reload()
    wait_for(lambda: 'memory_limit_reached' in p.log(), what='the limit')
    is_([c.one('select 1') for c in cs], ['1'] * 5, 'clients that hold little are not closed for it')

    def login():
        try:
            p.connect(db).quit()
            return 'in'
        except WireError as e:
            return str(e).split()[0]
    is_(login(), '53200', 'but no new ones come in')
    p.settings['options'] = {}
    p.reload()
    is_(login(), 'in', 'until there is room')
    p.stop()

with scenario('full from the start'):
    for _ in range(5):  # at the first look a worker may not have begun yet
        p = Proxy(cluster, workers=2, options={'memory_limit': '1kB'})
        p.wait_log('memory_limit_reached')
        ok(True, 'clients are weighed')
        p.stop()

done()
