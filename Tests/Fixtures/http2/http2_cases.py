"""The cases of ordinary use, and of starting, framing and streams (RFC 9113, 3 to 5)."""

import struct

from http2_wire import *

CASES = []


def case(name, about):
    def add(function):
        CASES.append((name, about, function))
        return function
    return add


class Script:
    """What a case has at hand: connections, which are closed behind it."""

    def __init__(self, address):
        self.address, self.open = address, []

    def connect(self, **named):
        connection = Connection(self.address, **named)
        self.open.append(connection)
        return connection

    def close(self):
        for connection in self.open:
            connection.close()


def priority(dependency=0, weight=255, exclusive=False):
    return struct.pack(">IB", dependency | (0x80000000 if exclusive else 0), weight)


def increment(count):
    return struct.pack(">I", count)


def code(number):
    return struct.pack(">I", number)


# MARK: generic

@case("generic/1/1", "a client's connection preface")
def _(s):
    s.connect().expect_alive()


@case("generic/2/1", "PRIORITY on an idle stream")
def _(s):
    c = s.connect()
    c.frame(PRIORITY, 0, 1, priority())
    c.request(1)
    c.expect_answer(1)


@case("generic/2/2", "WINDOW_UPDATE on a half-closed (remote) stream")
def _(s):
    c = s.connect(settings=[(INITIAL_WINDOW_SIZE, 0)])
    c.request(1)
    c.frame(WINDOW_UPDATE, 0, 1, increment(100_000))
    c.expect_answer(1)


@case("generic/2/3", "PRIORITY on a half-closed (remote) stream")
def _(s):
    c = s.connect(settings=[(INITIAL_WINDOW_SIZE, 0)])
    c.request(1)
    c.frame(PRIORITY, 0, 1, priority())
    c.frame(WINDOW_UPDATE, 0, 1, increment(100_000))
    c.expect_answer(1)


@case("generic/2/4", "RST_STREAM on a half-closed (remote) stream")
def _(s):
    c = s.connect()
    c.request(1, path="/slow")
    c.frame(RST_STREAM, 0, 1, code(CANCEL))
    c.expect_alive()


@case("generic/2/5", "PRIORITY on a closed stream")
def _(s):
    c = s.connect()
    c.request(1)
    c.expect_answer(1)
    c.frame(PRIORITY, 0, 1, priority())
    c.expect_alive()
    c.request(3)
    c.expect_answer(3)


@case("generic/3.1/1", "a DATA frame")
def _(s):
    c = s.connect()
    c.request(1, end=False, method="POST")
    c.frame(DATA, END_STREAM, 1, b"test")
    c.expect_answer(1)


@case("generic/3.1/2", "several DATA frames")
def _(s):
    c = s.connect()
    c.request(1, end=False, method="POST")
    c.frame(DATA, 0, 1, b"test")
    c.frame(DATA, END_STREAM, 1, b"test")
    c.expect_answer(1)


@case("generic/3.1/3", "a DATA frame with padding")
def _(s):
    c = s.connect()
    c.request(1, end=False, method="POST")
    c.frame(DATA, END_STREAM | PADDED, 1, b"\x06test" + bytes(6))
    c.expect_answer(1)


@case("generic/3.2/1", "a HEADERS frame")
def _(s):
    c = s.connect()
    c.request(1)
    c.expect_answer(1)


@case("generic/3.2/2", "a HEADERS frame with padding")
def _(s):
    c = s.connect()
    block = c.block(c.fields())
    c.frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\x06" + block + bytes(6))
    c.expect_answer(1)


@case("generic/3.2/3", "a HEADERS frame with a priority")
def _(s):
    c = s.connect()
    block = c.block(c.fields())
    c.frame(HEADERS, END_STREAM | END_HEADERS | PRIORITIZED, 1, priority() + block)
    c.expect_answer(1)


def prioritized(s, payload):
    c = s.connect()
    c.frame(PRIORITY, 0, 1, payload)
    c.request(1)
    c.expect_answer(1)


@case("generic/3.3/1", "PRIORITY of weight 1")
def _(s):
    prioritized(s, priority(weight=0))


@case("generic/3.3/2", "PRIORITY of weight 256")
def _(s):
    prioritized(s, priority(weight=255))


@case("generic/3.3/3", "PRIORITY with a stream it depends on")
def _(s):
    prioritized(s, priority(dependency=5))


@case("generic/3.3/4", "PRIORITY, exclusive")
def _(s):
    prioritized(s, priority(dependency=5, exclusive=True))


@case("generic/3.3/5", "PRIORITY of an idle stream, then HEADERS on a lower one")
def _(s):
    c = s.connect()
    c.frame(PRIORITY, 0, 5, priority())
    c.request(3)
    c.expect_answer(3)


@case("generic/3.4/1", "RST_STREAM")
def _(s):
    c = s.connect()
    c.request(1, end=False, method="POST")
    c.frame(RST_STREAM, 0, 1, code(CANCEL))
    c.expect_alive()


@case("generic/3.5/1", "SETTINGS")
def _(s):
    c = s.connect()
    c.frame(SETTINGS, 0, 0, setting((MAX_CONCURRENT_STREAMS, 100)))
    c.read_until(lambda f: f.kind == SETTINGS and f.flags & ACK)


@case("generic/3.7/1", "PING")
def _(s):
    s.connect().expect_alive()


@case("generic/3.8/1", "GOAWAY: requests that are open are answered, then the end comes")
def _(s):
    c = s.connect()
    c.request(1)
    c.frame(GOAWAY, 0, 0, bytes(4) + code(NO_ERROR))
    c.expect_answer(1)


@case("generic/3.9/1", "WINDOW_UPDATE of the connection")
def _(s):
    c = s.connect()
    c.frame(WINDOW_UPDATE, 0, 0, increment(1))
    c.request(1)
    c.expect_answer(1)


@case("generic/3.9/2", "WINDOW_UPDATE of a stream")
def _(s):
    c = s.connect()
    c.request(1, end=False, method="POST")
    c.frame(WINDOW_UPDATE, 0, 1, increment(1))
    c.frame(DATA, END_STREAM, 1, b"test")
    c.expect_answer(1)


def continued(s, pieces):
    c = s.connect()
    block = c.block(c.fields(more=[(f"x-{i}", "dummy") for i in range(20)]))
    size = len(block) // (pieces + 1) + 1
    parts = [block[i:i + size] for i in range(0, len(block), size)]
    c.frame(HEADERS, END_STREAM, 1, parts[0])
    for i, part in enumerate(parts[1:]):
        last = i == len(parts) - 2
        c.frame(CONTINUATION, END_HEADERS if last else 0, 1, part)
    c.expect_answer(1)


@case("generic/3.10/1", "CONTINUATION")
def _(s):
    continued(s, 1)


@case("generic/3.10/2", "several CONTINUATION")
def _(s):
    continued(s, 4)


@case("generic/4/1", "GET")
def _(s):
    c = s.connect()
    c.request(1)
    if not c.expect_answer(1)[1]:
        raise Failure("an answer without its body")


@case("generic/4/2", "HEAD")
def _(s):
    c = s.connect()
    c.request(1, method="HEAD")
    if c.expect_answer(1)[1]:
        raise Failure("a body behind HEAD")


@case("generic/4/3", "POST")
def _(s):
    c = s.connect()
    c.request(1, end=False, method="POST")
    c.frame(DATA, END_STREAM, 1, b"test")
    c.expect_answer(1)


@case("generic/4/4", "POST with trailers")
def _(s):
    c = s.connect()
    c.request(1, end=False, method="POST", more=[("trailer", "x-test")])
    c.frame(DATA, 0, 1, b"test")
    c.frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block([("x-test", "ok")]))
    c.expect_answer(1)


def literal(s, block):
    c = s.connect()
    c.frame(HEADERS, END_STREAM | END_HEADERS, 1, c.block(c.fields()) + block)
    c.expect_answer(1)


@case("generic/5/1", "an indexed field")
def _(s):
    c = s.connect()
    # :method GET, :scheme http, :path /, and :authority as a literal.
    c.frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x82\x86\x84\x41" + string("test"))
    c.expect_answer(1)


# The prefix for an indexed name (user-agent, 58) and for a new one, each representation's.
REPRESENTATIONS = [("with incremental indexing", b"\x7a", b"\x40"),
                   ("without indexing", b"\x0f\x2b", b"\x00"),
                   ("never indexed", b"\x1f\x2b", b"\x10")]
for number, (about, indexed, named) in enumerate(REPRESENTATIONS):
    for offset, (huffman, prefix) in enumerate(
            [(False, indexed), (True, indexed), (False, named), (True, named)]):
        name = b"" if prefix == indexed else string("x-test", huffman)
        block = prefix + name + string("h2", huffman)
        text = f"a literal {about}, {'indexed' if prefix == indexed else 'new'} name" \
            + (", Huffman" if huffman else "")
        case(f"generic/5/{2 + number * 4 + offset}", text)(lambda s, b=block: literal(s, b))


@case("generic/5/14", "a table size update")
def _(s):
    c = s.connect()
    c.frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x2a" + c.block(c.fields()))
    c.expect_answer(1)


@case("generic/5/15", "two table size updates")
def _(s):
    c = s.connect()
    c.frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x20\x3f\xe1\x1f" + c.block(c.fields()))
    c.expect_answer(1)


# MARK: http2, 3 and 4

@case("http2/3.5/1", "a client's connection preface is answered with SETTINGS first")
def _(s):
    c = s.connect(handshake=False)
    first = c.read()
    if first.kind != SETTINGS or first.flags & ACK:
        raise Failure(f"{first!r} came first")


@case("http2/3.5/2", "an invalid connection preface")
def _(s):
    c = s.connect(preface=False)
    c.send(PREFACE.replace(b"SM", b"XX") + frame(SETTINGS, 0, 0))
    c.expect_goaway(PROTOCOL_ERROR, close_suffices=True)


@case("http2/4.1/1", "a frame of unknown type")
def _(s):
    c = s.connect()
    c.frame(22, 0, 0, bytes(8))
    c.expect_alive()


@case("http2/4.1/2", "a frame with an undefined flag")
def _(s):
    c = s.connect()
    c.frame(PING, 0x16, 0, b"anything")
    c.read_until(lambda f: f.kind == PING and f.flags & ACK and f.payload == b"anything")


@case("http2/4.1/3", "a frame with the reserved bit")
def _(s):
    c = s.connect()
    c.frame(PING, 0, 0x80000000, b"anything")
    c.read_until(lambda f: f.kind == PING and f.flags & ACK and f.payload == b"anything")


@case("http2/4.2/1", "a DATA frame of 2^14 bytes")
def _(s):
    c = s.connect()
    c.request(1, end=False, method="POST")
    c.frame(DATA, END_STREAM, 1, bytes(16384))
    c.expect_answer(1)


@case("http2/4.2/2", "a DATA frame beyond SETTINGS_MAX_FRAME_SIZE")
def _(s):
    c = s.connect()
    c.request(1, end=False, method="POST")
    c.frame(DATA, END_STREAM, 1, bytes(16385))
    c.expect_error(1, FRAME_SIZE_ERROR)


@case("http2/4.2/3", "a HEADERS frame beyond SETTINGS_MAX_FRAME_SIZE")
def _(s):
    c = s.connect()
    block = b"".join(b"\x00" + string(f"x-{i:04}") + string(b"x" * 100) for i in range(200))
    c.frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block(c.fields()) + block)
    c.expect_goaway(FRAME_SIZE_ERROR)


@case("http2/4.3/1", "an invalid header block")
def _(s):
    c = s.connect()
    # A literal whose name is longer than the block.
    c.frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x7f\x00\x00")
    c.expect_goaway(COMPRESSION_ERROR)


@case("http2/4.3/2", "PRIORITY within a header block")
def _(s):
    c = s.connect()
    c.frame(HEADERS, END_STREAM, 1, c.block(c.fields()))
    c.frame(PRIORITY, 0, 1, priority())
    c.expect_goaway(PROTOCOL_ERROR)


@case("http2/4.3/3", "HEADERS of another stream within a header block")
def _(s):
    c = s.connect()
    c.frame(HEADERS, END_STREAM, 1, c.block(c.fields()))
    c.request(3)
    c.expect_goaway(PROTOCOL_ERROR)


# MARK: http2, 5

@case("http2/5.1/1", "idle: DATA")
def _(s):
    c = s.connect()
    c.frame(DATA, END_STREAM, 1, b"test")
    c.expect_goaway(PROTOCOL_ERROR, STREAM_CLOSED)


@case("http2/5.1/2", "idle: RST_STREAM")
def _(s):
    c = s.connect()
    c.frame(RST_STREAM, 0, 1, code(CANCEL))
    c.expect_goaway(PROTOCOL_ERROR)


@case("http2/5.1/3", "idle: WINDOW_UPDATE")
def _(s):
    c = s.connect()
    c.frame(WINDOW_UPDATE, 0, 1, increment(100))
    c.expect_goaway(PROTOCOL_ERROR)


@case("http2/5.1/4", "idle: CONTINUATION")
def _(s):
    c = s.connect()
    c.frame(CONTINUATION, END_HEADERS, 1, c.block(c.fields()))
    c.expect_goaway(PROTOCOL_ERROR)


@case("http2/5.1/5", "half-closed (remote): DATA")
def _(s):
    c = s.connect()
    c.request(1, path="/slow")
    c.frame(DATA, END_STREAM, 1, b"test")
    c.expect_error(1, STREAM_CLOSED)


@case("http2/5.1/6", "half-closed (remote): HEADERS")
def _(s):
    c = s.connect()
    c.request(1, path="/slow")
    c.request(1)
    c.expect_error(1, STREAM_CLOSED)


@case("http2/5.1/7", "half-closed (remote): CONTINUATION")
def _(s):
    c = s.connect()
    c.request(1, path="/slow")
    c.frame(CONTINUATION, END_HEADERS, 1, c.block(c.fields()))
    c.expect_goaway(PROTOCOL_ERROR)


def reset(s):
    c = s.connect()
    c.request(1, end=False, method="POST", path="/slow")
    c.frame(RST_STREAM, 0, 1, code(CANCEL))
    return c


@case("http2/5.1/8", "closed by RST_STREAM: DATA")
def _(s):
    c = reset(s)
    c.frame(DATA, END_STREAM, 1, b"test")
    c.expect_ignored_or_error(1, STREAM_CLOSED)


@case("http2/5.1/9", "closed by RST_STREAM: HEADERS")
def _(s):
    c = reset(s)
    c.request(1)
    c.expect_ignored_or_error(1, STREAM_CLOSED, PROTOCOL_ERROR)


@case("http2/5.1/10", "closed by RST_STREAM: CONTINUATION")
def _(s):
    c = reset(s)
    c.frame(CONTINUATION, END_HEADERS, 1, b"\x00\x01x\x01x")
    c.expect_goaway(STREAM_CLOSED, PROTOCOL_ERROR)


def finished(s):
    c = s.connect()
    c.request(1)
    c.expect_answer(1)
    return c


@case("http2/5.1/11", "closed: DATA")
def _(s):
    c = finished(s)
    c.frame(DATA, END_STREAM, 1, b"test")
    c.expect_ignored_or_error(1, STREAM_CLOSED)


@case("http2/5.1/12", "closed: HEADERS")
def _(s):
    # Of RFC 9113, 5.1, "an endpoint can perform this minimal processing for all streams that are in
    # the closed state"; RFC 7540 had an error.
    c = finished(s)
    c.request(1)
    c.expect_ignored_or_error(1, STREAM_CLOSED, PROTOCOL_ERROR)


@case("http2/5.1/13", "closed: CONTINUATION")
def _(s):
    c = finished(s)
    c.frame(CONTINUATION, END_HEADERS, 1, b"\x00\x01x\x01x")
    c.expect_goaway(STREAM_CLOSED, PROTOCOL_ERROR)


@case("http2/5.1.1/1", "a stream with an even number")
def _(s):
    c = s.connect()
    c.request(2)
    c.expect_goaway(PROTOCOL_ERROR)


@case("http2/5.1.1/2", "a stream with a number lower than one before")
def _(s):
    c = s.connect()
    c.request(5)
    c.request(3)
    c.expect_goaway(PROTOCOL_ERROR, STREAM_CLOSED)


@case("http2/5.1.2/1", "more streams than SETTINGS_MAX_CONCURRENT_STREAMS")
def _(s):
    c = s.connect()
    limit = c.settings[MAX_CONCURRENT_STREAMS]
    for i in range(limit + 1):
        c.request(2 * i + 1, path="/slow")
    c.expect_error(2 * limit + 1, PROTOCOL_ERROR, REFUSED_STREAM)


# RFC 9113, 5.3.2, has no priorities any more, and so no such error; RFC 7540's server had one.

@case("http2/5.3.1/1", "HEADERS that depends on itself")
def _(s):
    c = s.connect()
    block = c.block(c.fields())
    c.frame(HEADERS, END_STREAM | END_HEADERS | PRIORITIZED, 1, priority(dependency=1) + block)
    c.expect_ignored_or_error(1, PROTOCOL_ERROR)


@case("http2/5.3.1/2", "PRIORITY that depends on itself")
def _(s):
    c = s.connect()
    c.frame(PRIORITY, 0, 2, priority(dependency=2))
    c.expect_ignored_or_error(2, PROTOCOL_ERROR)


@case("http2/5.4.1/1", "a connection error closes the connection")
def _(s):
    c = s.connect()
    c.frame(PING, 0, 3, bytes(8))
    c.expect_goaway(PROTOCOL_ERROR)


@case("http2/5.4.1/2", "a connection error is told with the last stream")
def _(s):
    c = s.connect()
    c.request(1)
    c.expect_answer(1)
    c.frame(PING, 0, 3, bytes(8))
    found = c.read_until(lambda f: f.kind == GOAWAY)
    if struct.unpack(">I", found.payload[:4])[0] != 1:
        raise Failure("GOAWAY does not name stream 1")


@case("http2/5.5/1", "a frame of an unknown extension")
def _(s):
    c = s.connect()
    c.frame(0xff, 0, 1, bytes(8))
    c.expect_alive()


@case("http2/5.5/2", "a frame of an unknown extension within a header block")
def _(s):
    c = s.connect()
    c.frame(HEADERS, END_STREAM, 1, c.block(c.fields()))
    c.frame(0xff, 0, 1, bytes(8))
    c.expect_goaway(PROTOCOL_ERROR)
