"""dev.d/count_tests.py must count cases, name what was skipped, and miss no dead target."""

import json
import os
import subprocess
import tempfile
import unittest

GTEST = """<testsuites><testsuite name="A">
<testcase name="One" classname="A" status="run" result="completed"/>
<testcase name="Two" classname="A" status="run" result="skipped"><skipped message="a.cc:1&#x0A;no redis"/></testcase>
{more}
</testsuite></testsuites>"""


class CountTests(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def event(self, label, status, xml=None):
        outputs = []
        if xml is not None:
            path = os.path.join(self.dir.name, label.replace("/", "_") + ".xml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(xml)
            outputs.append({"name": "test.xml", "uri": "file://" + path})
        return {
            "id": {"testResult": {"label": label}},
            "testResult": {"status": status, "testActionOutput": outputs},
        }

    def count(self, events, labels):
        path = os.path.join(self.dir.name, "events.json")
        with open(path, "w", encoding="utf-8") as file:
            for event in events:
                file.write(json.dumps(event) + "\n")
        done = subprocess.run(
            ["/usr/bin/python3", "dev.d/count_tests.py", path, *labels],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()

    def test_counts_cases_and_names_skipped_ones(self):
        code, lines = self.count([self.event("//a", "PASSED", GTEST.format(more=""))], ["//a"])
        self.assertEqual(code, 0)
        self.assertEqual(lines[-1], "1 passed, 0 failed")
        self.assertIn("skipped: //a A.Two  no redis", lines)

    def test_failed_case_fails(self):
        more = '<testcase name="Bad" classname="A"><failure message="1 != 2"/></testcase>'
        code, lines = self.count(
            [self.event("//a", "FAILED", GTEST.format(more=more))], ["//a"]
        )
        self.assertEqual(code, 1)
        self.assertEqual(lines[-1], "1 passed, 1 failed")

    def test_target_that_was_not_built_or_died_fails(self):
        events = [self.event("//a", "PASSED", GTEST.format(more="")), self.event("//b", "TIMEOUT")]
        code, lines = self.count(events, ["//a", "//b", "//c"])
        self.assertEqual(code, 1)
        self.assertEqual(lines[-1], "1 passed, 2 failed")

    def test_nothing_passed_is_no_success(self):
        code, lines = self.count([], [])
        self.assertEqual(code, 1)
        self.assertEqual(lines[-1], "0 passed, 0 failed")


if __name__ == "__main__":
    unittest.main()
