"""TCP forwarding: bytes for each CPU second of the proxy, against HAProxy in mode tcp.

Every round sends the same stream through every proxy, in random order: blocks of 64 KiB, as fast as
they are taken. CPU is what the kernel charged to all threads of the proxy meanwhile. Ratios are
formed within a round. `haproxy-splice` is HAProxy with `option splice-auto`, which it comes
without.
"""
import pathlib
import random
import subprocess
import sys

from . import options, peers
from .figures import Figure, at_least, quiet, ratios, show, write_json
from .processes import Failure, Workplace, cpu_nanoseconds

STREAM = pathlib.Path(__file__).parent / "stream.py"

MESHBENCH = """\
listeners: [{name: in, address: "127.0.0.1:$listen", protocol: tcp, cluster: out}]
clusters: [{name: out, endpoints: ["127.0.0.1:$upstream"]}]
workers: 1
"""

HAPROXY = """\
global
  nbthread 1
  maxconn 2048
defaults
  mode tcp
  timeout connect 5s
  timeout client 3600s
  timeout server 3600s
$splice
frontend in
  bind 127.0.0.1:$listen backlog 4096
  default_backend out
backend out
  server backend 127.0.0.1:$upstream
"""


def meshbench(workplace, listen, upstream):
    path = peers.write(
        workplace, f"meshbench-{listen}.yaml", MESHBENCH, listen=listen, upstream=upstream)
    return [peers.meshbench_program(), "proxy", "--config", path]


def haproxy(workplace, listen, upstream, splice=""):
    path = peers.write(workplace, f"haproxy-{listen}.cfg", HAPROXY, listen=listen,
                       upstream=upstream, splice=splice)
    return ["haproxy", "-db", "-f", path]


def haproxy_splice(workplace, listen, upstream):
    return haproxy(workplace, listen, upstream, splice="  option splice-auto")


PROXIES = {"meshbench": meshbench, "haproxy": haproxy, "haproxy-splice": haproxy_splice}
TARGETS = {"haproxy": at_least(0.9)}  # docs/PERFORMANCE.md


def add_arguments(parser):
    options.add_rounds(parser, rounds=7, seconds=2)
    parser.add_argument("--block", type=options.byte_size, default=64 * 1024, metavar="SIZE",
                        help="of each write (64KiB)")


def run(o):
    arms = {name: peers.Proxy(name, command) for name, command in PROXIES.items()}
    order = random.Random(o.seed)
    figures, rows = [], {}
    print(f"TCP forwarding, writes of {options.size_text(o.block)}, {o.rounds} rounds of "
          f"{o.seconds} s for each proxy, seed {o.seed}. Ratios: meshbench over the other.")
    with Workplace() as workplace:
        sink = workplace.start([sys.executable, STREAM, "sink"], stdout=subprocess.PIPE)
        upstream = int(sink.stdout.readline() or 0)
        if upstream == 0:
            raise Failure("the sink does not listen")
        at = {name: proxy.start(workplace, upstream) for name, proxy in arms.items()}
        for connections in (1, 8):
            of_count = rows[connections] = {name: [] for name in arms}
            for _ in range(o.rounds):
                with quiet(o.lock):
                    for name in order.sample(list(arms), len(arms)):
                        of_count[name].append(measure(workplace, *at[name], connections, o))
            found = compare(of_count)
            show(f"{connections} connection{'s' if connections > 1 else ''}", found)
            figures += [{"connections": connections, **figure.record()} for figure in found]
    if o.json:
        write_json(o.json, {"benchmark": "tcp", "options": vars(o), "figures": figures,
                            "rounds": rows})


def measure(workplace, process, port, connections, o):
    before = cpu_nanoseconds(process)
    total = int(workplace.run(
        [sys.executable, STREAM, "send", port, connections, o.block, o.seconds],
        seconds=o.seconds + 30))
    seconds = (cpu_nanoseconds(process) - before) / 1e9
    return {"per_cpu": total / seconds, "throughput": total / o.seconds, "cpu_seconds": seconds}


def compare(rows):
    def values(name, key):
        return [row[key] for row in rows[name]]
    figures = [
        Figure(f"throughput/CPU second, {name}",
               [value / 1e9 for value in values(name, "per_cpu")], unit="GB") for name in rows]
    for name in rows:
        if name == "meshbench":
            continue
        figures.append(Figure(
            f"throughput/CPU second, / {name}",
            ratios(values("meshbench", "per_cpu"), values(name, "per_cpu")),
            target=TARGETS.get(name)))
        figures.append(Figure(
            f"throughput, / {name}",
            ratios(values("meshbench", "throughput"), values(name, "throughput"))))
    return figures
