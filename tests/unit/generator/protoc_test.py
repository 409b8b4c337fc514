"""protoc-gen-waymark-c as its users run it: by protoc, on files, with compilers behind it."""

import glob
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

from google.protobuf import descriptor_pb2

PROTOC, PLUGIN, PROTOC_GEN_C = (os.path.abspath(path) for path in os.environ["TOOLS"].split())
PROTOS = os.path.abspath("tests/unit/generator/protos")
GOLDEN = os.path.abspath("tests/unit/generator/golden")
PAGE = os.path.abspath("docs/generator.md")
PROTO_PATH = [f"-I{PROTOS}", f"-I{os.path.abspath('proto')}", "-I/usr/include"]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic"]


class Failed(Exception):
    """protoc ended with an error; the text is what it said."""


def protoc(out, files, options="", more_paths=()):
    """Runs protoc; returns what it says, or raises when it fails."""
    if "protoc-gen-c=" not in options:
        options = f"{options},protoc-gen-c={PROTOC_GEN_C}".strip(",")
    ran = subprocess.run(
        [PROTOC, f"--plugin=protoc-gen-waymark-c={PLUGIN}", f"--waymark-c_out={options}:{out}"]
        + list(more_paths)
        + PROTO_PATH
        + files,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ran.returncode != 0:
        raise Failed(ran.stdout)
    return ran.stdout


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def tree(directory):
    found = {}
    for path in glob.glob(f"{directory}/**", recursive=True):
        if os.path.isfile(path):
            found[os.path.relpath(path, directory)] = read(path)
    return found


def add_headers(out):
    """The installed headers, beside what came out."""
    shutil.copytree("include/waymark", f"{out}/waymark", dirs_exist_ok=True)
    shutil.copy("server/sdk/include/waymark/server.h", f"{out}/waymark")
    shutil.copy("base/method.h", f"{out}/waymark")


def compile_one(test, command, out, source):
    ran = subprocess.run(
        command + WARNINGS + ["-D_GNU_SOURCE", f"-I{out}", "-fsyntax-only", source],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    test.assertEqual(ran.returncode, 0, f"{command} {source}:\n{ran.stdout}")


ALL = ["hard/v1/hard.proto", "far/v1/far.proto", "far/v1/further.proto", "shop/v1/shop.proto"]
SYSTEM = ["google/protobuf/empty.proto", "google/protobuf/timestamp.proto"]


class Case(unittest.TestCase):
    def directory(self):
        made = tempfile.mkdtemp(prefix="wmgen-")
        self.addCleanup(shutil.rmtree, made)
        return made


class Output(Case):
    def test_is_that_of_the_golden_files(self):
        out = self.directory()
        protoc(out, ["shop/v1/shop.proto"], "methods,server,client")
        made = tree(out)
        self.assertEqual(len(made), 6)
        for name, text in made.items():
            path = f"{GOLDEN}/{os.path.basename(name)}.golden"
            if os.environ.get("UPDATE_GOLDEN"):
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
            self.assertEqual(read(path), text, name)

    def test_is_the_same_whatever_else_is_made_in_the_run(self):
        together, alone = self.directory(), self.directory()
        protoc(together, ALL + SYSTEM)
        for name in reversed(ALL + SYSTEM):
            protoc(alone, [name])
        self.assertEqual(tree(together), tree(alone))

    def test_has_no_files_beyond_messages_without_services(self):
        out = self.directory()
        protoc(out, ["noservice.proto"])
        self.assertEqual(sorted(tree(out)), ["noservice.pb-c.c", "noservice.pb-c.h"])

    def test_carries_options_as_data(self):
        out = self.directory()
        protoc(out, ["hard/v1/hard.proto"], "methods")
        text = read(f"{out}/hard/v1/hard.methods.c")
        first = text[text.index("/Delete") : text.index("/Restrict")]
        self.assertIn('.permission = "hard.delete"', first)
        self.assertIn(".idempotency = WM_IDEMPOTENT,", first)
        self.assertIn(r'"quote\040\042\040back\040\134\040percent\040\045d"', text)
        self.assertEqual(text.count(".deprecated = true"), 1)

    def test_holds_the_descriptors_that_protoc_makes(self):
        out = self.directory()
        protoc(out, ["hard/v1/hard.proto"], "server")
        text = read(f"{out}/hard/v1/hard.server.c")
        start = text.index("waymark__files[] = {")
        numbers = re.findall(r"\d+", text[text.index("{", start) : text.index("};", start)])
        subprocess.run(
            [PROTOC, "--include_imports", f"--descriptor_set_out={out}/set"]
            + PROTO_PATH
            + ["hard/v1/hard.proto"],
            check=True,
        )
        with open(f"{out}/set", "rb") as file:
            wanted = descriptor_pb2.FileDescriptorSet.FromString(file.read())
        got = descriptor_pb2.FileDescriptorSet.FromString(bytes(map(int, numbers)))
        self.assertEqual([file.name for file in got.file], [file.name for file in wanted.file])
        self.assertEqual(got, wanted)
        self.assertIn("Other-Name", str(got))

    # Numbers of options are everybody's; the name counts.
    def test_takes_no_option_of_others_for_ours(self):
        out = self.directory()
        with open(f"{out}/other.proto", "w", encoding="utf-8") as file:
            file.write(
                """syntax = "proto3";
                package other;
                import "google/protobuf/descriptor.proto";
                extend google.protobuf.MethodOptions { string permission = 57654; }
                message M {}
                service S { rpc Do(M) returns (M) { option (permission) = "theirs"; } }
                """
            )
        protoc(out, ["other.proto"], more_paths=[f"-I{out}"])
        text = read(f"{out}/other.methods.c")
        self.assertIn(".permission = NULL", text)
        self.assertNotIn("descriptor.pb-c.h", read(f"{out}/other.pb-c.h"))

    def test_takes_services_of_proto2(self):
        out = self.directory()
        with open(f"{out}/two.proto", "w", encoding="utf-8") as file:
            file.write(
                """syntax = "proto2";
                package two;
                message M { optional int32 number = 1 [default = 7]; required string s = 2; }
                service S { rpc Do(M) returns (stream M); }
                """
            )
        protoc(out, ["two.proto"], more_paths=[f"-I{out}"])
        self.assertIn("has_number", read(f"{out}/two.pb-c.h"))
        self.assertIn("two_s_do_send", read(f"{out}/two.server.h"))

    # Files may be called what no macro can, and alike.
    def test_has_a_guard_of_its_own_in_every_header(self):
        out = self.directory()
        stems = ["2fa", "a-b", "a_b", "A_b", "a/b", "a b", "a+", "ä"]
        for number, stem in enumerate(stems):
            os.makedirs(os.path.dirname(f"{out}/{stem}"), exist_ok=True)
            with open(f"{out}/{stem}.proto", "w", encoding="utf-8") as file:
                file.write(
                    f"""syntax = "proto3";
                    package p{number};
                    message M {{}}
                    service S {{ rpc Do(M) returns (M); }}
                    """
                )
        protoc(out, [f"{stem}.proto" for stem in stems], "methods,server", [f"-I{out}"])
        guards = []
        for path in glob.glob(f"{out}/**/*.h", recursive=True):
            ifndef, define = read(path).split("\n")[1:3]
            self.assertRegex(ifndef, r"^#ifndef [A-Za-z_]\w*$")
            self.assertEqual(define.split(), ["#define", ifndef.split()[1]])
            guards.append(ifndef)
        self.assertEqual(len(guards), 2 * len(stems))
        self.assertEqual(len(set(guards)), len(guards))

    # Services whose names alone would be keywords, built-in functions and the C library's.
    def test_of_services_without_a_package_takes_no_name_of_others(self):
        out = self.directory()
        services = ["Switch", "Log", "Read", "Index", "Time", "errno", "main"]
        with open(f"{out}/bare.proto", "w", encoding="utf-8") as file:
            file.write('syntax = "proto3"; message M {}')
            for name in services:
                file.write(f"service {name} {{ rpc Get(M) returns (M); }}")
        protoc(out, ["bare.proto"], more_paths=[f"-I{out}"])
        header = read(f"{out}/bare.methods.h")
        for name in services:
            self.assertIn(f"extern const wm_service {name.lower()}_service;", header)
        add_headers(out)
        for source in sorted(glob.glob(f"{out}/bare.*.c")):
            compile_one(self, ["gcc", "-std=c11"], out, source)

    def test_says_what_is_wrong(self):
        with self.assertRaises(Failed) as failed:
            protoc(self.directory(), ["noservice.proto"], "clients")
        self.assertIn('unknown option "clients"', str(failed.exception))
        with self.assertRaises(Failed) as failed:
            protoc(self.directory(), ["noservice.proto"], "protoc-gen-c=/nonexistent/plugin")
        self.assertIn("cannot run /nonexistent/plugin", str(failed.exception))


# Includes every header, once and again; that is all that a C++ program does with them.
class Compiled(Case):
    @classmethod
    def setUpClass(cls):
        cls.out = tempfile.mkdtemp(prefix="wmgen-")
        protoc(cls.out, ALL + SYSTEM)
        add_headers(cls.out)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.out)

    def compile(self, command, sources):
        for source in sources:
            compile_one(self, command, self.out, source)

    def sources(self):
        found = sorted(glob.glob(f"{self.out}/*/v1/*.c"))
        self.assertEqual(len(found), 4 + 2 * 3)
        return found

    def test_gcc(self):
        self.compile(["gcc", "-std=c11"], self.sources())

    def test_gcc_of_gnu_c_with_its_macros(self):
        self.compile(["gcc", "-std=gnu17", "-include", "errno.h"], self.sources())

    def test_clang(self):
        if not shutil.which("clang"):
            self.skipTest("no clang")
        self.compile(["clang", "-std=c17"], self.sources())

    def test_headers_in_cpp(self):
        names = [os.path.relpath(h, self.out) for h in sorted(glob.glob(f"{self.out}/*/v1/*.h"))]
        source = f"{self.out}/headers.cc"
        with open(source, "w", encoding="utf-8") as out:
            for name in names + names:
                out.write(f'#include "{name}"\n')
        for standard in ["c++17", "c++20"]:
            # Anonymous structs and unions are C's.
            self.compile(["g++", f"-std={standard}", "-Wno-pedantic"], [source])


    def test_initial_values_in_cpp(self):
        source, n = f"{self.out}/initial.cc", 0
        with open(source, "w", encoding="utf-8") as out:
            for header in sorted(glob.glob(f"{self.out}/*/v1/*.pb-c.h")):
                text = read(header)
                types = re.findall(r"^struct +(\w+)$", text, flags=re.M)
                values = re.findall(r"^#define (\w+__INIT) ", text, flags=re.M)
                self.assertEqual(len(types), len(values), header)
                out.write(f'#include "{os.path.relpath(header, self.out)}"\n')
                for kind, value in zip(types, values):
                    out.write(f"{kind} value_{n} = {value};\n")
                    n += 1
        self.assertGreater(n, 8)
        # clang++ warns of every value of a deprecated member, also of this one.
        flags = ["-std=c++17", "-Wno-pedantic", "-Wno-deprecated-declarations"]
        for compiler in ["g++", "clang++"]:
            if shutil.which(compiler):
                self.compile([compiler] + flags, [source])


class Names(unittest.TestCase):
    """docs/generator.md's table of names, in both directions."""

    @classmethod
    def setUpClass(cls):
        cls.out = tempfile.mkdtemp(prefix="wmgen-")
        protoc(cls.out, ["shop/v1/shop.proto"])
        cls.headers = {
            kind: re.sub(r"/\*.*?\*/", "", read(f"{cls.out}/shop/v1/shop.{kind}.h"), flags=re.S)
            for kind in ["pb-c", "methods", "server", "client"]
        }
        cls.page = read(PAGE)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.out)

    def rows(self):
        """(header, name) of the table's second and third column."""
        kind, found = None, []
        for line in self.page.split("\n"):
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) != 5:
                continue
            header = re.fullmatch(r"\*\*`shop\.(.+)\.h`\*\*", cells[1])
            if header:
                kind = header.group(1)
            elif kind:
                names = re.findall(r"`([A-Za-z_0-9]+)`", cells[2] + cells[3])
                found += [(kind, name) for name in names]
        return found

    def test_of_the_page_are_there(self):
        rows = self.rows()
        self.assertGreater(len(rows), 50)
        for kind, name in rows:
            if name not in ("waymark_service",):
                self.assertRegex(self.headers[kind], rf"\b{name}\b", f"{name} in shop.{kind}.h")

    def test_that_are_there_are_on_the_page(self):
        known = {name for _, name in self.rows()}
        for kind in ["methods", "server", "client"]:
            for name in set(re.findall(r"\b(?:shop_v1|SHOP_V1)_\w+", self.headers[kind])):
                self.assertIn(name, known, f"of shop.{kind}.h")

    def test_the_proto_of_the_page_is_the_one_tested(self):
        shown = self.page[self.page.index("package shop.v1;") :]
        shown = shown[: shown.index("```")]
        tested = re.sub(r" *//[^\n]*\n", "", read(f"{PROTOS}/shop/v1/shop.proto"))
        tested = tested[tested.index("package shop.v1;") :]
        self.assertEqual(shown, tested)


class Clashes(Case):
    """Two parts of a proto that would have the same name in C."""

    def refused(self, text, options=""):
        """What protoc says of the proto."""
        out = self.directory()
        with open(f"{out}/clash.proto", "w", encoding="utf-8") as file:
            file.write(f'syntax = "proto3"; package c; {text}')
        with self.assertRaises(Failed, msg=text) as failed:
            protoc(out, ["clash.proto"], options, [f"-I{out}"])
        self.assertEqual(glob.glob(f"{out}/*.[ch]"), [])
        return str(failed.exception)

    def test_of_methods_and_services_are_refused(self):
        for services, said in [
            ("service S { rpc Get$; rpc GetSync$; }", "c.S.Get and c.S.GetSync are both c_s_get_sync"),
            ("service S { rpc Start$; rpc StartDone$; }", "c_s_start_done"),
            ("service S { rpc Watch>; rpc WatchOpen$; }", "c.S.Watch and c.S.WatchOpen are both"),
            ("service S { rpc Get$; rpc get$; }", "c.S.Get and c.S.get are both C_S_GET in C"),
            ("service S { rpc Delete$; rpc delete_>; }", "both c_s_handlers.delete_ in C"),
            ("service S { rpc MethodsN$; }", "c.S and c.S.MethodsN are both C_S_METHODS_N in C"),
            ("service S { rpc HandlersN$; }", "C_S_HANDLERS_N"),
            ("service S { rpc Bind$; }", "c.S and c.S.Bind are both c_s_bind in C"),
            ("service S { rpc Handlers$; }", "c_s_handlers"),
            ("service S { rpc Get$; rpc GetReply$; }", "c_s_get_reply"),
            (
                "service Order { rpc ItemGet$; } service OrderItem { rpc Get$; }",
                "c.Order.ItemGet and c.OrderItem.Get are both C_ORDER_ITEM_GET in C",
            ),
        ]:
            services = services.replace("$", "(M) returns (M)").replace(">", "(M) returns (stream M)")
            text = self.refused(f"message M {{}} {services}")
            self.assertIn("clash.proto: ", text)
            self.assertIn(said, text)

    # A method for each name that comes out: whoever adds a name to the templates and not to the
    # table of names finds it here.
    def test_of_a_method_with_any_name_that_comes_out_are_refused(self):
        out = self.directory()
        protoc(out, ["shop/v1/shop.proto"], "methods,server,client")
        names = set()
        for text in tree(out).values():
            text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
            names |= set(re.findall(r"\bshop_v1_counter_(\w+)", text, flags=re.I))
        names = {name.lower() for name in names}
        self.assertGreater(len(names), 40)
        calls = """rpc GetItem(M) returns (M); rpc WatchItems(M) returns (stream M);
            rpc FillCart(stream M) returns (M); rpc Chat(stream M) returns (stream M);"""
        for name in sorted(names):
            said = self.refused(
                f"message M {{}} service Counter {{ {calls} rpc {name}(M) returns (M); }}", "methods"
            )
            self.assertRegex(said, rf"c.Counter.{name} are both (?i:c_counter_{name}) in C", name)

    def test_of_messages_enums_and_oneofs_are_refused(self):
        price = "oneof price { int32 cents = 1; }"
        for text, said in [
            ("message Item {} message ITEM {}", "c.Item and c.ITEM are both C__ITEM__INIT in C"),
            ("message Item {} enum ITEM { A = 0; }", "both c__item__descriptor in C"),
            ("message MyItem {} message My_item {}", "c.MyItem and c.My_item are both C__MY_ITEM__INIT"),
            (
                f"message M {{ {price} enum PriceCase {{ X = 0; }} }}",
                "c.M.price and c.M.PriceCase are both C__M__PriceCase in C",
            ),
            (
                f"message M {{ {price} enum Price {{ NOT_SET = 0; }} }}",
                "c.M.price and c.M.Price.NOT_SET are both C__M__PRICE__NOT_SET in C",
            ),
            (
                f"message M {{ {price} message Price {{ enum Case {{ Z = 0; }} }} }}",
                "c.M.price and c.M.Price.Case are both _C__M__PRICE__CASE_IS_INT_SIZE in C",
            ),
            (
                "message M { oneof value { string type_x = 1; } oneof value_type { string x = 2; } }",
                "c.M.type_x and c.M.x are both C__M__VALUE_TYPE_X in C",
            ),
            (
                "message M { oneof aB { int32 x = 1; } oneof a_b { int32 y = 2; } }",
                "c.M.aB and c.M.a_b are both C__M.a_b_case in C",
            ),
        ]:
            self.assertIn(said, self.refused(text, "messages"))

    # Such a field is called errno__ by then.
    def test_of_renamed_fields_are_told_by_their_names(self):
        text = "message M { oneof a { int32 errno = 1; } oneof a_errno { int32 _ = 2; } }"
        self.assertIn(
            "c.M.errno and c.M._ are both C__M__A_ERRNO__ in C",
            self.refused(f"{text} message N {{ int32 errno_ = 1; }}", "messages"),
        )

    def test_of_long_names_are_none(self):
        out = self.directory()
        long = "g" * 520
        with open(f"{out}/long.proto", "w", encoding="utf-8") as file:
            file.write(
                f"""syntax = "proto3"; package c; message M {{}}
                service S {{ rpc {long}1(M) returns (M); rpc {long}2(M) returns (M); }}"""
            )
        protoc(out, ["long.proto"], "client", [f"-I{out}"])
        for number in "12":
            self.assertIn(f"c_s_{long}{number}_sync(", read(f"{out}/long.client.h"))


class Presence(Case):
    """`optional` means the same in C and in Python, on random messages."""

    MESSAGES = 3000

    def build(self):
        out = self.directory()
        protoc(out, ["presence.proto"], "messages")
        subprocess.run(
            ["gcc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{out}"]
            + ["tests/unit/generator/presence.c", f"{out}/presence.pb-c.c"]
            + ["-lprotobuf-c", "-o", f"{out}/presence"],
            check=True,
        )
        subprocess.run([PROTOC] + PROTO_PATH + [f"--python_out={out}", "presence.proto"], check=True)
        sys.path.insert(0, out)
        self.addCleanup(sys.path.remove, out)
        import presence_pb2

        return f"{out}/presence", presence_pb2.Presence

    def fill(self, dice, message, depth=0):
        values = {
            "int32_field": lambda: dice.choice([0, 1, -1, 2**31 - 1, -(2**31)]),
            "sint64_field": lambda: dice.choice([0, -1, 2**63 - 1, -(2**63)]),
            "fixed32_field": lambda: dice.choice([0, 1, 2**32 - 1]),
            "float_field": lambda: dice.choice([0.0, -0.0, 1.5, float("inf")]),
            "double_field": lambda: dice.choice([0.0, -0.0, 2.25, float("-inf")]),
            "bool_field": lambda: dice.choice([False, True]),
            "text": lambda: dice.choice(["", "a", "züge"]),
            "raw": lambda: dice.choice([b"", b"\0", b"abc"]),
            "kind": lambda: dice.choice([0, 1, 77]),
            "base": lambda: dice.choice([0, 2**64 - 1]),
            "plain": lambda: dice.choice([0, 5]),
        }
        for name, value in values.items():
            if dice.random() < 0.4:
                setattr(message, name, value())
        if depth < 3 and dice.random() < 0.3:
            message.child.SetInParent()
            self.fill(dice, message.child, depth + 1)

    def line(self, message):
        """What presence.c prints of it."""

        def bits(value):
            return struct.pack(">d", value).hex()

        text = ""
        show = {
            "float_field": bits,
            "double_field": bits,
            "bool_field": lambda value: str(int(value)),
            "text": lambda value: value.encode().hex(),
            "raw": lambda value: value.hex(),
        }
        for name in ["int32_field", "sint64_field", "fixed32_field", "float_field", "double_field"] + [
            "bool_field",
            "text",
            "raw",
            "kind",
            "base",
        ]:
            if message.HasField(name):
                text += f" {name}={show.get(name, str)(getattr(message, name))}"
        text += f" plain={message.plain}"
        if message.HasField("child"):
            text += " child={" + self.line(message.child) + " }"
        return text

    def test_is_that_of_python(self):
        program, kind = self.build()
        seed = random.randrange(2**32)
        dice = random.Random(seed)
        messages = [kind() for _ in range(self.MESSAGES)]
        for message in messages:
            self.fill(dice, message)
        packed = [message.SerializeToString(deterministic=True) for message in messages]
        stream = b"".join(struct.pack("<I", len(data)) + data for data in packed)
        ran = subprocess.run([program], input=stream, stdout=subprocess.PIPE)
        self.assertEqual(ran.returncode, 0, f"seed {seed}")
        lines = ran.stdout.decode().split("\n")[:-1]
        self.assertEqual(len(lines), len(messages))
        for message, data, got in zip(messages, packed, lines):
            self.assertEqual(f"{self.line(message)} packed={data.hex()}", got, f"seed {seed}")
