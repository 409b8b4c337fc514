"""What the runner of the clients lets pass."""

import pathlib
import unittest

import judge

HERE = pathlib.Path(__file__).parent
STEPS = ["login", "watch", "cancel"]
ALL = "ok login\nok watch\nok cancel\n"


class FailedSteps(unittest.TestCase):
    def test_none_when_all_came_in_order(self):
        self.assertEqual(judge.failed_steps(STEPS, ALL, True), [])
        self.assertEqual(judge.failed_steps(STEPS, "a remark\n" + ALL, True), [])

    def test_all_after_the_first_that_is_missing(self):
        self.assertEqual(judge.failed_steps(STEPS, "", True), STEPS)
        self.assertEqual(judge.failed_steps(STEPS, "ok login\n", True), ["watch", "cancel"])
        self.assertEqual(judge.failed_steps(STEPS, "ok login\nok cancel\nok watch\n", True), ["watch", "cancel"])

    def test_the_last_when_the_end_was_bad(self):
        self.assertEqual(judge.failed_steps(STEPS, ALL, False), ["cancel"])
        self.assertEqual(judge.failed_steps(STEPS, ALL + "ok more\n", True), ["cancel"])


class ServerSaw(unittest.TestCase):
    LINE = '{"msg":"call","method":"/waymark.geo.v1.FenceService/WatchFenceEvents","code":"%s","subject":"%s"}\n'

    def test_only_the_end_of_this_clients_call(self):
        self.assertTrue(judge.server_saw("noise\n" + self.LINE % ("CANCELLED", "go"), "go", "cancel"))
        self.assertFalse(judge.server_saw(self.LINE % ("CANCELLED", "rust"), "go", "cancel"))
        self.assertFalse(judge.server_saw(self.LINE % ("OK", "go"), "go", "cancel"))
        self.assertFalse(judge.server_saw("", "go", "cancel"))


class Readme(unittest.TestCase):
    def test_its_table_has_the_steps(self):
        steps = judge.expected_steps((HERE / "README.md").read_text())
        self.assertEqual(len(steps), len(set(steps)))
        self.assertEqual((steps[0], steps[-1]), ("login", "missing"))
        for step in judge.SEEN_BY_SERVER:
            self.assertIn(step, steps)

    def test_its_table_has_the_clients(self):
        clients = {path.parent.name for path in HERE.glob("*/build.sh")}
        text = (HERE / "README.md").read_text()
        for client in clients:
            self.assertIn(f"| `{client}` |", text)
        self.assertGreaterEqual(len(clients), 7)


if __name__ == "__main__":
    unittest.main()
