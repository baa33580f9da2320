"""WebSockets over HTTP/2 (RFC 8441) by hand: what a client may ask, and what must not come of it.

    http2_websocket.py CASE ADDRESS SERVER

CASE is a name below; SERVER is the port of a listening socket to be, where this program plays the
service over HTTP/1.1. Prints `ok`.
"""

import socket
import sys
import threading

from http2_wire import *

GRANTED = (b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
           b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
REFUSED = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nno\n"
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n"


class Service:
    """Answers the first head of each connection with `answer`, echoes what follows a 101, and keeps
    everything that it was sent."""

    def __init__(self, port, answer, then=None):
        self.answer, self.then, self.seen = answer, then, []
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            peer, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        try:
            self.play(peer)
        except OSError:
            pass  # The proxy has gone first.

    def play(self, peer):
        seen = bytearray()
        self.seen.append(seen)
        while b"\r\n\r\n" not in seen:
            piece = peer.recv(65536)
            if not piece:
                return
            seen += piece
        peer.sendall(self.answer)
        if self.then:
            return self.then(peer)
        while piece := peer.recv(65536):
            seen += piece
            peer.sendall(piece if self.answer == GRANTED else PLAIN)
        peer.close()


def connect(c, stream, protocol="websocket", more=()):
    c.request(stream, end=False, fields=[
        (":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", "/chat"),
        (":authority", "test"), ("sec-websocket-version", "13"), *more])


def status(c, stream):
    head = c.read_until(lambda f: f.stream == stream and f.kind in (HEADERS, RST_STREAM))
    return dict(head.fields)[":status"] if head.kind == HEADERS else f"reset {head.code}"


def is_open(c):
    assert c.settings.get(8) == 1, f"ENABLE_CONNECT_PROTOCOL is missing: {c.settings}"


def granted(address, port):
    service = Service(port, GRANTED)
    c = Connection(address)
    is_open(c)
    connect(c, 1)
    assert status(c, 1) == "200"
    c.frame(DATA, 0, 1, b"hello")
    assert c.read_until(lambda f: f.kind == DATA).payload == b"hello"
    head = bytes(service.seen[0])
    assert head.startswith(b"GET /chat HTTP/1.1\r\n"), head
    assert head.lower().count(b"sec-websocket-key: ") == 1, head
    assert b"\r\nconnection: upgrade\r\n" in head and b"\r\nupgrade: websocket\r\n" in head, head
    # An end in order: each side's is passed on, and no reset.
    c.frame(DATA, END_STREAM, 1, b"bye")
    rest = b""
    while True:
        found = c.read_until(lambda f: f.stream == 1)
        assert found.kind == DATA, found
        rest += found.payload
        if found.flags & END_STREAM:
            break
    assert rest == b"bye", rest
    c.expect_alive()


def own_key(address, port):
    """A client's own key is passed on, and no second beside it."""
    service = Service(port, GRANTED)
    c = Connection(address)
    connect(c, 1, more=[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")])
    assert status(c, 1) == "200"
    assert bytes(service.seen[0]).lower().count(b"sec-websocket-key") == 1, service.seen[0]


def refused(address, port):
    Service(port, REFUSED)
    c = Connection(address)
    connect(c, 1)
    c.frame(DATA, 0, 1, b"GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n")
    assert status(c, 1) == "403"
    c.expect_alive()


def plain(address, port):
    """An answer as if nothing had been asked for is no yes."""
    service = Service(port, PLAIN)
    c = Connection(address)
    connect(c, 1)
    c.frame(DATA, 0, 1, b"GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n")
    assert status(c, 1) == "502"
    c.expect_alive()
    assert not any(b"smuggled" in bytes(seen) for seen in service.seen), service.seen


def other_protocol(address, port):
    """What may not pass is answered here, and its bytes reach nobody."""
    service = Service(port, PLAIN)
    c = Connection(address)
    connect(c, 1, protocol="other")
    c.frame(DATA, 0, 1, b"GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n")
    assert status(c, 1) == "501"
    c.request(3)
    c.expect_answer(3)
    assert not any(b"smuggled" in bytes(seen) for seen in service.seen), service.seen


def with_length(address, port):
    """A length has no meaning here, and would have one for HTTP/1.1."""
    service = Service(port, REFUSED)
    c = Connection(address)
    connect(c, 1, more=[("content-length", "5")])
    assert status(c, 1) == f"reset {PROTOCOL_ERROR}"
    c.expect_alive()
    assert not service.seen, service.seen


def server_dies(address, port):
    """The stream ends with the connection behind it, and says that it was no proper end."""
    def die(peer):
        peer.recv(1)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
    Service(port, GRANTED, die)
    c = Connection(address)
    connect(c, 1)
    assert status(c, 1) == "200"
    c.frame(DATA, 0, 1, b"die")
    c.expect_reset(1, CONNECT_ERROR)


def client_resets(address, port):
    ended = threading.Event()

    def wait(peer):
        try:
            while peer.recv(65536):
                pass
        except ConnectionResetError:
            pass
        ended.set()
    Service(port, GRANTED, wait)
    c = Connection(address)
    connect(c, 1)
    assert status(c, 1) == "200"
    c.frame(RST_STREAM, 0, 1, struct.pack(">I", CANCEL))
    assert ended.wait(PATIENCE)
    c.expect_alive()


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](sys.argv[2], int(sys.argv[3]))
    print("ok")
