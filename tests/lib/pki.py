"""pki — certificates for tests: an authority of their own, and what it signs, in a directory that is gone at the end.

    pki = Pki()
    pki.sign('server', san='DNS:localhost,IP:127.0.0.1')      # pki.crt('server'), pki.key('server')
    pki.revoke('client')                                       # pki.crl
"""
import os
import subprocess

from harness import temp_dir


class Pki:
    def __init__(self, name='ca', owner=None):
        self.dir = temp_dir(owner)
        self.owner = owner
        self.name = name
        self.ca = self.crt(name)
        self.crl = f'{self.dir}/{name}.crl'
        self._openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj',
                      f'/CN={name}', '-keyout', self.key(name), '-out', self.ca, '-addext', 'basicConstraints=critical,CA:TRUE')
        self._own(self.key(name), self.ca)
        for file, text in (('index', ''), ('number', '1000\n')):
            with open(f'{self.dir}/{file}', 'w') as f:
                f.write(text)
        with open(f'{self.dir}/conf', 'w') as f:
            f.write(f'[ca]\ndefault_ca=d\n[d]\ndatabase={self.dir}/index\nserial={self.dir}/number\ncrlnumber={self.dir}/number\n'
                    f'default_md=sha256\ndefault_crl_days=30\nunique_subject=no\n[p]\ncommonName=supplied\n')
        self._crl()

    def crt(self, name):
        return f'{self.dir}/{name}.crt'

    def key(self, name):
        return f'{self.dir}/{name}.key'

    def _openssl(self, *args):
        p = subprocess.run(['openssl', *args], capture_output=True, text=True)
        if p.returncode:
            raise RuntimeError(f'openssl {args[0]}: {p.stderr}')

    def _own(self, *paths):
        for p in paths:
            os.chmod(p, 0o600)
            if self.owner:
                os.chown(p, self.owner.pw_uid, self.owner.pw_gid)

    def _crl(self, *dates):
        self._openssl('ca', '-config', f'{self.dir}/conf', '-gencrl', '-keyfile', self.key(self.name), '-cert', self.ca, '-out', self.crl, *dates)
        os.chmod(self.crl, 0o644)

    def sign(self, name, cn=None, san=None, days=30, kind='ec'):
        """A key and its certificate; DAYS -1: one that has expired."""
        how = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'] if kind == 'ec' else ['rsa:2048']
        self._openssl('req', '-newkey', *how, '-nodes', '-subj', f'/CN={cn or name}', '-keyout', self.key(name), '-out', f'{self.dir}/req')
        with open(f'{self.dir}/ext', 'w') as f:
            f.write('basicConstraints=CA:FALSE\n' + (f'subjectAltName={san}\n' if san else ''))
        dates = ['-days', str(days)]
        if days < 0:
            self._expired(name)
        else:
            self._openssl('x509', '-req', '-in', f'{self.dir}/req', '-CA', self.ca, '-CAkey', self.key(self.name), '-CAcreateserial',
                          *dates, '-extfile', f'{self.dir}/ext', '-out', self.crt(name))
        self._own(self.key(name), self.crt(name))

    def _expired(self, name):
        self._openssl('ca', '-batch', '-notext', '-config', f'{self.dir}/conf', '-policy', 'p', '-in', f'{self.dir}/req', '-keyfile',
                      self.key(self.name), '-cert', self.ca, '-startdate', '20200101000000Z', '-enddate', '20200201000000Z',
                      '-extfile', f'{self.dir}/ext', '-outdir', self.dir, '-out', self.crt(name))

    def let_crl_expire(self):
        self._crl('-crl_lastupdate', '20200101000000Z', '-crl_nextupdate', '20200201000000Z')

    def revoke(self, name):
        self._openssl('ca', '-config', f'{self.dir}/conf', '-revoke', self.crt(name), '-keyfile', self.key(self.name), '-cert', self.ca)
        self._crl()
