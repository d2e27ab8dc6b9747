"""middleman — stands between Lunapool and a server, and may change what goes to the server: faults that a real one shows once in a million statements."""
import socket
import threading


class Middleman:
    """Listens at .port; bytes for the server go through change(bytes) -> bytes, piece by piece as they come."""

    def __init__(self, host, port):
        self.change = lambda data: data
        self.server = (host, port)
        self.listening = socket.create_server(('127.0.0.1', 0))
        self.port = self.listening.getsockname()[1]
        self.open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            server = socket.create_connection(self.server)
            self.open += [client, server]
            for pair in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source, to, is_to_server):
        try:
            while data := source.recv(65536):
                to.sendall(self.change(data) if is_to_server else data)
        except OSError:
            pass
        for s in (source, to):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self.listening.close()
        for s in self.open:
            s.close()
