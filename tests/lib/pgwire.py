"""pgwire — PostgreSQL's protocol, message by message, for tests that must say and see exactly what is on the wire.

A message is a pair (type, body): ('Q', b'select 1\\0').  The builders return bytes that are ready to send; Conn sends
them and reads messages; show() tells a message in words; fields() takes an ErrorResponse apart.
"""
import base64
import hashlib
import hmac
import os
import select
import socket
import struct
import time

V30 = 196608
SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
CANCEL_REQUEST = 80877102


class WireError(Exception):
    pass


class Timeout(WireError):
    pass


def z(text):
    return (text if isinstance(text, bytes) else text.encode()) + b'\0'


def msg(kind, body=b''):
    return kind.encode() + struct.pack('!i', len(body) + 4) + body


def query(sql):
    return msg('Q', z(sql))


def parse(name, sql, types=()):
    return msg('P', z(name) + z(sql) + struct.pack('!h', len(types)) + b''.join(struct.pack('!I', t) for t in types))


def bind(portal, name, values=(), formats=(), results=()):
    body = z(portal) + z(name) + struct.pack('!h', len(formats)) + b''.join(struct.pack('!h', f) for f in formats)
    body += struct.pack('!H', len(values))
    for v in values:
        if v is None:
            body += struct.pack('!i', -1)
        else:
            v = v if isinstance(v, bytes) else str(v).encode()
            body += struct.pack('!i', len(v)) + v
    return msg('B', body + struct.pack('!h', len(results)) + b''.join(struct.pack('!h', f) for f in results))


def describe(what, name=''):
    return msg('D', what.encode() + z(name))


def close(what, name=''):
    return msg('C', what.encode() + z(name))


def execute(portal='', rows=0):
    return msg('E', z(portal) + struct.pack('!i', rows))


def sync():
    return msg('S')


def flush():
    return msg('H')


def copy_data(data):
    return msg('d', data if isinstance(data, bytes) else data.encode())


def copy_done():
    return msg('c')


def copy_fail(why='no more'):
    return msg('f', z(why))


def function_call(oid, args):
    body = struct.pack('!IhhH', oid, 1, 0, len(args))
    for a in args:
        a = a if isinstance(a, bytes) else str(a).encode()
        body += struct.pack('!i', len(a)) + a
    return msg('F', body + struct.pack('!h', 0))


def terminate():
    return msg('X')


def password(text):
    return msg('p', z(text))


def startup(params, version=V30):
    body = struct.pack('!I', version) + b''.join(z(k) + z(v) for k, v in params.items()) + b'\0'
    return struct.pack('!i', len(body) + 4) + body


def request(code, extra=b''):
    return struct.pack('!iI', 8 + len(extra), code) + extra


def fields(body):
    """The fields of an ErrorResponse or NoticeResponse: {'S': 'ERROR', 'C': '42601', …}."""
    out = {}
    for part in body.split(b'\0'):
        if part:
            out[chr(part[0])] = part[1:].decode('utf-8', 'replace')
    return out


def row(body):
    """The values of a DataRow, None for NULL."""
    n, at, out = struct.unpack_from('!h', body)[0], 2, []
    for _ in range(n):
        size = struct.unpack_from('!i', body, at)[0]
        at += 4
        if size < 0:
            out.append(None)
        else:
            out.append(body[at:at + size])
            at += size
    return out


def text_row(body):
    return [None if v is None else v.decode('utf-8', 'replace') for v in row(body)]


def columns(body):
    """The columns of a RowDescription: (name, type oid, format)."""
    n, at, out = struct.unpack_from('!h', body)[0], 2, []
    for _ in range(n):
        end = body.index(b'\0', at)
        table, number, oid, size, mod, form = struct.unpack_from('!IhIhih', body, end + 1)
        out.append((body[at:end].decode(), oid, form))
        at = end + 19
    return out


def show(message):
    """A server message in words."""
    if message is None:
        return 'EOF'
    kind, body = message
    if kind in 'EN':
        f = fields(body)
        return f"{'ERROR' if kind == 'E' else 'NOTICE'} {f.get('S')} {f.get('C')} {f.get('M')}"
    if kind == 'D':
        return f'row {text_row(body)}'[:200]
    if kind == 'T':
        return f'columns {columns(body)}'[:200]
    if kind in 'CAS':
        return f"{ {'C': 'complete', 'A': 'notification', 'S': 'parameter'}[kind]} {body!r}"[:200]
    if kind == 'Z':
        return f'ready {body.decode()}'
    return f'{kind} {body!r}'[:200]


def show_sent(data):
    """What a client sent, a line per message."""
    out, at = [], 0
    while at + 5 <= len(data):
        size = struct.unpack_from('!i', data, at + 1)[0]
        body = data[at + 5:at + 1 + size]
        out.append(f'{chr(data[at])} {body[:160]!r}' + ('…' if len(body) > 160 else ''))
        at += 1 + size
    return out


class Conn:
    """One connection to a server (or to what looks like one)."""

    def __init__(self, addr, user='postgres', database=None, params=None, secret=None, login=True, timeout=20, version=V30, source=None):
        self.addr, self.timeout = addr, timeout
        self.parameters, self.key, self.negotiated = {}, None, None
        self.notices, self.notifications = [], []
        self.buf = bytearray()
        if isinstance(addr, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(addr)
        else:
            self.sock = socket.create_connection(addr, timeout, source)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if login:
            self.login(user, database or user, params or {}, secret, version)

    def login(self, user, database, params, secret=None, version=V30):
        self.send(startup({'user': user, 'database': database, **params}, version))
        scram = None
        while True:
            m = self.recv()
            if m is None:
                raise WireError('closed during login')
            kind, body = m
            if kind == 'E':
                raise WireError(f"{fields(body).get('C')} {fields(body).get('M')}")
            if kind == 'R':
                code = struct.unpack_from('!I', body)[0]
                if code == 3:
                    self.send(password(secret))
                elif code == 5:
                    stored = hashlib.md5((secret + user).encode()).hexdigest()
                    self.send(password('md5' + hashlib.md5(stored.encode() + body[4:8]).hexdigest()))
                elif code == 10:
                    scram = Scram(secret)
                    first = scram.first()
                    self.send(msg('p', z('SCRAM-SHA-256') + struct.pack('!i', len(first)) + first))
                elif code == 11:
                    self.send(msg('p', scram.final(body[4:])))
                elif code == 12:
                    scram.verify(body[4:])
                elif code != 0:
                    raise WireError(f'authentication {code}')
            elif kind == 'K':
                self.key = body
            elif kind == 'v':
                self.negotiated = body
            elif kind == 'Z':
                return

    def send(self, data):
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data)

    def fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise Timeout('no answer in time')
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            raise Timeout('no answer in time') from None
        except (ConnectionResetError, BrokenPipeError):
            return False
        self.buf += data
        return bool(data)

    def recv(self, timeout=None):
        """The next message, None at the end of the stream."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            if len(self.buf) >= 5:
                size = struct.unpack_from('!i', self.buf, 1)[0]
                if len(self.buf) >= size + 1:
                    m = (chr(self.buf[0]), bytes(self.buf[5:size + 1]))
                    del self.buf[:size + 1]
                    self.note(m)
                    return m
            if not self.fill(deadline):
                return None

    def note(self, m):
        kind, body = m
        if kind == 'S':
            name, value = body[:-1].split(b'\0', 1)
            self.parameters[name.decode()] = value.decode()
        elif kind == 'N':
            self.notices.append(fields(body))
        elif kind == 'A':
            channel, payload = body[4:-1].split(b'\0', 1)
            self.notifications.append((channel.decode(), payload.decode()))

    def recv_byte(self):
        deadline = time.monotonic() + self.timeout
        while not self.buf:
            if not self.fill(deadline):
                return None
        b = bytes(self.buf[:1])
        del self.buf[:1]
        return b

    def has_input(self):
        return bool(self.buf) or bool(select.select([self.sock], [], [], 0)[0])

    def until(self, kinds='Z', count=1, timeout=None):
        """Messages up to the COUNT-th of one of KINDS, or the end of the stream (then None is the last one)."""
        out = []
        while count:
            m = self.recv(timeout)
            out.append(m)
            if m is None:
                break
            if m[0] in kinds:
                count -= 1
        return out

    def ask(self, data, timeout=None):
        """Sends; messages up to and with the first ReadyForQuery."""
        self.send(data)
        return self.until('Z', 1, timeout)

    def q(self, sql, timeout=None):
        """Simple query; its rows as lists of text. An ERROR is raised."""
        rows = []
        failed = None
        for m in self.ask(query(sql), timeout):
            if m is None:
                raise WireError(failed or 'closed')
            if m[0] == 'D':
                rows.append(text_row(m[1]))
            elif m[0] == 'E':
                failed = failed or f"{fields(m[1]).get('C')} {fields(m[1]).get('M')}"
        if failed:
            raise WireError(failed)
        return rows

    def table(self, sql, timeout=None):
        """Simple query; its rows as dicts by column name."""
        rows, names = [], []
        for m in self.ask(query(sql), timeout):
            if m is None or m[0] == 'E':
                raise WireError(f"{fields(m[1]).get('C')} {fields(m[1]).get('M')}" if m else 'closed')
            if m[0] == 'T':
                names = [c[0] for c in columns(m[1])]
            elif m[0] == 'D':
                rows.append(dict(zip(names, text_row(m[1]))))
        return rows

    def one(self, sql, timeout=None):
        rows = self.q(sql, timeout)
        return rows[0][0] if rows else None

    def error(self, sql, timeout=None):
        """Simple query that must fail: its SQLSTATE ('' when it did not)."""
        for m in self.ask(query(sql), timeout):
            if m is None:
                return 'EOF'
            if m[0] == 'E':
                return fields(m[1]).get('C')
        return ''

    def x(self, sql, values=(), types=(), name=''):
        """Extended query through the unnamed portal; rows as text. An ERROR is raised."""
        rows = []
        failed = None
        for m in self.ask(parse(name, sql, types) + bind('', name, values) + execute() + sync()):
            if m is None:
                raise WireError(failed or 'closed')
            if m[0] == 'D':
                rows.append(text_row(m[1]))
            elif m[0] == 'E':
                failed = f"{fields(m[1]).get('C')} {fields(m[1]).get('M')}"
        if failed:
            raise WireError(failed)
        return rows

    def cancel(self):
        """Sends a CancelRequest with this connection's key and waits for the far side to close."""
        c = Conn(self.addr, login=False, timeout=self.timeout)
        c.send(request(CANCEL_REQUEST, self.key))
        c.recv()
        c.drop()

    def reset(self):
        """Vanishes with a TCP reset."""
        if self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.sock.close()

    def drop(self):
        """Vanishes."""
        self.sock.close()

    def quit(self):
        """Terminates politely and waits until the far side has seen it."""
        try:
            self.send(terminate())
            while self.recv() is not None:
                pass
        except OSError:
            pass
        except Timeout:
            pass
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.quit()


class Scram:
    """The client's side of SCRAM-SHA-256 (RFC 5802, 7677)."""

    def __init__(self, secret):
        self.secret = secret.encode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()

    def first(self):
        self.first_bare = f'n=,r={self.nonce}'
        return ('n,,' + self.first_bare).encode()

    def final(self, server_first):
        text = server_first.decode()
        part = dict(p.split('=', 1) for p in text.split(','))
        if not part['r'].startswith(self.nonce):
            raise WireError('SCRAM nonce')
        salted = hashlib.pbkdf2_hmac('sha256', self.secret, base64.b64decode(part['s']), int(part['i']))
        client = hmac.digest(salted, b'Client Key', 'sha256')
        bare = f"c=biws,r={part['r']}"
        said = f'{self.first_bare},{text},{bare}'.encode()
        sign = hmac.digest(hashlib.sha256(client).digest(), said, 'sha256')
        self.server_sign = hmac.digest(hmac.digest(salted, b'Server Key', 'sha256'), said, 'sha256')
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(client, sign))).decode()
        return f'{bare},p={proof}'.encode()

    def verify(self, server_final):
        if base64.b64decode(server_final[2:]) != self.server_sign:
            raise WireError('SCRAM server signature')


def brief(messages):
    """Messages in a few letters each, for comparing: '1 2 D:42 C:SELECT_1 Z:I' (no row descriptions, parameters, notices)."""
    out = []
    for m in messages:
        if m is None:
            out.append('EOF')
        elif m[0] == 'E':
            out.append('E:' + fields(m[1]).get('C', ''))
        elif m[0] == 'D':
            out.append('D:' + ','.join('NULL' if v is None else v for v in text_row(m[1])))
        elif m[0] == 'C':
            out.append('C:' + m[1][:-1].decode().replace(' ', '_'))
        elif m[0] == 'Z':
            out.append('Z:' + m[1].decode())
        elif m[0] not in 'SNTA':
            out.append(m[0])
    return ' '.join(out)
