"""An HTTP/2 client that says exactly what it is told to, right or wrong (RFC 9113).

Frames are made and read here, byte by byte; only header blocks are read by the package `hpack`.
"""

import socket
import struct

import hpack

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, \
    CONTINUATION = range(10)
NAMES = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY",
         "WINDOW_UPDATE", "CONTINUATION"]
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, \
    FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, \
    INADEQUATE_SECURITY, HTTP_1_1_REQUIRED = range(14)
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, \
    MAX_HEADER_LIST_SIZE = range(1, 7)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENCE = 10.0


class Failure(Exception):
    """The server did something else than it may."""


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload

    @property
    def code(self):
        """Of RST_STREAM and GOAWAY."""
        start = 4 if self.kind == GOAWAY else 0
        return struct.unpack(">I", self.payload[start:start + 4])[0]

    def __repr__(self):
        name = NAMES[self.kind] if self.kind < len(NAMES) else str(self.kind)
        code = f" code {self.code}" if self.kind in (RST_STREAM, GOAWAY) else ""
        return f"{name} stream {self.stream} flags {self.flags} length {len(self.payload)}{code}"


def frame(kind, flags, stream, payload=b"", length=None):
    """A frame's bytes; `length` is what its header says, by default the truth."""
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def setting(*pairs):
    return b"".join(struct.pack(">HI", key, value) for key, value in pairs)


def string(text, huffman=False):
    """A string literal of HPACK (RFC 7541, 5.2), shorter than 127 bytes."""
    text = text.encode() if isinstance(text, str) else text
    if huffman:
        text = hpack.huffman.HuffmanEncoder(
            hpack.huffman_constants.REQUEST_CODES,
            hpack.huffman_constants.REQUEST_CODES_LENGTH).encode(text)
    assert len(text) < 127
    return bytes([len(text) | (0x80 if huffman else 0)]) + text


class Connection:
    """One connection to the server under test."""

    def __init__(self, address, preface=True, settings=(), handshake=True):
        host, _, port = address.rpartition(":")
        self.address = address
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.settings = {}
        self.log = []
        if preface:
            self.send(PREFACE + frame(SETTINGS, 0, 0, setting(*settings)))
        if preface and handshake:
            first = self.read()
            if first is None or first.kind != SETTINGS or first.flags & ACK:
                raise Failure(f"the server began with {first}")
            self.take_settings(first)
            self.read_until(lambda f: f.kind == SETTINGS and f.flags & ACK)

    def close(self):
        self.socket.close()

    # Sending

    def send(self, *parts):
        try:
            self.socket.sendall(b"".join(parts))
        except (BrokenPipeError, ConnectionResetError):
            pass  # What it says of this is still to be read.

    def frame(self, *arguments, **named):
        self.send(frame(*arguments, **named))

    def fields(self, method="GET", path="/", more=(), authority="test", scheme="http"):
        return [(":method", method), (":scheme", scheme), (":path", path),
                (":authority", authority)] + list(more)

    def block(self, fields):
        return self.encoder.encode(fields)

    def request(self, stream, end=True, fields=None, **named):
        block = self.block(self.fields(**named) if fields is None else fields)
        self.frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)

    # Receiving

    def take_settings(self, frame_):
        for start in range(0, len(frame_.payload), 6):
            key, value = struct.unpack(">HI", frame_.payload[start:start + 6])
            self.settings[key] = value
        self.frame(SETTINGS, ACK, 0)

    def fill(self, count):
        while len(self.buffer) < count:
            try:
                piece = self.socket.recv(65536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                return False
            self.buffer += piece
        return True

    def read(self):
        """The next frame; None: the server has closed the connection."""
        if not self.fill(9):
            return None
        length = int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
        if length > 16384:
            raise Failure(f"a frame of {length} bytes was never agreed upon")
        if not self.fill(9 + length):
            return None
        payload, self.buffer = self.buffer[9:9 + length], self.buffer[9 + length:]
        found = Frame(kind, flags, stream, payload)
        self.log.append(found)
        if kind == HEADERS:
            # Blocks are read in order, or the table would not agree.
            found.fields = self.decoder.decode(payload)
        if kind == SETTINGS and not flags & ACK and len(self.log) > 1:
            self.take_settings(found)
        return found

    def read_until(self, wanted):
        """Reads up to the first frame that `wanted` accepts."""
        while True:
            found = self.read()
            if found is None:
                raise Failure(f"the connection was closed; {self.said()}")
            if wanted(found):
                return found

    def said(self):
        return "the server said " + (", ".join(map(repr, self.log[-6:])) or "nothing")

    # What the server may do

    def expect_goaway(self, *codes, close_suffices=False):
        """A connection error (RFC 9113, 5.4.1): GOAWAY, then the end of the connection."""
        told = None
        while (found := self.read()) is not None:
            if found.kind == GOAWAY and found.code != NO_ERROR:
                told = found
        if told is None and not close_suffices:
            raise Failure(f"closed without GOAWAY; {self.said()}")
        if told is not None and codes and told.code not in codes:
            raise Failure(f"GOAWAY {told.code} is none of {codes}; {self.said()}")

    def expect_error(self, stream, *codes):
        """A stream error (5.4.2), which a server may also treat as one of the connection."""
        while (found := self.read()) is not None:
            if found.kind == RST_STREAM and found.stream == stream or found.kind == GOAWAY:
                if found.code not in codes:
                    raise Failure(f"{found!r}: code is none of {codes}")
                return
        raise Failure(f"closed without a reason; {self.said()}")

    def expect_reset(self, stream, *codes):
        """A stream error that leaves the connection as it is."""
        found = self.read_until(
            lambda f: f.kind == GOAWAY or f.kind == RST_STREAM and f.stream == stream)
        if found.kind != RST_STREAM or found.code not in codes:
            raise Failure(f"{found!r}, wanted a reset with one of {codes}")
        self.expect_alive()

    def expect_answer(self, stream, status="200"):
        """The whole answer: its status, fields, body and trailers."""
        head, body, trailers = None, b"", None
        while True:
            found = self.read_until(lambda f: f.stream == stream or f.kind == GOAWAY)
            if found.kind in (RST_STREAM, GOAWAY):
                raise Failure(f"{found!r} instead of an answer")
            if found.kind == HEADERS:
                if head is None or head[":status"].startswith("1"):
                    head = dict(found.fields)
                else:
                    trailers = dict(found.fields)
            elif found.kind == DATA:
                body += found.payload
            if found.flags & END_STREAM and found.kind in (DATA, HEADERS):
                break
        if status is not None and head[":status"] != status:
            raise Failure(f"status {head[':status']}, wanted {status}: {body!r}")
        return head, body, trailers

    def expect_alive(self):
        """The connection goes on: a PING is answered."""
        self.frame(PING, 0, 0, b"alive?!?")
        found = self.read_until(
            lambda f: f.kind == GOAWAY or f.kind == PING and f.flags & ACK
            and f.payload == b"alive?!?")
        if found.kind == GOAWAY:
            raise Failure(f"{found!r}: the connection does not go on")

    def expect_ignored_or_error(self, stream, *codes):
        """What RFC 9113 lets a server take as an error or pass over."""
        self.frame(PING, 0, 0, b"alive?!?")
        while (found := self.read()) is not None:
            if found.kind == PING and found.flags & ACK:
                return
            if found.kind == GOAWAY or found.kind == RST_STREAM and found.stream == stream:
                if found.code not in codes:
                    raise Failure(f"{found!r}: code is none of {codes}")
                return
        raise Failure(f"closed without a reason; {self.said()}")
