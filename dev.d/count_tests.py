"""Counts single test cases from Bazel's build events, and ends with `N passed, N failed`.

usage: count_tests.py EVENTS.json LABEL...

A target that did not build, timed out or died counts as one failure of its own. Skipped cases are
named. Exits 0 only when nothing failed and something passed.
"""

import json
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree


def read_results(path):
    """label -> (status, path of test.xml or None); the last attempt of a test wins."""
    results = {}
    with open(path, encoding="utf-8") as events:
        for line in events:
            event = json.loads(line)
            if "testResult" not in event:
                continue
            label = event["id"]["testResult"]["label"]
            result = event["testResult"]
            xml = None
            for output in result.get("testActionOutput", []):
                if output["name"] == "test.xml":
                    xml = urllib.parse.unquote(urllib.parse.urlparse(output["uri"]).path)
            results[label] = (result["status"], xml)
    return results


def read_cases(path):
    """Yields (name, "passed" | "failed" | "skipped", message) for each case of a test.xml."""
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname') or ''}.{case.get('name')}".lstrip(".")
        skipped = case.find("skipped")
        failure = case.find("failure")
        if failure is None:
            failure = case.find("error")
        if failure is not None:
            yield name, "failed", (failure.get("message") or failure.text or "").strip()
        elif skipped is not None or case.get("status") == "notrun":
            message = "" if skipped is None else (skipped.get("message") or skipped.text or "")
            yield name, "skipped", message.strip()
        else:
            yield name, "passed", ""


def main():
    results = read_results(sys.argv[1])
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for label in sys.argv[2:]:
        status, xml = results.get(label, ("was not built", None))
        cases = []
        if xml:
            try:
                cases = list(read_cases(xml))
            except (OSError, ElementTree.ParseError):
                pass
        for name, outcome, message in cases:
            counts[outcome] += 1
            if outcome != "passed":
                lines = message.splitlines() or [""]
                # gtest puts the place first and the reason of a skip last.
                line = lines[-1] if outcome == "skipped" else lines[0]
                print(f"{outcome}: {label} {name}  {line}")
        if status != "PASSED" and not any(outcome == "failed" for _, outcome, _ in cases):
            counts["failed"] += 1
            print(f"failed: {label} {status}")
        elif status == "PASSED" and not cases:
            counts["passed"] += 1
    if counts["skipped"]:
        print(f"{counts['skipped']} skipped, named above")
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    return 0 if counts["failed"] == 0 and counts["passed"] > 0 else 1


sys.exit(main())
