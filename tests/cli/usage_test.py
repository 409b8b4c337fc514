"""The command line: help, complaints and exit codes, without any server."""

import json
import os
import re
import tempfile
import unittest

import support

NOBODY = "127.0.0.1:1"


class Usage(unittest.TestCase):
    def refused(self, *arguments, says="", code=2):
        done = support.run(*arguments)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}{done.stderr}")
        self.assertIn(says, done.stderr)
        self.assertEqual(done.stdout, "")
        return done

    def file(self, name, text):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = os.path.join(directory.name, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def commands(self):
        text = support.run("--help").stdout
        names = re.findall(r"^  ([a-z]+(?: [a-z]+)?)(?= [A-Z\[-]| {2,})", text, re.MULTILINE)
        self.assertGreater(len(names), 25)
        return names

    def test_help_lists_every_command_and_each_has_help(self):
        for name in self.commands():
            done = support.run(*name.split(), "--help")
            self.assertEqual(done.returncode, 0, name)
            self.assertTrue(done.stdout.startswith("waymark " + name), name)
            self.assertIn("--address", done.stdout)

    def test_the_commands_of_the_manual_exist(self):
        wanted = """health; token; whoami; chart put; chart get; start; send; get; history; worker run;
            geo import; geo nearby; geo within; geo track; geo watch; fence put; fence events; grant; revoke;
            grants; demo"""
        self.assertEqual({w.strip() for w in wanted.split(";")} - set(self.commands()), set())

    def test_no_command_shows_help_and_fails(self):
        done = support.run()
        self.assertEqual(done.returncode, 2)
        self.assertIn("waymark COMMAND", done.stdout)

    def test_wrong_command_lines(self):
        self.refused("fly", says='no command "fly"')
        self.refused("geo", says="waymark geo import")
        self.refused("geo", "fly", says="waymark geo nearby")
        self.refused("whoami", "--fly", says="unknown option --fly")
        self.refused("--fly", says="unknown option --fly")
        self.refused("whoami", "now", says="one parameter too many")
        self.refused("whoami", "--address", says="--address needs a value")
        self.refused("whoami", "--json=yes", says="--json takes no value")
        self.refused("whoami", "--timeout", "soon", says="--timeout takes a time")
        self.refused("get", says="needs INSTANCE")
        self.refused("token", says="needs --sub")
        self.refused("worker", "run", says="needs --exec")
        self.refused("grant", "alice", says="needs a role")
        self.refused("grant", "alice", "king", says="needs a role")
        self.refused("grant", "--role", "admin", says="needs a subject")
        self.refused("geo", "nearby", "here", says="needs a place")
        self.refused("geo", "nearby", "1", says="needs a place")
        self.refused("geo", "within", "1,2,3", says="WEST,SOUTH,EAST,NORTH")
        self.refused("geo", "track", "x", "--since", "monday", says="--since takes a time")
        self.refused("geo", "import", "x", "--batch", "0", says="--batch is 1 to")
        self.refused("fence", "events", "--limit", "-1", says="whole number")
        self.refused("start", "c", "--input", "{", says="JSON line 1")
        self.refused("send", "i", "e", "--data", "[]", says="an object was expected")
        self.refused("worker", "run", "--exec", "true", "--concurrency", "0", says="--concurrency is")

    def test_files_that_are_wrong(self):
        self.refused("chart", "put", "/nowhere", says="cannot open /nowhere")
        self.refused("chart", "put", self.file("c.json", '{"states": [{"id": 1}]}'), says="states[0].id")
        self.refused("chart", "put", self.file("c.json", '{"nope": 1}'), says="nope: no such field")
        self.refused("fence", "put", self.file("f.json", '{"type":"Point"}'), says="neither a GeoJSON")
        no_id = '{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{}}]}'
        self.refused("fence", "put", self.file("f.json", no_id), says="feature 0 has no id")

    def test_nobody_listens(self):
        done = self.refused("whoami", "--address", NOBODY, says="UNAVAILABLE", code=1)
        self.assertIn("Is the server running", done.stderr)
        self.refused("health", "--address", NOBODY, says="UNAVAILABLE", code=1)
        done = self.refused("whoami", "--address=" + NOBODY, "--json", code=1)
        self.assertEqual(json.loads(done.stderr)["error"]["code"], "UNAVAILABLE")
        self.refused("token", "--sub", "a", "--issuer", "http://" + NOBODY, says="cannot ask", code=1)

    def test_options_may_stand_anywhere(self):
        for line in (["--address", NOBODY, "geo", "nearby", "-73.9", "40.7"],
                     ["geo", "nearby", "--address", NOBODY, "-73.9", "40.7"],
                     ["geo", "nearby", "-73.9,40.7", "--limit=3", "--address", NOBODY],
                     ["geo", "nearby", "--address", NOBODY, "--", "-73.9", "40.7"]):
            self.refused(*line, says="UNAVAILABLE", code=1)

    def test_a_wrong_track_file_is_refused_as_a_whole(self):
        head = "entity,time,lon,lat,alt,speed,heading\n"
        good = "a,2018-08-01T05:00:00Z,1,2,,,\n"
        for line, says in (
            ("a,yesterday,1,2,,,", "time is not like"),
            (",2018-08-01T05:00:00Z,1,2,,,", "the entity is empty"),
            ("a,2018-08-01T05:00:00Z,181,2,,,", "lon is not in -180 to 180"),
            ("a,2018-08-01T05:00:00Z,1,x,,,", "lat is not a number"),
            ("a,2018-08-01T05:00:00Z,1,nan,,,", "lat is not a number"),
            ("a,2018-08-01T05:00:00Z,1,2,high,,", "alt is not a number"),
            ('"a,2018-08-01T05:00:00Z,1,2,,,', "not CSV"),
        ):
            path = self.file("t.csv", head + good + line + "\n" + good)
            done = self.refused("geo", "import", path, "--address", NOBODY, says=says)
            self.assertIn(f"{path}:3: ", done.stderr)
            self.assertIn("nothing was sent", done.stderr)
        self.refused("geo", "import", self.file("t.csv", "id,when\n"), says='no column "entity"')
        self.refused("geo", "import", self.file("t.csv", ""), says="is empty")
        self.refused("geo", "import", "/nowhere", says="cannot read /nowhere")
