"""waymark_bench runs every row against a real server and prints what it promises."""

import json
import os
import sys
import unittest

sys.path.insert(0, os.path.abspath("tests/integration/client"))

import waymarkd  # noqa: E402

BENCH = os.path.abspath("tests/bench/waymark_bench")

NAMES = [
    "unary_empty_1",
    "unary_empty_64",
    "unary_empty_256",
    "positions_stream_100",
    "positions_stream_100_fences_100",
    "positions_unary_1_inflight_1",
    "positions_unary_1_inflight_64",
    "nearby_10_of_100k_64",
    "workflow_task_1",
    "workflow_task_256",
    "send_event_1",
    "send_event_256",
]
FIGURES = ["per_s", "p50_us", "p99_us", "cpu_us_per_op", "commits_per_op", "rows_per_op", "wal_bytes_per_op"]


class Bench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = waymarkd.Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def test_every_row(self):
        text = self.server.run(BENCH, "--json", "--seconds", "0.5", "--warmup", "0.3")
        rows = [json.loads(line) for line in text.splitlines()]
        self.assertEqual([row["name"] for row in rows], NAMES)
        for row in rows:
            for figure in FIGURES:
                self.assertIsInstance(row[figure], (int, float), (row["name"], figure))
            self.assertGreater(row["per_s"], 0, row["name"])
            self.assertGreater(row["p50_us"], 0, row["name"])
            self.assertGreater(row["server_rss_mb"], 0, row["name"])

    def test_one_row_as_text(self):
        lines = self.server.run(BENCH, "--seconds", "0.3", "--warmup", "0.1", "unary_empty_1").splitlines()
        self.assertEqual(len(lines), 2)
        self.assertTrue(lines[1].startswith("unary_empty_1 "), lines)

    def test_unknown_rows_are_refused(self):
        with self.assertRaises(AssertionError) as caught:
            self.server.run(BENCH, "unary_empty_2")
        self.assertIn(": 2\n", str(caught.exception))
