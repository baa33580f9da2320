"""What traffic policies cost: a proxy with all of them on against the same proxy with none.

One hop, HTTP/1.1, interleaved rounds of a closed loop: CPU for each request with routing by several
conditions, retries, outlier detection, a local rate limit and statistics on, over that of the bare
hop. Then instructions in user mode of each request (callgrind), which repeat exactly: of these two,
and of 10,000 routes and 10,000 endpoints over ten of each.
"""
import json
import random

from . import clients, options, peers
from .figures import Figure, at_most, quiet, ratios, show, write_json
from .processes import Workplace, cpu_nanoseconds, free_port
from .tracing import counted_instructions, without_debug_information

POLICIES = {
    "retry": {"on": ["5xx", "reset", "connect-failure"], "max": 2, "per_try": "2s",
              "budget": {"percent": 20}},
    "outlier": {"consecutive_5xx": 5, "max_percent": 50, "interval": "1s"},
}
LIMIT = {"burst": 1000000, "fill": 1000000}
TEN, MANY = 10, 10000
# Every endpoint has its connection before the first of these ends, so connecting cancels.
WARM, COUNTED = 12000, 10000


def add_arguments(parser):
    options.add_rounds(parser, rounds=9, seconds=3)
    options.add_connections(parser)
    parser.set_defaults(size=1024)


def run(o):
    order = random.Random(o.seed)
    with Workplace() as workplace:
        _, upstream = peers.start_backend(workplace, [o.size])
        arms = {"bare": proxy("bare", bare(upstream)), "policies": proxy("all", full(upstream))}
        rows = {name: [] for name in arms}
        at = {name: arm.start(workplace, upstream) for name, arm in arms.items()}
        for name, (_, port) in at.items():
            clients.check_answer(port, o.size)
            clients.closed_loop(workplace, port, o.size, o.connections, 1)
        for _ in range(o.rounds):
            with quiet(o.lock):
                for name in order.sample(list(arms), len(arms)):
                    rows[name].append(cost(workplace, *at[name], o))
        figures = [Figure("CPU/request, policies / bare", ratios(rows["policies"], rows["bare"]),
                          target=at_most(1.1))]
        with quiet(o.lock), without_debug_information(workplace):
            figures += instructions(workplace, upstream, o)
    show(f"One hop, {o.connections} connections, {options.size_text(o.size)} answers", figures)
    if o.json:
        write_json(o.json, {"benchmark": "policies", "options": vars(o), "rounds": rows,
                            "figures": [figure.record() for figure in figures]})


def cost(workplace, process, port, o):
    before = cpu_nanoseconds(process)
    count, _ = clients.closed_loop(workplace, port, o.size, o.connections, o.seconds)
    return (cpu_nanoseconds(process) - before) / count


def instructions(workplace, upstream, o):
    spread = start_listeners(workplace, o.size, MANY)
    counted = {name: of_request(workplace, proxy(name, document), upstream, o)
               for name, document in {
                   "bare": bare(upstream), "all": full(upstream),
                   "routes-ten": many_routes(upstream, TEN),
                   "routes-many": many_routes(upstream, MANY),
                   "endpoints-ten": many_endpoints(spread[:TEN]),
                   "endpoints-many": many_endpoints(spread)}.items()}
    pairs = [("policies / bare", "all", "bare", None),
             (f"{MANY} routes / {TEN}", "routes-many", "routes-ten", 1.05),
             (f"{MANY} endpoints / {TEN}", "endpoints-many", "endpoints-ten", 1.05)]
    return [Figure(f"instructions/request, {title}", [counted[a] / counted[b]],
                   target=at_most(bound) if bound else None) for title, a, b, bound in pairs]


def of_request(workplace, arm, upstream, o):
    """Instructions in user mode of each request once all is warm."""
    few, many = (counted_instructions(
        workplace, arm, upstream, lambda port, number=number: clients.fixed_number(
            workplace, port, o.size, o.connections, number)) for number in (WARM, WARM + COUNTED))
    return (many - few) / COUNTED


def proxy(name, document):
    def command(workplace, listen, _):
        path = workplace.folder / f"policies-{name}-{listen}.json"
        listeners = [{"name": "in", "address": f"127.0.0.1:{listen}"}]
        path.write_text(json.dumps({"listeners": listeners, **document}))
        return [peers.meshbench_program(), "proxy", "--workers", "1", "--config", path]
    return peers.Proxy(name, command)


def bare(upstream):
    return {"routes": [{"cluster": "out"}],
            "clusters": [{"name": "out", "endpoints": [f"127.0.0.1:{upstream}"]}]}


def full(upstream):
    routes = [
        {"prefix": "/admin", "methods": ["POST"], "cluster": "out"},
        {"headers": {"x-canary": "1"}, "cluster": "out"},
        {"hosts": ["other.example"], "cluster": "out"},
        {"path": "/healthz", "cluster": "out"},
        {"cluster": "out", "rate_limits": [LIMIT], "timeout": "5s"},
    ]
    cluster = {"name": "out", "endpoints": [f"127.0.0.1:{upstream}"], **POLICIES}
    return {"routes": routes, "clusters": [cluster]}


def many_routes(upstream, count):
    """By path, of which the last is asked for."""
    routes = [{"prefix": f"/service-{i}/api", "cluster": "out"} for i in range(count - 1)]
    return {**bare(upstream), "routes": [*routes, {"cluster": "out"}]}


def many_endpoints(addresses):
    cluster = {"name": "out", "endpoints": addresses, "breaker": {"connections": 2 * MANY}}
    return {"routes": [{"cluster": "out"}], "clusters": [cluster]}


def start_listeners(workplace, size, count):
    """nginx at `count` addresses. Returns them: as many on each of several as its connections
    allow, half of which listen."""
    addresses = []
    while len(addresses) < count:
        port = free_port()
        hosts = [f"127.1.{i // 250}.{i % 250 + 1}" for i in range(min(2500, count))]
        lines = " ".join(f"listen {host}:{port};" for host in hosts)
        body = peers.NGINX_BACKEND.replace("listen 127.0.0.1:$listen backlog=4096;", lines)
        process = workplace.start(peers.nginx_command(workplace, f"wide-{port}", body))
        for host in (hosts[0], hosts[-1]):
            workplace.wait_listening(process, port, host=host)
        addresses += [f"{host}:{port}" for host in hosts]
    return addresses[:count]
