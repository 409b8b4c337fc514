"""docs/grpc-in-c.md by itself makes a server and a client outside of the tree."""

import os
import shutil
import socket
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import page  # noqa: E402

PAGE = os.path.abspath("docs/grpc-in-c.md")
TREE = os.path.abspath("bazel/install/waymark.tar")
GRPCURL = os.environ.get("GRPCURL", "")

# What the page calls in the checkout, with the tree that it installs at hand already.
DEV = f"""#!/bin/sh
set -eu
[ "$1 $2" = "install --prefix" ]
mkdir -p "$3"
tar --extract --no-same-owner --file='{TREE}' --directory="$3"
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


class GrpcInC(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="wmpage-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.home)
        with open(os.path.join(self.home, "dev"), "w", encoding="utf-8") as out:
            out.write(DEV)
        os.chmod(os.path.join(self.home, "dev"), 0o755)

    def run_page(self, have):
        wrong = page.run(PAGE, self.home, {"50051": free_port()}, have)
        for line, wanted, got in wrong:
            self.assertEqual(wanted, got, f"the commands of line {line}")

    def test_the_page_runs_as_it_stands(self):
        self.run_page([])

    def test_grpcurl_needs_no_files(self):
        if not GRPCURL:
            self.skipTest("no grpcurl")
        tools = os.path.join(self.home, "tools")
        os.mkdir(tools)
        os.symlink(GRPCURL, os.path.join(tools, "grpcurl"))
        before = os.environ["PATH"]
        os.environ["PATH"] = f"{tools}:{before}"
        self.addCleanup(os.environ.__setitem__, "PATH", before)
        self.run_page(["grpcurl"])

    # The files are in examples/ too, for those who look there first.
    def test_files_are_those_of_the_examples(self):
        for block in page.blocks(PAGE):
            if block.kind not in ("sh", "text") and block.argument:
                with open(f"examples/hello/{block.argument}", encoding="utf-8") as file:
                    self.assertEqual(file.read(), block.text, block.argument)
