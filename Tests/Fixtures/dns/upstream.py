"""A DNS server of example.org, for tests of whoever forwards to it. Prints its port once it answers.

www.example.org    192.0.2.1
large.example.org  too long for UDP
silent.example.org no answer
late.example.org   answered to the second datagram only
forged.example.org behind answers with another id, to another question, and with rubbish
"""

import errno
import socket
import struct
import threading
import time

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

seen = {}


def answers(query):
    """The answers over UDP, and the one over TCP."""
    name = query.question[0].name.to_text().lower()
    seen[name] = seen.get(name, 0) + 1
    response = dns.message.make_response(query, recursion_available=True)
    if name == "silent.example.org.":
        return [], None
    if name == "late.example.org." and seen[name] == 1:
        return [], None
    if name == "large.example.org.":
        texts = ['"' + "x" * 200 + str(i) + '"' for i in range(100)]
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", *texts))
        short = dns.message.make_response(query, recursion_available=True)
        short.flags |= dns.flags.TC
        return [short.to_wire()], response.to_wire(max_size=65535)
    address = "192.0.2.1"
    response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", address))
    wire = response.to_wire()
    if name == "forged.example.org.":
        forged = dns.message.make_response(query, recursion_available=True)
        forged.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "203.0.113.66"))
        forged.id ^= 1
        other = dns.message.make_response(
            dns.message.make_query("other.example.org", "A", id=query.id))
        other.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "203.0.113.66"))
        return [b"", b"\0", forged.to_wire(), other.to_wire(), wire], wire
    return [wire], wire


def both():
    """Sockets of UDP and TCP at one port: one that is free for UDP may be taken for TCP."""
    while True:
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", 0))
        try:
            return datagrams, socket.create_server(datagrams.getsockname())
        except OSError as error:
            datagrams.close()
            if error.errno != errno.EADDRINUSE:
                raise


udp, tcp = both()


def over_tcp():
    while True:
        connection, _ = tcp.accept()
        with connection, connection.makefile("rb") as lines:
            (length,) = struct.unpack("!H", lines.read(2))
            _, whole = answers(dns.message.from_wire(lines.read(length)))
            if not whole:
                time.sleep(6)
            else:
                # In two parts, as a network may.
                data = struct.pack("!H", len(whole)) + whole
                connection.sendall(data[:1])
                connection.sendall(data[1:])


threading.Thread(target=over_tcp, daemon=True).start()
print(udp.getsockname()[1], flush=True)
while True:
    data, sender = udp.recvfrom(65535)
    short, _ = answers(dns.message.from_wire(data))
    for wire in short:
        udp.sendto(wire, sender)
