#!/bin/sh
# Hands a Python test file to run_python_test.py; see bazel/python_test.bzl.
exec /usr/bin/python3 bazel/run_python_test.py "$@"
