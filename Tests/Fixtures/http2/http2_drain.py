"""Asks without a pause until the server says that it goes, and holds it to what it has let in.

    http2_drain.py ADDRESS

Prints `ready` when answers flow, and at the end how many requests were answered.
"""

import struct
import sys

from http2_wire import *


def main():
    c = Connection(sys.argv[1])
    c.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)))
    next_, answered, last, sent = 1, set(), None, []
    while True:
        while last is None and len(sent) - len(answered) < 32:
            c.request(next_)
            sent.append(next_)
            next_ += 2
        found = c.read()
        if found is None:
            break
        if found.kind == GOAWAY:
            if found.code != NO_ERROR:
                raise Failure(repr(found))
            last = struct.unpack(">I", found.payload[:4])[0]
        if found.kind == PING and not found.flags & ACK:
            c.frame(PING, ACK, 0, found.payload)
        if found.kind == RST_STREAM:
            raise Failure(repr(found))
        if found.kind in (DATA, HEADERS) and found.flags & END_STREAM:
            answered.add(found.stream)
            if len(answered) == 100:
                print("ready", flush=True)
    lost = [s for s in sent if s not in answered]
    if last is None:
        raise Failure("the connection ended without GOAWAY")
    if lost:
        raise Failure(f"{len(lost)} of {len(sent)} requests were lost; last was {last}")
    print(f"{len(answered)} answered", flush=True)


if __name__ == "__main__":
    main()
