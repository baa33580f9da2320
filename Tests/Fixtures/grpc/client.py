"""Calls the workload's gRPC with grpcio: client.py HOST:PORT CHECK [ARGUMENT...]

Messages are made from what reflection tells, so that every check is one of reflection as well. A
check that fails raises; one that holds prints "ok".
"""

import json
import sys
import time
import urllib.request

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

address, check, *arguments = sys.argv[1:]
# Bound: messages of 8 MiB, for whoever asks for one of 4 MiB and its fields.
channel = grpc.insecure_channel(
    address, options=[("grpc.max_receive_message_length", 8 << 20)])
pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
service = pool.FindServiceByName("meshbench.Echo")
Request = message_factory.GetMessageClass(pool.FindMessageTypeByName("meshbench.EchoRequest"))
Response = message_factory.GetMessageClass(pool.FindMessageTypeByName("meshbench.EchoResponse"))


def method(name):
    kind = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    of = service.methods_by_name[name]
    return kind[of.client_streaming, of.server_streaming](
        f"/{service.full_name}/{name}",
        request_serializer=Request.SerializeToString,
        response_deserializer=Response.FromString)


def stats():
    with urllib.request.urlopen(f"http://{address}/app/stats", timeout=20) as answer:
        return json.load(answer)


def fails(status, call):
    try:
        result = call()
        raise AssertionError(f"{result!r} instead of {status}")
    except grpc.RpcError as error:
        assert error.code() == status, error
        return error


def unary():
    answer = method("Unary")(Request(payload=b"hello"), timeout=20)
    assert (answer.payload, answer.index, answer.requests) == (b"hello", 0, 1), answer
    assert len(method("Unary")(Request(response_size=5), timeout=20).payload) == 5
    assert len(method("Unary")(Request(response_size=0, payload=b"x"), timeout=20).payload) == 0
    # Neither size nor payload: as long as the service's answers over HTTP.
    assert len(method("Unary")(Request(), timeout=20).payload) == int(arguments[0])


def large():
    payload = bytes(range(256)) * 4096
    answer = method("Unary")(Request(payload=payload), timeout=20)
    assert answer.payload == payload
    # One byte more than a message may have.
    fails(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        lambda: method("Unary")(Request(payload=bytes(4 << 20)), timeout=20))
    assert len(method("Unary")(Request(response_size=4 << 20), timeout=20).payload) == 4 << 20


def server_stream():
    answers = list(method("ServerStream")(
        Request(payload=b"ab", response_count=100, delay_ns=1000), timeout=20))
    assert [answer.index for answer in answers] == list(range(100))
    assert all(answer.payload == b"ab" for answer in answers)
    assert list(method("ServerStream")(Request(response_count=0), timeout=20)) == []
    call = method("ServerStream")(
        Request(payload=b"x", response_count=3, status=10, message="of three"), timeout=20)
    seen = []
    error = fails(grpc.StatusCode.ABORTED, lambda: [seen.append(answer) for answer in call])
    assert error.details() == "of three" and len(seen) == 3


def client_stream():
    answer = method("ClientStream")(
        (Request(payload=b"x" * size) for size in range(100)), timeout=20)
    assert (answer.requests, answer.request_bytes) == (100, 4950), answer
    assert method("ClientStream")(iter([]), timeout=20).requests == 0


def bidi_stream():
    # Each request is made only when the answer to the one before is there.
    answers = []

    def requests():
        for number in range(100):
            assert len(answers) == number
            yield Request(payload=b"%d" % number)
            deadline = time.monotonic() + 20
            while len(answers) == number:
                assert time.monotonic() < deadline
                time.sleep(0.0001)

    for answer in method("BidiStream")(requests(), timeout=60):
        assert answer.payload == b"%d" % len(answers) and answer.index == len(answers)
        answers.append(answer)
    assert len(answers) == 100
    # All at once, several answers to each, more than a stream's window holds.
    answers = list(method("BidiStream")(
        (Request(payload=bytes(10_000), response_count=2) for _ in range(100)), timeout=60))
    assert len(answers) == 200 and answers[-1].requests == 100
    call = method("BidiStream")(
        iter([Request(payload=b"a"), Request(status=9, message="no more")]), timeout=20)
    seen = []
    fails(grpc.StatusCode.FAILED_PRECONDITION, lambda: [seen.append(answer) for answer in call])
    assert len(seen) == 1


def errors():
    # Trailers alone: without initial metadata, in one frame.
    error = fails(
        grpc.StatusCode.NOT_FOUND,
        lambda: method("Unary")(Request(status=5, message="nö%\n"), timeout=20))
    assert error.details() == "nö%\n", error
    for number in range(1, 17):
        status = next(code for code in grpc.StatusCode if code.value[0] == number)
        fails(status, lambda: method("Unary")(Request(status=number), timeout=20))
    raw = channel.unary_unary("/meshbench.Echo/Absent")
    fails(grpc.StatusCode.UNIMPLEMENTED, lambda: raw(b"", timeout=20))
    raw = channel.unary_unary("/meshbench.Echo/Unary")
    fails(grpc.StatusCode.INTERNAL, lambda: raw(b"\xff", timeout=20))
    raw = channel.stream_unary("/meshbench.Echo/Unary")
    fails(grpc.StatusCode.INTERNAL, lambda: raw(iter([b"", b""]), timeout=20))
    fails(grpc.StatusCode.INTERNAL, lambda: raw(iter([]), timeout=20))
    # The words of HTTP script calls too.
    fails(
        grpc.StatusCode.UNAVAILABLE,
        lambda: method("Unary")(Request(), timeout=20, metadata=[("x-app-status", "503")]))
    answer = method("Unary")(Request(), timeout=20, metadata=[("x-app-size", "7B")])
    assert len(answer.payload) == 7
    compressed = method("Unary")
    fails(
        grpc.StatusCode.UNIMPLEMENTED,
        lambda: compressed(
            Request(payload=bytes(1000)), timeout=20, compression=grpc.Compression.Gzip))


def cancelled():
    """How many calls the server has seen cancelled: reflection's among them, whose client lets go
    of its stream when it has its answer. Another call's answer tells that this has arrived."""
    method("Unary")(Request(), timeout=20)
    return stats()["grpc"]["cancelled"]


def deadline():
    before = cancelled()
    begin = time.monotonic()
    fails(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        lambda: method("Unary")(Request(delay_ns=30_000_000_000), timeout=0.2))
    assert time.monotonic() - begin < 10
    # By the server's clock as well; its client, which has the same deadline, may have been first.
    wait(lambda seen: seen["grpc"]["status"].get("DEADLINE_EXCEEDED", 0)
         + seen["grpc"]["cancelled"] - before == 1)
    assert stats()["concurrency"]["now"] == 0


def wait(holds):
    deadline = time.monotonic() + 20
    while not holds(stats()):
        assert time.monotonic() < deadline, stats()
        time.sleep(0.001)


def cancellation():
    # Within 50 ms, as soon as the machine is not busy with something else.
    for _ in range(10):
        if cancel_once() < 0.05:
            return
    raise AssertionError("no cancellation was seen within 50 ms")


def cancel_once():
    before = cancelled()
    call = method("BidiStream")(iter_once(Request(payload=b"a")), timeout=60)
    assert next(call).payload == b"a"
    unary = method("Unary").future(Request(delay_ns=30_000_000_000), timeout=60)
    wait(lambda seen: seen["concurrency"]["now"] == 2)
    begin = time.monotonic()
    call.cancel()
    unary.cancel()
    wait(lambda seen: seen["grpc"]["cancelled"] - before == 2)
    took = time.monotonic() - begin
    assert stats()["concurrency"]["now"] == 0
    return took


def iter_once(request):
    yield request
    time.sleep(60)


def health():
    check = health_pb2_grpc.HealthStub(channel).Check
    serving = health_pb2.HealthCheckResponse.SERVING
    for name in ["", "meshbench.Echo"]:
        assert check(health_pb2.HealthCheckRequest(service=name), timeout=20).status == serving
    fails(
        grpc.StatusCode.NOT_FOUND,
        lambda: check(health_pb2.HealthCheckRequest(service="other"), timeout=20))
    assert stats()["requests"] == 0


def reflection():
    def ask(path, request):
        call = channel.stream_stream(
            path, request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString)
        [answer] = list(call(iter([request]), timeout=20))
        assert answer.original_request == request
        return answer

    Ask = reflection_pb2.ServerReflectionRequest
    for version in ["v1", "v1alpha"]:
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        names = [one.name for one in ask(path, Ask(list_services="")).list_services_response.service]
        assert names == ["meshbench.Echo", "grpc.health.v1.Health"], names
        for request in [
            Ask(file_by_filename="echo.proto"),
            Ask(file_containing_symbol="meshbench.Echo"),
            Ask(file_containing_symbol="meshbench.Echo.Unary"),
            Ask(file_containing_symbol="meshbench.EchoResponse.payload"),
        ]:
            [file] = ask(path, request).file_descriptor_response.file_descriptor_proto
            compare(file, arguments[0])
        for request in [
            Ask(file_by_filename="x"), Ask(file_containing_symbol="meshbench.X"),
            Ask(all_extension_numbers_of_type="meshbench.EchoRequest"),
        ]:
            assert ask(path, request).error_response.error_code == 5
    health = pool.FindServiceByName("grpc.health.v1.Health")
    ours = descriptor_pb2.FileDescriptorProto()
    health.file.CopyToProto(ours)
    theirs = descriptor_pb2.FileDescriptorProto()
    health_pb2.DESCRIPTOR.CopyToProto(theirs)
    # Only what is served.
    messages = {message.name for message in ours.message_type}
    kept = [message for message in theirs.message_type if message.name in messages]
    methods = [one for one in theirs.service[0].method if one.name == "Check"]
    assert list(plain(ours).message_type) == [plain_message(message) for message in kept]
    assert list(ours.service[0].method) == methods


def compare(encoded, source):
    """The file as protoc compiles it, but for what protoc adds for JSON."""
    import os
    import tempfile
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "set")
        assert protoc.main([
            "protoc", f"-I{os.path.dirname(source)}", f"--descriptor_set_out={target}",
            os.path.basename(source)]) == 0
        with open(target, "rb") as file:
            expected = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file[0]
    found = descriptor_pb2.FileDescriptorProto.FromString(encoded)
    assert found == plain(expected), f"{found}\n{expected}"


def plain(file):
    for message in file.message_type:
        plain_message(message)
    return file


def plain_message(message):
    for field in message.field:
        field.ClearField("json_name")
    return message


globals()[check]()
print("ok")
