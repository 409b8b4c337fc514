"""Runs one Python unittest file under Bazel and writes a test.xml with a line per case.

usage: run_python_test.py FILE

Bazel's own Python rules want a toolchain from the network; this needs only /usr/bin/python3.
"""

import importlib.util
import os
import sys
import time
import unittest
import xml.etree.ElementTree as ElementTree


class XmlResult(unittest.TextTestResult):
    """Collects (case, seconds, kind, message)."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.rows = []
        self.started = 0.0

    def startTest(self, test):
        self.started = time.monotonic()
        super().startTest(test)

    def _add(self, test, kind, message=""):
        self.rows.append((test, time.monotonic() - self.started, kind, message))

    def addSuccess(self, test):
        super().addSuccess(test)
        self._add(test, None)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._add(test, "failure", self._exc_info_to_string(err, test))

    def addError(self, test, err):
        super().addError(test, err)
        self._add(test, "error", self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._add(test, "skipped", reason)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._add(subtest, "failure", self._exc_info_to_string(err, test))


def write_xml(path, name, rows):
    suite = ElementTree.Element("testsuite", name=name, tests=str(len(rows)))
    for test, seconds, kind, message in rows:
        classname, _, method = test.id().rpartition(".")
        case = ElementTree.SubElement(
            suite, "testcase", classname=classname, name=method, time=f"{seconds:.3f}"
        )
        if kind:
            # XML has no place for most control characters.
            text = "".join(c for c in message if c >= " " or c in "\n\t")
            lines = text.strip().splitlines()
            element = ElementTree.SubElement(case, kind, message=lines[-1] if lines else "")
            element.text = text
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def main():
    path = sys.argv[1]
    name = os.path.splitext(os.path.basename(path))[0]
    sys.path.insert(0, os.getcwd())
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)

    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    runner = unittest.TextTestRunner(resultclass=XmlResult, verbosity=2)
    result = runner.run(suite)
    if "XML_OUTPUT_FILE" in os.environ:
        write_xml(os.environ["XML_OUTPUT_FILE"], name, result.rows)
    return 0 if result.wasSuccessful() and result.testsRun > 0 else 1


sys.exit(main())
