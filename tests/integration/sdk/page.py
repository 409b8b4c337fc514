"""Runs a page of docs as its reader would: files are written, commands are run, outputs compared.

A fenced block says what it is in the words behind its fence:

    ```c server.c     the file server.c
    ```sh             commands for the shell, which is the same for the whole page
    ```sh grpcurl     the same; left out where that program is not
    ```text           what the commands before it print

Everything else is for the reader alone.
"""

import os
import subprocess


class Block:
    def __init__(self, words, line):
        self.kind = words[0] if words else ""
        self.argument = words[1] if len(words) > 1 else ""
        self.line = line
        self.text = ""


def blocks(path):
    """The fenced blocks of a page."""
    found, current = [], None
    with open(path, encoding="utf-8") as page:
        for number, line in enumerate(page, 1):
            if not line.startswith("```"):
                if current:
                    current.text += line
            elif current:
                found.append(current)
                current = None
            else:
                current = Block(line[3:].split(), number)
    assert current is None, f"{path}: the block of line {current.line} does not end"
    return found


class Step:
    """Commands, the files to write before them, and what they have to print (or None)."""

    def __init__(self, block):
        self.line, self.commands, self.needs = block.line, block.text, block.argument
        self.files, self.output = {}, None


def steps(path):
    made, files = [], {}
    for block in blocks(path):
        if block.kind == "sh":
            made.append(Step(block))
            made[-1].files, files = files, {}
        elif block.kind == "text":
            made[-1].output = block.text
        elif block.argument:
            files[block.argument] = block.text
    assert not files, f"{path}: nothing is done with {list(files)}"
    return made


def run(path, home, replace, have):
    """Runs the page in the directory `home`. Replaces texts (free ports), and leaves out what needs a
    program that is not in `have`. Returns the lines where the outputs differ, with both."""

    def adapt(text):
        for old, new in replace.items():
            text = text.replace(old, new)
        return text

    script, wanted = "set -eu\n", []
    for number, step in enumerate(steps(path)):
        if step.needs and step.needs not in have:
            continue
        for name, text in step.files.items():
            source = os.path.join(home, f"file-{number}-{name}")
            with open(source, "w", encoding="utf-8") as out:
                out.write(adapt(text))
            script += f"cp '{source}' '{name}'\n"
        script += f"echo '@@ {number}'\n{adapt(step.commands)}"
        wanted.append((number, step))
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=home,
        env={"HOME": home, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=240,
    )
    if ran.returncode != 0:
        raise AssertionError(f"{path} ends with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}")
    outputs = dict(part.split("\n", 1) for part in ran.stdout.split("@@ ")[1:])
    return [
        (step.line, adapt(step.output), outputs[str(number)])
        for number, step in wanted
        if step.output is not None and adapt(step.output) != outputs[str(number)]
    ]
