"""The cases of each frame's section (RFC 9113, 6), and of error codes (7)."""

from http2_cases import *


def refused(name, about, error, *frames, opens=False, stream=None):
    """A case: frames that end the connection, or the `stream` alone, with `error`.

    With `opens` they come on a stream 1 whose body has not ended.
    """
    def run(s):
        c = s.connect()
        if opens:
            c.request(1, end=False, method="POST", path="/slow")
        c.send(*(f(c) if callable(f) else f for f in frames))
        if stream:
            c.expect_error(stream, error)
        else:
            c.expect_goaway(error)
    CASES.append((name, about, run))


def head(flags, stream=1, before=b"", method="GET"):
    return lambda c: frame(HEADERS, flags, stream, before + c.block(c.fields(method=method)))


def more(flags, stream=1):
    return lambda c: frame(CONTINUATION, flags, stream, c.block([("x-more", "fields")]))


def padded(c):
    block = c.block(c.fields())
    return frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, bytes([len(block) + 1]) + block)


refused("http2/6.1/1", "DATA on stream 0", PROTOCOL_ERROR, frame(DATA, END_STREAM, 0, b"test"),
        opens=True)


@case("http2/6.1/2", "DATA on a stream that is not open")
def _(s):
    c = s.connect()
    c.request(1, path="/slow")
    c.frame(DATA, END_STREAM, 1, b"test")
    c.expect_error(1, STREAM_CLOSED)


refused("http2/6.1/3", "DATA with more padding than payload", PROTOCOL_ERROR,
        frame(DATA, END_STREAM | PADDED, 1, b"\x06test"), opens=True)
refused("http2/6.2/1", "HEADERS without END_HEADERS, then PRIORITY", PROTOCOL_ERROR,
        head(0), frame(PRIORITY, 0, 1, priority()))
refused("http2/6.2/2", "HEADERS without END_HEADERS, then HEADERS of another stream",
        PROTOCOL_ERROR, head(0), head(END_HEADERS, stream=3))
refused("http2/6.2/3", "HEADERS on stream 0", PROTOCOL_ERROR, head(END_HEADERS, stream=0))
refused("http2/6.2/4", "HEADERS with more padding than payload", PROTOCOL_ERROR, padded)
refused("http2/6.3/1", "PRIORITY on stream 0", PROTOCOL_ERROR, frame(PRIORITY, 0, 0, priority()))
refused("http2/6.3/2", "PRIORITY of another length than 5", FRAME_SIZE_ERROR,
        frame(PRIORITY, 0, 1, bytes(4)), opens=True, stream=1)
refused("http2/6.4/1", "RST_STREAM on stream 0", PROTOCOL_ERROR,
        frame(RST_STREAM, 0, 0, code(CANCEL)))
refused("http2/6.4/2", "RST_STREAM on an idle stream", PROTOCOL_ERROR,
        frame(RST_STREAM, 0, 1, code(CANCEL)))
refused("http2/6.4/3", "RST_STREAM of another length than 4", FRAME_SIZE_ERROR,
        frame(RST_STREAM, 0, 1, bytes(3)), opens=True)
refused("http2/6.5/1", "SETTINGS with ACK and a payload", FRAME_SIZE_ERROR,
        frame(SETTINGS, ACK, 0, bytes(1)))
refused("http2/6.5/2", "SETTINGS on a stream", PROTOCOL_ERROR,
        frame(SETTINGS, 0, 1, setting((MAX_CONCURRENT_STREAMS, 100))))
refused("http2/6.5/3", "SETTINGS of a length that is no multiple of 6", FRAME_SIZE_ERROR,
        frame(SETTINGS, 0, 0, bytes(3)))
refused("http2/6.5.2/1", "ENABLE_PUSH other than 0 and 1", PROTOCOL_ERROR,
        frame(SETTINGS, 0, 0, setting((ENABLE_PUSH, 2))))
refused("http2/6.5.2/2", "INITIAL_WINDOW_SIZE above 2^31-1", FLOW_CONTROL_ERROR,
        frame(SETTINGS, 0, 0, setting((INITIAL_WINDOW_SIZE, 1 << 31))))
refused("http2/6.5.2/3", "MAX_FRAME_SIZE below 2^14", PROTOCOL_ERROR,
        frame(SETTINGS, 0, 0, setting((MAX_FRAME_SIZE, 16383))))
refused("http2/6.5.2/4", "MAX_FRAME_SIZE above 2^24-1", PROTOCOL_ERROR,
        frame(SETTINGS, 0, 0, setting((MAX_FRAME_SIZE, 1 << 24))))


@case("http2/6.5.2/5", "a setting that nobody knows")
def _(s):
    c = s.connect()
    c.frame(SETTINGS, 0, 0, setting((0xff, 1)))
    c.read_until(lambda f: f.kind == SETTINGS and f.flags & ACK)
    c.expect_alive()


def expect_data(c, count):
    found = c.read_until(lambda f: f.kind == DATA and f.stream == 1)
    if len(found.payload) != count:
        raise Failure(f"{len(found.payload)} bytes came, where {count} were let")


@case("http2/6.5.3/1", "several values of INITIAL_WINDOW_SIZE: the last holds")
def _(s):
    c = s.connect()
    c.frame(SETTINGS, 0, 0, setting((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)))
    c.read_until(lambda f: f.kind == SETTINGS and f.flags & ACK)
    c.request(1)
    expect_data(c, 1)


@case("http2/6.5.3/2", "SETTINGS is acknowledged")
def _(s):
    c = s.connect()
    c.frame(SETTINGS, 0, 0)
    c.read_until(lambda f: f.kind == SETTINGS and f.flags & ACK)


@case("http2/6.7/1", "PING is answered with its payload")
def _(s):
    s.connect().expect_alive()


@case("http2/6.7/2", "PING with ACK is not answered")
def _(s):
    c = s.connect()
    c.frame(PING, ACK, 0, b"invalid!")
    c.expect_alive()
    if any(f.kind == PING and f.payload == b"invalid!" for f in c.log):
        raise Failure("an answer was answered")


refused("http2/6.7/3", "PING on a stream", PROTOCOL_ERROR, frame(PING, 0, 1, bytes(8)))
refused("http2/6.7/4", "PING of another length than 8", FRAME_SIZE_ERROR,
        frame(PING, 0, 0, bytes(6)))
refused("http2/6.8/1", "GOAWAY on a stream", PROTOCOL_ERROR, frame(GOAWAY, 0, 1, bytes(8)))
refused("http2/6.9/1", "WINDOW_UPDATE by 0 of the connection", PROTOCOL_ERROR,
        frame(WINDOW_UPDATE, 0, 0, increment(0)))
refused("http2/6.9/2", "WINDOW_UPDATE by 0 of a stream", PROTOCOL_ERROR,
        frame(WINDOW_UPDATE, 0, 1, increment(0)), opens=True, stream=1)
refused("http2/6.9/3", "WINDOW_UPDATE of another length than 4", FRAME_SIZE_ERROR,
        frame(WINDOW_UPDATE, 0, 0, bytes(3)))


@case("http2/6.9.1/1", "a window of 1 lets 1 byte through")
def _(s):
    c = s.connect(settings=[(INITIAL_WINDOW_SIZE, 1)])
    c.request(1)
    expect_data(c, 1)


refused("http2/6.9.1/2", "the connection's window beyond 2^31-1", FLOW_CONTROL_ERROR,
        *[frame(WINDOW_UPDATE, 0, 0, increment((1 << 31) - 1))] * 2)
refused("http2/6.9.1/3", "a stream's window beyond 2^31-1", FLOW_CONTROL_ERROR,
        *[frame(WINDOW_UPDATE, 0, 1, increment((1 << 31) - 1))] * 2, opens=True, stream=1)


@case("http2/6.9.2/1", "INITIAL_WINDOW_SIZE changes the windows of open streams")
def _(s):
    c = s.connect(settings=[(INITIAL_WINDOW_SIZE, 0)])
    c.request(1)
    c.read_until(lambda f: f.kind == HEADERS and f.stream == 1)
    c.frame(SETTINGS, 0, 0, setting((INITIAL_WINDOW_SIZE, 1)))
    expect_data(c, 1)


@case("http2/6.9.2/2", "a window may become negative")
def _(s):
    c = s.connect(settings=[(INITIAL_WINDOW_SIZE, 3)])
    c.request(1)
    expect_data(c, 3)
    c.frame(SETTINGS, 0, 0, setting((INITIAL_WINDOW_SIZE, 2)))
    c.read_until(lambda f: f.kind == SETTINGS and f.flags & ACK)
    c.frame(WINDOW_UPDATE, 0, 1, increment(2))
    expect_data(c, 1)


refused("http2/6.9.2/3", "INITIAL_WINDOW_SIZE beyond 2^31-1, with a stream open",
        FLOW_CONTROL_ERROR, frame(SETTINGS, 0, 0, setting((INITIAL_WINDOW_SIZE, 1 << 31))),
        opens=True)


@case("http2/6.10/1", "several CONTINUATION behind HEADERS")
def _(s):
    continued(s, 3)


refused("http2/6.10/2", "CONTINUATION without END_HEADERS, then DATA", PROTOCOL_ERROR,
        head(END_STREAM), more(0), frame(DATA, END_STREAM, 1, b"test"))
refused("http2/6.10/3", "CONTINUATION on stream 0", PROTOCOL_ERROR,
        head(END_STREAM), more(END_HEADERS, stream=0))
refused("http2/6.10/4", "CONTINUATION behind HEADERS with END_HEADERS", PROTOCOL_ERROR,
        more(END_HEADERS), opens=True)
refused("http2/6.10/5", "CONTINUATION behind CONTINUATION with END_HEADERS", PROTOCOL_ERROR,
        head(0, method="POST"), more(END_HEADERS), more(END_HEADERS))
refused("http2/6.10/6", "CONTINUATION behind DATA", PROTOCOL_ERROR,
        frame(DATA, 0, 1, b"test"), more(END_HEADERS), opens=True)


@case("http2/7/1", "GOAWAY with a code that nobody knows")
def _(s):
    c = s.connect()
    c.request(1)
    c.frame(GOAWAY, 0, 0, bytes(4) + code(0xff))
    c.expect_answer(1)


@case("http2/7/2", "RST_STREAM with a code that nobody knows")
def _(s):
    c = s.connect()
    c.request(1, end=False, method="POST")
    c.frame(RST_STREAM, 0, 1, code(0xff))
    c.expect_alive()
