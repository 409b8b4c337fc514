"""auth_server as a Python object, with calls whose fields are keyword arguments."""

import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVER = os.environ.get("AUTH_SERVER", "tests/integration/auth/auth_server")
PROTO = os.environ.get("PROTO_OUT", "proto")
SETS = (
    "google/rpc_descriptor_set.binpb",
    "waymark/auth/v1/auth_descriptor_set.binpb",
    "waymark/geo/v1/geo_descriptor_set.binpb",
)


def load_pool():
    pool, seen = descriptor_pool.DescriptorPool(), set()
    for name in SETS:
        with open(os.path.join(PROTO, name), "rb") as file:
            for proto in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
                if proto.name not in seen:
                    pool.Add(proto)
                    seen.add(proto.name)
    return pool


POOL = load_pool()


def message(name):
    return message_factory.MessageFactory(POOL).GetPrototype(POOL.FindMessageTypeByName(name))


def reason_of(error):
    """The ErrorInfo reason in a call's status details."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in message("google.rpc.Status").FromString(value).details:
                if detail.type_url.endswith("google.rpc.ErrorInfo"):
                    return message("google.rpc.ErrorInfo").FromString(detail.value).reason
    return None


def bearer(token):
    return (("authorization", "Bearer " + token),)


def wait_for(condition, what, timeout_s=10.0):
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.01)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class DidNotStart(Exception):
    pass


class Call:
    """One method: fields of the request by keyword, and the token or the raw metadata."""

    def __init__(self, stub, request):
        self.stub, self.request = stub, request

    def prepare(self, fields):
        token, metadata = fields.pop("token", None), fields.pop("metadata", None)
        timeout = fields.pop("timeout", 15)
        if token is not None:
            metadata = bearer(token)
        return self.request(**fields), {"metadata": metadata, "timeout": timeout}

    def __call__(self, **fields):
        request, options = self.prepare(fields)
        return self.stub(request, **options)

    def future(self, **fields):
        request, options = self.prepare(fields)
        return self.stub.future(request, **options)


class AuthServer:
    def __init__(self, issuers=(), admins=(), dev_issuer=False, postgres=None):
        self.dir = tempfile.TemporaryDirectory()
        command = [SERVER]
        for issuer, audience in issuers:
            command += ["--issuer", issuer, audience]
        for admin in admins:
            command += ["--admin", admin]
        if dev_issuer:
            command += ["--dev-issuer", os.path.join(self.dir.name, "issuer.pem")]
        if postgres:
            command += ["--postgres", postgres]
        self.log = open(os.path.join(self.dir.name, "log"), "w+b")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            said = self.log.read().decode(errors="replace")
            self.stop(codes=(1,))
            raise DidNotStart(said)
        where = json.loads(line)
        self.postgres, self.issuer = where["postgres"], where["issuer"]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{where['port']}")
        auth, track = "waymark.auth.v1.", "waymark.geo.v1."
        self.who_am_i = self.unary(auth + "AuthService", "WhoAmI", auth)
        self.grant = self.unary(auth + "AuthService", "Grant", auth)
        self.revoke = self.unary(auth + "AuthService", "Revoke", auth)
        self.list_grants = self.unary(auth + "AuthService", "ListGrants", auth)
        self.get_entity = self.unary(track + "TrackService", "GetEntity", track)
        self.report_positions = self.unary(track + "TrackService", "ReportPositions", track)
        self.watch_positions = self.unary(track + "TrackService", "WatchPositions", track, "unary_stream")

    def unary(self, service, name, package, kind="unary_unary"):
        request, response = message(package + name + "Request"), message(package + name + "Response")
        stub = getattr(self.channel, kind)(
            f"/{service}/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return Call(stub, request)

    def raw_unary(self, path, request):
        return self.channel.unary_unary(path)(request, timeout=10)

    def token(self, subject, **members):
        """A token of the development issuer; `role` also grants it."""
        body = json.dumps({"sub": subject, **members}).encode()
        request = urllib.request.Request(
            self.issuer + "/token", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.load(answer)["access_token"]

    def set_postgres(self, up):
        """Stops or starts the PostgreSQL that the server made for itself."""
        self.process.stdin.write(b"+" if up else b"-")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"done\n"

    def stop(self, codes=(0,)):
        if hasattr(self, "channel"):
            self.channel.close()
        self.process.stdin.close()
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process.stdout.close()
        if code not in codes:
            self.log.seek(0)
            raise AssertionError(f"auth_server ended with {code}: " + self.log.read().decode(errors="replace")[-4000:])
        self.log.close()
        self.dir.cleanup()
