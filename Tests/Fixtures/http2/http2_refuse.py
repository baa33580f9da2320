"""A server of HTTP/2 that refuses before it serves (RFC 9113, 6.8, 8.7).

    http2_refuse.py CASE PORT

CASE is what happens to the first request: `reset` (RST_STREAM with REFUSED_STREAM), `goaway` (GOAWAY
that names no stream, and the end of the connection), `twice` (the first two are reset). Prints
`ready`, then a line for each request: `refused PATH` or `served PATH BODY`.
"""

import socket
import sys
import threading

from http2_wire import *


class Peer(Connection):
    """The server's end of a connection, with the tools of a client's."""

    def __init__(self, peer):
        self.socket, self.buffer, self.log, self.settings = peer, b"", [], {}
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        if not self.fill(len(PREFACE)) or not self.buffer.startswith(PREFACE):
            raise Failure("no preface")
        self.buffer = self.buffer[len(PREFACE):]
        self.frame(SETTINGS, 0, 0)


class Server:
    def __init__(self, case, port):
        self.refusals, self.goes = (2 if case == "twice" else 1), case == "goaway"
        self.lock = threading.Lock()
        listener = socket.create_server(("127.0.0.1", port))
        print("ready", flush=True)
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=self.serve, args=(Peer(peer),), daemon=True).start()

    def serve(self, c):
        paths, bodies = {}, {}
        while (found := c.read()) is not None:
            if found.kind == SETTINGS and not found.flags & ACK and len(c.log) == 1:
                c.take_settings(found)
            if found.kind == HEADERS:
                path = paths[found.stream] = dict(found.fields)[":path"]
                bodies[found.stream] = b""
                with self.lock:
                    refuses, self.refusals = self.refusals > 0, max(0, self.refusals - 1)
                if refuses:
                    print(f"refused {path}", flush=True)
                    del paths[found.stream]
                    if self.goes:
                        c.frame(GOAWAY, 0, 0, struct.pack(">II", 0, NO_ERROR))
                    else:
                        c.frame(RST_STREAM, 0, found.stream, struct.pack(">I", REFUSED_STREAM))
            if found.kind == DATA and found.stream in paths:
                bodies[found.stream] += found.payload
            if found.kind in (DATA, HEADERS) and found.flags & END_STREAM and found.stream in paths:
                print(f"served {paths[found.stream]} {bodies[found.stream].decode()}", flush=True)
                c.frame(HEADERS, END_HEADERS, found.stream, c.block([(":status", "200")]))
                c.frame(DATA, END_STREAM, found.stream, b"hello\n")


if __name__ == "__main__":
    Server(sys.argv[1], int(sys.argv[2]))
