"""Asks a rate limit service with grpcio: ratelimit_client.py HOST:PORT

The messages are made by Google's protobuf from descriptors that are written down here, after
envoy/service/ratelimit/v3/rls.proto. A check that fails raises; at the end it prints "ok".
"""

import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory

F = descriptor_pb2.FieldDescriptorProto
LABELS = {"": F.LABEL_OPTIONAL, "*": F.LABEL_REPEATED}
TYPES = {"string": F.TYPE_STRING, "uint32": F.TYPE_UINT32, "int32": F.TYPE_INT32}


def message(holder, name, *fields):
    new = holder.add(name=name)
    for number, label, kind, field in fields:
        new.field.add(
            name=field, number=number, label=LABELS[label],
            type=TYPES.get(kind, F.TYPE_MESSAGE),
            type_name=None if kind in TYPES else kind)
    return new


file = descriptor_pb2.FileDescriptorProto(
    name="rls.proto", package="r", syntax="proto3",
    dependency=["google/protobuf/duration.proto"])
message(file.message_type, "Entry", (1, "", "string", "key"), (2, "", "string", "value"))
message(file.message_type, "Descriptor", (1, "*", ".r.Entry", "entries"))
message(
    file.message_type, "Request", (1, "", "string", "domain"),
    (2, "*", ".r.Descriptor", "descriptors"), (3, "", "uint32", "hits_addend"))
message(
    file.message_type, "Limit", (1, "", "uint32", "requests_per_unit"), (2, "", "int32", "unit"),
    (3, "", "string", "name"))
message(
    file.message_type, "Status", (1, "", "int32", "code"), (2, "", ".r.Limit", "current_limit"),
    (3, "", "uint32", "limit_remaining"),
    (4, "", ".google.protobuf.Duration", "duration_until_reset"))
message(
    file.message_type, "Response", (1, "", "int32", "overall_code"),
    (2, "*", ".r.Status", "statuses"))
pool = descriptor_pool.DescriptorPool()
duration = descriptor_pb2.FileDescriptorProto()
duration_pb2.DESCRIPTOR.CopyToProto(duration)
pool.Add(duration)
pool.Add(file)
Request, Response = (
    message_factory.GetMessageClass(pool.FindMessageTypeByName(f"r.{name}"))
    for name in ("Request", "Response"))

channel = grpc.insecure_channel(sys.argv[1])
SERVICE = "/envoy.service.ratelimit.v3.RateLimitService"


def call(method="ShouldRateLimit", serializer=Request.SerializeToString):
    return channel.unary_unary(
        f"{SERVICE}/{method}", request_serializer=serializer,
        response_deserializer=Response.FromString)


def ask(*descriptors, domain="shop", hits=0):
    request = Request(domain=domain, hits_addend=hits)
    for entries in descriptors:
        descriptor = request.descriptors.add()
        for key, value in entries:
            descriptor.entries.add(key=key, value=value)
    return call()(request, timeout=20)


def fails(status, make):
    try:
        raise AssertionError(f"{make()!r} instead of {status}")
    except grpc.RpcError as error:
        assert error.code() == status, error


# Three a year of each user; the first is asked for four times, in one question and three more.
user = [("user", "mia")]
for remaining in (2, 1, 0):
    answer = ask(user)
    assert answer.overall_code == 1, answer
    [status] = answer.statuses
    assert status.code == 1 and status.limit_remaining == remaining, answer
    assert (status.current_limit.requests_per_unit, status.current_limit.unit) == (3, 6), answer
    assert 0 < status.duration_until_reset.seconds <= 31536000, answer
answer = ask(user, [("other", "x")])
assert answer.overall_code == 2 and [s.code for s in answer.statuses] == [2, 1], answer
assert not answer.statuses[1].HasField("current_limit"), answer
assert ask([("user", "tom")], hits=3).statuses[0].limit_remaining == 0
assert ask([("user", "ann")], hits=4).overall_code == 2
# What is only counted, and what is of no rule.
assert [ask([("shadow", "x")]).overall_code for _ in range(3)] == [1, 1, 1]
assert ask(user, domain="other").overall_code == 1
# Many at once, on one connection.
calls = [
    call().future(
        Request(domain="shop", descriptors=[{"entries": [{"key": "user", "value": "all"}]}]),
        timeout=20) for _ in range(50)]
assert sorted(c.result().overall_code for c in calls) == [1] * 3 + [2] * 47
# What is no question.
fails(grpc.StatusCode.INVALID_ARGUMENT, lambda: ask(domain="shop"))
fails(grpc.StatusCode.INVALID_ARGUMENT, lambda: ask(user, domain=""))
fails(
    grpc.StatusCode.INVALID_ARGUMENT,
    lambda: call(serializer=lambda _: b"\xff\xff")(None, timeout=20))
fails(grpc.StatusCode.UNIMPLEMENTED, lambda: call("Other")(Request(), timeout=20))
print("ok")
