"""ldapd — as much of a directory as a password check needs: simple bind, and a search for one attribute (RFC 4511)."""
import re
import socket
import threading


def _read(data, at):
    """(tag, content, next) of the BER element at AT."""
    tag, size = data[at], data[at + 1]
    at += 2
    if size & 0x80:
        n = size & 0x7f
        size = int.from_bytes(data[at:at + n], 'big')
        at += n
    return tag, data[at:at + size], at + size


def _parts(data):
    out, at = [], 0
    while at < len(data):
        tag, content, at = _read(data, at)
        out.append((tag, content))
    return out


def _element(tag, content):
    size = len(content)
    return bytes([tag]) + (bytes([size]) if size < 128 else b'\x82' + size.to_bytes(2, 'big')) + content


def _result(tag, code):
    return _element(tag, _element(0x0a, bytes([code])) + _element(4, b'') + _element(4, b''))


class Server:
    """ENTRIES: {dn: (uid, password)}.  A bind as hang-… gets no answer; one without a password is anonymous, and good."""

    def __init__(self, entries):
        self.entries = entries
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self):
        self.listener.close()

    def _serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(s,), daemon=True).start()

    def _talk(self, s):
        data = b''
        while True:
            try:
                more = s.recv(65536)
            except OSError:
                return
            if not more:
                return
            data += more
            try:
                _, message, end = _read(data, 0)
            except IndexError:
                continue
            if end > len(data):
                continue
            data = data[end:]
            (_, number), (tag, body) = _parts(message)[:2]
            for answer in self._answer(tag, body):
                s.sendall(_element(0x30, _element(2, number) + answer))

    def _answer(self, tag, body):
        parts = _parts(body) if body else []
        if tag == 0x60:
            dn, secret = parts[1][1].decode(), parts[2][1].decode()
            if dn.startswith('hang-'):
                return []
            good = not secret or (dn in self.entries and self.entries[dn][1] == secret)
            return [_result(0x61, 0 if good else 49)]
        if tag == 0x63:
            wanted = re.sub(rb'^.*?\x04.uid\x04(.)', rb'\1', body, flags=re.S)
            value = wanted[1:1 + wanted[0]].decode('utf-8', 'replace') if b'uid' in body else ''
            found = [dn for dn, (uid, _) in self.entries.items() if uid and uid == value]
            return [_element(0x64, _element(4, dn.encode()) + _element(0x30, b'')) for dn in found] + [_result(0x65, 0)]
        return []
