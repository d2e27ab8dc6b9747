"""relay — a bad network on the way to one server, steered by the test: it delays, stalls, trickles, cuts, refuses, vanishes, forgets.

    relay = Relay('127.0.0.1', port)      # clients connect to relay.port
    relay.delay = 0.2                     # each way, for what comes from now on
    relay.stall(); relay.flow()           # what is sent waits, and goes on; new connections are taken, and as silent
    relay.stall(to_client=False)          # one way only
    relay.loss = 0.3                      # so many pieces come RESENT seconds later, as those do that were lost and are sent again
    relay.vanish(); relay.appear()        # no SYN is answered either, as when a host is gone
    relay.full(); relay.appear()          # no SYN is answered; open connections go on
    relay.cut('rst'); relay.cut('fin')    # every open connection ends
    relay.refuse(); relay.listen()        # nobody listens at its port
    relay.forget()                        # open connections: the server has lost them; whoever sends there is told so by a reset
    relay.trickle = 3                     # bytes at a time, one piece each ms
    relay.say = '57P03'                   # new connections get this instead of the server

One thread does it all, for all relays of a test.  What stands here holds until it is said otherwise; what was sent before keeps its delay.
"""
import collections
import contextlib
import heapq
import itertools
import random
import selectors
import socket
import struct
import threading
import time

PIECE = 65536
RESENT = 0.2
KEEPALIVE = 2.0  # when an idle connection is asked whether it is there, by the kernel
TCP_REPAIR = 19
HELD = 1 << 20  # bytes that one way holds back before it reads no more
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


def error_message(sqlstate):
    body = b''.join(k + v + b'\0' for k, v in ((b'S', b'FATAL'), (b'V', b'FATAL'), (b'C', sqlstate.encode()), (b'M', b'said by the relay'))) + b'\0'
    return b'E' + struct.pack('!i', len(body) + 4) + body


class _Engine(threading.Thread):
    """The thread; calls into it go through do(), which waits until they are done."""

    def __init__(self):
        super().__init__(daemon=True)
        self.selector = selectors.DefaultSelector()
        self.timers, self.order = [], itertools.count()
        self.wanted = collections.deque()
        self.wake, self.waker = socket.socketpair()
        self.selector.register(self.wake, READ, lambda events: self.wake.recv(PIECE))
        self.start()

    def run(self):
        while True:
            pause = max(0, self.timers[0][0] - time.monotonic()) if self.timers else None
            for key, events in self.selector.select(pause):
                if self.selector.get_map().get(key.fd) is key:
                    key.data(events)
            while self.timers and self.timers[0][0] <= time.monotonic():
                heapq.heappop(self.timers)[2]()
            while self.wanted:
                fn, done = self.wanted.popleft()
                fn()
                done.set()

    def do(self, fn):
        if threading.current_thread() is self:
            fn()
            return
        done = threading.Event()
        self.wanted.append((fn, done))
        self.waker.send(b'.')
        if not done.wait(30):
            raise RuntimeError('the relay does not answer')

    def later(self, at, fn):
        heapq.heappush(self.timers, (at, next(self.order), fn))

    def watch(self, sock, events, fn):
        known = sock.fileno() in self.selector.get_map()
        if known and not events:
            self.selector.unregister(sock)
        elif known:
            self.selector.modify(sock, events, fn)
        elif events:
            self.selector.register(sock, events, fn)


class _Way:
    """What goes from one socket of a link to the other: (when, bytes), b'' for the end."""

    def __init__(self, link, source, sink, is_to_server):
        self.link, self.source, self.sink, self.is_to_server = link, source, sink, is_to_server
        self.queue, self.held, self.ended = collections.deque(), 0, False

    def is_stalled(self):
        return self.link.is_stalled(self.is_to_server)

    def read(self):
        relay = self.link.relay
        if self.link.is_forgotten and self.is_to_server:
            self.link.end('rst')
            return
        try:
            data = self.source.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            self.link.end('rst')
            return
        self.ended = not data
        self.held += len(data)
        size, at = relay.trickle or len(data) or 1, time.monotonic() + relay.delay
        if relay.loss and random.random() < relay.loss:
            at += RESENT
        if self.queue:  # it stays in order
            at = max(at, self.queue[-1][0])
        for i, first in enumerate(range(0, len(data), size) if data else (0,)):
            self.queue.append((at + (i * 0.001 if relay.trickle else 0), data[first:first + size]))
        self.write()

    def write(self):
        """Passes on what is due."""
        while self.queue and not self.is_stalled() and not self.link.is_over:
            due, data = self.queue[0]
            if due > time.monotonic():
                relay_engine().later(due, self.write)
                break
            try:
                if not data:
                    self.sink.shutdown(socket.SHUT_WR)
                    self.link.has_ended(self)
                    return
                n = self.sink.send(data)
            except BlockingIOError:
                break
            except OSError:
                self.link.end('rst')
                return
            self.held -= n
            self.queue.popleft()
            if n < len(data):
                self.queue.appendleft((due, data[n:]))
        self.link.rearm()

    def wants_to_write(self):
        return bool(self.queue) and not self.is_stalled() and self.queue[0][0] <= time.monotonic()

    def wants_to_read(self):
        return not self.ended and self.held < HELD


class _Link:
    def __init__(self, relay, client):
        self.relay, self.client, self.say = relay, client, relay.say
        self.is_over, self.is_forgotten, self.has_connected, self.said = False, False, False, b''
        client.setblocking(False)
        client.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1)
        self.server = None if self.say else socket.socket()
        self.ways = []
        relay.links.append(self)
        if self.say:
            relay_engine().watch(client, READ, self.answer)
        else:
            self.connect()

    def is_stalled(self, is_to_server):
        r = self.relay
        return not self.has_connected or self.is_forgotten or (r.stalls_to_server if is_to_server else r.stalls_to_client)

    def connect(self):
        self.server.setblocking(False)
        self.server.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1)
        self.ways = [_Way(self, self.client, self.server, True), _Way(self, self.server, self.client, False)]
        with contextlib.suppress(BlockingIOError):
            self.server.connect(self.relay.server)
        relay_engine().watch(self.server, WRITE, self.on_connected)

    def on_connected(self, events):
        if self.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.end('rst')
            return
        self.has_connected = True
        self.rearm()

    def answer(self, events):
        """In the server's stead: no TLS, and what the relay was told to say when the connection came."""
        try:
            data = self.client.recv(PIECE)
        except OSError:
            data = b''
        self.said += data
        if not data:
            self.end('fin')
        elif len(self.said) == 8:
            self.said = b''
            self.client.send(b'N')
        elif len(self.said) >= 4 and len(self.said) >= struct.unpack('!i', self.said[:4])[0]:
            self.client.send(error_message(self.say))
            self.end('fin')

    def on_client(self, events):
        self.on_events(events, *self.ways)

    def on_server(self, events):
        self.on_events(events, *reversed(self.ways))

    def on_events(self, events, reads, writes):
        if events & WRITE and not self.is_over:
            writes.write()
        if events & READ and not self.is_over:
            reads.read()

    def rearm(self):
        if self.is_over or self.is_forgotten or not self.has_connected:
            return
        to_server, to_client = self.ways
        for sock, reads, writes, fn in ((self.client, to_server, to_client, self.on_client), (self.server, to_client, to_server, self.on_server)):
            relay_engine().watch(sock, (READ if reads.wants_to_read() else 0) | (WRITE if writes.wants_to_write() else 0), fn)

    def go_on(self):
        for way in self.ways:
            way.write()

    def has_ended(self, way):
        way.queue.clear()
        if all(w.ended and not w.queue for w in self.ways):
            self.end('fin')
        else:
            self.rearm()

    def forget(self):
        """The server's side is gone, and the client is not told before it asks, or its kernel does."""
        relay_engine().watch(self.server, 0, None)
        self.server.close()
        relay_engine().watch(self.client, 0, None)
        try:  # a socket in repair is closed without a word; what comes later is answered by a reset
            self.client.setsockopt(socket.SOL_TCP, TCP_REPAIR, 1)
            self.end('fin')
        except PermissionError:
            self.is_forgotten = True
            self.ways[1].queue.clear()
            relay_engine().watch(self.client, READ, lambda events: self.ways[0].read())
            relay_engine().later(time.monotonic() + KEEPALIVE, lambda: self.end('rst'))

    def end(self, how):
        if self.is_over:
            return
        self.is_over = True
        self.relay.links.remove(self)
        for sock in (self.client, self.server):
            if sock is None or sock.fileno() < 0:
                continue
            relay_engine().watch(sock, 0, None)
            if how == 'rst':
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            sock.close()


_engine = None
_lock = threading.Lock()


def relay_engine():
    global _engine
    with _lock:
        _engine = _engine or _Engine()
        return _engine


class Relay:
    def __init__(self, host, port):
        self.server = (host, port)
        self.delay, self.loss, self.trickle, self.say = 0.0, 0.0, 0, None
        self.stalls_to_server = self.stalls_to_client = False
        self.links, self.port, self.listening, self.fillers = [], 0, None, []
        self.listen()

    def _do(self, fn):
        relay_engine().do(fn)

    def _accept(self, events):
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            _Link(self, self.listening.accept()[0])

    def listen(self):
        def fn():
            self.listening = socket.socket()
            self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listening.bind(('127.0.0.1', self.port))
            self.listening.listen(512)
            self.listening.setblocking(False)
            self.port = self.listening.getsockname()[1]
            relay_engine().watch(self.listening, READ, self._accept)
        if not self.listening:
            self._do(fn)

    def refuse(self):
        def fn():
            relay_engine().watch(self.listening, 0, None)
            self.listening.close()
            self.listening = None
        if self.listening:
            self._do(fn)

    def stall(self, to_server=True, to_client=True):
        self.stalls_to_server, self.stalls_to_client = to_server, to_client

    def flow(self):
        def fn():
            self.stalls_to_server = self.stalls_to_client = False
            for link in list(self.links):
                link.go_on()
        self._do(fn)

    def full(self):
        """Behind a full queue of connections that nobody accepts the kernel drops what comes: a connect() gets no answer."""
        def fn():
            relay_engine().watch(self.listening, 0, None)
            self.listening.listen(0)
            for _ in range(4):
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex(('127.0.0.1', self.port))
                self.fillers.append(s)
        self._do(fn)

    def vanish(self):
        self.stall()
        self.full()

    def appear(self):
        def fn():
            for s in self.fillers:
                s.close()
            self.fillers = []
            self.listening.listen(512)
            relay_engine().watch(self.listening, READ, self._accept)
        self._do(fn)
        self.flow()

    def cut(self, how='rst'):
        self._do(lambda: [link.end(how) for link in list(self.links)])

    def forget(self):
        self._do(lambda: [link.forget() for link in list(self.links) if link.has_connected])

    def heal(self):
        """All as it was at first."""
        self.delay, self.loss, self.trickle, self.say = 0.0, 0.0, 0, None
        self.listen()
        self.appear()

    def stop(self):
        self.refuse()
        self.cut()
