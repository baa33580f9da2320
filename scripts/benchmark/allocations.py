"""Heap allocations for each request in steady state: counted, not argued.

A counter of calls to malloc, calloc, realloc, posix_memalign, aligned_alloc and memalign is
preloaded. After a warm-up, the same load runs with few requests and with many, each on as many new
connections; the difference is what the further requests took. nginx and HAProxy are counted the
same way, to show that the counter counts. Envoy brings an allocator of its own, out of its reach.
"""
import os
import pathlib
import struct

from . import clients, options, peers, policies
from .figures import Figure, at_most, quiet, show, write_json
from .load import answered as load_answered
from .processes import Failure, Workplace, free_port

FEW = 1000
SOURCE = pathlib.Path(__file__).parent / "allocation_counter.c"


def add_arguments(parser):
    parser.add_argument("--requests", type=options.whole(2 * FEW, 100000000), default=100000,
                        metavar="N", help="counted (100000)")
    options.add_connections(parser)


def run(o):
    with Workplace() as workplace, quiet(o.lock):
        library = compile_counter(workplace)
        _, upstream = peers.start_backend(workplace, [1024, 16384])
        body = workplace.folder / "body"
        body.write_bytes(b"x" * 1024)
        works = [("GET, 1 KiB answer", "1024", None), ("GET, 16 KiB answer", "16384", None),
                 ("POST, 1 KiB body", "post", body)]
        rows = []
        for name in ("meshbench", "nginx", "haproxy"):
            counter = Counter(workplace, library)
            _, port = peers.PROXIES[name].start(workplace, upstream, env=counter.environment)
            rows += [count(workplace, counter, f"{name} proxy", work, port, o) for work in works]
        # With routing by several conditions, retries, ejection and a local limit on. Endpoints are
        # judged once a second, which allocates: that is of the time, not of requests.
        counter = Counter(workplace, library)
        full = policies.proxy("allocations", policies.full(upstream))
        _, port = full.start(workplace, upstream, env=counter.environment)
        rows += [count(workplace, counter, "meshbench proxy, policies", work, port, o)
                 for work in works]
        counter = Counter(workplace, library)
        port = start_app(workplace, counter)
        rows.append(count(workplace, counter, "meshbench app", ("GET, 1 KiB answer", "", None),
                          port, o))
        rows.append(count_load(workplace, library, upstream, o))
    if not any(row["each"] > 0 for row in rows if row["program"] == "nginx proxy"):
        raise Failure("not one allocation of nginx was counted: the counter does not work here")
    bounds = {"meshbench proxy": at_most(0), "meshbench proxy, policies": at_most(0.01)}
    figures = [Figure(f"{row['program']}: {row['work']}", [row["each"]], "/request",
                      bounds.get(row["program"])) for row in rows]
    show(f"Allocations for each of {o.requests} requests more", figures)
    for row in rows:
        print(f"  {row['program']}: {row['work']}: {row['few']} for {row['few_requests']} requests,"
              f" {row['many']} for {row['many_requests']}")
    if o.json:
        write_json(o.json, {"benchmark": "allocations", "options": vars(o), "counts": rows,
                            "figures": [f.record() for f in figures]})


class Counter:
    """The numbers of one process under the preloaded counter."""
    FORMAT = "=QQ"
    made = 0

    def __init__(self, workplace, library):
        Counter.made += 1
        self.file = workplace.folder / f"counts-{Counter.made}"
        self.file.write_bytes(bytes(struct.calcsize(self.FORMAT)))
        # Workers of nginx run as another user.
        self.file.chmod(0o666)
        self.environment = {**os.environ, "LD_PRELOAD": str(library),
                            "ALLOCATION_COUNTS": str(self.file)}

    def allocations(self):
        return struct.unpack(self.FORMAT, self.file.read_bytes())[0]


def compile_counter(workplace):
    library = workplace.folder / "allocation_counter.so"
    workplace.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-builtin", "-shared", "-fPIC",
                   "-o", library, SOURCE], 60)
    return library


def count(workplace, counter, program, work, port, o):
    title, path, body = work

    def took(number):
        before = counter.allocations()
        clients.fixed_number(workplace, port, path, o.connections, number, body)
        return counter.allocations() - before

    took(10 * FEW)  # Warm-up: pools and buffers grow to what this load needs.
    few, many = took(FEW), took(FEW + o.requests)
    return record(program, title, few, FEW, many, FEW + o.requests)


def record(program, work, few, few_requests, many, many_requests):
    return {"program": program, "work": work, "few": few, "few_requests": few_requests,
            "many": many, "many_requests": many_requests,
            "each": (many - few) / (many_requests - few_requests)}


def start_app(workplace, counter):
    port = free_port()
    process = workplace.start(
        [peers.meshbench_program(), "app", "--listen", f"127.0.0.1:{port}", "--size", "1KiB"],
        env=counter.environment)
    workplace.wait_listening(process, port)
    return port


def count_load(workplace, library, upstream, o):
    """The generator starts afresh each time, so two whole runs of equal length are compared, at a
    low and at a high rate. What it allocates for each second cancels, as does its start."""
    seconds = 10
    counts = []
    for rate in (o.requests // (10 * seconds), o.requests // seconds):
        counter = Counter(workplace, library)
        file = workplace.folder / "load.json"
        workplace.run(
            [peers.meshbench_program(), "load", f"http://127.0.0.1:{upstream}/1024",
             "--rate", f"{rate}/s", "--duration", f"{seconds}s", "--connections", o.connections,
             "--json", file], seconds + 30, env=counter.environment, accept=(0, 4))
        counts.append((counter.allocations(), load_answered(file)[0]))
    (few, few_requests), (many, many_requests) = counts
    return record("meshbench load", "1 KiB answer", few, few_requests, many, many_requests)
