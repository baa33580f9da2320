"""The control plane at scale: pushes to many proxies, a large mesh, and what grows with what.

push: one endpoint changes, which every one of the proxies needs. Latency counts from the request
that changes it to the last proxy's acknowledgement as it is answered: everything on one machine,
proxies included, which are light (they carry no requests), a few hundred to a process.

reconnect: the control plane is killed with SIGKILL and started again; until the last proxy watches
again and has acknowledged its first push. Proxies wait up to a second before they come back.

size: the same changes while the mesh grows, to proxies whose service calls ten others; what a
change costs is to stay as it was. The exponent is of a fit over sizes: cost ~ size^exponent.
"""
import collections
import http.client
import json
import math
import queue
import signal
import statistics
import subprocess
import threading
import time

from . import options
from .figures import Figure, at_most, quiet, show, write_json
from .peers import meshbench_program
from .processes import (Failure, Workplace, cpu_nanoseconds, free_port, last_words, memory_bytes,
                        raise_descriptor_limit)

ENDPOINTS = 10  # of each service
CALLED = 10  # services that the proxies' service calls
PATIENCE = 120
# docs/PERFORMANCE.md
PUSH, RECONNECT, MEMORY, GROWTH = at_most(1000), at_most(10), at_most(1024), at_most(0.1)


def add_arguments(parser):
    parser.add_argument("--proxies", type=options.whole(1, 2000), default=1000,
                        help="that are connected (1000)")
    parser.add_argument("--processes", type=options.whole(1, 100), default=2,
                        help="that hold them (2)")
    parser.add_argument("--changes", type=options.whole(1, 10000), default=100,
                        help="that are pushed at each size (100)")
    parser.add_argument("--restarts", type=options.whole(1, 100), default=3,
                        help="of the control plane (3)")
    parser.add_argument("--services", type=options.whole(CALLED, 20000), default=10000,
                        help=f"of {ENDPOINTS} endpoints each, of the largest mesh (10000)")


def run(o):
    raise_descriptor_limit(8192)
    sizes = [n for n in (100, 1000, o.services // 3) if n < o.services] + [o.services]
    found = {"latencies_ms": {}, "change_cpu_us": {}, "delta_bytes": {}, "memory_mib": {},
             "reconnect_s": []}
    with Workplace() as workplace, quiet(o.lock):
        plane = Plane(workplace)
        plane.declare(0, sizes[0])
        proxies = Proxies(workplace, plane, o.proxies, o.processes)
        found["first_bytes"] = proxies.wait_connected()["bytes"] / o.proxies
        found["connected_mib"] = memory_bytes(plane.process) / 1024**2
        for before, size in zip([0, *sizes], sizes):
            if before:
                plane.declare(before, size)
            measure(plane, proxies, o, size, found)
        for _ in range(o.restarts):
            plane.kill()
            killed = plane.restart()
            again = proxies.wait_connected()
            found["reconnect_s"].append((again["at_ns"] - killed) / 1e9)
    largest = o.services
    latencies = found["latencies_ms"][largest]
    figures = [
        Figure("push: change to last acknowledgement, p50", [statistics.median(latencies)], "ms"),
        Figure("push: the same, p99", [percentile(latencies, 0.99)], "ms", target=PUSH),
        Figure("reconnect: all proxies after a SIGKILL", found["reconnect_s"], "s",
               target=RECONNECT),
        Figure(f"memory with {largest * ENDPOINTS:,} endpoints, all connected (PSS)",
               [found["memory_mib"][largest]], "MiB", target=MEMORY),
        Figure("memory before the mesh has grown", [found["connected_mib"]], "MiB"),
        Figure("first push to a proxy", [found["first_bytes"] / 1024], "KiB"),
        Figure("push of one change to a proxy", [found["delta_bytes"][largest]], "B"),
        Figure("CPU of a change, all proxies", [found["change_cpu_us"][largest] / 1000], "ms"),
        Figure("exponent of that CPU over sizes", [exponent(found["change_cpu_us"])],
               target=GROWTH),
        Figure("exponent of the push's bytes", [exponent(found["delta_bytes"])], target=GROWTH),
    ]
    show(f"Control plane, {o.proxies} proxies, meshes of {', '.join(map(str, sizes))} services",
         figures)
    for size in sizes:
        print(f"  {size:>6} services: CPU of a change {found['change_cpu_us'][size]:8.0f} µs, "
              f"push {found['delta_bytes'][size]:.0f} B, "
              f"p99 {percentile(found['latencies_ms'][size], 0.99):.0f} ms, "
              f"memory {found['memory_mib'][size]:.0f} MiB")
    if o.json:
        write_json(o.json, {"benchmark": "control", "options": vars(o), "found": found,
                            "figures": [figure.record() for figure in figures]})


def measure(plane, proxies, o, size, found):
    found["memory_mib"][size] = memory_bytes(plane.process) / 1024**2
    before = cpu_nanoseconds(plane.process)
    latencies, bytes_each = [], []
    for _ in range(o.changes):
        start = time.monotonic_ns()
        version = plane.change()
        told = proxies.wait_acknowledged(version, o.proxies)
        latencies.append((told["last_ns"] - start) / 1e6)
        bytes_each.append(told["bytes"] / o.proxies)
    found["change_cpu_us"][size] = (cpu_nanoseconds(plane.process) - before) / 1000 / o.changes
    found["latencies_ms"][size] = latencies
    found["delta_bytes"][size] = statistics.median(bytes_each)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def exponent(by_size):
    """The slope of a line through the logarithms."""
    points = [(math.log(size), math.log(value)) for size, value in by_size.items()]
    if len(points) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*points)).slope


class Plane:
    """A control plane with a mesh."""

    def __init__(self, workplace):
        self.workplace = workplace
        self.data = workplace.folder / f"data-{workplace.started}"
        self.api, self.proxies = free_port(), free_port()
        self.start()
        self.secret = (self.data / "token").read_text().strip()
        self.changes = 0

    def start(self):
        self.process = self.workplace.start([
            meshbench_program(), "control", "--data", self.data, "--listen",
            f"127.0.0.1:{self.api}", "--proxies", f"127.0.0.1:{self.proxies}"])
        self.workplace.wait_listening(self.process, self.proxies)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def restart(self):
        """Starts it again. Returns the instant at which it was dead."""
        dead = time.monotonic_ns()
        self.start()
        return dead

    def ask(self, method, target, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.api, timeout=PATIENCE)
        connection.request(method, target, json.dumps(body),
                           {"authorization": f"Bearer {self.secret}"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status not in (200, 201):
            raise Failure(f"{method} {target}: {answer.status} {text.decode()}")
        return json.loads(text)

    def declare(self, start, end):
        """Services from one number to another, with their endpoints; first of all the proxies'."""
        services = [{"kind": "service", "name": f"s-{n}", "calls": []} for n in range(start, end)]
        endpoints = [endpoint(n, e, 1) for n in range(start, end) for e in range(ENDPOINTS)]
        if start == 0:
            services.append({"kind": "service", "name": "client",
                             "calls": [f"s-{n}" for n in range(CALLED)]})
        for declarations in (services, endpoints):
            for first in range(0, len(declarations), 8000):
                self.ask("POST", "/v1/apply", {"declarations": declarations[first:first + 8000]})
        if start == 0:
            self.token = self.ask("POST", "/v1/tokens", {
                "service": "default/client", "life_seconds": 3600, "single_use": False})["token"]

    def change(self):
        """Changes an endpoint that proxies need. Returns the revision."""
        self.changes += 1
        declaration = endpoint(self.changes % CALLED, self.changes // CALLED % ENDPOINTS,
                               1 + self.changes)
        path = f"/v1/endpoints/default/{declaration['name']}"
        return self.ask("PUT", path, declaration)["revision"]


def endpoint(service, number, weight):
    address = service * ENDPOINTS + number
    return {"kind": "endpoint", "name": f"s-{service}-{number}", "service": f"s-{service}",
            "address": f"10.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}:80",
            "weight": weight, "zone": "a"}


class Proxies:
    """Light proxies, in a few processes."""

    def __init__(self, workplace, plane, count, processes):
        self.workplace = workplace
        self.events = queue.Queue()
        self.running = []
        tokens = workplace.folder / "tokens"
        tokens.write_text(f"default/client {plane.token}\n")
        for number in range(processes):
            share = count // processes + (1 if number < count % processes else 0)
            process = workplace.start([
                meshbench_program(), "subscribers", f"127.0.0.1:{plane.proxies}", share, tokens],
                stdout=subprocess.PIPE)
            self.running.append(process)
            threading.Thread(target=self.read, args=(number, process), daemon=True).start()

    def read(self, number, process):
        for line in process.stdout:
            self.events.put((number, json.loads(line)))
        self.events.put((number, {"event": "failed", "reason": "ended: " + last_words(process)}))

    def next(self, kind, end):
        """The next event of a kind; others are passed over."""
        while True:
            try:
                number, event = self.events.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                raise Failure(f"no '{kind}' of all proxies after {PATIENCE} s") from None
            if event["event"] == "failed":
                raise Failure(f"a proxy: {event['reason']}")
            if event["event"] == kind:
                return number, event

    def wait_connected(self):
        """Until all watch. Returns when the last one did, and the bytes of all first pushes."""
        end = time.monotonic() + PATIENCE
        found = {}
        while len(found) < len(self.running):
            number, event = self.next("connected", end)
            found[number] = event
        return {"at_ns": max(event["at_ns"] for event in found.values()),
                "bytes": sum(event["bytes"] for event in found.values()),
                "snapshots": sum(event["snapshots"] for event in found.values())}

    def wait_acknowledged(self, version, count):
        end = time.monotonic() + PATIENCE
        found = collections.defaultdict(dict)
        while sum(event.get("count", 0) for event in found.values()) < count:
            number, event = self.next("acknowledged", end)
            if event["version"] == version:
                found[number] = event
        return {"last_ns": max(event["last_ns"] for event in found.values()),
                "bytes": sum(event["bytes"] for event in found.values())}
