"""One hop from HTTP/2: to HTTP/1.1 and to HTTP/2, idle connections, and streams by the thousand.

Every round lets h2load run a closed loop through every proxy, in random order. CPU is what the
kernel charged to the proxy while it ran, over the number of requests. Ratios are formed within a
round. nginx has no HTTP/2 towards its backend. An idle connection is one whose settings were
exchanged; ten thousand streams are 100 on each of 100 connections, open at once.
"""
import json
import random
import re
import socket
import time

from . import options, peers
from .figures import Figure, at_least, at_most, quiet, ratios, show, write_json
from .processes import (Failure, Workplace, cpu_nanoseconds, free_port, memory_bytes,
                        raise_descriptor_limit)

NGINX = """\
upstream backend {
        server 127.0.0.1:$upstream;
        keepalive 256; keepalive_requests 1000000000; keepalive_timeout 3600s;
    }
    server {
        listen 127.0.0.1:$listen http2 backlog=4096;
        http2_max_concurrent_streams 128;
        location / {
            proxy_pass http://backend; proxy_http_version 1.1;
            proxy_set_header Connection ""; proxy_max_temp_file_size 0;
        }
    }"""

BACKEND = """\
server {
        listen 127.0.0.1:$plain backlog=4096;
        location / { return 200 "$answer"; }
    }
    server {
        listen 127.0.0.1:$http2 http2 backlog=4096;
        http2_max_concurrent_streams 128;
        location / { return 200 "$answer"; }
    }"""

TARGETS = {"cpu": at_most(1), "throughput": at_least(1)}  # docs/PERFORMANCE.md
IDLE_LIMIT = at_most(40)
# A SETTINGS frame of its own and the acknowledgement of the server's, behind the preface (RFC 9113,
# 3.4).
HELLO = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\0\4\1\0\0\0\0")


def add_arguments(parser):
    options.add_rounds(parser, rounds=7, seconds=2)
    parser.add_argument("--idle", type=options.whole(1, 10000), default=9000, metavar="N",
                        help="connections that do nothing (9000)")


def run(o):
    order = random.Random(o.seed)
    print(f"One hop from HTTP/2, h2load -c 8 -m 32, {o.rounds} rounds of {o.seconds} s for each "
          f"proxy, seed {o.seed}. Ratios: meshbench over the other.")
    figures, everything = [], {}
    with Workplace() as workplace:
        plain, http2 = start_backend(workplace)
        kinds = {"to HTTP/1.1": (plain, "http1", ["meshbench", "nginx", "haproxy"]),
                 "to HTTP/2": (http2, "http2", ["meshbench", "haproxy"])}
        for title, (upstream, protocol, names) in kinds.items():
            arms = {name: STARTS[name](workplace, upstream, protocol) for name in names}
            rows = {name: [] for name in names}
            for number in range(o.rounds):
                with quiet(o.lock):
                    for name in order.sample(names, len(names)):
                        if number == 0:
                            measure(workplace, *arms[name], 1)
                        rows[name].append(measure(workplace, *arms[name], o.seconds))
            figures += compare(title, rows)
            everything[title] = rows
        with quiet(o.lock):
            process, port = meshbench(workplace, http2, "http2")
            figures.append(Figure("idle connection", [idle(process, port, o.idle)], "KiB",
                                  IDLE_LIMIT))
            figures.append(Figure("of 10,000 streams at once, failed",
                                  [streams(workplace, port)], "requests", at_most(0)))
    show("HTTP/2", figures)
    if o.json:
        write_json(o.json, {"benchmark": "http2", "options": vars(o), "rounds": everything,
                            "figures": [figure.record() for figure in figures]})


def start_backend(workplace):
    plain, http2 = free_port(), free_port()
    process = workplace.start(peers.nginx_command(
        workplace, "backend", BACKEND, plain=plain, http2=http2, answer="x" * 16))
    workplace.wait_listening(process, plain)
    return plain, http2


def h2load(workplace, port, *arguments, seconds):
    """Returns how many requests were answered with 2xx, and how many were not."""
    output = workplace.run(["h2load", *arguments, f"http://127.0.0.1:{port}/"], seconds + 60)
    found = re.search(r"requests: .* (\d+) succeeded, (\d+) failed", output)
    if not found:
        raise Failure(f"h2load on port {port} said:\n{output}")
    return int(found[1]), int(found[2])


def measure(workplace, process, port, seconds):
    before = cpu_nanoseconds(process)
    good, bad = h2load(workplace, port, "-c8", "-m32", f"-D{seconds}", seconds=seconds)
    used = cpu_nanoseconds(process) - before
    if bad or not good:
        raise Failure(f"{bad} of the requests on port {port} failed, {good} did not")
    return {"cpu_ns": used / good, "throughput": good / seconds}


def compare(title, rows):
    def values(name, key):
        return [row[key] for row in rows[name]]
    return [Figure(f"{title}: {name}, / {other}",
                   ratios(values("meshbench", key), values(other, key)), target=TARGETS[kind])
            for name, key, kind in [("CPU/request", "cpu_ns", "cpu"),
                                    ("throughput", "throughput", "throughput")]
            for other in rows if other != "meshbench"]


def idle(process, port, count):
    """KiB that each of `count` connections costs that do nothing."""
    raise_descriptor_limit(count + 200)
    time.sleep(0.3)
    before, held = memory_bytes(process), []
    try:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(HELLO)
            held.append(connection)
        # Its settings are there: it has been taken up.
        for connection in held:
            connection.settimeout(20)
            connection.recv(1)
        return (memory_bytes(process) - before) / count / 1024
    finally:
        for connection in held:
            connection.close()


def streams(workplace, port):
    _, bad = h2load(workplace, port, "-c100", "-m100", "-n200000", seconds=60)
    return bad


def start(workplace, command, port):
    process = workplace.start(command)
    workplace.wait_listening(process, port)
    return process, port


def meshbench(workplace, upstream, protocol):
    port = free_port()
    path = workplace.folder / f"meshbench-{port}.json"
    path.write_text(json.dumps({
        "listeners": [{"name": "in", "address": f"127.0.0.1:{port}"}],
        "routes": [{"cluster": "out"}],
        "clusters": [{"name": "out", "endpoints": [f"127.0.0.1:{upstream}"],
                      "protocol": protocol}]}))
    return start(workplace, [peers.meshbench_program(), "proxy", "--config", path], port)


def haproxy(workplace, upstream, protocol):
    port = free_port()
    path = peers.write(workplace, f"haproxy-{port}.cfg", peers.HAPROXY, listen=port,
                       upstream=upstream, bind="proto h2",
                       server="proto h2" if protocol == "http2" else "")
    return start(workplace, ["haproxy", "-db", "-f", path], port)


def nginx(workplace, upstream, _):
    port = free_port()
    return start(workplace, peers.nginx_command(
        workplace, f"nginx-{port}", NGINX, listen=port, upstream=upstream), port)


STARTS = {"meshbench": meshbench, "haproxy": haproxy, "nginx": nginx}
