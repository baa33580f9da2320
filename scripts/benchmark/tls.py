"""TLS handshakes: CPU of the server for each, full and resumed, against `openssl s_server`.

Every round lets `openssl s_time` open connections to both servers, in random order, with a key of
P-256. In TLS 1.3 a client resumes by a ticket that it has read, so there each connection fetches
something (`-www`); in TLS 1.2 nothing but the handshake is done. CPU is what the kernel charged to
the server while the client ran, over the number of connections. Ratios are formed within a round.
"""
import json
import random
import re

from . import options
from .figures import Figure, at_most, quiet, ratios, show, write_json
from .peers import meshbench_program
from .processes import Failure, Workplace, cpu_nanoseconds, free_port

# Name, arguments of s_time, whether a session is resumed.
KINDS = {
    "1.3 full": ["-tls1_3", "-new"],
    "1.3 full, with a request": ["-tls1_3", "-new", "-www", "/"],
    "1.3 resumed, with a request": ["-tls1_3", "-reuse", "-www", "/"],
    "1.2 full": ["-tls1_2", "-new"],
    "1.2 resumed": ["-tls1_2", "-reuse"],
}
TARGET = at_most(1.1)  # docs/PERFORMANCE.md


def add_arguments(parser):
    options.add_rounds(parser, rounds=7, seconds=2)


def run(o):
    order = random.Random(o.seed)
    rows = {kind: {"meshbench": [], "s_server": []} for kind in KINDS}
    print(f"TLS handshakes, P-256, {o.rounds} rounds of {o.seconds} s for each server and kind, "
          f"seed {o.seed}. Ratios: meshbench over openssl s_server.")
    with Workplace() as workplace:
        certificate, key = make_certificate(workplace)
        arms = {"meshbench": start_meshbench(workplace, certificate, key),
                "s_server": start_s_server(workplace, certificate, key)}
        for kind, arguments in KINDS.items():
            for number in range(o.rounds):
                with quiet(o.lock):
                    for name in order.sample(list(arms), len(arms)):
                        if number == 0:
                            measure(workplace, *arms[name], arguments, 1)
                        rows[kind][name].append(
                            measure(workplace, *arms[name], arguments, o.seconds))
    figures = []
    for kind, arms in rows.items():
        figures += [Figure(f"{kind}: CPU/handshake, {name}", [v / 1e3 for v in values], "µs")
                    for name, values in arms.items()]
        figures.append(Figure(f"{kind}: CPU/handshake, / s_server",
                              ratios(arms["meshbench"], arms["s_server"]), target=TARGET))
    show("Handshakes", figures)
    if o.json:
        write_json(o.json, {"benchmark": "tls", "options": vars(o), "rounds": rows,
                            "figures": [figure.record() for figure in figures]})


def make_certificate(workplace):
    certificate, key = workplace.folder / "tls.pem", workplace.folder / "tls.key"
    workplace.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                   "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                   "-keyout", key, "-out", certificate], 20)
    return certificate, key


def start_meshbench(workplace, certificate, key):
    """A listener whose requests are answered on the spot: there is no route."""
    port = free_port()
    path = workplace.folder / "tls.json"
    path.write_text(json.dumps({
        "listeners": [{"name": "main", "address": f"127.0.0.1:{port}", "protocol": "http1",
                       "tls": {"certificate": str(certificate), "key": str(key)}}],
        "routes": [{"cluster": "none", "prefix": "/nowhere"}],
        "clusters": [{"name": "none", "endpoints": ["127.0.0.1:9"]}]}))
    process = workplace.start([meshbench_program(), "proxy", "--config", path])
    workplace.wait_listening(process, port)
    return process, port


def start_s_server(workplace, certificate, key):
    port = free_port()
    process = workplace.start(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-www",
                               "-quiet", "-cert", certificate, "-key", key])
    workplace.wait_listening(process, port)
    return process, port


def measure(workplace, process, port, arguments, seconds):
    """CPU nanoseconds of the server for each connection."""
    before = cpu_nanoseconds(process)
    output = workplace.run(["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-time", seconds,
                            *arguments], seconds + 20)
    after = cpu_nanoseconds(process)
    found = re.search(r"(\d+) connections in \d+ real seconds", output)
    if not found or int(found[1]) == 0:
        raise Failure(f"openssl s_time: no connections in:\n{output[-1000:]}")
    return (after - before) / int(found[1])
