"""One hop, HTTP/1.1: CPU for each request, throughput and memory, against other proxies.

Every round offers the same work to every proxy, in random order: first a closed loop, then a fixed
rate. CPU is what the kernel charged to all threads of the proxy while the client ran, over the
number of requests. Ratios are formed within a round.
"""
import random

from . import clients, options, peers
from .figures import Figure, at_least, at_most, quiet, ratios, show, write_json
from .processes import Workplace, cpu_nanoseconds, memory_bytes

# At most this many bytes a second at the fixed rate: 5000/s of 1 MiB is more than loopback carries.
FIXED_RATE_BYTES = 200 * 1024**2

TARGETS = {  # docs/PERFORMANCE.md
    ("nginx", "cpu"): at_most(1), ("nginx", "throughput"): at_least(1),
    ("envoy", "cpu"): at_most(0.5),
}


def add_arguments(parser):
    options.add_rounds(parser, rounds=5, seconds=3)
    options.add_connections(parser)
    parser.add_argument("--rate", type=options.whole(1, 1000000), default=5000, metavar="N",
                        help="requests/s of the fixed rate; lower for large answers (5000)")
    parser.add_argument("--sizes", type=options.byte_sizes, default=[16, 1024, 16384, 1048576],
                        metavar="SIZE,...", help="of answers (16B,1KiB,16KiB,1MiB)")
    known = [name for name in peers.PROXIES if name != "meshbench"]
    parser.add_argument("--peers", type=options.names(known), default=known, metavar="NAME,...",
                        help=f"({','.join(known)})")
    parser.add_argument("--candidate", action="append", default=[], metavar="NAME=COMMAND",
                        help="measure this too, or 'meshbench' by another command; COMMAND listens "
                        "on 127.0.0.1:{listen} and forwards to 127.0.0.1:{upstream}")


def run(o):
    arms = {name: peers.PROXIES[name] for name in ["meshbench", *o.peers]}
    for text in o.candidate:
        proxy = peers.candidate(text)
        arms[proxy.name] = proxy
    order = random.Random(o.seed)
    figures, rows = [], {size: {name: [] for name in arms} for size in o.sizes}
    print(f"One hop, {o.connections} connections, {o.rounds} rounds of {o.seconds} s and "
          f"{o.seconds} s for each proxy, seed {o.seed}. Ratios: meshbench over the other.")
    with Workplace() as workplace:
        _, upstream = peers.start_backend(workplace, o.sizes)
        at = {name: proxy.start(workplace, upstream) for name, proxy in arms.items()}
        for size in o.sizes:
            for _, port in at.values():
                clients.check_answer(port, size)
            for number in range(o.rounds):
                with quiet(o.lock):
                    for name in order.sample(list(arms), len(arms)):
                        process, port = at[name]
                        if number == 0:
                            clients.closed_loop(workplace, port, size, o.connections, 1)
                        rows[size][name].append(measure(workplace, process, port, size, o))
            of_size = compare(rows[size])
            show(f"{options.size_text(size)} answers, fixed rate {rate(o, size)}/s", of_size)
            figures += [{"size": size, **figure.record()} for figure in of_size]
    if o.json:
        write_json(o.json, {"benchmark": "proxy", "options": vars(o), "figures": figures,
                            "rounds": rows})


def rate(o, size):
    return min(o.rate, max(1, FIXED_RATE_BYTES // size))


def measure(workplace, process, port, size, o):
    """A closed loop, then a fixed rate, on one proxy."""
    before = cpu_nanoseconds(process)
    count, throughput = clients.closed_loop(workplace, port, size, o.connections, o.seconds)
    closed = (cpu_nanoseconds(process) - before) / count
    memory = memory_bytes(process)
    before = cpu_nanoseconds(process)
    count = clients.fixed_rate(workplace, port, size, o.connections, o.seconds, rate(o, size))
    fixed = (cpu_nanoseconds(process) - before) / count
    return {"closed_cpu_ns": closed, "fixed_cpu_ns": fixed, "throughput": throughput,
            "pss_bytes": memory}


def compare(rows):
    """meshbench over each other arm."""
    kinds = [("CPU/request, closed loop", "closed_cpu_ns", "cpu"),
             ("CPU/request, fixed rate", "fixed_cpu_ns", "cpu"),
             ("throughput, closed loop", "throughput", "throughput"),
             ("PSS under load", "pss_bytes", "memory")]

    def values(name, key):
        return [row[key] for row in rows[name]]
    return [Figure(f"{title}, / {other}", ratios(values("meshbench", key), values(other, key)),
                   target=TARGETS.get((other, kind)))
            for title, key, kind in kinds for other in rows if other != "meshbench"]
