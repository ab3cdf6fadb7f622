# SPDX-License-Identifier: Apache-2.0
"""A gRPC health service on the real gRPC library: prints its port. A service is serving while the file that is called so is there; "" always is."""
import pathlib
import sys
import time
from concurrent import futures

import grpc

HERE = pathlib.Path(sys.argv[1])


def check(request, context):
    """HealthCheckRequest{1: service} -> HealthCheckResponse{1: 1 = SERVING, 2 = NOT_SERVING}"""
    name = request[2:].decode() if request else ""
    if name == "unknown":
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return b"\x08\x01" if not name or (HERE / name).exists() else b"\x08\x02"


server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)}),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
time.sleep(600)
