"""gRPC's own interop cases: grpc-go's client and ours, against our server and grpc-go's.

GRPC_GO_INTEROP names the directory with grpc-go's two programs; ./dev test builds them where Go is.
Without it those cases say they are skipped, and our client meets our server only.
"""
import os
import socket
import subprocess
import tempfile
import time
import unittest

GRPC_GO = os.environ.get("GRPC_GO_INTEROP", "")
OUR_CLIENT = "tests/interop/client"
OUR_SERVER = "tests/interop/server"
TLS_NAME = "foo.test.google.fr"
CASES = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
]


def make_certificate(directory):
    """A certificate for the name that the cases expect; it is its own authority."""
    cert, key = os.path.join(directory, "server.pem"), os.path.join(directory, "server.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=" + TLS_NAME, "-addext", "subjectAltName=DNS:*.test.google.fr",
         "-keyout", key, "-out", cert],
        check=True, stderr=subprocess.DEVNULL,
    )
    return cert, key


def free_port():
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))
        return probe.getsockname()[1]


def wait_for_port(port, server):
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("localhost", port), timeout=1).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Pair:
    """One side's programs, as command lines."""

    def __init__(self, cert, key):
        self.cert, self.key = cert, key

    def our_server(self, port, tls):
        return [OUR_SERVER, "--port", str(port)] + (["--tls", self.cert, self.key] if tls else [])

    def our_gated_server(self, port, tls):
        return self.our_server(port, tls) + ["--gate"]

    def go_server(self, port, tls):
        files = ["-use_tls", "-tls_cert_file", self.cert, "-tls_key_file", self.key]
        return [GRPC_GO + "/server", "-port", str(port)] + (files if tls else [])

    def our_client(self, port, case, tls):
        files = ["--tls", self.cert, "--tls_name", TLS_NAME]
        # An address: c-ares leaks ten bytes with each "localhost", which the leak checker counts.
        return ([OUR_CLIENT, "--host", "127.0.0.1", "--port", str(port), "--test_case", case]
                + (files if tls else []))

    def go_client(self, port, case, tls):
        files = ["-use_tls", "-use_test_ca", "-ca_file", self.cert,
                 "-server_host_override", TLS_NAME]
        return ([GRPC_GO + "/client", "-server_port", str(port), "-test_case", case]
                + (files if tls else []))


class Interop(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.pair = Pair(*make_certificate(cls.directory.name))
        cls.servers = {}

    @classmethod
    def tearDownClass(cls):
        statuses = {}
        for key, (server, _) in cls.servers.items():
            server.terminate()
            statuses[key] = server.wait(timeout=30)
        cls.directory.cleanup()
        # grpc-go's server ends by the signal; ours drains.
        bad = [key for key, status in statuses.items() if key[0] != "go_server" and status != 0]
        assert not bad, bad

    def port_of(self, name, tls):
        if (name, tls) not in self.servers:
            port = free_port()
            server = subprocess.Popen(getattr(self.pair, name)(port, tls),
                                      stdout=subprocess.DEVNULL)
            self.servers[name, tls] = (server, port)
            wait_for_port(port, server)
        return self.servers[name, tls][1]

    def check(self, client, server, case, tls):
        port = self.port_of(server, tls)
        done = subprocess.run(
            getattr(self.pair, client)(port, case, tls),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, text=True, check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)


def add_tests(client, server, needs_go):
    for case in CASES:
        for tls in (False, True):
            def test(self, case=case, tls=tls):
                self.check(client, server, case, tls)

            if needs_go:
                test = unittest.skipUnless(GRPC_GO, "grpc-go's programs are not here")(test)
            name = f"test_{client}_{server}_{'tls' if tls else 'plain'}_{case}"
            setattr(Interop, name, test)


add_tests("our_client", "our_server", False)
add_tests("our_client", "our_gated_server", False)
add_tests("go_client", "our_server", True)
add_tests("go_client", "our_gated_server", True)
add_tests("our_client", "go_server", True)

if __name__ == "__main__":
    unittest.main()
