"""Runs the judge of statechart cases over the cases of our own, and over the published ones."""

import json
import os
import unittest

import judged

JUDGE = os.environ.get("STATECHARTS", "tests/conformance/statecharts")
OWN = "tests/conformance/statecharts_own.jsonl"
PUBLISHED = os.path.join(judged.SHARED, "statecharts.jsonl")


class Statecharts(unittest.TestCase):
    def test_own_cases(self):
        judged.assert_all_pass(self, JUDGE, OWN)

    @unittest.skipUnless(os.path.exists(PUBLISHED), "the published statechart cases (../shared) are not here")
    def test_published_cases(self):
        judged.assert_all_pass(self, JUDGE, PUBLISHED)

    def test_a_wrong_expectation_is_seen(self):
        with open(OWN, encoding="utf-8") as cases:
            case = json.loads(cases.readline())
        wrong = dict(case, name="wrong", initial_configuration=["elsewhere"])
        skipped = dict(case, name="skipped", data=[{"id": "x", "expr": "new Date()"}])
        path = judged.scratch("statecharts_wrong.jsonl")
        with open(path, "w", encoding="utf-8") as out:
            for line in (case, wrong, skipped):
                out.write(json.dumps(line) + "\n")
        done = judged.run(JUDGE, path)
        self.assertEqual(done.stdout.splitlines()[-2:], ["1 skipped", "1 passed, 1 failed"])
        self.assertIn("FAIL wrong", done.stdout)
        self.assertIn("SKIP skipped", done.stdout)
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
