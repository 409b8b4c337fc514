"""Runs the judge of expression cases over the cases of our own, and over the published ones."""

import os
import unittest

import judged

JUDGE = os.environ.get("CEL_JUDGE", "tests/conformance/cel")
OWN = "tests/conformance/cel_own.jsonl"
PUBLISHED = os.path.join(judged.SHARED, "cel.jsonl")


class Cel(unittest.TestCase):
    def test_own_cases(self):
        judged.assert_all_pass(self, JUDGE, OWN)

    @unittest.skipUnless(os.path.exists(PUBLISHED), "the published expression cases (../shared) are not here")
    def test_published_cases(self):
        judged.assert_all_pass(self, JUDGE, PUBLISHED)

    def test_a_wrong_verdict_is_seen(self):
        with open(OWN, encoding="utf-8") as cases:
            case = cases.readline()
        path = judged.scratch("cel_wrong.jsonl")
        with open(path, "w", encoding="utf-8") as out:
            out.write(case + case.replace('{"int":"3"}', '{"int":"4"}') + "not a case\n")
        done = judged.run(JUDGE, path)
        self.assertEqual(done.stdout.splitlines()[-1], "1 passed, 2 failed")
        self.assertEqual(done.returncode, 1)
        self.assertIn("FAIL own/sum", done.stdout)


if __name__ == "__main__":
    unittest.main()
