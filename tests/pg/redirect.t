#!/usr/bin/env -S /usr/bin/python3
"""Redirects: reads of a database, a user or an application run where the configuration says, without a policy and behind one."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
import pgwire as w  # noqa: E402

proxy_only()
cluster = Cluster(standbys=2)
db, pay = cluster.database(), cluster.database('t_redirect_pay')
cluster.role('batch_1')
cluster.mark_nodes()
HERE = "select current_setting('test.node')"
proxy = Proxy(cluster, workers=2, nodes={'n2': {'weight': 0}}, redirects={
    'payroll': {'database': '*_pay', 'to': 'primary'},
    'reports': {'application': ['metabase*', 'report'], 'to': 'n2'},
    'batch': {'user': 'batch_*', 'database': db, 'to': ['n2', 'primary']},
})
admin = proxy.connect('lunapool')


def fit():
    return {n['node'] for n in admin.table('SHOW NODES') if n['fit'] == 'yes'}


def put(redirects, **options):
    proxy.settings['redirects'], proxy.settings['cluster'] = redirects, options
    like(proxy.reload(), ' reloaded ', f'{redirects}')


def seen(c, n=40):
    return {c.one(HERE) for _ in range(n)}


wait_for(lambda: fit() == {'n1', 'n2'}, what='two standbys that are fit')
c = proxy.connect(db)
wait_for(lambda: c.one(HERE) == 'n1', what='a read on a standby')

with scenario('by database, user and application'):
    is_(seen(c), {'n1'}, 'whom no redirect is about reads where everybody does')
    is_(seen(proxy.connect(pay)), {'n0'}, 'a database')
    is_(seen(proxy.connect(db, params={'application_name': 'metabase 0.49'})), {'n2'}, 'an application, by a pattern, and its node has a weight of 0')
    is_(seen(proxy.connect(db, params={'application_name': 'reports'})), {'n1'}, '… which is not the beginning of another')
    is_(seen(proxy.connect(pay, params={'application_name': 'report'})), {'n0'}, 'the first that is about a read decides')
    is_(seen(proxy.connect(db, user='batch_1')), {'n0'}, 'a user; of several nodes by weight')
    is_(seen(proxy.connect('postgres', user='batch_1')), {'n1'}, 'both user and database must be so')
    c.q("set application_name = 'report'")
    is_(seen(c), {'n2'}, 'an application that changes its name')
    is_(c.x(HERE), [['n2']], '… extended statements, too')
    is_(c.q('select txid_current(); ' + HERE)[-1], ['n0'], '… writes run on the primary all the same')
    wait_for(lambda: c.one(HERE) == 'n2', what='a standby that shows what was written')

with scenario('who decides before'):
    is_(c.one('/* lunapool: node=n1 */ ' + HERE), 'n1', 'a hint')
    c.q("set lunapool.route = 'primary'")
    is_(seen(c), {'n0'}, "the session's setting")
    c.q('reset lunapool.route')
    e = dict(c.q('explain route ' + HERE))
    is_((e['runs on'], e['decision']), ('n2', 'certain nodes: redirect reports'), 'EXPLAIN ROUTE names the redirect')
    like(e['decided by'], 'list', '… and says that it is one')
    proxy.files['main.lua'] = ('local M = { api = 1 }\nfunction M.route(query, cluster)\n  if query.application == "metabase" then return cluster:node("n1") end\n'
                               '  if query.application == "raises" then error("on purpose") end\nend\nreturn M\n')
    put({'reports': {'application': ['metabase*', 'report', 'raises'], 'to': 'n2'}}, policy='main.lua')
    is_(seen(proxy.connect(db, params={'application_name': 'metabase'})), {'n1'}, 'the policy')
    is_(seen(proxy.connect(db, params={'application_name': 'report'})), {'n2'}, '… what it leaves open the redirects decide')
    is_(seen(proxy.connect(db, params={'application_name': 'raises'})), {'n2'}, '… and what it fails at')

with scenario('a node that may not take it'):
    put({'reports': {'application': 'report', 'to': 'n2'}})
    cluster.kill_node(2)
    wait_for(lambda: fit() == {'n1'}, what='the death seen')
    is_(seen(c), {'n0'}, 'the primary takes the reads of a node that is away')
    put({'reports': {'application': 'report', 'to': ['n2', 'n1']}})
    is_(seen(c), {'n1'}, '… or another one that is named, too')
    cluster.start_node(2)
    wait_for(lambda: fit() == {'n1', 'n2'}, 60, what='the return')

with scenario('a share of them'):
    put({'a': {'application': 'report', 'to': 'n2', 'share': 30}, 'b': {'application': 'report', 'to': 'primary'}})
    got = [c.one(HERE) for _ in range(2000)]
    is_(set(got), {'n0', 'n2'}, 'some go there, the others on to the next')
    ok(abs(got.count('n2') / len(got) - 0.3) < 0.04, f"three of ten ({got.count('n2')} of {len(got)})")
    put({'a': {'application': 'report', 'to': 'n2', 'share': 30}, 'b': {'application': 'report', 'to': 'primary'}}, balance_scope='session')
    clients = [proxy.connect(db, params={'application_name': 'report'}) for _ in range(200)]
    got = [seen(x, 5) for x in clients]
    is_([len(g) for g in got], [1] * 200, 'of sessions, when a node is chosen once: each stays with what it drew')
    n = sum(g == {'n2'} for g in got)
    ok(30 < n < 90, f'three of ten ({n} of 200)')
    put({'a': {'application': 'report', 'to': 'n2', 'share': 0}})
    is_(seen(c), {'n1'}, 'none of them')

with scenario('reload'):
    put({'first': {'to': 'n2'}, 'second': {'to': 'primary'}})
    is_(seen(c), {'n2'}, 'one that is about everybody')
    at = len(proxy.log())
    put({'second': {'to': 'primary'}, 'first': {'to': 'n2'}})
    like(proxy.log()[at:], 'redirects of cluster main are in another order', 'another order is a change')
    is_(seen(c), {'n0'}, '… and holds')
    proxy.settings['redirects'] = {'first': {'to': 'n9'}}
    like(proxy.reload(), r'reload_refused ', 'a node that does not exist is refused')
    like(proxy.log(), r'lunapool.conf:\d+ error="to: there is no node n9 in the cluster main, and it is none of', '… in words that help')
    is_(seen(c), {'n0'}, '… and nothing changes')

done()
