"""slapd — a private OpenLDAP server with a few people in it, on free ports, gone at the end.

    directory = Slapd(pki)                 # pki has signed 'directory'; plain, StartTLS and, at tls_port, ldaps
    directory = Slapd(pki, tls_only=True)  # answers a bind without TLS with "confidentiality required"
"""
import os
import shutil
import subprocess
import time

from harness import Timeout, free_port, temp_dir

PEOPLE = {'ann': 'secret of ann', 'bob': 'secret of bob', 'pf\u00f6rtner': 'schl\u00fcssel'}


def _entry(dn, **attributes):
    lines = [f'dn: {dn}']
    for name, values in attributes.items():
        lines += [f'{name}: {v}' for v in (values if isinstance(values, (list, tuple)) else [values])]
    return '\n'.join(lines) + '\n\n'


def _ldif():
    out = _entry('dc=example', objectClass=['top', 'domain'], dc='example')
    for unit in ('people', 'twins'):
        out += _entry(f'ou={unit},dc=example', objectClass='organizationalUnit', ou=unit)
    for name, secret in PEOPLE.items():
        out += _entry(f'uid={name},ou=people,dc=example', objectClass='inetOrgPerson', uid=name, cn=name, sn=name, mail=f'{name}@example.com', userPassword=secret)
    for unit in ('people', 'twins'):
        out += _entry(f'cn=twin,ou={unit},dc=example', objectClass='inetOrgPerson', uid='twin', cn='twin', sn='twin', userPassword='secret of twins')
    return out + _entry('cn=finder,dc=example', objectClass=['simpleSecurityObject', 'organizationalRole'], cn='finder', userPassword='finds')


class Slapd:
    def __init__(self, pki, tls_only=False):
        self.dir = temp_dir()
        self.program = f'{self.dir}/directory'  # a copy: a profile of AppArmor would keep it in its own folders
        shutil.copy('/usr/sbin/slapd', self.program)
        os.mkdir(f'{self.dir}/db')
        schema = ''.join(f'include /etc/ldap/schema/{s}.schema\n' for s in ('core', 'cosine', 'inetorgperson'))
        # who does not say who he is may not look for others; passwords are for binding alone
        access = 'access to attrs=userPassword by anonymous auth by * none\naccess to * by users read by anonymous auth\n'
        with open(f'{self.dir}/conf', 'w') as f:
            f.write(f'{schema}modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {self.dir}/pid\nargsfile {self.dir}/args\n'
                    f'TLSCACertificateFile {pki.ca}\nTLSCertificateFile {pki.crt("directory")}\nTLSCertificateKeyFile {pki.key("directory")}\n'
                    + ('security simple_bind=128\n' if tls_only else '') +
                    f'database mdb\nsuffix dc=example\ndirectory {self.dir}/db\n{access}')
        with open(f'{self.dir}/ldif', 'w') as f:
            f.write(_ldif())
        p = subprocess.run([self.program, '-T', 'add', '-f', f'{self.dir}/conf', '-l', f'{self.dir}/ldif'], capture_output=True, text=True)
        if p.returncode:
            raise RuntimeError(f'slapd -T add: {p.stderr}')
        self._start()

    def _start(self):
        for _ in range(5):  # somebody may take a port between the look and the bind
            self.port, self.tls_port = free_port(), free_port()
            with open(f'{self.dir}/log', 'a') as log:
                self.process = subprocess.Popen(['setpriv', '--pdeathsig', 'SIGKILL', self.program, '-d', '0', '-f', f'{self.dir}/conf', '-h', f'ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.tls_port}/'],
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            if self._wait():
                return
        with open(f'{self.dir}/log') as f:
            raise RuntimeError('slapd does not start: ' + f.read()[-2000:])

    def _wait(self):
        """It writes its pid when it listens."""
        end = time.monotonic() + 30
        while self.process.poll() is None:
            if os.path.exists(f'{self.dir}/pid'):
                return True
            if time.monotonic() > end:
                raise Timeout('slapd does not listen')
            time.sleep(0.01)
        return False

    def stop(self):
        self.process.kill()
        self.process.wait()
