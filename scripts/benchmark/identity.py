"""Certificates: how many a control plane issues for a second of CPU.

A proxy's certificate is renewed over and over, on several connections that stay: each answer is a
request verified, a certificate signed with P-256, and one HTTP exchange over TLS. CPU is what the
kernel charged to the control plane while that went on, clients excluded.
"""
import http.client
import json
import ssl
import threading
import time

from . import options
from .figures import Figure, at_least, quiet, show, write_json
from .peers import meshbench_program
from .processes import Failure, Workplace, cpu_nanoseconds, free_port

TARGET = at_least(500)  # docs/PERFORMANCE.md
CONNECTIONS = 4


def add_arguments(parser):
    options.add_rounds(parser, rounds=7, seconds=3)


def run(o):
    print(f"Certificates of P-256, {o.rounds} rounds of {o.seconds} s, {CONNECTIONS} connections.")
    rates, costs = [], []
    with Workplace() as workplace:
        process, client = join(workplace)
        for _ in range(o.rounds):
            with quiet(o.lock):
                before = cpu_nanoseconds(process)
                count = client.renew(o.seconds)
                spent = (cpu_nanoseconds(process) - before) / 1e9
            if not count:
                raise Failure("no certificate was issued")
            rates.append(count / spent)
            costs.append(spent / count * 1e6)
    figures = [Figure("certificates per CPU second", rates, "/s", target=TARGET),
               Figure("CPU of a certificate", costs, "µs")]
    show("Certificates", figures)
    if o.json:
        write_json(o.json, {"benchmark": "identity", "options": vars(o), "rates": rates,
                            "figures": [figure.record() for figure in figures]})


def join(workplace):
    """A control plane, and a client that has joined it as a proxy."""
    folder, api, proxies = workplace.folder, free_port(), free_port()
    process = workplace.start([
        meshbench_program(), "control", "--data", folder / "data", "--listen",
        f"127.0.0.1:{api}", "--proxies", f"127.0.0.1:{proxies}"])
    workplace.wait_listening(process, proxies)
    secret = (folder / "data" / "token").read_text().strip()

    def ask(method, target, body):
        connection = http.client.HTTPConnection("127.0.0.1", api, timeout=20)
        connection.request(method, target, json.dumps(body),
                           {"authorization": f"Bearer {secret}"})
        return json.load(connection.getresponse())

    ask("PUT", "/v1/services/default/echo", {"kind": "service", "name": "echo"})
    token = ask("POST", "/v1/tokens", {"service": "default/echo"})["token"]
    key, request = folder / "key.pem", folder / "request.pem"
    workplace.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt",
                   "ec_paramgen_curve:P-256", "-out", key], 20)
    workplace.run(["openssl", "req", "-new", "-key", key, "-subj", "/CN=x", "-out", request], 20)
    client = Client(proxies, folder, request.read_text())
    client.join(token)
    return process, client


class Client:
    def __init__(self, port, folder, request):
        self.port, self.folder, self.request = port, folder, request
        # Whom it talks to is not what is measured.
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20,
                                           context=self.context)

    def join(self, token):
        connection = self.connect()
        connection.request("POST", "/v1/join", json.dumps(
            {"token": token, "csr": self.request, "proxy": "echo-1"}))
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise Failure(f"join: {answer.status} {text.decode()}")
        certificate = self.folder / "leaf.pem"
        certificate.write_text(json.loads(text)["certificate"])
        self.context.load_cert_chain(certificate, self.folder / "key.pem")

    def renew(self, seconds):
        """Renews on all connections for so long. Returns how often."""
        counts = [0] * CONNECTIONS
        body = json.dumps({"csr": self.request})
        end = time.perf_counter() + seconds

        def work(place):
            connection = self.connect()
            while time.perf_counter() < end:
                connection.request("POST", "/v1/proxy/certificate", body)
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    counts[place] += 1
            connection.close()

        threads = [threading.Thread(target=work, args=(place,)) for place in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts)
