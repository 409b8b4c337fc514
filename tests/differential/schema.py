"""Random proto3 schemas: every kind of field, in every position.

    schema.py SEED PACKAGE >FILE.proto
"""

import random
import sys

SCALARS = (
    "int32 int64 uint32 uint64 sint32 sint64 bool fixed32 sfixed32 float fixed64 sfixed64 double string bytes".split()
)
MAP_KEYS = "int32 int64 uint32 uint64 sint32 sint64 bool fixed32 sfixed32 fixed64 sfixed64 string".split()
MESSAGES = 6
ENUMS = 2
FIELDS_MAX = 14
FIELDS_MANY = 300  # more message fields than a guard's bit set of any likely size


class Schema:
    def __init__(self, seed, package):
        self.random = random.Random(seed)
        self.package = package
        self.lines = []

    def numbers(self, n):
        """n field numbers, ascending, most small, some with long tags, none reserved."""
        numbers = set()
        while len(numbers) < n:
            number = self.random.choice(
                [self.random.randint(1, 15), self.random.randint(1, 2047), self.random.randint(1, 2**29 - 1)]
            )
            if not 19000 <= number <= 19999:
                numbers.add(number)
        return sorted(numbers)

    def value_type(self):
        kind = self.random.random()
        if kind < 0.6:
            return self.random.choice(SCALARS)
        if kind < 0.7:
            return f"E{self.random.randrange(ENUMS)}"
        return f"M{self.random.randrange(MESSAGES)}"

    def field(self, number):
        kind = self.random.random()
        if kind < 0.15:
            return f"map<{self.random.choice(MAP_KEYS)}, {self.value_type()}> f{number} = {number};"
        value = self.value_type()
        if kind < 0.5:
            is_packable = value not in ("string", "bytes") and not value.startswith("M")
            packed = self.random.choice(["", " [packed = false]", " [packed = true]"]) if is_packable else ""
            return f"repeated {value} f{number} = {number}{packed};"
        label = self.random.choice(["", "", "", "optional "])
        return f"{label}{value} f{number} = {number};"

    def message(self, name, n):
        self.lines.append(f"message {name} {{")
        numbers = self.numbers(n)
        self.random.shuffle(numbers)
        while numbers:
            if self.random.random() < 0.15 and len(numbers) >= 3:
                self.lines.append(f"  oneof choice{numbers[-1]} {{")
                for _ in range(3):
                    number = numbers.pop()
                    self.lines.append(f"    {self.value_type()} f{number} = {number};")
                self.lines.append("  }")
            else:
                self.lines.append("  " + self.field(numbers.pop()))
        self.lines.append("}")

    def every(self):
        """Each scalar in each position, in whichever order of numbers."""
        forms = []
        for value in SCALARS + ["E0"]:
            forms += [f"{value} {{}}", f"optional {value} {{}}", f"repeated {value} {{}}", f"map<int32, {value}> {{}}"]
            if value not in ("string", "bytes"):
                forms.append(f"repeated {value} {{}} [packed = false]")
        forms += [f"map<{key}, M0> {{}}" for key in MAP_KEYS]
        self.random.shuffle(forms)
        self.lines.append("message Every {")
        for number, form in enumerate(forms, 1):
            self.lines.append(f"  {form.format(f'f{number} = {number}')};")
        self.lines.append("}")

    def wide(self):
        self.lines.append("message Wide {")
        for number in range(1, FIELDS_MANY + 1):
            self.lines.append(f"  M{number % MESSAGES} f{number} = {number};")
        self.lines.append("}")

    def text(self):
        self.lines = ['syntax = "proto3";', f"package {self.package};"]
        for i in range(ENUMS):
            values = [0, 1, 2, -1, 2**31 - 1, -(2**31)]
            members = " ".join(f"E{i}_V{n} = {value};" for n, value in enumerate(values))
            self.lines.append(f"enum E{i} {{ {members} }}")
        for i in range(MESSAGES):
            self.message(f"M{i}", self.random.randint(1, FIELDS_MAX))
        self.every()
        self.wide()
        return "\n".join(self.lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(Schema(int(sys.argv[1]), sys.argv[2]).text())
