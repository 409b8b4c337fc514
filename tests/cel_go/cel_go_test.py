"""Our CEL beside cel-go: random expressions must give the same on both sides.

CEL_GO_PEER names cel-go's program; ./dev test builds it where Go is. Without it the cases say that
they are skipped.
"""
import os
import subprocess
import unittest

PEER = os.environ.get("CEL_GO_PEER", "")


@unittest.skipUnless(PEER, "cel-go's program is not here")
class CelGo(unittest.TestCase):
    def run_program(self, name, *options):
        return subprocess.run(
            ["tests/cel_go/" + name, "--peer", PEER, *options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=240,
        )

    def test_says_the_same(self):
        for seed in ("1", "2"):
            with self.subTest(seed=seed):
                done = self.run_program("differ", "--runs", "10000", "--seed", seed)
                self.assertEqual(done.returncode, 0, done.stdout)
                self.assertIn(", 0 differ\n", done.stdout)

    def test_speed_takes_nothing_from_the_heap(self):
        done = self.run_program("speed", "--milliseconds", "20", "--rounds", "1")
        rows = [line.split() for line in done.stdout.splitlines()[1:]]
        self.assertEqual(len(rows), 4, done.stdout)
        for row in rows:
            self.assertEqual(row[2], "0.000", done.stdout)


if __name__ == "__main__":
    unittest.main()
