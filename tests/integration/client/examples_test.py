"""The example programs do with a real server what their first lines say."""

import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import waymarkd  # noqa: E402

WAYMARK = waymarkd.WAYMARK

FENCE = {
    "type": "Feature",
    "id": "half",
    "properties": {},
    "geometry": {
        "type": "Polygon",
        "coordinates": [[[4.05, 51.0], [5.0, 51.0], [5.0, 52.5], [4.05, 52.5], [4.05, 51.0]]],
    },
}

CHART = {
    "chartId": "inspection",
    "states": [
        {
            "id": "first",
            "onEntry": [{"startTask": {"name": "fail", "queue": "inspections"}}],
            "transitions": [{"event": "done.task.fail", "targets": ["second"]}],
        },
        {
            "id": "second",
            "onEntry": [{"startTask": {"name": "look", "queue": "inspections"}}],
            "transitions": [
                {
                    "event": "done.task.look",
                    "targets": ["end"],
                    "actions": [{"assign": {"variable": "by", "expression": "event.data.worker"}}],
                }
            ],
        },
        {"id": "end", "kind": "STATE_KIND_FINAL"},
    ],
}


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = waymarkd.Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def example(self, name, *arguments):
        return self.server.run(os.path.abspath(f"examples/{name}"), *arguments)

    def test_positions(self):
        lines = self.example("positions", "ferry-1", "4.5", "51.95").splitlines()
        self.assertTrue(lines[0].startswith("stored"), lines)
        self.assertTrue(any(line.startswith("ferry-1 ") for line in lines[1:]), lines)

    def test_stream(self):
        collection = {"type": "FeatureCollection", "features": [FENCE]}
        path = os.path.join(self.server.state, "fence.geojson")
        with open(path, "w", encoding="utf-8") as out:
            json.dump(collection, out)
        self.server.run(WAYMARK, "fence", "put", path)
        # A circle of 62.8 fixes around a point on the fence's western edge, three times.
        lines = self.example("stream", "ferry-2", "4.05", "51.95", "180").splitlines()
        self.assertEqual(lines[-1], "180 of 180 positions acknowledged")
        crossings = lines[:-1]
        self.assertEqual(crossings[0], "ferry-2 enters half")
        self.assertGreaterEqual(len(crossings), 5)
        for i, line in enumerate(crossings):
            self.assertEqual(line, f"ferry-2 {'leaves' if i % 2 else 'enters'} half")

    def test_worker(self):
        self.server.run(WAYMARK, "chart", "put", "-", stdin=json.dumps(CHART))
        for i in range(3):
            self.server.run(WAYMARK, "start", "inspection", "--id", f"i-{i}")
        # Each instance has three attempts: one that fails, and two that succeed.
        lines = self.example("worker", "inspections", "9").splitlines()
        self.assertEqual(sorted(lines).count("fail of i-0, attempt 1"), 1)
        self.assertEqual(sorted(lines).count("fail of i-0, attempt 2"), 1)
        self.assertEqual(sorted(lines).count("look of i-0, attempt 1"), 1)
        for i in range(3):
            instance = json.loads(self.server.run(WAYMARK, "get", f"i-{i}", "--json"))
            self.assertEqual(instance["status"], "INSTANCE_STATUS_ENDED")
            self.assertEqual(instance["data"], {"by": "example"})

    def test_token(self):
        begun = time.monotonic()
        lines = self.example("token", f"{WAYMARK} token --sub dev-admin", "2", "5").splitlines()
        lasted = time.monotonic() - begun
        self.assertEqual(lines.count("I am dev-admin"), 5, lines)
        # Renewed before each end, two seconds apart: not for every call, and not once for all.
        renewed = lines.count("a token for 2 s")
        self.assertGreaterEqual(renewed, 2, lines)
        self.assertLessEqual(renewed, 2 + lasted / 1.7, lines)

    def test_attempts(self):
        # One of the two servers was never there.
        port = self.server.env["WAYMARK_ADDRESS"].rsplit(":", 1)[1]
        addresses = f"ipv4:127.0.0.1:1,127.0.0.1:{port}"
        self.assertEqual(self.example("attempts", addresses, "20"), "20 calls, 20 attempts, 0 failed\n")
