"""The load generator: its rate against wrk's, its lag at a fixed rate, its memory over time.

Both drive the same nginx from one thread, in a closed loop, in random order within each round.
Then comes the open loop at --rate: lag is how late each request was taken up. Last, a longer run
whose resident memory is sampled each second.
"""
import json
import pathlib
import random
import re
import statistics
import time

from . import clients, options, peers
from .figures import Figure, at_least, at_most, quiet, ratios, show, write_json
from .processes import Failure, Workplace, memory_bytes

SCALE = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}
# Saturated: the run is done, and what it measured is what this benchmark asks for.
ACCEPT = (0, 4)


def add_arguments(parser):
    options.add_rounds(parser, rounds=7, seconds=5)
    options.add_connections(parser)
    parser.add_argument("--rate", type=options.whole(1, 1000000), default=5000, metavar="N",
                        help="requests/s of the open loop (5000)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--memory-seconds", type=options.whole(10, 86400), default=60, metavar="N",
                        help="of the run whose memory is sampled (60)")
    length.add_argument("--hour", dest="memory_seconds", action="store_const", const=3600,
                        help="one hour of it")


def run(o):
    order = random.Random(o.seed)
    rates = {"meshbench": [], "wrk": []}
    lags = []
    with Workplace() as workplace:
        _, port = peers.start_backend(workplace, [1024])
        for _ in range(o.rounds):
            with quiet(o.lock):
                for name in order.sample(list(rates), 2):
                    rates[name].append(CLOSED[name](workplace, port, o))
                lags.append(open_loop(workplace, port, o))
        with quiet(o.lock if o.memory_seconds <= 120 else None):
            samples = memory_over_time(workplace, port, o)
    figures = [
        Figure("closed loop, rate / wrk", ratios(rates["meshbench"], rates["wrk"]),
               target=at_least(0.9)),
        Figure(f"lag p50 at {o.rate}/s", [row["p50"] for row in lags], "us", at_most(50)),
        Figure(f"lag p99 at {o.rate}/s", [row["p99"] for row in lags], "us"),
        memory_growth(samples)]
    show(f"Load generator, one thread, {o.connections} connections, {o.rounds} rounds of "
         f"{o.seconds} s, seed {o.seed}; memory over {o.memory_seconds} s", figures)
    if o.json:
        write_json(o.json, {"benchmark": "load", "options": vars(o), "rates": rates, "lags": lags,
                            "rss_bytes": samples, "figures": [f.record() for f in figures]})


def generator(port, o, *arguments):
    return [peers.meshbench_program(), "load", f"http://127.0.0.1:{port}/1024", "--threads", "1",
            "--connections", o.connections, *arguments]


def closed_loop(workplace, port, o):
    """Requests/s of meshbench."""
    file = workplace.folder / "load.json"
    workplace.run(generator(port, o, "--closed", "--duration", f"{o.seconds}s", "--json", file),
                  o.seconds + 30)
    count, seconds = answered(file)
    return count / seconds


def wrk(workplace, port, o):
    return clients.closed_loop(workplace, port, 1024, o.connections, o.seconds)[1]


CLOSED = {"meshbench": closed_loop, "wrk": wrk}


def answered(file):
    """Answers with the expected status and the length in seconds of the last phase of a result."""
    phase = json.loads(pathlib.Path(file).read_text())["phases"][-1]
    others = {k: n for k, n in phase["outcomes"].items() if k != "ok" and n}
    if others:
        raise Failure(f"not every request was answered: {others}")
    start, end = (phase[edge]["nanoseconds"] for edge in ("start", "end"))
    return phase["outcomes"]["ok"], (end - start) / 1e9


def open_loop(workplace, port, o):
    """Microseconds by percentile, from the line `lag` of the summary."""
    output = workplace.run(
        generator(port, o, "--rate", f"{o.rate}/s", "--warmup", "1s", "--duration",
                  f"{o.seconds}s"), o.seconds + 30, accept=ACCEPT)
    heads = re.search(r"^ +(p50 .*)$", output, re.MULTILINE)
    cells = re.search(r"^lag +(.*)$", output, re.MULTILINE)
    if not heads or not cells:
        raise Failure(f"no lag in the summary of meshbench load:\n{output}")
    values = re.findall(r"([\d.]+) (ns|us|ms|s)\b|(-)", cells[1])
    return {head: float(number) * SCALE[unit] for head, (number, unit, none)
            in zip(heads[1].split(), values) if not none}


def memory_over_time(workplace, port, o):
    """Resident bytes, once a second, of a run at the fixed rate."""
    process = workplace.start(
        generator(port, o, "--rate", f"{o.rate}/s", "--duration", f"{o.memory_seconds}s"))
    samples = []
    end = time.monotonic() + o.memory_seconds + 30
    while process.poll() is None and time.monotonic() < end:
        time.sleep(1)
        samples.append(memory_bytes(process, "Rss"))
    if process.poll() not in ACCEPT:
        raise Failure(f"meshbench load ended with {process.poll()}")
    workplace.stop(process)
    # The last ones may have met the end: the summary being made, or nothing at all.
    samples = samples[:o.memory_seconds - 2]
    if len(samples) < 6:
        raise Failure(f"only {len(samples)} samples of memory")
    return samples


def memory_growth(samples):
    """From the median of the first third, start left out, to that of the last third."""
    samples = samples[2:]
    third = max(1, len(samples) // 3)
    first = statistics.median(samples[:third])
    last = statistics.median(samples[-third:])
    return Figure("resident memory, last third / first third", [last / first], target=at_most(1.01))
