"""`waymark cel`: expressions without a server."""

import json
import os
import tempfile
import unittest

import support


class Cel(unittest.TestCase):
    def order(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = os.path.join(directory.name, "order.json")
        with open(path, "w", encoding="utf-8") as out:
            out.write('{"order": {"total": 150, "tags": ["vip"]}, "n": 3}')
        return path

    def test_evaluates_over_a_file(self):
        expression = 'order.total > 100 && "vip" in order.tags'
        done = support.run("cel", "eval", expression, "--vars", self.order())
        self.assertEqual((done.returncode, done.stdout), (0, "true\n"), done.stderr)
        done = support.run("cel", "eval", "[n, order]", "--vars", self.order(), "--json")
        self.assertEqual(done.stdout, '[3,{"total":150,"tags":["vip"]}]\n')

    def test_shows_all_mistakes_with_carets(self):
        done = support.run("cel", "check", 'size(name) > "3" && nobody', "--var", "name:string")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr, "\n".join([
            "1:12: '>' does not take int and string",
            '    size(name) > "3" && nobody',
            "               ^",
            "1:21: undeclared variable 'nobody'",
            '    size(name) > "3" && nobody',
            "                        ^",
            "",
        ]))

    def test_tells_the_type_and_the_canonical_text(self):
        done = support.run("cel", "check", "[a,1].map( x,x+1 )", "--var", "a:int")
        self.assertEqual((done.returncode, done.stdout), (0, "list(int)\n[a, 1].map(x, x + 1)\n"))
        done = support.run("cel", "check", "a + 1", "--var", "a:int", "--type", "bool")
        self.assertEqual(done.returncode, 2)
        self.assertIn("wanted is a bool", done.stderr)

    def test_an_error_of_the_expression_is_no_crash(self):
        done = support.run("cel", "eval", "1 / 0")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "waymark: at byte 3: division by zero\n")

    def test_traces_what_each_part_was(self):
        expression = "order.total > 200 && n == 3.0 || 1 / 0 == 1"
        done = support.run("cel", "eval", expression, "--vars", self.order(), "--trace")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stdout, "\n".join([
            "order.total > 200 && n == 3.0 || 1 / 0 == 1  =  error: division by zero",
            "  order.total > 200 && n == 3.0  =  false",
            "    order.total > 200  =  false",
            "      order.total  =  150.0",
            '        order  =  {"total": 150.0, "tags": ["vip"]}',
            "    n == 3.0  =  not evaluated",
            "      n  =  not evaluated",
            "  1 / 0 == 1  =  error: division by zero",
            "    1 / 0  =  error: division by zero",
            "",
        ]))
        done = support.run("cel", "eval", "n == 3", "--vars", self.order(), "--trace", "--json")
        self.assertEqual(json.loads(done.stdout), [
            {"expression": "n == 3", "byte": 3, "depth": 0, "times": 1, "value": True},
            {"expression": "n", "byte": 1, "depth": 1, "times": 1, "value": 3},
        ])
        self.assertEqual(support.run("cel", "check", "1", "--trace").returncode, 2)

    def test_an_expression_may_begin_with_a_minus(self):
        for expression, value in (("-[1][0]", "-1"), ("- 1", "-1"), ("-n", "-3.0"), ("-1", "-1"),
                                  ("--[1][0]", "1"), ("-(n)", "-3.0")):
            done = support.run("cel", "eval", expression, "--vars", self.order())
            self.assertEqual((done.returncode, done.stdout), (0, value + "\n"), done.stderr)
        done = support.run("cel", "check", "--var", "x:int", "-x")
        self.assertEqual((done.returncode, done.stdout), (0, "int\n-x\n"), done.stderr)
        done = support.run("cel", "eval", "--vars", self.order(), "--", "--n")
        self.assertEqual((done.returncode, done.stdout), (0, "3.0\n"), done.stderr)
        done = support.run("cel", "eval", "--n")
        self.assertEqual(done.returncode, 2)
        self.assertIn("unknown option --n; put -- before an expression that begins so", done.stderr)
        self.assertIn("goes behind --", support.run("cel", "eval", "-h").stdout)

    def test_refuses_bad_options(self):
        for arguments in (["1", "--var", "a"], ["1", "--var", "a:integer"], ["1", "--vars", "/nowhere"], []):
            done = support.run("cel", "eval", *arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertNotEqual(done.stderr, "")


if __name__ == "__main__":
    unittest.main()
