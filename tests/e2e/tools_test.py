"""The tools that people bring along: grpcurl, grpc-health-probe and ghz, at the core and at the gate.

GRPCURL, GRPC_HEALTH_PROBE and GHZ name the programs; ./dev test builds them where Go is. What is not
there is skipped by name.
"""

import json
import os
import subprocess
import tempfile
import unittest

import harness

GRPCURL = os.environ.get("GRPCURL", "")
PROBE = os.environ.get("GRPC_HEALTH_PROBE", "")
GHZ = os.environ.get("GHZ", "")
SERVICES = [
    "grpc.health.v1.Health",
    "waymark.auth.v1.AuthService",
    "waymark.geo.v1.FenceService",
    "waymark.geo.v1.TrackService",
    "waymark.workflow.v1.ChartService",
    "waymark.workflow.v1.TaskService",
    "waymark.workflow.v1.WorkflowService",
]
WHO_AM_I = "waymark.auth.v1.AuthService/WhoAmI"
CHECK = "grpc.health.v1.Health/Check"
PROBE_REFUSED = 3  # the call failed: grpc-health-probe's own status
PROBE_NO_CONNECTION = 2
GHZ_CALLS = 8000


class ToolCases:
    """The cases; the classes below say how the server is reached."""

    plain = True
    ghz_call, metadata = CHECK, {}

    def run_tool(self, program, *arguments, status=0):
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, status, f"{program} {arguments}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    # ---- grpcurl ----

    def grpcurl(self, *arguments, options=(), status=0):
        how = ["-plaintext"] if self.plain else ["-cacert", self.cert]
        return self.run_tool(GRPCURL, *how, *options, self.address, *arguments, status=status)

    @unittest.skipUnless(GRPCURL, "grpcurl is not here")
    def test_grpcurl_lists(self):
        self.assertEqual(set(SERVICES) - set(self.grpcurl("list").split()), set())
        self.assertIn("waymark.geo.v1.TrackService.SearchNearby", self.grpcurl("list", "waymark.geo.v1.TrackService"))

    @unittest.skipUnless(GRPCURL, "grpcurl is not here")
    def test_grpcurl_describes(self):
        for service in SERVICES:
            self.assertIn(f"{service} is a service", self.grpcurl("describe", service))
        text = self.grpcurl("describe", "waymark.geo.v1.SearchNearbyRequest")
        self.assertIn("double lon_deg", text)

    @unittest.skipUnless(GRPCURL, "grpcurl is not here")
    def test_grpcurl_calls(self):
        self.assertEqual(json.loads(self.grpcurl(CHECK)), {"status": "SERVING"})

    @unittest.skipUnless(GRPCURL, "grpcurl is not here")
    def test_grpcurl_shows_the_details_of_an_error(self):
        text = self.grpcurl(WHO_AM_I, status=64 + 16)  # UNAUTHENTICATED
        self.assertIn("Unauthenticated", text)
        self.assertIn("google.rpc.ErrorInfo", text)

    # ---- grpc-health-probe ----

    def probe(self, *arguments, status=0):
        how = [] if self.plain else ["-tls", "-tls-ca-cert", self.cert]
        return self.run_tool(PROBE, "-addr", self.address, *how, *arguments, status=status)

    @unittest.skipUnless(PROBE, "grpc-health-probe is not here")
    def test_health_probe_sees_a_healthy_server(self):
        self.assertIn("SERVING", self.probe())

    @unittest.skipUnless(PROBE, "grpc-health-probe is not here")
    def test_health_probe_is_told_of_unknown_services(self):
        self.assertIn("NotFound", self.probe("-service", "no.such.Service", status=PROBE_REFUSED))

    # ---- ghz ----

    @unittest.skipUnless(GHZ, "ghz is not here")
    def test_ghz_calls_as_often_as_it_is_told(self):
        how = ["--insecure"] if self.plain else ["--cacert", self.cert]
        command = [*how, "--call", self.ghz_call, "-m", json.dumps(self.metadata), "-n", str(GHZ_CALLS)]
        # All at once on one connection: more than the gate lets begin before the first are answered.
        report = json.loads(self.run_tool(GHZ, *command, "-c", "800", "-O", "json", self.address))
        self.assertEqual(report["statusCodeDistribution"], {"OK": GHZ_CALLS})


class Direct(ToolCases, unittest.TestCase):
    """The development server, which gives tokens."""

    gate = "never"
    ghz_call = WHO_AM_I

    @classmethod
    def setUpClass(cls):
        server = harness.Server(options=["--gate", cls.gate]).start()
        cls.addClassCleanup(server.close)
        cls.address, cls.metadata = server.address, {"authorization": f"Bearer {server.token()}"}

    @unittest.skipUnless(GRPCURL, "grpcurl is not here")
    def test_grpcurl_calls_with_a_token(self):
        header = f"authorization: {self.metadata['authorization']}"
        self.assertIn("alice", self.grpcurl(WHO_AM_I, options=["-H", header]))

    @unittest.skipUnless(PROBE, "grpc-health-probe is not here")
    def test_health_probe_sees_that_nobody_is_there(self):
        self.run_tool(PROBE, "-addr", f"127.0.0.1:{harness.free_port()}", status=PROBE_NO_CONNECTION)


class Gate(Direct):
    gate = "always"


class Tls(ToolCases, unittest.TestCase):
    """As in production, on the database of a development server; nobody has a token there."""

    gate = "never"
    plain = False

    @classmethod
    def setUpClass(cls):
        dev = harness.Server().start()
        cls.addClassCleanup(dev.close)
        directory = tempfile.TemporaryDirectory(prefix="wm-tools-")
        cls.addClassCleanup(directory.cleanup)
        cls.cert, key = os.path.join(directory.name, "cert.pem"), os.path.join(directory.name, "key.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            + ["-keyout", key, "-out", cls.cert, "-days", "1", "-subj", "/CN=localhost"]
            + ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            check=True,
            capture_output=True,
        )
        cls.address = f"127.0.0.1:{harness.free_port()}"
        cls.serve(dev, key)

    @classmethod
    def serve(cls, dev, key):
        with open(os.path.join(dev.state, "dev.env"), encoding="utf-8") as lines:
            env = dict(line.rstrip("\n").split("=", 1) for line in lines if "=" in line)
        command = [harness.WAYMARKD, "serve", "--listen", cls.address, "--gate", cls.gate]
        command += ["--tls-cert", cls.cert, "--tls-key", key]
        command += ["--postgres", f"host={env['PGHOST']} user={env['PGUSER']} dbname={env['PGDATABASE']}"]
        command += ["--issuer", "https://127.0.0.1:1", "--audience", "waymark"]
        server = subprocess.Popen(command, stdout=dev.log, stderr=dev.log)
        cls.addClassCleanup(server.wait)
        cls.addClassCleanup(server.terminate)
        health = [harness.WAYMARK, "health", "--tls-ca", cls.cert]
        environment = dict(os.environ, WAYMARK_ADDRESS=cls.address)
        harness.wait_for(
            lambda: subprocess.run(health, env=environment, capture_output=True, check=False).returncode == 0,
            f"serve on {cls.address}\n{dev.log_tail()}",
        )


class TlsGate(Tls):
    gate = "always"


if __name__ == "__main__":
    harness.main("__main__")
