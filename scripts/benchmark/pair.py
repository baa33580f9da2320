"""Two hops with HTTP/2 over mutual TLS between them: what stands between two services of a mesh.

Every round offers a closed loop to every pair, in random order, with each number of connections.
CPU is what the kernel charged to both proxies while the client ran, over the number of requests.
The latency that a pair adds is the median of the client less that of the backend without proxies,
in the same round. Ratios are formed within a round. One worker for each proxy; P-256 certificates.
"""
import json
import random
import re

from . import clients, options, peers
from .figures import Figure, at_least, at_most, quiet, ratios, show, write_json
from .processes import Failure, Workplace, cpu_nanoseconds, free_port, memory_bytes

TARGETS = {("haproxy", "cpu"): at_most(1), ("envoy", "cpu"): at_most(0.4),
           ("haproxy", "latency"): at_most(1)}  # docs/PERFORMANCE.md


def add_arguments(parser):
    options.add_rounds(parser, rounds=7, seconds=2)
    parser.add_argument("--connections", type=numbers, default=[1, 32, 256], metavar="N,...",
                        help="(1,32,256)")
    parser.add_argument("--size", type=options.byte_size, default=1024, help="of answers (1KiB)")
    known = [name for name in PAIRS if name != "meshbench"]
    parser.add_argument("--peers", type=options.names(known), default=known, metavar="NAME,...",
                        help=f"({','.join(known)})")


def numbers(text):
    return [options.whole(1, 4096)(part) for part in text.split(",")]


def run(o):
    order = random.Random(o.seed)
    names = ["meshbench", *o.peers]
    print(f"Two hops, mutual TLS, {options.size_text(o.size)} answers, {o.rounds} rounds of "
          f"{o.seconds} s for each pair and number of connections, seed {o.seed}. "
          "Ratios: meshbench over the other.")
    figures, everything = [], {}
    with Workplace() as workplace:
        _, backend = peers.start_backend(workplace, [o.size])
        make_certificates(workplace)
        arms = {name: PAIRS[name](workplace, backend) for name in names}
        for _, port in arms.values():
            clients.check_answer(port, o.size)
        arms["none"] = ([], backend)
        for connections in o.connections:
            rows = {name: [] for name in arms}
            for number in range(o.rounds):
                with quiet(o.lock):
                    for name in order.sample(list(arms), len(arms)):
                        if number == 0:
                            measure(workplace, *arms[name], o.size, connections, 1)
                        rows[name].append(
                            measure(workplace, *arms[name], o.size, connections, o.seconds))
            of_these = compare(rows, connections)
            show(f"{connections} connections", of_these)
            figures += [{"connections": connections, **figure.record()} for figure in of_these]
            everything[connections] = rows
    if o.json:
        write_json(o.json, {"benchmark": "pair", "options": vars(o), "figures": figures,
                            "rounds": everything})


def measure(workplace, processes, port, size, connections, seconds):
    """A closed loop of wrk."""
    def cpu():
        return sum(cpu_nanoseconds(process) for process in processes)
    before = cpu()
    output = workplace.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
                            f"http://127.0.0.1:{port}/{size}"], seconds + 30)
    used = cpu() - before
    count = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    median = re.search(r"50%\s+([\d.]+)(us|ms|s)", output)
    if not (count and rate and median) or "Non-2xx" in output or "Socket errors" in output:
        raise Failure(f"the load on port {port} met errors:\n{output}")
    return {"cpu_ns": used / int(count[1]), "throughput": float(rate[1]),
            "median_us": float(median[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[median[2]],
            "pss_bytes": sum(memory_bytes(process) for process in processes)}


def compare(rows, connections):
    def values(name, key):
        return [row[key] for row in rows[name]]

    def added(name):
        pairs = zip(values(name, "median_us"), values("none", "median_us"), strict=True)
        return [with_pair - without for with_pair, without in pairs]
    figures = []
    for other in rows:
        if other in ("meshbench", "none"):
            continue
        figures += [
            Figure(f"CPU/request, / {other}",
                   ratios(values("meshbench", "cpu_ns"), values(other, "cpu_ns")),
                   target=TARGETS.get((other, "cpu"))),
            Figure(f"throughput, / {other}",
                   ratios(values("meshbench", "throughput"), values(other, "throughput"))),
            # With many connections a closed loop's latency is its throughput once more.
            Figure(f"added median latency, / {other}", ratios(added("meshbench"), added(other)),
                   target=TARGETS.get((other, "latency")) if connections == 1 else None),
            Figure(f"PSS of both, / {other}",
                   ratios(values("meshbench", "pss_bytes"), values(other, "pss_bytes")))]
    return figures


def make_certificates(workplace):
    """An authority, and `a` and `b` as it vouches for them, each with its name as a DNS name."""
    folder = workplace.folder
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    workplace.run(["openssl", "req", "-x509", *key, "-keyout", folder / "ca.key", "-out",
                   folder / "ca.pem", "-subj", "/CN=ca", "-days", "2"], 20)
    for name in "ab":
        request, names = folder / f"{name}.csr", folder / f"{name}.ext"
        names.write_text(f"subjectAltName=DNS:{name}\n")
        workplace.run(["openssl", "req", *key, "-keyout", folder / f"{name}.key", "-out", request,
                       "-subj", f"/CN={name}"], 20)
        workplace.run(["openssl", "x509", "-req", "-in", request, "-CA", folder / "ca.pem",
                       "-CAkey", folder / "ca.key", "-CAcreateserial", "-extfile", names,
                       "-out", folder / f"{name}.pem", "-days", "2"], 20)
        both = (folder / f"{name}.pem").read_text() + (folder / f"{name}.key").read_text()
        (folder / f"{name}.both").write_text(both)


def start(workplace, command, port):
    process = workplace.start(command)
    workplace.wait_listening(process, port)
    return process


def meshbench(workplace, backend):
    folder, (first, second) = workplace.folder, (free_port(), free_port())

    def hop(name, listener, cluster):
        path = folder / f"meshbench-{name}.json"
        path.write_text(json.dumps({
            "listeners": [{"name": "in", **listener}], "routes": [{"cluster": "out"}],
            "clusters": [{"name": "out", **cluster}]}))
        return [peers.meshbench_program(), "proxy", "--config", path]

    def identity(name):
        return {"certificate": f"{folder}/{name}.pem", "key": f"{folder}/{name}.key",
                "authorities": f"{folder}/ca.pem"}
    into = hop("in", {"address": f"127.0.0.1:{second}",
                      "tls": {**identity("b"), "client_certificate": "required"}},
               {"endpoints": [f"127.0.0.1:{backend}"]})
    out = hop("out", {"address": f"127.0.0.1:{first}"},
              {"endpoints": [f"127.0.0.1:{second}"], "protocol": "http2",
               "tls": {**identity("a"), "server_name": "b"}})
    return [start(workplace, into, second), start(workplace, out, first)], first


def haproxy(workplace, backend):
    folder, (first, second) = workplace.folder, (free_port(), free_port())
    into = peers.write(
        workplace, "haproxy-in.cfg", peers.HAPROXY, listen=second, upstream=backend, server="",
        bind=f"ssl crt {folder}/b.both ca-file {folder}/ca.pem verify required alpn h2")
    out = peers.write(
        workplace, "haproxy-out.cfg", peers.HAPROXY, listen=first, upstream=second, bind="",
        server=f"ssl crt {folder}/a.both ca-file {folder}/ca.pem verifyhost b sni str(b) alpn h2")
    return [start(workplace, ["haproxy", "-db", "-f", into], second),
            start(workplace, ["haproxy", "-db", "-f", out], first)], first


def envoy(workplace, backend):
    folder, (first, second) = workplace.folder, (free_port(), free_port())
    tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"

    def context(name, **validation):
        return {
            "alpn_protocols": ["h2"],
            "tls_certificates": [{"certificate_chain": {"filename": f"{folder}/{name}.pem"},
                                  "private_key": {"filename": f"{folder}/{name}.key"}}],
            "validation_context": {"trusted_ca": {"filename": f"{folder}/ca.pem"}, **validation}}
    into = peers.envoy_config(second, backend)
    into["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"] = {
        "name": "tls", "typed_config": {
            "@type": f"{tls}.DownstreamTlsContext", "require_client_certificate": True,
            "common_tls_context": context("b")}}
    out = peers.envoy_config(first, second)
    cluster = out["static_resources"]["clusters"][0]
    cluster["transport_socket"] = {"name": "tls", "typed_config": {
        "@type": f"{tls}.UpstreamTlsContext", "sni": "b",
        "common_tls_context": context("a", match_typed_subject_alt_names=[
            {"san_type": "DNS", "matcher": {"exact": "b"}}])}}
    http = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    cluster["typed_extension_protocol_options"] = {http: {
        "@type": f"type.googleapis.com/{http}",
        "explicit_http_config": {"http2_protocol_options": {}}}}
    return [start(workplace, peers.envoy_command(workplace, second, into), second),
            start(workplace, peers.envoy_command(workplace, first, out), first)], first


PAIRS = {"meshbench": meshbench, "haproxy": haproxy, "envoy": envoy}
