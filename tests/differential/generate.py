# SPDX-License-Identifier: Apache-2.0
"""Headers for the differential test: valid ones, nearly valid ones, and plain damage.

Everything follows from the generator that is passed in, so a seed names a whole run.  A case is
(label, header bytes, prefix or None for the true length, data bytes).
"""
import json

BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
        "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
        "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64}
NAMES = ["a", "h.0.weight", "", "../../x", "\u00e9", "e\u0301", "\U0001f600", "a\"b", "a\\b", "a/b",
         "__metadata", "__metadata__x", "n" * 70, "tab\there", "\u2028", "model.layers.31.mlp.down_proj"]
NUMBERS = ["0", "1", "2", "4", "-1", "-0", "1.0", "1e0", "01", "+1", "0x1", "NaN", "Infinity", ".5", "1.",
           "1e", "1e5", "1E400", "1e308", "1e309", "18446744073709551615", "18446744073709551616",
           "9223372036854775808", "4294967296", "4611686018427387904", "123456789012345678901234567890",
           "true", "null", '"1"', "[1]", "{}", "1" * 40, "0.1e-400", "17976931348623157e292",
           "17976931348623159e292", "1" * 310, "1" * 308]
VALUES = NUMBERS + ["[]", "[[]]", '{"a":1,"a":2}', '"\\u0061"', '"\\ud800"', '"\\ud83d\\ude00"', "false",
                    '"F32"', '{"F32":null}', '{"F32":{}}', '{"F32":1}', '{"F32":null,"U8":null}',
                    "[" * 30 + "]" * 30, "[" * 124 + "]" * 124, "[" * 125 + "]" * 125, "[" * 126 + "]" * 126,
                    "[" * 127 + "]" * 127, '"\x01"', "[1,]", '{"a":}', "-", "nul", "[null,true,1.5]"]
SPACES = ["", "", "", " ", "\n", "\t\r\n ", "\f", "\0", "  " * 50]


def text(rng, value):
    """A JSON string, at times with escapes where none are needed."""
    out = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.1 and value.isascii() and value.isalnum():
        at = rng.randrange(len(value))
        out = out[:1 + at] + f"\\u{ord(value[at]):04x}" + out[2 + at:]
    return out


def shape(rng, bits):
    """A shape whose elements fill whole bytes."""
    while True:
        dims = [rng.choice((0, 1, 1, 2, 3, 4, 5, 8, 16)) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 5)))]
        count = 1
        for dim in dims:
            count *= dim
        if count * bits % 8 == 0 and count < 10000:
            return dims, count * bits // 8


def tensors(rng):
    """A list of (name, dtype, shape, begin, end) that cover their data, in the order of the file."""
    out, cursor = [], 0
    for number in range(rng.choice((0, 1, 1, 2, 3, 5, 12))):
        name = rng.choice(NAMES) + (f".{number}" if rng.random() < 0.8 else "")
        if any(name == other[0] for other in out):
            continue
        dtype = rng.choice(list(BITS))
        dims, size = shape(rng, BITS[dtype])
        out.append([name, dtype, dims, cursor, cursor + size])
        cursor += size
    return out, cursor


def metadata(rng):
    pairs = {rng.choice(NAMES) + str(i): rng.choice(NAMES) for i in range(rng.choice((0, 1, 3)))}
    return "{" + ",".join(text(rng, k) + ":" + text(rng, v) for k, v in pairs.items()) + "}"


class Writer:
    """Writes a header member by member, with room to do each thing wrong."""

    def __init__(self, rng, spaced):
        self.rng = rng
        self.spaced = spaced

    def space(self):
        return self.rng.choice(SPACES[:6]) if self.spaced else ""

    def member(self, key, value):
        return self.space() + key + self.space() + ":" + self.space() + value + self.space()

    def entry(self, tensor, wrong=None):
        _, dtype, dims, begin, end = tensor
        fields = {"dtype": text(self.rng, dtype), "shape": "[" + ",".join(map(str, dims)) + "]",
                  "data_offsets": f"[{begin},{end}]"}
        order = list(fields)
        if self.spaced:
            self.rng.shuffle(order)
        parts = [self.member(text(self.rng, key), fields[key]) for key in order]
        if wrong:
            parts = wrong(fields, parts)
            if isinstance(parts, str):
                return parts
        return "{" + ",".join(parts) + "}"


def wrong_entry(rng):
    """A way to spoil the members of one entry."""
    def number_in(fields, key):
        items = fields[key][1:-1].split(",")
        at = rng.randrange(len(items))
        items[at] = rng.choice(NUMBERS)
        return "[" + ",".join(items) + "]"

    def spoil(fields, parts):
        kind = rng.randrange(11)
        key = rng.choice(list(fields))
        if kind == 0:
            return parts + [f'"{key}":{fields[key]}']                       # stands twice
        if kind == 1:
            return [p for p in parts if not p.strip().startswith(f'"{key}"')]  # is missing
        if kind == 2:
            return parts + ['"x":' + rng.choice(VALUES)]                    # unknown
        if kind == 3:
            return "[" + ",".join(fields.values()) + "]"                    # an array
        if kind == 4:
            return "[" + ",".join(list(fields.values())[:rng.randrange(4)]
                                  + [rng.choice(VALUES)] * rng.randrange(2)) + "]"
        if kind == 5:
            fields[key] = rng.choice(VALUES)
        elif kind in (6, 7):
            key = rng.choice(("shape", "data_offsets"))
            fields[key] = number_in(fields, key)
        elif kind == 8:
            fields["dtype"] = rng.choice(['"f32"', '"F33"', '{"F32":null}', '{"U8" : null }', "null"])
        elif kind == 9:
            return rng.choice(VALUES)
        else:
            items = fields["shape"][1:-1]
            fields["shape"] = rng.choice(("[0,8589934592,8589934592]", "[8589934592,8589934592,0]",
                                          "[4294967296,4294967296]", f"[{items},]", "[3]",
                                          "[" + "1," * rng.choice((63, 64, 65)) + "1]"))
        return [f'"{k}":{v}' for k, v in fields.items()]
    return spoil


def wrong_offsets(rng, found):
    """A way to spoil the places of tensors: holes, overlaps, wrong sizes."""
    tensor = rng.choice(found)
    kind = rng.randrange(5)
    if kind == 0:
        tensor[3] += rng.choice((1, 4))
    elif kind == 1:
        tensor[4] += rng.choice((-1, 1, 4))
    elif kind == 2:
        tensor[3], tensor[4] = tensor[4], tensor[3]
    elif kind == 3:
        tensor[3:] = rng.choice(found)[3:]
    else:
        for other in found:
            other[3] += 4
            other[4] += 4


def structured(rng):
    """A header that is valid, or has one thing wrong that a writer could do."""
    found, size = tensors(rng)
    writer = Writer(rng, rng.random() < 0.5)
    kind = rng.choice(("valid", "valid", "entry", "entry", "offsets", "name", "metadata", "around", "size"))
    target = rng.randrange(len(found)) if found else -1
    if kind == "offsets" and found:
        wrong_offsets(rng, found)
    if rng.random() < 0.3:
        rng.shuffle(found)
    parts = []
    for number, tensor in enumerate(found):
        wrong = wrong_entry(rng) if kind == "entry" and number == target else None
        parts.append(writer.member(text(rng, tensor[0]), writer.entry(tensor, wrong)))
    if kind == "name" and found:
        name = rng.choice((text(rng, found[target][0]), '"\\u0000"', '"\\ud800"', '"\x01"', '"a', "'a'",
                           "a", '"\\x41"', '"' + "n" * 66000 + '"', '"__metadata__"'))
        parts.insert(rng.randrange(len(parts) + 1), name + ":" + writer.entry(found[target]))
    if rng.random() < 0.4 or kind == "metadata":
        value = metadata(rng)
        if kind == "metadata":
            value = rng.choice((value, "null", "[]", '"x"', "{}", '{"k":1}', '{"k":null}', '{"k":"1","k":"2"}',
                                '{"k":"1","\\u006b":"2"}', rng.choice(VALUES), f'{{"k":{rng.choice(VALUES)}}}'))
        parts.insert(rng.choice((0, len(parts))), writer.member('"__metadata__"', value))
        if kind == "metadata" and rng.random() < 0.2:
            parts.append('"__metadata__":' + rng.choice(("{}", "null")))
    header = "{" + ",".join(parts) + "}"
    if kind == "around":
        header = rng.choice(SPACES) + header + rng.choice(SPACES + [",", "{}", "]", "1", "\ufeff"])
    header = header.encode("utf-8", "surrogatepass")
    if kind == "size":
        size = max(0, size + rng.choice((-1, 1, 8)))
    if rng.random() < 0.5:
        header += b" " * rng.choice((-len(header) % 8, 100))
    return kind, header, None, size


def damaged(rng):
    """A structured header with bytes changed, cut, doubled or put in."""
    _, header, _, size = structured(rng)
    header = bytearray(header)
    tokens = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80",
              b"\x00", b" ", b"\n", b"1e9", b"null", b'"dtype"', b'"shape":', b"\\u0041", b"9" * 20]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(header) + 1)
        length = rng.choice((1, 1, 2, 8, 30))
        kind = rng.randrange(5)
        if kind == 0:
            header[at:at + 1] = bytes((rng.randrange(256),))
        elif kind == 1:
            del header[at:at + length]
        elif kind == 2:
            header[at:at] = header[at:at + length]
        elif kind == 3:
            header[at:at] = rng.choice(tokens)
        else:
            header[at:at + 1] = rng.choice(tokens)
    return "damaged", bytes(header), None, size


def prefixes(rng):
    """The size prefix says something else."""
    _, header, _, size = structured(rng)
    true = len(header)
    return "prefix", header, rng.choice((0, 1, max(0, true - 1), true + 1, true + 4, true + size, 100_000_000,
                                         100_000_001, 1 << 32, 1 << 63, (1 << 64) - 8, (1 << 64) - 1)), size


def cases(rng, count):
    for _ in range(count):
        yield rng.choice((structured, structured, structured, damaged, damaged, prefixes))(rng)
