"""One check of a control plane's DNS, by dnspython: client.py PORT CHECK. Prints `ok` at the end."""

import concurrent.futures
import random
import socket
import struct
import sys
import time

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver

HOST, PORT = "127.0.0.1", int(sys.argv[1])


def ask(name, kind="A", tcp=False, **more):
    query = dns.message.make_query(name, kind, **more)
    send = dns.query.tcp if tcp else dns.query.udp
    return send(query, HOST, port=PORT, timeout=10)


def texts(answer, kind):
    return sorted(
        item.to_text() for part in answer.answer
        if part.rdtype == dns.rdatatype.from_text(kind) for item in part)


def zone():
    for tcp in (False, True):
        answer = ask("CaRt.shop.mesh", tcp=tcp)
        assert answer.rcode() == dns.rcode.NOERROR and answer.flags & dns.flags.AA, answer
        assert answer.question[0].name.to_text() == "CaRt.shop.mesh.", answer
        assert texts(answer, "A") == ["127.0.0.1", "127.0.0.2"], answer
        assert answer.answer[0].ttl == 1
        answer = ask("_http._tcp.cart.shop.mesh", "SRV", tcp=tcp)
        assert texts(answer, "SRV") == [
            "0 1 9001 cart-1.cart.shop.mesh.", "0 3 9002 cart-2.cart.shop.mesh."], answer
        assert len(answer.additional) == 2, answer
        answer = ask("nobody.shop.mesh", tcp=tcp)
        assert answer.rcode() == dns.rcode.NXDOMAIN, answer
        assert answer.authority[0].rdtype == dns.rdatatype.SOA, answer
        answer = ask("cart.shop.mesh", "AAAA", tcp=tcp)
        assert answer.rcode() == dns.rcode.NOERROR and not answer.answer, answer
        assert ask("example.org", tcp=tcp).rcode() == dns.rcode.REFUSED
    assert ask("cart.shop.mesh", use_edns=1).rcode() == dns.rcode.BADVERS
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [HOST], PORT
    hosts = resolver.resolve_name("cart.shop.mesh").addresses()
    assert set(hosts) == {"127.0.0.1", "127.0.0.2"}
    assert dns.resolver.zone_for_name("x.cart.shop.mesh", resolver=resolver).to_text() == "mesh."
    notify = dns.message.make_query("mesh", "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    assert dns.query.udp(notify, HOST, port=PORT, timeout=10).rcode() == dns.rcode.NOTIMP


def large():
    """600 endpoints of `many`: cut over UDP, all that may be over TCP."""
    for kind in ("A", "SRV"):
        answer = ask("many.mesh", kind, use_edns=0, payload=65535)
        assert answer.flags & dns.flags.TC and answer.answer, answer
    whole, over_tcp = dns.query.udp_with_fallback(
        dns.message.make_query("many.mesh", "SRV"), HOST, port=PORT, timeout=10)
    assert over_tcp and len(texts(whole, "SRV")) == 512, len(texts(whole, "SRV"))


def pipelined():
    """Many questions on one connection, sent at once, in pieces that end anywhere."""
    queries = [dns.message.make_query("cart.shop.mesh", "A") for _ in range(300)]
    for place, query in enumerate(queries):
        query.id = place
    wires = [query.to_wire() for query in queries]
    data = b"".join(struct.pack("!H", len(wire)) + wire for wire in wires)
    with socket.create_connection((HOST, PORT), timeout=10) as connection:
        for at in range(0, len(data), 997):
            connection.sendall(data[at:at + 997])
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as lines:
            seen = set()
            for _ in queries:
                (length,) = struct.unpack("!H", lines.read(2))
                answer = dns.message.from_wire(lines.read(length))
                assert len(texts(answer, "A")) == 2
                seen.add(answer.id)
            assert seen == set(range(300))
            assert lines.read() == b""


def hostile():
    """Rubbish, over both; then it answers as before."""
    draw = random.Random(7)
    good = dns.message.make_query("cart.shop.mesh", "SRV").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((HOST, PORT))
        for _ in range(5000):
            data = bytearray(good)
            for _ in range(draw.randrange(1, 6)):
                data[draw.randrange(len(data))] = draw.choice([0xC0, draw.randrange(256)])
            udp.send(bytes(data[:draw.randrange(len(data) + 1)]))
        udp.send(b"x" * 60000)
    for data in (b"\0\0", b"\0\x05hello", b"\xff\xff" + b"x" * 100, b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection((HOST, PORT), timeout=20) as connection:
            connection.sendall(data)
            connection.settimeout(20)
            try:
                assert connection.recv(10) == b"", data
            except ConnectionResetError:
                pass
    idle = [socket.create_connection((HOST, PORT), timeout=10) for _ in range(300)]
    zone()
    for connection in idle:
        connection.close()


def forwarded():
    for tcp in (False, True):
        answer = ask("www.example.org", tcp=tcp)
        assert texts(answer, "A") == ["192.0.2.1"] and not answer.flags & dns.flags.AA, answer
        assert texts(ask("cart.shop.mesh", tcp=tcp), "A") == ["127.0.0.1", "127.0.0.2"]
    assert ask("cart.shop.mesh").flags & dns.flags.RA
    for _ in range(3):
        assert texts(ask("forged.example.org"), "A") == ["192.0.2.1"]
    whole, over_tcp = dns.query.udp_with_fallback(
        dns.message.make_query("large.example.org", "TXT"), HOST, port=PORT, timeout=10)
    assert over_tcp and len(texts(whole, "TXT")) == 100
    query = dns.message.make_query("www.example.org", "A")
    query.flags &= ~dns.flags.RD
    assert dns.query.udp(query, HOST, port=PORT, timeout=10).rcode() == dns.rcode.REFUSED
    # Each waits for seconds: at the same time.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for wait in [pool.submit(check) for check in (late, silent_udp, silent_tcp)]:
            wait.result()


def late():
    assert texts(ask("late.example.org"), "A") == ["192.0.2.1"]


def silent_udp():
    silent(tcp=False)


def silent_tcp():
    silent(tcp=True)


def silent(tcp):
    start = time.monotonic()
    assert ask("silent.example.org", tcp=tcp).rcode() == dns.rcode.SERVFAIL
    assert time.monotonic() - start > 3.9


def flooded():
    """More questions than may be under way at once: those beyond are told at once.

    A socket drops what it has no room for, and a busy server reads late. So each hundred questions
    are followed by one that is answered at once, and its answer is waited for: it comes when all
    before it have been read.
    """
    last = 999
    wires = [
        dns.message.make_query("silent.example.org", "A", id=place).to_wire()
        for place in range(600)]
    mark = dns.message.make_query("cart.shop.mesh", "A", id=last).to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((HOST, PORT))
        udp.settimeout(10)
        codes = {}
        for place, wire in enumerate(wires):
            udp.send(wire)
            if place % 100 < 99:
                continue
            udp.send(mark)
            answer = dns.message.from_wire(udp.recv(65535))
            while answer.id != last:
                codes[answer.id] = answer.rcode()
                answer = dns.message.from_wire(udp.recv(65535))
        assert codes == {place: dns.rcode.SERVFAIL for place in range(512, 600)}, codes
    assert texts(ask("cart.shop.mesh"), "A") == ["127.0.0.1", "127.0.0.2"]


globals()[sys.argv[2]]()
print("ok")
