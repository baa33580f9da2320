"""The two ends of the benchmark `tcp`: one writes blocks as fast as they are taken, one reads.

    python3 stream.py sink                                  prints its port, reads for ever
    python3 stream.py send PORT CONNECTIONS BLOCK SECONDS   prints how many bytes were taken
"""
import selectors
import socket
import sys
import time

READ = 256 * 1024


def sink():
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    buffer = bytearray(READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is listener:
                ready.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            try:
                count = key.fileobj.recv_into(buffer)
            except ConnectionError:
                count = 0
            if count == 0:
                ready.unregister(key.fileobj)
                key.fileobj.close()


def send(port, connections, block, seconds):
    data = memoryview(bytes(block))
    ready = selectors.DefaultSelector()
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.setblocking(False)
        ready.register(client, selectors.EVENT_WRITE)
    # A block that is taken in part goes on where it stopped.
    places = {key.fd: 0 for key in ready.get_map().values()}
    total = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for key, _ in ready.select(0.1):
            try:
                count = key.fileobj.send(data[places[key.fd]:])
            except BlockingIOError:
                continue
            places[key.fd] = (places[key.fd] + count) % block
            total += count
    print(total)


if sys.argv[1] == "sink":
    sink()
else:
    send(*map(int, sys.argv[2:6]))
