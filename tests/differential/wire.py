"""Random bytes along a schema: mostly messages, with everything that the wire format allows and forbids.

`Writer` makes them. `documented()` names, independently of our codec, what is in given bytes for which
base/codec.h says that we refuse what others take.
"""

import struct

from google.protobuf.descriptor import FieldDescriptor as F

VARINT, FIXED64, LENGTH, GROUP, GROUP_END, FIXED32 = range(6)
DEPTH_MAX = 64
WIRE_TYPES = {
    F.TYPE_FIXED64: FIXED64,
    F.TYPE_SFIXED64: FIXED64,
    F.TYPE_DOUBLE: FIXED64,
    F.TYPE_FIXED32: FIXED32,
    F.TYPE_SFIXED32: FIXED32,
    F.TYPE_FLOAT: FIXED32,
    F.TYPE_STRING: LENGTH,
    F.TYPE_BYTES: LENGTH,
    F.TYPE_MESSAGE: LENGTH,
}
INTEGERS = [0, 1, 2, 127, 128, 300, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 5, 2**63 - 1, 2**63, 2**64 - 1]
TEXTS = [b"", b"a", "Grüße".encode(), "\U0001f4da".encode(), b"x" * 200]
BAD_TEXTS = [b"\xff", b"a\x00b", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"]


def wire_type_of(field):
    return WIRE_TYPES.get(field.type, VARINT)


def varint(value, size=1):
    """At least `size` bytes long, so that overlong forms can be made."""
    out = bytearray()
    while value > 0x7F or len(out) + 1 < size:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Writer:
    """`oddity` is how likely it is, at each place, that something unusual is written."""

    def __init__(self, random, oddity):
        self.random = random
        self.oddity = oddity

    def odd(self, part=1.0):
        return self.random.random() < self.oddity * part

    def varint(self, value, longest):
        return varint(value, self.random.randint(1, longest) if self.odd(0.2) else 1)

    def tag(self, number, wire_type):
        value = number << 3 | wire_type
        if self.odd(0.01):
            return varint(value | 1 << 32)  # too big for a tag
        return self.varint(value, 6 if self.odd(0.02) else 5)

    def integer(self):
        if self.random.random() < 0.7:
            return self.random.choice(INTEGERS)
        return self.random.getrandbits(self.random.choice([3, 8, 33, 64]))

    def varint_value(self, field):
        if field is not None and field.type == F.TYPE_BOOL and not self.odd():
            return varint(self.random.randint(0, 1))
        if self.odd(0.05):
            return b"\xff" * 9 + bytes([self.random.randint(0, 127)])  # bits beyond the 64th
        if self.odd(0.02):
            return b"\x80" * self.random.randint(1, 12) + b"\0"
        return self.varint(self.integer(), 10)

    def fixed(self, size):
        kind = self.random.random()
        if kind < 0.3:
            number = self.random.choice([0.0, -0.0, 1.5, -2.25, float("inf"), float("nan"), 1e30])
            return struct.pack("<d" if size == 8 else "<f", number)
        return self.random.choice([bytes(size), self.random.randbytes(size)])

    def text(self):
        return self.random.choice(BAD_TEXTS if self.odd(0.05) else TEXTS)

    def length(self, content):
        size = len(content)
        if self.odd(0.02):
            size += self.random.choice([-1, 1, 1000, 2**31, 2**35])
        return self.varint(max(size, 0), 6 if self.odd(0.02) else 5) + content

    def scalar(self, field, wire_type):
        """One value without its tag."""
        if wire_type == VARINT:
            return self.varint_value(field)
        if wire_type == FIXED64:
            return self.fixed(8)
        if wire_type == FIXED32:
            return self.fixed(4)
        if field is not None and field.type == F.TYPE_STRING:
            return self.length(self.text())
        return self.length(self.random.choice([b"", b"\0", b"\xff\xfe", self.random.randbytes(5)]))

    def packed(self, field):
        wire_type = wire_type_of(field)
        content = b"".join(self.scalar(field, wire_type) for _ in range(self.random.randint(0, 4)))
        if self.odd(0.03):
            content = content[:-1]
        return self.length(content)

    def unknown(self, number):
        wire_type = self.random.choice([VARINT, FIXED64, LENGTH, FIXED32])
        if self.odd(0.05):
            return self.group(number)
        if self.odd(0.05):
            return self.tag(number, self.random.choice([GROUP_END, 6, 7]))
        return self.tag(number, wire_type) + self.scalar(None, wire_type)

    def group(self, number):
        inside = self.unknown(self.random.randint(1, 99)) if self.odd() else b""
        end = number + self.odd(0.1)
        return self.tag(number, GROUP) + inside + self.tag(end, GROUP_END)

    def field(self, field, depth):
        wire_type = wire_type_of(field)
        if self.odd(0.04):
            wire_type = self.random.choice([VARINT, FIXED64, LENGTH, FIXED32])
            return self.tag(field.number, wire_type) + self.scalar(None, wire_type)
        if field.type == F.TYPE_MESSAGE:
            return self.tag(field.number, LENGTH) + self.length(self.message(field.message_type, depth + 1))
        if field.label == F.LABEL_REPEATED and wire_type != LENGTH and self.random.random() < 0.6:
            return self.tag(field.number, LENGTH) + self.packed(field)
        return self.tag(field.number, wire_type) + self.scalar(field, wire_type)

    def message(self, descriptor, depth=1):
        fields = list(descriptor.fields)
        few = 12 if depth == 1 else 4
        count = self.random.randint(0, few) if depth < 6 else 0
        # Of few fields, so that many come more than once.
        chosen = self.random.sample(fields, min(len(fields), self.random.choice([1, 2, 5, 20])))
        out = []
        for _ in range(count):
            if not chosen or self.odd(0.1):
                out.append(self.unknown(self.random.choice([1, 5, 16, 2047, 2048, 19500, 2**29 - 1])))
            else:
                out.append(self.field(self.random.choice(chosen), depth))
        return b"".join(out)

    def deep(self, descriptor, levels):
        """A chain of the message inside itself, where the schema has one."""
        own = [f for f in descriptor.fields if f.message_type is descriptor]
        content = self.message(descriptor)
        for _ in range(levels if own else 0):
            content = varint(own[0].number << 3 | LENGTH) + varint(len(content)) + content
        return content

    def mutated(self, content):
        """A few bytes changed, lost, doubled or cut off."""
        out = bytearray(content)
        for _ in range(self.random.randint(1, 3)):
            at = self.random.randrange(len(out) + 1)
            kind = self.random.randrange(5)
            if kind == 0 and at < len(out):
                out[at] ^= 1 << self.random.randrange(8)
            elif kind == 1 and at < len(out):
                out[at] = self.random.randrange(256)
            elif kind == 2:
                del out[at : at + self.random.randint(1, 3)]
            elif kind == 3:
                out[at:at] = out[max(0, at - self.random.randint(1, 20)) : at]
            else:
                del out[at:]
        return bytes(out)


class Broken(Exception):
    """Bytes that no reader takes."""


def read_varint(content, at, longest=10):
    value = 0
    for i in range(longest):
        if at + i >= len(content):
            raise Broken
        value |= (content[at + i] & 0x7F) << (7 * i)
        if content[at + i] < 0x80:
            return value, at + i + 1
    raise Broken


def read_items(content):
    """(number, wire type, content of a length, None for others) of each field."""
    at = 0
    while at < len(content):
        tag, at = read_varint(content, at, 5)
        number, wire_type, inside = tag >> 3, tag & 7, None
        if tag >= 2**32:
            yield 0, None, None
        if wire_type == VARINT:
            _, at = read_varint(content, at)
        elif wire_type in (FIXED64, FIXED32):
            at += 8 if wire_type == FIXED64 else 4
        elif wire_type == LENGTH:
            size, at = read_varint(content, at, 5)
            inside = content[at : at + size]
            at += size
        yield number, wire_type, inside
        if at > len(content):
            raise Broken


def documented(descriptor, content, depth=1):
    """The reasons for which we may refuse these bytes although another reader takes them."""
    found = {"WIRE_TOO_DEEP"} if depth > DEPTH_MAX else set()
    try:
        for number, wire_type, inside in read_items(content):
            field = descriptor.fields_by_number.get(number)
            if wire_type in (None, GROUP, GROUP_END):
                return found | {"WIRE_MALFORMED"}
            if field is None:
                continue
            is_packed = wire_type == LENGTH and field.label == F.LABEL_REPEATED
            if wire_type != wire_type_of(field) and not is_packed:
                return found | {"WIRE_MALFORMED"}
            if field.type == F.TYPE_STRING and b"\0" in inside:
                found.add("WIRE_NUL_IN_STRING")
            if field.type == F.TYPE_MESSAGE:
                found |= documented(field.message_type, inside, depth + 1)
    except Broken:
        pass
    return found
