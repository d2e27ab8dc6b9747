#!/usr/bin/env -S /usr/bin/python3
"""LDAP against OpenLDAP: simple bind and search, plain, with StartTLS and with ldaps, and what goes wrong told in words."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import *  # noqa: E402,F403
from pki import Pki  # noqa: E402
from slapd import PEOPLE, Slapd  # noqa: E402

proxy_only()
if not os.path.exists('/usr/sbin/slapd'):
    skip_all('slapd is not installed')
pki, strangers = Pki(), Pki('strangers')
for p in (pki, strangers):
    p.sign('directory', san='DNS:localhost,IP:127.0.0.1')
pki.sign('elsewhere', san='DNS:elsewhere.example')
open_one, strict, foreign = Slapd(pki), Slapd(pki, tls_only=True), Slapd(strangers)
cluster = Cluster.get()
db = cluster.database()
for name in [*PEOPLE, 'twin', 'nobody']:
    cluster.role(name)
os.environ['LDAPTLS_CACERT'] = pki.ca  # as the system's ldap.conf would say

WAYS = {'plain': (lambda d: f'ldapserver=127.0.0.1 ldapport={d.port}', lambda d: f'ldap://127.0.0.1:{d.port}'),
        'starttls': (lambda d: f'ldapserver=127.0.0.1 ldapport={d.port} ldaptls=1', lambda d: f'ldap://127.0.0.1:{d.port}'),
        'ldaps': (lambda d: f'ldapserver=127.0.0.1 ldapport={d.tls_port} ldapscheme=ldaps', lambda d: f'ldaps://127.0.0.1:{d.tls_port}')}
BIND = 'ldapbinddn="cn=finder,dc=example" ldapbindpasswd=finds'
HOW = {'simple': 'ldapprefix="uid=" ldapsuffix=",ou=people,dc=example"', 'search': f'ldapbasedn="dc=example" {BIND}', 'attribute': f'ldapbasedn="dc=example" {BIND} ldapsearchattribute=cn',
       'filter': f'ldapbasedn="ou=people,dc=example" {BIND} ldapsearchfilter="(|(uid=$username)(mail=$username@example.com))"'}
rules = {}  # database: options
for way, (server, url) in WAYS.items():
    for how, options in HOW.items():
        rules[f'{how}_{way}'] = f'{server(open_one)} {options}'
    rules[f'url_{way}'] = f'ldapurl="{url(open_one)}/dc=example?uid?sub" {BIND}' + (' ldaptls=1' if way == 'starttls' else '')
    rules[f'anonymous_{way}'] = f'{server(open_one)} ldapbasedn="dc=example"'
    rules[f'strict_{way}'] = f'{server(strict)} {HOW["simple"]}'
    rules[f'foreign_{way}'] = f'{server(foreign)} {HOW["simple"]}'
rules['badfinder'] = f'{WAYS["plain"][0](open_one)} ldapbasedn="dc=example" ldapbinddn="cn=finder,dc=example" ldapbindpasswd=wrong'
rules['nobase'] = f'{WAYS["plain"][0](open_one)} ldapbasedn="dc=nowhere" {BIND}'
rules['badfilter'] = f'{WAYS["plain"][0](open_one)} ldapbasedn="dc=example" {BIND} ldapsearchfilter="(uid=$username"'
rules['second'] = f'ldapserver="127.0.0.1:1 127.0.0.1:{open_one.port}" {HOW["simple"]}'
proxy = Proxy(cluster, workers=1, hba=''.join(f'host {d} all all ldap {o}\n' for d, o in rules.items()), databases={'*': {'dbname': db}}, limits={'auth_failure_delay': '1ms'}, auth={'helper_timeout': '10s'},
              cluster_options={'cleartext_password': True})


def refused(database, user, secret):
    try:
        Conn(proxy.addr, user=user, database=database, secret=secret).quit()
    except WireError as e:
        return str(e)
    return ''


with scenario('who is let in'):
    for way in WAYS:
        for how in [*HOW, 'url']:
            d = f'{how}_{way}'
            for user, secret in PEOPLE.items():
                is_(refused(d, user, secret), '', f'{d}: {user}')
            for user, secret, what in (('ann', 'secret of bob', "another's password"), ('ann', '', 'an empty password'), ('nobody', 'x', 'nobody'), ('ann ', 'secret of ann', 'a space behind the name'), ('*', 'secret of ann', 'any name')):
                is_(refused(d, user, secret), f'28000 LDAP authentication failed for user "{user}"', f'{d}: {what}')
        is_(refused(f'search_{way}', 'twin', 'secret of twins'), '28000 LDAP authentication failed for user "twin"', f'search_{way}: two people of one name are none')
        is_(refused(f'filter_{way}', 'twin', 'secret of twins'), '', f'filter_{way}: a smaller base has but one')
    is_(refused('second', 'ann', PEOPLE['ann']), '', 'the first server is not there, the second is asked')

with scenario('what goes wrong'):
    trouble = '57P03 the directory that knows the password cannot be asked now'

    def log_of(database, want, pattern, name):
        at = len(proxy.log())
        is_(refused(database, 'ann', PEOPLE['ann']), want, f'{name}: the client is told little')
        like(proxy.log()[at:], pattern, 'the log tells why')
    log_of('strict_plain', '28000 LDAP authentication failed for user "ann"', 'ldap_failed.*error="Confidentiality required" detail=', 'a directory that wants TLS')
    for way in ('starttls', 'ldaps'):
        is_(refused(f'strict_{way}', 'ann', PEOPLE['ann']), '', f'with {way} it is content')
        log_of(f'foreign_{way}', trouble, r'ldap_failed.*hint="if it is there, its certificate', f"{way}, a certificate of somebody else's authority")
    is_(refused('foreign_plain', 'ann', PEOPLE['ann']), '', '… which plain LDAP never sees')
    log_of('badfinder', trouble, 'ldap_failed.*while="looking for the user" error="Invalid credentials"', 'who looks for users has a wrong password')
    for way in WAYS:
        log_of(f'anonymous_{way}', trouble, 'ldap_failed.*while="looking for the user" error="Insufficient access"', f'{way}: nobody may look for users who does not say who he is')
    log_of('nobase', '28000 LDAP authentication failed for user "ann"', 'login_failed', 'a base that is not there')
    log_of('badfilter', trouble, 'ldap_failed.*while="looking for the user" error="Bad search filter"', 'a filter that is none')
    for secret in [*PEOPLE.values(), 'finds']:
        ok(f'{secret}"' not in proxy.log() and f'={secret} ' not in proxy.log(), 'no password is in the log')
    proxy.stop()

with scenario('a certificate for another name'):
    for name in ('crt', 'key'):
        os.replace(f'{pki.dir}/elsewhere.{name}', f'{pki.dir}/directory.{name}')
    other = Slapd(pki)
    p = Proxy(cluster, workers=1, hba=''.join(f'host {way} all all ldap {WAYS[way][0](other)} {HOW["simple"]}\n' for way in WAYS), databases={'*': {'dbname': db}}, limits={'auth_failure_delay': '1ms'}, cluster_options={'cleartext_password': True})
    for way in ('starttls', 'ldaps'):
        try:
            Conn(p.addr, user='ann', database=way, secret=PEOPLE['ann']).quit()
            ok(False, f'{way}: refused')
        except WireError as e:
            is_(str(e), '57P03 the directory that knows the password cannot be asked now', f'{way}: refused')
    like(p.log(), r'ldap_failed.*hint="if it is there, its certificate must be for this name', 'the log tells why')
    p.stop()
    other.stop()

for directory in (open_one, strict, foreign):
    directory.stop()
done()
