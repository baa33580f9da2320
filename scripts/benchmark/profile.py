"""Where the time goes: user and kernel, functions, system calls, instructions.

Of the proxy, one hop under a closed loop: CPU by user and kernel mode, samples by function (perf),
system calls of each request (strace), and instructions in user mode of each request (callgrind),
where it makes sense with the same of the other proxies. Of the load generator in a closed loop:
samples by function and system calls of each request, these with the same of wrk.
"""
from . import clients, options, peers
from .figures import quiet, short, table, write_json
from .load import answered, generator
from .processes import Failure, Workplace, cpu_ticks
from .tracing import (calls_of, counted_instructions, sampled, traced,
                      without_debug_information)

OTHERS = ("meshbench", "nginx", "haproxy")
# Two runs under callgrind, so that start and connections cancel.
FEW, MANY = 2000, 12000


def add_arguments(parser):
    parser.add_argument("--seconds", type=options.whole(1, 3600), default=5,
                        help="of the sampling (5)")
    parser.add_argument("--requests", type=options.whole(1000, 10000000), default=50000,
                        metavar="N", help="under strace (50000)")
    parser.add_argument("--lines", type=options.whole(1, 200), default=25,
                        help="of the tables of functions (25)")
    parser.set_defaults(size=1024)
    options.add_connections(parser)


def run(o):
    found = {"benchmark": "profile", "options": vars(o)}
    with Workplace() as workplace:
        _, upstream = peers.start_backend(workplace, [o.size])
        with quiet(o.lock):
            found["user_share"] = user_shares(workplace, upstream, o)
            found["functions"] = {"proxy": proxy_functions(workplace, upstream, o),
                                  "load": load_functions(workplace, upstream, o)}
        with quiet(o.lock):
            found["calls"] = {f"{name} proxy": proxy_calls(workplace, name, upstream, o)
                              for name in OTHERS}
            found["calls"] |= load_calls(workplace, upstream, o)
            found["instructions"] = {n: instructions(workplace, n, upstream, o) for n in OTHERS}
    report(found, o)
    if o.json:
        write_json(o.json, found)


def user_shares(workplace, upstream, o):
    """The share of user mode in each proxy's CPU."""
    shares = {}
    for name, proxy in peers.PROXIES.items():
        process, port = proxy.start(workplace, upstream)
        before = cpu_ticks(process)
        clients.closed_loop(workplace, port, o.size, o.connections, o.seconds)
        user, system = (b - a for a, b in zip(before, cpu_ticks(process)))
        shares[name] = user / max(1, user + system)
        workplace.stop(process)
    return shares


def proxy_functions(workplace, upstream, o):
    process, port = peers.PROXIES["meshbench"].start(workplace, upstream)
    clients.closed_loop(workplace, port, o.size, o.connections, 1)
    with sampled(workplace, process) as rows:
        clients.closed_loop(workplace, port, o.size, o.connections, o.seconds)
    workplace.stop(process)
    return rows


def start_load(workplace, upstream, o, seconds):
    file = workplace.folder / "load.json"
    process = workplace.start(generator(
        upstream, o, "--closed", "--duration", f"{seconds}s", "--json", file))
    return process, file


def load_functions(workplace, upstream, o):
    process, _ = start_load(workplace, upstream, o, o.seconds)
    with sampled(workplace, process) as rows:
        process.wait(o.seconds + 30)
    return rows


def proxy_calls(workplace, name, upstream, o):
    """System calls of each request by name."""
    process, port = peers.PROXIES[name].start(workplace, upstream)
    clients.fixed_number(workplace, port, o.size, o.connections, 1000)
    with traced(workplace, process) as calls:
        clients.fixed_number(workplace, port, o.size, o.connections, o.requests)
    workplace.stop(process)
    return each(calls, o.requests)


def each(calls, requests):
    return {call: number / requests for call, number in calls.items()}


def load_calls(workplace, upstream, o):
    """The same of the generators, their start and end included."""
    file, out = workplace.folder / "load.json", workplace.folder / "strace-load"
    strace = ["strace", "-f", "-c", "-o", out]
    workplace.run([*strace, *generator(upstream, o, "--closed", "--duration", "3s", "--json",
                                       file)], 60)
    found = {"meshbench load": each(calls_of(out), answered(file)[0])}
    count, _ = clients.closed_loop(workplace, upstream, o.size, o.connections, 3, prefix=strace)
    found["wrk"] = each(calls_of(out), count)
    return found


def instructions(workplace, name, upstream, o):
    """Instructions in user mode of each request."""
    with without_debug_information(workplace):
        few, many = (counted_instructions(
            workplace, peers.PROXIES[name], upstream,
            lambda port, number=number: clients.fixed_number(
                workplace, port, o.size, o.connections, number)) for number in (FEW, MANY))
    if many <= few:
        raise Failure(f"callgrind counted {few} instructions, then {many}, of {name}")
    return (many - few) / (MANY - FEW)


def report(found, o):
    table(f"CPU in user mode, {options.size_text(o.size)} answers", ["proxy", "share"],
          [[name, short(share)] for name, share in found["user_share"].items()])
    for role, rows in found["functions"].items():
        kernel = sum(row["percent"] for row in rows if row["kernel"])
        table(f"Samples of meshbench {role} by function; in the kernel {kernel:.0f} %",
              ["%", "where", "function"],
              [[f"{row['percent']:.1f}", row["object"], row["function"]]
               for row in rows[:o.lines]])
    for name, calls in found["calls"].items():
        table(f"System calls of {name} for each request: {short(sum(calls.values()))}",
              ["call", "for each"],
              [[c, short(n)] for c, n in sorted(calls.items(), key=lambda x: -x[1]) if n >= 0.005])
    counts = found["instructions"]
    table(f"Instructions in user mode: {counts['meshbench']:.0f} of meshbench for each request",
          ["proxy", "meshbench / it"],
          [[name, short(counts["meshbench"] / n)] for name, n in counts.items()
           if name != "meshbench"])
