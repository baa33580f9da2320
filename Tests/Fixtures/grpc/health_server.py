"""A server of gRPC's health protocol by grpcio: `well` is serving, `sick` is not. Prints its port."""

import concurrent.futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

servicer = health.HealthServicer()
servicer.set("well", health_pb2.HealthCheckResponse.SERVING)
servicer.set("sick", health_pb2.HealthCheckResponse.NOT_SERVING)
server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=4))
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
