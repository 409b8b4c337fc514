"""What the tests of the judges share: running one over a file of cases and reading its verdict."""

import os
import subprocess

SHARED = os.path.join(os.environ.get("WAYMARK_SHARED", "../shared"), "conformance")


def run(judge, path):
    return subprocess.run([judge, path], capture_output=True, text=True, timeout=60, check=False)


def assert_all_pass(test, judge, path):
    """Every line of the file is a case, and none fails or is left out."""
    with open(path, encoding="utf-8") as cases:
        n = sum(1 for _ in cases)
    done = run(judge, path)
    test.assertEqual(done.stdout.splitlines()[-1], f"{n} passed, 0 failed", done.stdout + done.stderr)
    test.assertEqual(done.returncode, 0)


def scratch(name):
    """The path of a file that the test may write."""
    return os.path.join(os.environ.get("TEST_TMPDIR", "/tmp"), name)
