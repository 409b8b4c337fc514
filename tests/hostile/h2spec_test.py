"""h2spec's cases against our server: it fails none that grpc++ on the same core passes.

H2SPEC names the program; ./dev test builds it where Go is. The core speaks HTTP/2, so what fails is
its own leniency (README.md has the list). The limits that the core reads from its arguments are the
same for both, since they decide some cases.
A case that only we fail is played again, because a busy machine makes cases fail that wait.
"""

import os
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import xml.etree.ElementTree as ElementTree

H2SPEC = os.environ.get("H2SPEC", "")
OURS = "tests/interop/server"
THEIRS = "tests/bench/grpcpp_async"
METHOD = "/grpc.testing.TestService/EmptyCall"
SAME_LIMITS = ["--arg", "grpc.max_metadata_size", "32768", "--arg", "grpc.max_concurrent_streams", "16384"]
TIMEOUT_S = 1  # that h2spec waits for what does not come
AGAIN = 3


def free_port():
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, *command):
        self.port = free_port()
        self.process = subprocess.Popen([*command, "--port", str(self.port)], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if "serving" not in line:
            raise AssertionError(f"{command} does not serve: {line}")

    def failing(self, *sections):
        """{(section, case)} of those that fail; all sections unless some are named."""
        with tempfile.NamedTemporaryFile(suffix=".xml") as report:
            command = [H2SPEC, *sections, "-h", "127.0.0.1", "-p", str(self.port), "-P", METHOD]
            command += ["-o", str(TIMEOUT_S), "-j", report.name]
            # Its own exit status says whether a case failed, which is not the question here.
            subprocess.run(command, stdout=subprocess.DEVNULL, timeout=600, check=False)
            cases = list(ElementTree.parse(report.name).getroot().iter("testcase"))
        self.played = len(cases)
        return {
            (case.get("package"), case.get("classname"))
            for case in cases
            if case.find("error") is not None or case.find("failure") is not None
        }

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()


@unittest.skipUnless(H2SPEC, "h2spec is not here")
class H2spec(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        commands = {"ours": [OURS], "gate": [OURS, "--gate"], "theirs": [THEIRS, *SAME_LIMITS]}
        cls.servers = {}
        for name, command in commands.items():
            cls.servers[name] = Server(*command)
            cls.addClassCleanup(cls.servers[name].close)
        cls.failing = {}
        threads = [threading.Thread(target=cls.play, args=(name,)) for name in cls.servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @classmethod
    def play(cls, name):
        cls.failing[name] = cls.servers[name].failing()

    def test_all_cases_were_played(self):
        for server in self.servers.values():
            self.assertEqual(server.played, 145)

    def only_ours(self, name):
        only = self.failing[name] - self.failing["theirs"]
        for _ in range(AGAIN):
            if not only:
                break
            time.sleep(1)
            only &= self.servers[name].failing(*sorted({section for section, _ in only}))
        return only

    def test_fails_nothing_that_grpcpp_passes(self):
        self.assertEqual(self.only_ours("ours"), set())

    def test_fails_nothing_behind_the_gate_that_grpcpp_passes(self):
        self.assertEqual(self.only_ours("gate"), set())


if __name__ == "__main__":
    unittest.main()
