"""How the command connects: TLS, and where its token comes from."""

import concurrent.futures
import os
import shutil
import subprocess
import tempfile
import unittest

import support

import grpc
from waymark.auth.v1 import auth_service_pb2, auth_service_pb2_grpc


class Auth(auth_service_pb2_grpc.AuthServiceServicer):
    def WhoAmI(self, request, context):
        token = dict(context.invocation_metadata()).get("authorization", "nobody")
        return auth_service_pb2.WhoAmIResponse(subject=token, namespace=request.namespace or "default")


class Connect(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.key, cls.cert = (os.path.join(cls.directory, name) for name in ("key.pem", "cert.pem"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-keyout", cls.key, "-out", cls.cert, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
            check=True, capture_output=True,
        )
        cls.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        auth_service_pb2_grpc.add_AuthServiceServicer_to_server(Auth(), cls.server)
        with open(cls.key, "rb") as key, open(cls.cert, "rb") as cert:
            credentials = grpc.ssl_server_credentials([(key.read(), cert.read())])
        # By number: looking up a name leaks ten bytes in libcares, which the leak checker minds.
        cls.tls = f"127.0.0.1:{cls.server.add_secure_port('127.0.0.1:0', credentials)}"
        cls.plain = f"127.0.0.1:{cls.server.add_insecure_port('127.0.0.1:0')}"
        cls.server.start()
        cls.addClassCleanup(lambda: cls.server.stop(0).wait())

    def who(self, *arguments, **env):
        done = support.run("whoami", *arguments, **env)
        self.assertEqual(done.returncode, 0, done.stderr)
        return next(line.split(None, 1)[1] for line in done.stdout.splitlines() if line.startswith("subject"))

    def test_tls_with_the_authority_named(self):
        self.assertEqual(self.who("--address", self.tls, "--tls-ca", self.cert, "--token", "t"), "Bearer t")
        self.assertEqual(self.who(WAYMARK_ADDRESS=self.tls, WAYMARK_CA_FILE=self.cert), "nobody")

    def test_tls_with_an_unknown_authority_is_refused(self):
        other = os.path.join(self.directory, "other.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", os.devnull, "-out", other, "-subj", "/CN=localhost"],
            check=True, capture_output=True,
        )
        done = support.run("whoami", "--address", self.tls, "--tls-ca", other, "--timeout", "10")
        self.assertEqual(done.returncode, 1)
        self.assertIn("UNAVAILABLE", done.stderr)
        done = support.run("whoami", "--address", self.tls, "--tls-ca", "/nowhere")
        self.assertEqual(done.returncode, 2)

    def test_where_the_token_comes_from(self):
        path = os.path.join(self.directory, "token")
        with open(path, "w", encoding="utf-8") as file:
            file.write(" from-a-file\n")
        env = {"WAYMARK_ADDRESS": self.plain}
        self.assertEqual(self.who(**env), "nobody")
        self.assertEqual(self.who(WAYMARK_TOKEN="of-env", **env), "Bearer of-env")
        self.assertEqual(self.who(WAYMARK_TOKEN_FILE=path, **env), "Bearer from-a-file")
        self.assertEqual(self.who("--token", "given", WAYMARK_TOKEN="of-env", **env), "Bearer given")
        self.assertEqual(self.who("--token-file", path, WAYMARK_TOKEN="of-env", **env), "Bearer from-a-file")
        done = support.run("whoami", "--token-file", "/nowhere", **env)
        self.assertEqual(done.returncode, 1)
        self.assertIn("TOKEN_FILE_UNREADABLE", done.stderr)

    def test_the_namespace_goes_along(self):
        done = support.run("whoami", "--namespace", "harbour", "--json", WAYMARK_ADDRESS=self.plain)
        self.assertIn('"namespace":"harbour"', done.stdout)

    def test_secrets_do_not_come_out(self):
        done = support.run("whoami", "--token", "s3cret-token", "--address", "127.0.0.1:1")
        self.assertNotIn("s3cret", done.stdout + done.stderr)
