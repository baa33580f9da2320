"""The workload's WebSockets over HTTP/2 (RFC 8441), by hand: a client that others' code helps with
HPACK alone.

    http2_websocket_app.py CASE ADDRESS

CASE is a name below. Prints `ok`.
"""

import sys

from http2_websocket import connect, is_open, status
from http2_wire import *

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = b"\x12\x34\x56\x78"


def masked(opcode, payload=b"", final=True, key=KEY):
    """A client's frame (RFC 6455, 5.2)."""
    n = len(payload)
    size = bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack(">H", n) if n < 65536 else \
        b"\xff" + struct.pack(">Q", n)
    body = bytes(byte ^ key[i & 3] for i, byte in enumerate(payload))
    return bytes([(0x80 if final else 0) | opcode]) + size + key + body


class WebSocket:
    """A stream that was granted; windows are given back as bytes come."""

    def __init__(self, c, stream, **more):
        self.c, self.stream, self.buffer, self.ended = c, stream, b"", False
        self.owed = 0
        self.peers = c.__dict__.setdefault("sockets", {})
        self.peers[stream] = self
        connect(c, stream, **more)
        assert status(c, stream) == "200"

    def send(self, data, end=False):
        """In DATA of 16 KiB; the cases send no more than the window lets."""
        pieces = [data[i:i + 16384] for i in range(0, len(data), 16384)] or [b""]
        for i, piece in enumerate(pieces):
            self.c.frame(DATA, END_STREAM if end and i == len(pieces) - 1 else 0, self.stream,
                         piece)

    def more(self):
        """Reads until something has come on this stream; what comes on others is theirs."""
        while True:
            found = self.c.read_until(lambda f: f.kind in (DATA, RST_STREAM))
            peer = self.peers[found.stream]
            assert found.kind == DATA, found
            peer.buffer += found.payload
            peer.ended = bool(found.flags & END_STREAM)
            if found.payload:
                update = struct.pack(">I", len(found.payload))
                self.c.frame(WINDOW_UPDATE, 0, 0, update)
                # Of a stream that waits nothing is given back, so that it goes on waiting.
                if peer is self:
                    self.c.frame(WINDOW_UPDATE, 0, found.stream, update)
                else:
                    peer.owed += len(found.payload)
            if peer is self:
                return

    def take(self, count):
        if self.owed:
            self.c.frame(WINDOW_UPDATE, 0, self.stream, struct.pack(">I", self.owed))
            self.owed = 0
        while len(self.buffer) < count:
            assert not self.ended, self.buffer
            self.more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def frame(self):
        """The next frame of the server: opcode and payload."""
        first, size = self.take(2)
        assert first & 0xF0 == 0x80 and size < 128, (first, size)
        if size == 126:
            size = struct.unpack(">H", self.take(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.take(8))[0]
        return first & 15, self.take(size)

    def expect_end(self):
        while not self.ended:
            self.more()
        assert not self.buffer, self.buffer


def echo(address):
    c = Connection(address)
    is_open(c)
    ws = [WebSocket(c, 1), WebSocket(c, 3, more=[("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")])]
    for w in ws:
        w.send(masked(TEXT, b"hello"))
    for w in reversed(ws):
        assert w.frame() == (TEXT, b"hello")
    # Byte by byte, in fragments, with a ping between them.
    message = masked(BINARY, b"ab", final=False) + masked(PING, b"hi") + masked(0, b"cd")
    for byte in message:
        ws[0].send(bytes([byte]))
    assert ws[0].frame() == (PONG, b"hi")
    assert ws[0].frame() == (BINARY, b"abcd")
    # Several at once; they are answered in order.
    ws[1].send(b"".join(masked(BINARY, bytes([i]) * i) for i in range(50)))
    for i in range(50):
        assert ws[1].frame() == (BINARY, bytes([i]) * i)
    c.expect_alive()


def windows(address):
    """What is not read holds up its own stream alone; what is unread by the workload is bounded."""
    c = Connection(address, settings=[(INITIAL_WINDOW_SIZE, 10)])
    ws, other = WebSocket(c, 1), WebSocket(c, 3)
    ws.send(masked(BINARY, b"x" * 1000))
    other.send(masked(TEXT, b"y"))
    assert other.frame() == (TEXT, b"y")
    # 990 bytes wait, so nothing further is looked at: of the window of 65535 no more comes back.
    ws.send(masked(BINARY, b"z" * 20000))
    assert ws.frame() == (BINARY, b"x" * 1000)
    assert ws.frame() == (BINARY, b"z" * 20000)
    ws.send(masked(CLOSE, b"\x03\xe8"), end=True)
    assert ws.frame() == (CLOSE, b"\x03\xe8")
    ws.expect_end()


def close(address):
    c = Connection(address)
    for stream, payload in ((1, b""), (3, b"\x03\xe9bye"), (5, b"\x0f\xa0")):
        ws = WebSocket(c, stream)
        ws.send(masked(CLOSE, payload) + masked(TEXT, b"never looked at"))
        assert ws.frame() == (CLOSE, payload[:2])
        ws.expect_end()
        if stream == 5:
            # Who does not end is not waited for.
            assert c.read_until(lambda f: f.stream == 5 and f.kind == RST_STREAM).code == NO_ERROR
        else:
            ws.send(b"", end=True)
    c.expect_alive()


def breaches(address):
    c = Connection(address)
    cases = [(b"\x81\x02hi", 1002), (masked(3), 1002), (masked(PING, b"", final=False), 1002),
             (masked(TEXT, b"\xff"), 1007), (masked(CLOSE, b"\x03"), 1002),
             (b"\x82\xff" + struct.pack(">Q", (1 << 20) + 1) + KEY, 1009)]
    for i, (data, code) in enumerate(cases):
        ws = WebSocket(c, 2 * i + 1)
        ws.send(data)
        assert ws.frame() == (CLOSE, struct.pack(">H", code)), code
        ws.expect_end()
        ws.send(b"", end=True)
    c.expect_alive()


def half_close(address):
    """What was asked before the end is answered, then the other side ends too."""
    c = Connection(address)
    ws = WebSocket(c, 1)
    ws.send(masked(TEXT, b"one") + masked(TEXT, b"two"), end=True)
    assert ws.frame() == (TEXT, b"one")
    assert ws.frame() == (TEXT, b"two")
    ws.expect_end()
    ws = WebSocket(c, 3)
    ws.send(masked(TEXT, b"whole") + b"\x81", end=True)
    assert ws.frame() == (TEXT, b"whole")
    ws.expect_end()
    ws = WebSocket(c, 5)
    ws.send(b"", end=True)
    ws.expect_end()
    c.expect_alive()


def refused(address):
    c = Connection(address)
    connect(c, 1, protocol="other")
    assert status(c, 1) == "501"
    c.request(3, end=False, fields=[
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/"),
        (":authority", "test"), ("sec-websocket-version", "8")])
    assert status(c, 3) == "400"
    c.request(5, end=False, fields=[(":method", "CONNECT"), (":authority", "test:1")])
    assert status(c, 5) == "501"
    c.request(7)
    c.expect_answer(7)


def resets(address):
    """Streams that go in the middle of all take nothing with them."""
    c = Connection(address)
    for i in range(300):
        stream = 2 * i + 1
        ws = WebSocket(c, stream)
        ws.send(masked(BINARY, b"x" * 200))
        if i % 2:
            assert ws.frame() == (BINARY, b"x" * 200)
        c.frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))
    c.expect_alive()


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](sys.argv[2])
    print("ok")
