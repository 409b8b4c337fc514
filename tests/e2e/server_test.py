"""waymarkd itself: production mode over TLS, what it refuses, migrations, signals."""

import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import unittest

import grpc

import harness
from harness import bearer

from waymark.workflow.v1 import task_service_pb2, task_service_pb2_grpc


class ServerProgram(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dev = harness.Server(options=["--drain-ms", "60000"]).start()
        cls.addClassCleanup(cls.dev.close)
        environment = pathlib.Path(cls.dev.state, "dev.env").read_text(encoding="utf-8")
        cls.env = dict(line.split("=", 1) for line in environment.splitlines())
        cls.postgres = f"host={cls.env['PGHOST']} user={cls.env['PGUSER']} dbname={cls.env['PGDATABASE']}"

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="wm-serve-")
        self.addCleanup(self.directory.cleanup)

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def certificate(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            + ["-keyout", self.path("key.pem"), "-out", self.path("cert.pem"), "-days", "1"]
            + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            check=True,
            capture_output=True,
        )

    def serve(self, *options):
        process = subprocess.Popen(
            [harness.WAYMARKD, "serve", "--postgres", self.postgres, *options],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stderr.close)
        return process

    def health(self, address, *options):
        environment = dict(os.environ, WAYMARK_ADDRESS=address)
        command = [harness.WAYMARK, "health", *options]
        return subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60).returncode == 0

    def test_production_refuses_the_development_issuer(self):
        process = self.serve("--listen", "127.0.0.1:0", "--issuer", self.env["WAYMARK_ISSUER"])
        _, messages = process.communicate(timeout=60)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("development issuer", messages)

    def test_production_serves_over_tls_and_a_unix_socket(self):
        self.certificate()
        port, socket = harness.free_port(), f"unix:{self.path('wm.sock')}"
        process = self.serve(
            *("--listen", f"127.0.0.1:{port}", "--listen", socket, "--issuer", "https://127.0.0.1:1"),
            *("--redis", f"unix:{self.env['REDIS_SOCKET']}"),
            *("--tls-cert", self.path("cert.pem"), "--tls-key", self.path("key.pem")),
        )
        drain = threading.Thread(target=process.stderr.read)
        drain.start()
        harness.wait_for(
            lambda: self.health(f"localhost:{port}", "--tls-ca", self.path("cert.pem")), "health over TLS", 60
        )
        self.assertTrue(self.health(socket), "health over the unix socket")
        self.assertFalse(self.health(f"127.0.0.1:{port}"), "plaintext must not be served on the TLS port")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(30), 0)
        drain.join()

    def test_listeners_have_settings_of_their_own(self):
        self.certificate()
        gated, plain, mutual = harness.free_port(), harness.free_port(), harness.free_port()
        files = f"cert={self.path('cert.pem')},key={self.path('key.pem')}"
        process = self.serve(
            *("--listen", f"127.0.0.1:{gated},gate=always,{files}", "--listen", f"127.0.0.1:{plain}"),
            *("--listen", f"127.0.0.1:{mutual},gate=always,{files},client-ca={self.path('cert.pem')}"),
            *("--issuer", "https://127.0.0.1:1", "--redis", f"unix:{self.env['REDIS_SOCKET']}"),
        )
        messages = []
        drain = threading.Thread(target=lambda: messages.append(process.stderr.read()))
        drain.start()
        ca = ("--tls-ca", self.path("cert.pem"))
        harness.wait_for(lambda: self.health(f"localhost:{gated}", *ca), "health through the gate", 60)
        self.assertTrue(self.health(f"127.0.0.1:{plain}"), "plaintext where no certificate is named")
        self.assertFalse(self.health(f"127.0.0.1:{gated}"), "plaintext at the gate's TLS")
        self.assertFalse(self.health(f"localhost:{mutual}", *ca), "no client certificate")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(30), 0)
        drain.join()
        self.assertEqual(messages[0].count('"through":"gate"'), 2, messages[0])
        self.assertEqual(messages[0].count('"through":"core"'), 1, messages[0])
        self.assertIn('"why":"bad_handshake"', messages[0])

    def test_serve_says_which_option_is_missing(self):
        for options, word in (([], "--issuer"), (["--issuer", "https://a.example", "--tls-cert", "x"], "--tls-key")):
            process = self.serve(*options)
            _, messages = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 2)
            self.assertIn(word, messages)

    def test_migrate_may_be_repeated(self):
        for _ in range(2):
            subprocess.run(
                [harness.WAYMARKD, "migrate", "--postgres", self.postgres], check=True, capture_output=True, timeout=60
            )

    def test_a_second_dev_mode_on_one_state_is_refused(self):
        done = subprocess.run(
            [harness.WAYMARKD, "dev", "--state", self.dev.state, "--listen", f"127.0.0.1:{harness.free_port()}"],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("already", done.stderr)
        self.assertTrue(self.health(self.dev.address))

    def test_a_second_signal_ends_at_once(self):
        second = harness.Server(join=self.dev, options=["--drain-ms", "60000"]).start()
        self.addCleanup(second.close)
        worker = bearer(self.dev.token("wim", "worker"))
        with second.channel() as channel:
            poll = task_service_pb2_grpc.TaskServiceStub(channel).PollTask.future(
                task_service_pb2.PollTaskRequest(queues=["none"], wait_timeout={"seconds": 50}), metadata=worker
            )
            harness.wait_for(lambda: self.polls(channel, worker), "the poll has begun")
            second.process.send_signal(signal.SIGTERM)
            with self.assertRaises(subprocess.TimeoutExpired):
                second.process.wait(1.5)
            second.process.send_signal(signal.SIGTERM)
            self.assertEqual(second.process.wait(5), -signal.SIGTERM)
            self.assertRaises(grpc.RpcError, poll.result)

    def polls(self, channel, worker):
        """A later call on the same connection has been answered, so the poll has arrived."""
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        at_once = task_service_pb2.PollTaskRequest(queues=["none"], wait_timeout={"nanos": 1})
        stub.PollTask(at_once, metadata=worker, timeout=10)
        return True


if __name__ == "__main__":
    harness.main("__main__")
