"""The comparison's load generator and arithmetic, on our own server alone."""

import contextlib
import io
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.abspath("tests/bench"))

import compare  # noqa: E402

LOAD = os.path.abspath("tests/bench/h2_load")
SERVER = os.path.abspath("tests/interop/server")


def one(per_s):
    return {"per_s": per_s, "p50_us": 1, "p99_us": 2, "cpu_server_us_per_op": 3}


class Compare(unittest.TestCase):
    def test_ratio_is_the_median_of_the_rounds(self):
        rounds = {"a": [one(10), one(30), one(20)], "b": [one(10), one(10), one(5)]}
        row, ratio = compare.summarize(rounds, "a", "b")
        self.assertEqual(row["a"]["per_s"], 20)
        self.assertEqual(ratio, 3)

    def test_measures_two_servers(self):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = compare.main(
                ["--load", LOAD, "--json", "--rounds", "2", "--seconds", "0.2", "--in_flight", "1,64,256"]
                + ["--connections", "4", "a=" + SERVER, "b=" + SERVER]
            )
        self.assertEqual(status, 0)
        rows = [json.loads(line) for line in said.getvalue().splitlines()]
        self.assertEqual([row["name"] for row in rows], ["compare_unary_1", "compare_unary_64", "compare_unary_256"])
        for row in rows:
            self.assertGreater(row["ratio"], 0)
            for figures in row["servers"].values():
                self.assertGreater(figures["per_s"], 0)
                self.assertGreater(figures["p50_us"], 0)

    def test_a_refused_call_is_no_figure(self):
        server = compare.Server("ours", SERVER, [])
        try:
            done = subprocess.run(
                [LOAD, "--port", str(server.port), "--path", "/no.Service/Method", "--seconds", "0.2"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        finally:
            server.stop()
        self.assertEqual(done.returncode, 1)
        self.assertIn("a call was refused", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
