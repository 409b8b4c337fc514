"""waymark_python_test: a Python unittest file as a Bazel test, on Debian's /usr/bin/python3."""

def waymark_python_test(name, main, srcs = [], data = [], tags = [], **kwargs):
    """Runs the unittest cases of `main`; each counts by itself in ./dev test.

    The working directory is the tree's root in the runfiles; imports are looked up there and beside
    `main`.

    Args:
      name: of the test.
      main: the file with the cases.
      srcs: Python files it imports.
      data: programs and files it uses; pass their paths by args and env as usual.
      tags: as usual.
      **kwargs: as of sh_test.
    """
    native.sh_test(
        name = name,
        srcs = ["//bazel:run_python_test.sh"],
        args = ["$(location {})".format(main)],
        data = [main, "//bazel:run_python_test.py"] + srcs + data,
        tags = tags,
        **kwargs
    )
