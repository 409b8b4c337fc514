"""Runs the waymark command, and scripted gRPC servers for it to talk to."""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

import grpc
from grpc_tools import protoc

WAYMARK = os.path.abspath(os.environ.get("WAYMARK", "client/cli/waymark"))
DEMO = os.path.abspath("demo")


def generate_stubs():
    out = tempfile.mkdtemp(prefix="waymark-cli-py-")
    protos = sorted(str(p) for p in pathlib.Path("proto", "waymark").rglob("*.proto"))
    include = os.path.join(os.path.dirname(protoc.__file__), "_proto")
    roots = ["-I" + root for root in ("proto", include, "/usr/include") if os.path.isdir(root)]
    if protoc.main(["protoc", *roots, "--python_out=" + out, "--grpc_python_out=" + out, *protos]) != 0:
        raise AssertionError("grpc_tools could not compile proto/")
    sys.path.insert(0, out)


def environment(**more):
    result = {k: v for k, v in os.environ.items() if not k.startswith("WAYMARK")}
    result.update(more)
    return result


def run(*arguments, stdin=None, timeout=60, **env):
    return subprocess.run(
        [WAYMARK, *arguments], env=environment(**env), input=stdin, capture_output=True, text=True, timeout=timeout
    )


def start(*arguments, **env):
    return subprocess.Popen(
        [WAYMARK, *arguments], env=environment(**env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace",
    )


class Server:
    """A gRPC server of the given servicers: [(add_to_server, servicer), ...]."""

    def __init__(self, *servicers, port=0):
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        for add, servicer in servicers:
            add(servicer, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        self.address = f"127.0.0.1:{self.port}"
        self.server.start()

    def kill(self):
        self.server.stop(0).wait()


generate_stubs()
