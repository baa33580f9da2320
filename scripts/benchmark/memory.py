"""An idle proxy, an idle connection, and the time from start to ready.

Memory is proportional (PSS). An idle connection is one on which a client has had one answer and
which it keeps open; its cost is the growth from the fresh proxy to one that holds them all. What
the kernel holds for its sockets is in neither. The time to ready counts from the instant before
the fork: for meshbench to its line that says so, for all to the first connection that is accepted.
"""
import http.client
import random
import socket
import subprocess
import time

from . import options, peers
from .figures import Figure, at_most, quiet, ratios, show, write_json
from .processes import (Failure, Workplace, free_port, last_words, memory_bytes,
                        raise_descriptor_limit)

MIB, KIB = 1024**2, 1024
# From ready to the look at memory: what a start still frees or touches is done by then.
SETTLE_SECONDS = 0.3


def add_arguments(parser):
    parser.add_argument("--rounds", type=options.whole(1, 1000), default=5,
                        help="of the memory figures (5)")
    parser.add_argument("--starts", type=options.whole(1, 1000), default=20,
                        help="for the time to ready (20)")
    parser.add_argument("--connections", type=options.whole(1, 8000), default=5000, metavar="N",
                        help="idle ones, open at once (5000)")


def run(o):
    # This program's ends, and in the proxy one for the client and perhaps one for the backend.
    raise_descriptor_limit(2 * o.connections + 200)
    order = random.Random(o.seed)
    arms = peers.PROXIES
    memory = {name: [] for name in arms}
    starts = {name: [] for name in arms}
    with Workplace() as workplace:
        _, upstream = peers.start_backend(workplace, [1024])
        for _ in range(o.rounds):
            with quiet(o.lock):
                for name in order.sample(list(arms), len(arms)):
                    memory[name].append(measure(workplace, arms[name], upstream, o.connections))
        with quiet(o.lock):
            for _ in range(o.starts):
                for name in order.sample(list(arms), len(arms)):
                    starts[name].append(start_up(workplace, arms[name], upstream))
    figures = memory_figures(memory, o.connections) + start_figures(starts)
    show(f"Memory ({o.rounds} rounds, {o.connections} idle connections) and start "
         f"({o.starts} starts)", figures)
    if o.json:
        write_json(o.json, {"benchmark": "memory", "options": vars(o), "memory": memory,
                            "starts": starts, "figures": [f.record() for f in figures]})


def measure(workplace, proxy, upstream, connections):
    """Memory of the fresh proxy and of one that holds idle connections, in bytes."""
    process, port = proxy.start(workplace, upstream)
    try:
        time.sleep(SETTLE_SECONDS)
        fresh = memory_bytes(process)
        held = []
        try:
            for _ in range(connections):
                held.append(ask_once(port))
            time.sleep(SETTLE_SECONDS)
            holding = memory_bytes(process)
            # A proxy that had closed some of them would look cheap.
            closed = sum(1 for connection in held if is_closed(connection))
            if closed:
                raise Failure(f"{proxy.name} closed {closed} of {connections} idle connections")
        finally:
            for connection in held:
                connection.close()
        return {"fresh": fresh, "holding": holding}
    finally:
        workplace.stop(process)


def ask_once(port):
    """A connection on which one request has been answered."""
    connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.sendall(b"GET /1024 HTTP/1.1\r\nhost: bench\r\n\r\n")
    answer = http.client.HTTPResponse(connection)
    try:
        answer.begin()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"port {port}: no answer: {error!r}") from None
    finally:
        answer.close()
    if answer.status != 200 or len(body) != 1024 or answer.will_close:
        raise Failure(f"port {port}: {answer.status}, {len(body)} bytes, "
                      f"{'closes' if answer.will_close else 'stays open'}")
    return connection


def is_closed(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def start_up(workplace, proxy, upstream):
    """Seconds from before the fork to the first accepted connection, and to meshbench's line."""
    port = free_port()
    arguments = proxy.command(workplace, port, upstream)
    says_ready = proxy.name == "meshbench"
    began = time.perf_counter()
    process = workplace.start(arguments, timed=True,
                              stdout=subprocess.PIPE if says_ready else subprocess.DEVNULL)
    try:
        times = {}
        if says_ready:
            line = process.stdout.readline()
            times["line"] = time.perf_counter() - began
            if b'"ready"' not in line:
                raise Failure(f"meshbench said {line!r} in place of ready\n{last_words(process)}")
        times["accepts"] = workplace.wait_listening(process, port) - began
        return times
    finally:
        workplace.stop(process)


def memory_figures(memory, connections):
    fresh = {name: [row["fresh"] for row in rows] for name, rows in memory.items()}
    each = {name: [(row["holding"] - row["fresh"]) / connections for row in rows]
            for name, rows in memory.items()}
    figures = [
        Figure("idle proxy, PSS", [n / MIB for n in fresh["meshbench"]], "MiB", at_most(8)),
        Figure("idle connection, PSS", [n / KIB for n in each["meshbench"]], "KiB", at_most(20))]
    for title, values in (("idle proxy", fresh), ("idle connection", each)):
        figures += [Figure(f"{title}, / {name}", ratios(values["meshbench"], values[name]))
                    for name in values if name != "meshbench"]
    return figures


def start_figures(starts):
    def accepts(name):
        return [row["accepts"] for row in starts[name]]
    line = [row["line"] * 1e3 for row in starts["meshbench"]]
    return [Figure("start to ready line", line, "ms", at_most(25))] + [
        Figure(f"start to first connection, / {name}", ratios(accepts("meshbench"), accepts(name)))
        for name in starts if name != "meshbench"]
