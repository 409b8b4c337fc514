"""The tour that the manual describes, by the `waymark` command alone on a real server."""

import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

import harness

CHART = {
    "chartId": "visit",
    "states": [
        {"id": "away", "transitions": [{"event": "fence.enter", "targets": ["here"]}]},
        {
            "id": "here",
            "onEntry": [{"startTask": {"name": "greet", "queue": "hall", "input": {"fence": "event.data.fence"}}}],
            "transitions": [{"event": "done.task.greet", "targets": ["greeted"]}],
        },
        {"id": "greeted", "transitions": [{"event": "leave", "targets": ["gone"]}]},
        {"id": "gone", "kind": "STATE_KIND_FINAL"},
    ],
}
SQUARE = {"type": "Polygon", "coordinates": [[[8, 47], [9, 47], [9, 48], [8, 48], [8, 47]]]}
HOLED = {
    "type": "MultiPolygon",
    "coordinates": [[SQUARE["coordinates"][0], [[8.4, 47.4], [8.6, 47.4], [8.6, 47.6], [8.4, 47.6], [8.4, 47.4]]]],
}


class Tour(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.token = cls.server.token("ada", "admin")

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def file(self, name, content):
        path = os.path.join(self.directory.name, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(content if isinstance(content, str) else json.dumps(content))
        return path

    def cli(self, *arguments, **more):
        return self.server.cli(*arguments, token=self.token, **more)

    def rows(self, *arguments):
        return self.server.cli_json(*arguments, token=self.token)

    def start(self, *arguments):
        environment = self.server.env()
        environment["WAYMARK_TOKEN"] = self.token
        process = subprocess.Popen(
            [harness.WAYMARK, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def fences(self, prefix):
        features = [
            {"type": "Feature", "id": prefix + "square", "properties": {"name": "Square"}, "geometry": SQUARE},
            {"type": "Feature", "properties": {"id": prefix + "ring"}, "geometry": HOLED},
        ]
        return self.file("fences.geojson", {"type": "FeatureCollection", "features": features})

    def test_token_whoami_grant_and_revoke(self):
        me = self.rows("whoami")[0]
        self.assertEqual((me["subject"], me["roles"]), ("ada", ["ROLE_ADMIN"]))
        bob = self.server.cli("token", "--sub", "bob").stdout.strip()
        self.assertEqual(self.server.cli("fence", "list", token=bob, check=False).returncode, 1)
        grant = self.rows("grant", "bob", "viewer")[0]
        self.assertEqual(self.server.cli("fence", "list", token=bob).returncode, 0)
        self.assertIn(grant["grantId"], [g["grantId"] for g in self.rows("grants")])
        refused = self.server.cli("fence", "put", self.fences("x-"), token=bob, check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("PERMISSION_DENIED PERMISSION_MISSING", refused.stderr)
        self.cli("revoke", grant["grantId"])
        harness.wait_for(
            lambda: self.server.cli("fence", "list", token=bob, check=False).returncode == 1, "the grant is gone", 3
        )

    def test_health(self):
        self.assertEqual(self.server.cli("health").stdout, "serving\n")
        self.assertEqual(self.server.cli("health", "waymark.nothing.Service", check=False).returncode, 1)

    def test_geo(self):
        self.assertIn("2 fences put", self.cli("fence", "put", self.fences("geo-")).stdout)
        self.assertIn("2 fences put", self.cli("fence", "put", self.fences("geo-")).stdout)
        listed = {f["fenceId"]: f.get("displayName") for f in self.rows("fence", "list")}
        self.assertEqual((listed["geo-square"], listed["geo-ring"]), ("Square", None))
        fence = json.loads(self.cli("fence", "get", "geo-ring").stdout)
        self.assertEqual(fence["geometry"], HOLED)
        watch = self.start("fence", "watch", "--entity", "geo-bus", "--json")
        time.sleep(1)
        track = self.file(
            "track.csv",
            "entity,time,lon,lat,alt,speed,heading\n"
            "geo-bus,2024-05-01T10:00:00Z,7.5,47.5,400,12.5,90\n"
            "geo-bus,2024-05-01T10:01:00Z,8.2,47.5,,,\n"
            "geo-bus,2024-05-01T10:02:00Z,8.5,47.5,,,\n"
            "geo-bus,2024-05-01T10:03:00.5Z,9.5,47.5,,,\n",
        )
        imported = self.rows("geo", "import", track)[0]
        self.assertEqual((imported["rows"], imported["stored"], imported["crossings"]), (4, 4, 4))
        self.assertEqual(self.rows("geo", "import", track)[0]["duplicates"], 4)
        want = [
            {"entity": "geo-bus", "fence": "geo-ring", "kind": "enter", "time": "2024-05-01T10:01:00Z"},
            {"entity": "geo-bus", "fence": "geo-ring", "kind": "exit", "time": "2024-05-01T10:02:00Z"},
            {"entity": "geo-bus", "fence": "geo-square", "kind": "enter", "time": "2024-05-01T10:01:00Z"},
            {"entity": "geo-bus", "fence": "geo-square", "kind": "exit", "time": "2024-05-01T10:03:00.5Z"},
        ]
        order = lambda event: (event["fence"], event["time"])  # noqa: E731
        events = self.rows("fence", "events", "--all", "--entity", "geo-bus")
        self.assertEqual([list(e) for e in events], [["entity", "fence", "kind", "time"]] * 4)
        self.assertEqual(sorted(events, key=order), want)
        seen = [json.loads(watch.stdout.readline()) for _ in range(4)]
        self.assertEqual(sorted(seen, key=order), want)
        some = self.rows("fence", "events", "--fence", "geo-square", "--since", "2024-05-01T10:02:00Z")
        self.assertEqual(some, want[3:])
        self.assertEqual(len(self.rows("fence", "events", "--limit", "1", "--entity", "geo-bus")), 1)

        fixes = self.rows("geo", "track", "geo-bus")
        self.assertEqual([f["time"][11:19] for f in fixes], ["10:00:00", "10:01:00", "10:02:00", "10:03:00"])
        self.assertEqual((fixes[0]["altM"], fixes[0]["speedMps"], fixes[0]["headingDeg"]), (400, 12.5, 90))
        self.assertEqual(len(self.rows("geo", "track", "geo-bus", "--until", "2024-05-01T10:02:00Z")), 2)
        self.assertEqual(self.rows("geo", "nearby", "9.5", "47.5")[0]["position"]["entityId"], "geo-bus")
        self.assertEqual(self.rows("geo", "nearby", "-170", "0", "--radius", "1000"), [])
        self.assertIn("geo-bus", self.cli("geo", "within", "9", "47", "10", "48").stdout)
        self.assertIn("geo-bus", self.cli("geo", "within", "--box", "9,47,10,48").stdout)
        polygon = self.file("area.json", SQUARE)
        self.assertNotIn("geo-bus", self.cli("geo", "within", "--polygon", polygon).stdout)
        self.assertIn("9.500000 47.500000", self.cli("geo", "entity", "geo-bus").stdout)
        missing = self.cli("geo", "entity", "geo-nobody", check=False)
        self.assertEqual(missing.returncode, 1)
        self.assertIn("NOT_FOUND ENTITY_NOT_FOUND", missing.stderr)
        for fence_id in ("geo-square", "geo-ring"):
            self.cli("fence", "delete", fence_id)
        self.assertEqual(self.cli("fence", "get", "geo-ring", check=False).returncode, 1)

    def test_geo_watch(self):
        watch = self.start("geo", "watch", "--entity", "eye", "--json")
        time.sleep(1)
        track = self.file("track.csv", "entity,time,lon,lat\neye,2024-05-01T10:00:00Z,1,2\nother,2024-05-01T10:00:00Z,1,2\n")
        self.cli("geo", "import", track)
        self.assertEqual(json.loads(watch.stdout.readline())["entityId"], "eye")

    def test_workflow(self):
        chart = self.file("chart.json", CHART)
        self.assertEqual(self.rows("chart", "put", chart)[0], {"chartId": "visit", "version": "1", "created": True})
        self.assertIn("(unchanged)", self.cli("chart", "put", chart).stdout)
        copy = self.file("copy.json", self.cli("chart", "get", "visit").stdout)
        self.assertIn("(unchanged)", self.cli("chart", "put", copy).stdout)
        self.assertIn("visit", self.cli("chart", "list").stdout)
        broken = self.file("broken.json", {"chartId": "x", "states": [{"id": "a", "transitions": [{"targets": ["b"]}]}]})
        check = self.cli("chart", "check", broken, check=False)
        self.assertEqual(check.returncode, 1)
        self.assertIn("chart.states[0].transitions[0].targets[0]", check.stdout)
        put = self.cli("chart", "put", broken, check=False)
        self.assertIn("CHART_INVALID", put.stderr)
        self.assertIn("chart.states[0].transitions[0].targets[0]", put.stderr)

        self.cli("fence", "put", self.fences("flow-"))
        started = self.rows("start", "visit", "--id", "flow-1", "--entity", "flow-bus", "--input", '{"vip": true}')[0]
        self.assertEqual(started["instanceId"], "flow-1")
        again = self.cli("start", "visit", "--id", "flow-1", "--entity", "flow-bus", "--input", '{"vip": true}').stdout
        self.assertIn("started before", again)
        done = os.path.join(self.directory.name, "done")
        worker = self.start(
            "worker", "run", "--queue", "hall", "--count", "1", "--exec",
            f'echo "$WAYMARK_TASK_NAME $WAYMARK_INSTANCE_ID $WAYMARK_ENTITY_ID" >> {done}; echo "{{\\"said\\": \\"hello\\"}}"',
        )
        self.cli("geo", "import", self.file("track.csv", "entity,time,lon,lat\nflow-bus,2024-05-01T10:00:00Z,8.5,47.5\n"))
        self.assertEqual(worker.wait(30), 0)
        with open(done, encoding="utf-8") as file:
            self.assertEqual(file.read(), "greet flow-1 flow-bus\n")
        harness.wait_for(lambda: self.rows("get", "flow-1")[0]["configuration"] == ["greeted"], "greeted", 10)
        sent = self.rows("send", "flow-1", "leave", "--data", '{"why": "late"}', "--request-id", "r1")[0]
        self.assertEqual((sent["configuration"], sent["status"]), (["gone"], "INSTANCE_STATUS_ENDED"))
        self.assertTrue(self.rows("send", "flow-1", "leave", "--data", '{"why": "late"}', "--request-id", "r1")[0]["repeated"])
        history = self.rows("history", "flow-1")
        self.assertEqual([h.get("event", "") for h in history], ["", "fence.enter", "done.task.greet", "leave"])
        self.assertEqual(history[2]["data"], {"said": "hello"})
        ended = self.cli("send", "flow-1", "leave", check=False)
        self.assertIn("FAILED_PRECONDITION INSTANCE_ENDED", ended.stderr)

    def test_demo(self):
        result = self.rows("demo", "--speed", "0")[0]
        self.assertEqual((result["vessels"], result["fixes"], result["crossings"]), (44, 831, 140))
        self.assertEqual(result["seen_entering"] + result["seen_leaving"], 140)
        self.assertEqual(result["tasks_done"], 140)
        instance = self.rows("get", result["run"] + "/367784630")[0]
        self.assertEqual(instance["configuration"], ["cleared"])
        shown = self.cli("demo", "--speed", "600").stdout
        self.assertIn("enters  New York", shown)
        self.assertIn("140 done", shown)

    def test_a_watch_outlives_the_server(self):
        server = harness.Server().start()
        self.addCleanup(server.close)
        self.token = server.token("ada", "admin")
        everyone, Tour.server = Tour.server, server
        try:
            self.cli("fence", "put", self.fences("live-"))
            watch = self.start("fence", "watch", "--json")
            time.sleep(1)
            for second, lon in ((0, 8.5), (1, 9.5), (2, 8.5)):
                server.kill()
                server.start()
                row = f"live-bus,2024-05-01T10:00:{second:02d}Z,{lon},47.5\n"
                self.cli("geo", "import", self.file(f"{second}.csv", "entity,time,lon,lat\n" + row))
            kinds = [json.loads(watch.stdout.readline())["kind"] for _ in range(3)]
        finally:
            Tour.server = everyone
            del self.token
        self.assertEqual(kinds, ["enter", "exit", "enter"])

    def test_a_watch_ends_by_itself_when_stopped(self):
        watch = self.start("fence", "watch")
        time.sleep(0.5)
        watch.send_signal(signal.SIGINT)
        self.assertEqual(watch.wait(10), -signal.SIGINT)


if __name__ == "__main__":
    harness.main("__main__")
