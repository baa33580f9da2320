"""Where the proxy's time goes: user and kernel, functions, system calls, instructions.

Four looks at one hop under a closed loop: CPU by user and kernel mode; samples by function (perf,
on the clock, for want of hardware counters in virtual machines); system calls of each request
(strace); instructions in user mode of each request (callgrind), of which strace and callgrind also
look at nginx and HAProxy.
"""
import re
import signal
import subprocess

from . import clients, options, peers
from .figures import quiet, short, table, write_json
from .processes import Failure, Workplace, cpu_ticks, family

OTHERS = ("meshbench", "nginx", "haproxy")
# Two runs under callgrind, so that start and connections cancel.
FEW, MANY = 2000, 12000


def add_arguments(parser):
    parser.add_argument("--seconds", type=options.whole(1, 3600), default=5,
                        help="of the sampling (5)")
    parser.add_argument("--requests", type=options.whole(1000, 10000000), default=50000,
                        metavar="N", help="under strace (50000)")
    parser.add_argument("--size", type=options.byte_size, default=1024, help="of answers (1KiB)")
    parser.add_argument("--lines", type=options.whole(1, 200), default=25,
                        help="of the table of functions (25)")
    options.add_connections(parser)


def run(o):
    found = {"benchmark": "profile", "options": vars(o)}
    with Workplace() as workplace:
        _, upstream = peers.start_backend(workplace, [o.size])
        with quiet(o.lock):
            found["modes"] = modes(workplace, upstream, o)
            found["functions"] = functions(workplace, upstream, o)
            found["calls"] = {n: system_calls(workplace, n, upstream, o) for n in OTHERS}
        with quiet(o.lock):
            found["instructions"] = {n: instructions(workplace, n, upstream, o) for n in OTHERS}
    report(found, o)
    if o.json:
        write_json(o.json, found)


def modes(workplace, upstream, o):
    """The share of user mode in each proxy's CPU."""
    shares = {}
    for name in peers.PROXIES:
        process, port = peers.PROXIES[name].start(workplace, upstream)
        before = cpu_ticks(process)
        clients.closed_loop(workplace, port, o.size, o.connections, o.seconds)
        user, system = (b - a for a, b in zip(before, cpu_ticks(process)))
        shares[name] = user / max(1, user + system)
        workplace.stop(process)
    return shares


def functions(workplace, upstream, o):
    """Percent of samples by (function, object)."""
    process, port = peers.PROXIES["meshbench"].start(workplace, upstream)
    file = workplace.folder / "perf.data"
    clients.closed_loop(workplace, port, o.size, o.connections, 1)
    perf = workplace.start(["perf", "record", "-q", "-e", "cpu-clock", "-F", "4999", "-o", file,
                            "-p", process.pid])
    clients.closed_loop(workplace, port, o.size, o.connections, o.seconds)
    perf.send_signal(signal.SIGINT)
    perf.wait(30)
    workplace.stop(perf)
    # While the process lives: perf looks up its symbols.
    text = workplace.run(["perf", "report", "-i", file, "--stdio", "--no-children", "-F",
                          "overhead,dso,symbol", "--percent-limit", "0.05"], 120)
    workplace.stop(process)
    rows = re.findall(r"^\s*([\d.]+)%\s+(\S+)\s+\[(.)\] (.+?)\s*$", text, re.MULTILINE)
    if not rows:
        raise Failure(f"perf saw nothing:\n{text}")
    return [{"percent": float(p), "kernel": mode == "k", "object": dso, "function": demangled(f)}
            for p, dso, mode, f in rows]


def demangled(name):
    """A Swift symbol as a person would write it; any other as it is."""
    if not name.startswith("$s"):
        return name
    try:
        done = subprocess.run(["swift-demangle", "--compact", "--simplified", name],
                              capture_output=True, text=True, check=False)
    except OSError:
        return name
    return done.stdout.strip() or name


def system_calls(workplace, name, upstream, o):
    """Calls of each request by name."""
    process, port = peers.PROXIES[name].start(workplace, upstream)
    clients.fixed_number(workplace, port, o.size, o.connections, 1000)
    file = workplace.folder / f"strace-{name}"
    pids = [word for pid in family(process.pid) for word in ("-p", str(pid))]
    strace = workplace.start(["strace", "-f", "-c", "-o", file, *pids])
    wait_traced(process, strace)
    clients.fixed_number(workplace, port, o.size, o.connections, o.requests)
    strace.send_signal(signal.SIGINT)
    strace.wait(30)
    workplace.stop(strace)
    workplace.stop(process)
    rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", file.read_text(),
                      re.MULTILINE)
    return {call: int(number) / o.requests for number, call in rows if call != "total"}


def wait_traced(process, strace):
    """Until the kernel names a tracer of every process of the family."""
    for _ in range(200):
        statuses = []
        for pid in family(process.pid):
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                statuses.append(re.search(r"TracerPid:\s+(\d+)", file.read())[1])
        if all(int(pid) == strace.pid for pid in statuses):
            return
        if strace.poll() is not None:
            break
        # Nothing tells when the last thread is attached; it takes milliseconds.
        try:
            strace.wait(0.05)
        except subprocess.TimeoutExpired:
            pass
    raise Failure(f"strace did not attach:\n{strace.errors.read_text()}")


def instructions(workplace, name, upstream, o):
    """Instructions in user mode of each request."""
    def total(number):
        file = workplace.folder / f"callgrind-{name}-{number}"
        prefix = ["valgrind", "--tool=callgrind", "--trace-children=yes",
                  f"--callgrind-out-file={file}.%p"]
        process, port = peers.PROXIES[name].start(workplace, upstream, prefix=prefix)
        clients.fixed_number(workplace, port, o.size, o.connections, number)
        workplace.stop(process, 60)
        files = list(workplace.folder.glob(f"{file.name}.*"))
        return sum(int(n) for f in files
                   for n in re.findall(r"^(?:totals|summary): (\d+)", f.read_text(),
                                       re.MULTILINE)[-1:])
    few, many = total(FEW), total(MANY)
    if many <= few:
        raise Failure(f"callgrind counted {few} instructions, then {many}, of {name}")
    return (many - few) / (MANY - FEW)


def report(found, o):
    size = options.size_text(o.size)
    table(f"CPU in user mode, {size}, share", ["proxy", "share"],
          [[name, short(share)] for name, share in found["modes"].items()])
    kernel = sum(f["percent"] for f in found["functions"] if f["kernel"])
    table(f"Samples of meshbench by function; kernel {short(kernel)} %",
          ["%", "where", "function"],
          [[short(f["percent"]), f["object"], f["function"]]
           for f in found["functions"][:o.lines]])
    for name, calls in found["calls"].items():
        table(f"System calls of {name} for each request: {short(sum(calls.values()))}",
              ["call", "for each"],
              [[c, short(n)] for c, n in sorted(calls.items(), key=lambda x: -x[1]) if n > 0.005])
    counts = found["instructions"]
    table("Instructions in user mode for each request", ["proxy", "meshbench / it"],
          [[name, short(counts["meshbench"] / n)] for name, n in counts.items()])
    print(f"  meshbench: {short(counts['meshbench'])}")
