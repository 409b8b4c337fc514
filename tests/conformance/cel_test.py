"""Runs the judge of expression cases over the cases of our own, and over the published ones."""

import os
import subprocess
import unittest

JUDGE = os.environ.get("CEL_JUDGE", "tests/conformance/cel")
OWN = "tests/conformance/cel_own.jsonl"
PUBLISHED = os.path.join(os.environ.get("WAYMARK_SHARED", "../shared"), "conformance", "cel.jsonl")


class Cel(unittest.TestCase):
    def judge(self, path):
        with open(path, encoding="utf-8") as cases:
            n = sum(1 for _ in cases)
        done = subprocess.run([JUDGE, path], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.stdout.splitlines()[-1], f"{n} passed, 0 failed", done.stdout + done.stderr)
        self.assertEqual(done.returncode, 0)

    def test_own_cases(self):
        self.judge(OWN)

    @unittest.skipUnless(os.path.exists(PUBLISHED), "the published expression cases (../shared) are not here")
    def test_published_cases(self):
        self.judge(PUBLISHED)

    def test_a_wrong_verdict_is_seen(self):
        with open(OWN, encoding="utf-8") as cases:
            case = cases.readline()
        path = os.path.join(os.environ.get("TEST_TMPDIR", "/tmp"), "cel_wrong.jsonl")
        with open(path, "w", encoding="utf-8") as out:
            out.write(case + case.replace('{"int":"3"}', '{"int":"4"}') + "not a case\n")
        done = subprocess.run([JUDGE, path], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.stdout.splitlines()[-1], "1 passed, 2 failed")
        self.assertEqual(done.returncode, 1)
        self.assertIn("FAIL own/sum", done.stdout)


if __name__ == "__main__":
    unittest.main()
