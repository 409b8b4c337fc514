"""What a server shows to those who watch it: every metric is documented, and none that is not there."""

import json
import os
import re
import socket
import tempfile
import unittest
import urllib.error
import urllib.request

import harness

DOCS = os.environ.get("WAYMARK_OPERATIONS_MD", "docs/operations.md")


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.http_port = harness.free_port()
        cls.server = harness.Server(
            options=[
                "--metrics-listen", "127.0.0.1:%d" % cls.http_port,
                "--method-limit", "waymark.geo.v1.TrackService/SearchNearby=20:100",
                "--compress", "waymark.geo.v1.*",
                "--connection-limit", "age-max-ms=600000",
                "--gate", "always",
            ]
        ).start()
        cls.token = cls.server.token()

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def get(self, path):
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (self.http_port, path), timeout=10) as answer:
            return answer.read().decode()

    def samples(self):
        lines = [line for line in self.get("/metrics").splitlines() if not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    def documented(self):
        with open(DOCS, encoding="utf-8") as file:
            section = file.read().partition("\n## Metrics\n")[2].partition("\n## ")[0]
        rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
        return {name for row in rows for name in re.findall("`([a-z_]+)`", row)}

    def test_documented_is_shown_and_shown_is_documented(self):
        shown = set(re.findall("^# TYPE ([a-z_]+) ", self.get("/metrics"), re.MULTILINE))
        self.assertGreater(len(shown), 20)
        self.assertEqual(shown, self.documented())

    def test_every_documented_metric_has_a_sample(self):
        self.server.cli("geo", "nearby", "8.5", "47.4", token=self.token)
        harness.wait_for(lambda: not self.without_sample(), "a sample of each metric")

    def without_sample(self):
        names = {re.match("[a-z_]+", name).group() for name in self.samples()}
        endings = ("", "_count")
        return {name for name in self.documented() if not any(name + ending in names for ending in endings)}

    def test_labels_are_documented(self):
        with open(DOCS, encoding="utf-8") as file:
            section = file.read().partition("\n## Metrics\n")[2].partition("\n## ")[0]
        labels = {}
        for line in section.splitlines():
            if line.startswith("| `"):
                cells = line.split("|")
                for name in re.findall("`([a-z_]+)`", cells[1]):
                    labels[name] = set(re.findall("`([a-z_]+)`", cells[2]))
        for sample in self.samples():
            name = re.match("[a-z_]+", sample).group()
            family = name if name in labels else re.sub("_(bucket|sum|count)$", "", name)
            found = set(re.findall('([a-z_]+)="', sample)) - {"le"}
            self.assertEqual(found, labels[family], sample)

    def test_work_is_counted(self):
        before = self.samples()
        commits = sum(value for name, value in before.items() if name.startswith("waymark_store_commits_total"))
        with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
            file.write("entity,time,lon,lat\nvan-1,2024-05-01T08:00:00Z,8.5,47.4\n")
            file.flush()
            self.server.cli("geo", "import", file.name, token=self.token)
        self.server.cli("whoami", token=self.token)
        self.assertGreater(
            sum(value for name, value in self.samples().items() if name.startswith("waymark_store_commits_total")),
            commits,
        )
        method = 'waymark_rpc_calls_total{method="/waymark.auth.v1.AuthService/WhoAmI",code="OK"}'
        harness.wait_for(lambda: self.samples().get(method, 0) > before.get(method, 0), "the call is counted")
        self.assertGreater(self.samples()["waymark_gate_connections_total"], 0)
        self.assertEqual({self.samples()['waymark_store_up{lane="%d"}' % lane] for lane in (0, 1)}, {1})

    def test_probes(self):
        self.assertEqual(self.get("/healthz"), "alive\n")
        self.assertEqual(self.get("/readyz"), "serving\n")
        with self.assertRaises(urllib.error.HTTPError):
            self.get("/")

    def test_the_log_names_the_trace(self):
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        from waymark.auth.v1 import auth_service_pb2 as pb, auth_service_pb2_grpc as rpc

        with self.server.channel() as channel:
            rpc.AuthServiceStub(channel).WhoAmI(
                pb.WhoAmIRequest(),
                metadata=(
                    ("authorization", "Bearer " + self.token),
                    ("traceparent", "00-%s-00f067aa0ba902b7-01" % trace),
                ),
                timeout=10,
            )
        harness.wait_for(lambda: self.logged(trace), "a line with the trace")
        (line,) = self.logged(trace)
        self.assertEqual((line["subject"], line["code"]), ("alice", "OK"))

    def logged(self, trace):
        with open(self.server.log.name, "rb") as file:
            lines = [line for line in file.read().splitlines() if trace.encode() in line]
        return [json.loads(line) for line in lines]


class Refused(unittest.TestCase):
    """Options that cannot be: the process says which and why."""

    def start(self, *options):
        server = harness.Server(options=options)
        with self.assertRaises(AssertionError) as caught:
            server.start()
        self.addCleanup(server.close)
        return str(caught.exception) + server.log_tail()

    def test_a_port_that_is_taken(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            self.assertIn("cannot listen on " + address, self.start("--metrics-listen", address))

    def test_a_method_that_is_not_there(self):
        self.assertIn("waymark.geo.v1.Track/X", self.start("--method-limit", "waymark.geo.v1.Track/X=1"))


if __name__ == "__main__":
    harness.main("__main__")
