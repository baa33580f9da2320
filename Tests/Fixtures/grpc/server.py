"""A grpcio server of meshbench.Echo/Unary: prints its port, serves until its input ends.

Echoes the request's bytes, which as a message is the same payload. Metadata `x-status` has it fail.
Each connection lasts MILLISECONDS at most: grpcio then ends it with GOAWAY.
"""

import concurrent.futures
import sys

import grpc


def unary(request, context):
    for key, value in context.invocation_metadata():
        if key == "x-status":
            status = next(code for code in grpc.StatusCode if code.value[0] == int(value))
            context.abort(status, "as asked")
    assert context.time_remaining() is not None
    return request


class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        if call.method == "/meshbench.Echo/Unary":
            return grpc.unary_unary_rpc_method_handler(unary)
        return None


server = grpc.server(
    concurrent.futures.ThreadPoolExecutor(max_workers=8),
    options=[
        ("grpc.max_connection_age_ms", int(sys.argv[1])),
        ("grpc.max_connection_age_grace_ms", 5000),
        ("grpc.max_concurrent_streams", 10),
    ])
server.add_generic_rpc_handlers([Echo()])
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
server.stop(None)
