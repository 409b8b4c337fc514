"""Entities bound to instances, while the server is killed: each crossing once in the history, one
task for each, and what the worker wrote down matches."""

import json
import os
import subprocess
import tempfile
import unittest

import crossings_test
import harness

KILLS = 3
BOUND = 12 # of the 400 entities

# Every crossing is noted by a task.
CHART = {
    "chartId": "logbook",
    "states": [
        {
            "id": "following",
            "transitions": [
                {
                    "event": "fence",
                    "actions": [
                        {
                            "startTask": {
                                "name": "note",
                                "queue": "logbook",
                                "input": {"fence": "event.data.fence", "event": "event.name"},
                                "lease": "5s",
                            }
                        }
                    ],
                }
            ],
        }
    ],
}


class Bound(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="wm-bound-")
        self.addCleanup(self.directory.cleanup)
        self.server = harness.Server().start()
        self.addCleanup(self.server.close)
        self.token = self.server.token()

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def background(self, *arguments):
        environment = dict(self.server.env(), WAYMARK_TOKEN=self.token)
        with open(self.path("programs.log"), "ab") as log:
            process = subprocess.Popen([harness.WAYMARK, *arguments], env=environment, stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def histories(self, entities):
        found = {}
        for entity in entities:
            rows = self.server.cli_json("history", f"log-{entity}", token=self.token)
            found[entity] = [row for row in rows if row.get("event", "").startswith("fence.")]
        return found

    def noted(self):
        if not os.path.exists(self.path("notes")):
            return []
        with open(self.path("notes"), encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.strip()]

    def test_history_and_side_effects_match_the_crossings(self):
        track_file, fence_file = crossings_test.synthetic(self.directory.name, entities=400, fixes=250, fences=8)
        with open(self.path("chart.json"), "w", encoding="utf-8") as file:
            json.dump(CHART, file)
        self.server.cli("fence", "put", fence_file, token=self.token)
        self.server.cli("chart", "put", self.path("chart.json"), token=self.token)
        entities = [f"mover-{n}" for n in range(BOUND)]
        want = [row for row in crossings_test.expected(track_file, fence_file) if row[0] in entities]
        for entity in entities:
            self.server.cli("start", "logbook", "--id", f"log-{entity}", "--entity", entity, token=self.token)
        # One short write to a file opened for appending is whole.
        note = f"tr -d '\\n' | sed 's/$/\\n/' >> {self.path('notes')}"
        self.background("worker", "run", "--queue", "logbook", "--exec", note, "--concurrency", "2")
        importer = self.background("geo", "import", track_file)
        for kill in range(KILLS):
            goal = kill * len(want) // (KILLS + 1)
            harness.wait_for(
                lambda goal=goal: len(self.noted()) > goal or importer.poll() is not None, "notes are taken", 60
            )
            self.server.kill()
            self.server.start()
        self.assertEqual(importer.wait(120), 0)

        got = []
        for entity, rows in self.histories(entities).items():
            for row in rows:
                got.append((entity, row["data"]["fence"], row["event"].split(".")[1], row["data"]["time"]))
        self.assertEqual(sorted(got), want)

        harness.wait_for(lambda: len({note["taskId"] for note in self.noted()}) >= len(want), "all notes", 120)
        tasks = {note["taskId"]: note for note in self.noted()}
        kinds = sorted((t["entityId"], t["input"]["fence"], t["input"]["event"].split(".")[1]) for t in tasks.values())
        self.assertEqual(kinds, sorted((entity, fence, kind) for entity, fence, kind, _ in want))


if __name__ == "__main__":
    harness.main("__main__")
