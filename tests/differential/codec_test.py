"""Our codec and Google's, on the same random bytes along the same random schemas.

Both must take or refuse a message alike, but for the differences that base/codec.h documents, and what
they take must have the same values: what we pack again is read by Google's, and both are written anew.
As JSON each must read what the other writes.

CODEC_SECONDS says how long to go on (8), CODEC_SEED where to begin; a failure prints the seed of its
schema and the message. By hand:

    bazel test //tests/differential:codec_test --test_env=CODEC_SECONDS=600 --test_output=all
"""

import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import warnings

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
import schema  # noqa: E402
import wire  # noqa: E402

CODEC = os.path.abspath("tests/differential/codec")
GENERATOR = os.path.abspath("bazel/protoc-gen-waymark-c/protoc-gen-waymark-c")
SECONDS = float(os.environ.get("CODEC_SECONDS", "8"))
MESSAGES_PER_SCHEMA = 20_000
BATCH = 2_000
JSON_SECONDS = SECONDS / 4  # Google's JSON is written in Python
JSON_BATCH = 500


class Schema:
    """A random schema, compiled for both."""

    def __init__(self, seed, folder):
        self.seed = seed
        package = f"waymark.differential.s{seed}"
        file = pathlib.Path(folder, "schema.proto")
        file.write_text(schema.Schema(seed, package).text())
        subprocess.run(
            [
                "protoc",
                f"-I{folder}",
                f"--plugin=protoc-gen-waymark-c={GENERATOR}",
                f"--waymark-c_out=messages:{folder}",
                f"--descriptor_set_out={folder}/set.pb",
                str(file),
            ],
            check=True,
        )
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(folder, "set.pb").read_bytes())
        pool = descriptor_pool.DescriptorPool()
        pool.Add(files.file[0])
        self.names = [message.name for message in files.file[0].message_type]
        self.types = [pool.FindMessageTypeByName(f"{package}.{name}") for name in self.names]
        factory = message_factory.MessageFactory(pool)
        self.classes = [factory.GetPrototype(each) for each in self.types]
        self.library = self._compile(folder, package)

    def _compile(self, folder, package):
        prefix = package.replace(".", "__")
        table = ", ".join(f"&{prefix}__{name.lower()}__descriptor" for name in self.names)
        text = f'#include "schema.pb-c.h"\nconst void *const codec_types[] = {{{table}, 0}};\n'
        pathlib.Path(folder, "types.c").write_text(text)
        sources = [f"{folder}/schema.pb-c.c", f"{folder}/types.c"]
        library = f"{folder}/schema.so"
        subprocess.run(
            ["gcc", "-w", "-shared", "-fPIC", "-O0", "-o", library, *sources, "-lprotobuf-c"], check=True
        )
        return library


def ours(compiled, mode, batch):
    """(taken, what comes out or the reason) for each (type, bytes) of the batch; codec.c has the modes."""
    frames = b"".join(struct.pack("<II", which, len(content)) + content for which, content in batch)
    done = subprocess.run([CODEC, compiled.library, mode], input=frames, stdout=subprocess.PIPE, check=False)
    answers, at = [], 0
    while at < len(done.stdout):
        taken, size = struct.unpack_from("<II", done.stdout, at)
        answers.append((bool(taken), done.stdout[at + 8 : at + 8 + size]))
        at += 8 + size
    if len(answers) < len(batch):
        which, content = batch[len(answers)]
        raise AssertionError(
            f"our codec ended with {done.returncode} at {mode} schema {compiled.seed} "
            f"{compiled.names[which]} {content.hex()}"
        )
    return answers


def theirs(kind, content):
    """Google's message, or None when it refuses."""
    try:
        return kind.FromString(content)
    except (DecodeError, SystemError):
        return None


def drop_negative_zeros(message):
    """As base/codec.h documents of packing."""
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            drop_negative_zeros_of_map(field.message_type.fields_by_name["value"], value)
        elif field.message_type is not None:
            for each in value if field.label == field.LABEL_REPEATED else [value]:
                drop_negative_zeros(each)
        elif field.label != field.LABEL_REPEATED and field.containing_oneof is None and value == 0:
            message.ClearField(field.name)


def drop_negative_zeros_of_map(kind, entries):
    for key, value in list(entries.items()):
        if kind.message_type is not None:
            drop_negative_zeros(value)
        elif value == 0:
            entries[key] = type(value)()


def difference(compiled, which, content, taken, answer):
    """What is not alike, in words, or None."""
    kind = compiled.classes[which]
    message = theirs(kind, content)
    if message is None:
        return "we take what Google's refuses" if taken else None
    if not taken:
        reason = answer.decode()
        if reason in wire.documented(compiled.types[which], content):
            return None
        return f"we refuse by {reason} what Google's takes"
    again = theirs(kind, answer)
    if again is None:
        return f"what we pack is refused: {answer.hex()}"
    want, got = (each.SerializeToString(deterministic=True) for each in (message, again))
    if want != got:
        drop_negative_zeros(message)
        drop_negative_zeros(again)
        want, got = (each.SerializeToString(deterministic=True) for each in (message, again))
    return None if want == got else f"other values:\n  theirs {want.hex()}\n  ours   {got.hex()}"


def canonical(message):
    drop_negative_zeros(message)
    return message.SerializeToString(deterministic=True)


def json_difference(kind, content, printed, read):
    """Compares with Google's reading of Google's text: our text as Google reads it, and Google's as we do."""
    want = canonical(json_format.Parse(json_text(kind, content), kind()))
    for what, (taken, answer) in (("print", printed), ("read", read)):
        if not taken:
            return f"we do not {what}: {answer.decode()}"
        try:
            got = read_json(kind, answer) if what == "print" else kind.FromString(answer)
        except (json_format.ParseError, DecodeError) as error:
            return f"Google's does not read what we {what}: {answer} {error}"
        if canonical(got) != want:
            return f"we {what} other values: {answer}\n  theirs {want.hex()}\n  ours   {canonical(got).hex()}"
    return None


def read_json(kind, text):
    # -0 is a number of JSON that Python takes for an integer without a sign.
    tree = json.loads(text, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))
    return json_format.ParseDict(tree, kind())


def json_text(kind, content):
    return json_format.MessageToJson(kind.FromString(content), indent=None).encode()


def make_message(generator, types):
    writer = wire.Writer(generator, generator.choice([0.0, 0.05, 0.3, 1.0]))
    which = generator.randrange(len(types))
    kind = generator.random()
    if kind < 0.02:
        return which, writer.deep(types[which], generator.choice([2, 30, 62, 63, 64, 65, 90]))
    content = writer.message(types[which])
    if kind < 0.3:
        content = writer.mutated(content)
    return which, content


class Counts:
    def __init__(self):
        self.messages = self.taken = self.schemas = 0

    def __str__(self):
        return f"{self.messages} messages of {self.schemas} schemas, {self.taken} taken"


class Codec(unittest.TestCase):
    def setUp(self):
        # Of an end-group tag or a field number 0, where none may be, Debian's Python only warns; made
        # an error the warning comes as a SystemError.
        warnings.simplefilter("error", RuntimeWarning)
        # Google's library tells of each message that it refuses.
        stderr, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
        self.addCleanup(os.dup2, stderr, 2)

    def compare_schema(self, seed, end, counts):
        generator = random.Random(seed)
        with tempfile.TemporaryDirectory() as folder:
            compiled = Schema(seed, folder)
            counts.schemas += 1
            for _ in range(MESSAGES_PER_SCHEMA // BATCH):
                batch = [make_message(generator, compiled.types) for _ in range(BATCH)]
                for (which, content), (taken, answer) in zip(batch, ours(compiled, "again", batch)):
                    counts.messages += 1
                    counts.taken += taken
                    what = difference(compiled, which, content, taken, answer)
                    if what:
                        self.fail(f"schema {seed} {compiled.names[which]} {content.hex()}: {what}")
                if time.monotonic() > end:
                    return

    def test_same_verdicts_and_values(self):
        seed = int(os.environ.get("CODEC_SEED", random.SystemRandom().randrange(2**31)))
        counts = Counts()
        end = time.monotonic() + SECONDS
        while counts.messages == 0 or time.monotonic() < end:
            self.compare_schema(seed, end, counts)
            seed += 1
        print(counts)
        self.assertGreater(counts.taken, counts.messages // 4, "most messages are to be taken")

    def compare_json(self, seed, end):
        """How many messages were compared."""
        generator = random.Random(seed)
        writer = wire.Writer(generator, 0.02)
        count = 0
        with tempfile.TemporaryDirectory() as folder:
            compiled = Schema(seed, folder)
            while count == 0 or (count < MESSAGES_PER_SCHEMA // 10 and time.monotonic() < end):
                which = [generator.randrange(len(compiled.types)) for _ in range(JSON_BATCH)]
                batch = [(each, writer.message(compiled.types[each])) for each in which]
                taken = [pair for pair, (ok, _) in zip(batch, ours(compiled, "again", batch)) if ok]
                texts = [(each, json_text(compiled.classes[each], content)) for each, content in taken]
                answers = zip(taken, ours(compiled, "print", taken), ours(compiled, "read", texts))
                for (each, content), printed, read in answers:
                    what = json_difference(compiled.classes[each], content, printed, read)
                    if what:
                        self.fail(f"schema {seed} {compiled.names[each]} {content.hex()}: {what}")
                count += len(taken)
        return count

    def test_same_json(self):
        seed = int(os.environ.get("CODEC_SEED", random.SystemRandom().randrange(2**31)))
        messages = 0
        end = time.monotonic() + JSON_SECONDS
        while messages == 0 or time.monotonic() < end:
            messages += self.compare_json(seed, end)
            seed += 1
        print(messages, "messages as JSON")
        self.assertGreater(messages, 0)


if __name__ == "__main__":
    unittest.main()
