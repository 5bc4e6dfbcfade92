"""Whatever bytes a universe file has: it is read as it is meant, or refused with the project's own error."""

import io
import json
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whence.errors import WhenceError
from whence.universe import Universe
from whence.universe.sheets import UniverseConfig

KINDS = st.sampled_from(["members", "onefile"])


def cases(count: int) -> settings:
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "u.ctf"


@pytest.fixture(scope="session")
def valid(place, members, onefile, tar_of, everything):
    """Members, bytes and content of two whole files, by kind."""
    found = {}
    for kind, files in (("members", members), ("onefile", onefile)):
        data = tar_of(place, files).read_bytes()
        found[kind] = (files, data, everything(Universe.open(place)))
    return found


@pytest.fixture(scope="session")
def outcome(place, everything):
    """What is read from these bytes; None where they are refused."""

    def read(data: bytes) -> dict[str, np.ndarray] | None:
        place.write_bytes(data)
        try:
            return everything(Universe.open(place))
        except WhenceError as error:
            message = str(error)
        assert message.startswith(str(place))
        return None

    return read


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def tar(files: dict[str, bytes], changed: str = "", **fields: object) -> bytes:
    """A tar in which one member's header has other fields, with a right checksum."""
    stream = io.BytesIO()
    for name, data in files.items():
        info = tarfile.TarInfo(name)
        info.size = len(data)
        for key, value in fields.items() if name == changed else ():
            setattr(info, key, value)
        stream.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        stream.write(data + bytes(-len(data) % 512))
    return stream.getvalue() + bytes(1024)


@cases(400)
@given(KINDS, st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4))
def test_changed_bytes(valid, outcome, kind, flips):
    _, data, content = valid[kind]
    changed = bytearray(data)
    for where, mask in flips:
        changed[int(where * len(data))] ^= mask
    found = outcome(bytes(changed))
    at = data.index(b'{"Format"')
    if found is not None and changed[at : at + 400] == data[at : at + 400]:
        assert same(found, content)


@cases(100)
@given(KINDS, st.floats(0, 1, exclude_max=True), st.binary(max_size=40))
def test_cut_off(valid, outcome, kind, where, tail):
    _, data, content = valid[kind]
    found = outcome(data[: int(where * len(data))] + tail)
    assert found is None or same(found, content)


NAMES = st.sampled_from(
    ["leave_0_x.png", "leave_1_.png", "train_0_2.png", "train_1_900000000.png", "factual.png", "./"]
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "name": NAMES | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=120),
        "size": st.integers(-(2**62), 2**62) | st.integers(0, 3000),
        "type": st.binary(min_size=1, max_size=1) | st.sampled_from([b"x", b"g", b"L", b"K", b"S", b"1", b"2", b"5"]),
        "linkname": st.sampled_from(["/etc/passwd", "factual.png", "../.."]),
        "mtime": st.integers(-(2**40), 2**40),
    },
)


@cases(250)
@given(KINDS, st.floats(0, 1, exclude_max=True), FIELDS)
def test_changed_headers(valid, outcome, kind, which, fields):
    files = valid[kind][0]
    outcome(tar(files, list(files)[int(which * len(files))], **fields))


SCALARS = st.none() | st.booleans() | st.integers(-2, 9) | st.integers() | st.floats() | st.text(max_size=9)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)
)
KEYS = st.sampled_from([*UniverseConfig.model_json_schema()["properties"], "Other"])


@cases(300)
@given(KINDS, st.dictionaries(KEYS, st.integers(1, 9) | VALUES, min_size=1, max_size=3))
def test_changed_settings(valid, outcome, kind, changed):
    files = valid[kind][0]
    settled = json.loads(files["config.json"]) | changed
    outcome(tar(files | {"config.json": json.dumps(settled).encode()}))


@cases(100)
@given(KINDS, st.binary(max_size=300) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_settings(valid, outcome, kind, content):
    assert outcome(tar(valid[kind][0] | {"config.json": content})) is None


@cases(100)
@given(st.binary(max_size=2000), st.sampled_from([b"", b"\x1f\x8b", b"BZh", b"PK", b"\xfd7zXZ", bytes(512)]))
def test_any_bytes(outcome, head, content):
    assert outcome(head + content) is None


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


CHUNKS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"iCCP", b"zTXt", b"eXIf"]
        ),
        st.binary(max_size=40) | st.binary(max_size=60).map(zlib.compress),
    ),
    max_size=3,
)
HEADS = st.tuples(
    *(st.sampled_from([6, 6, 6, 12, 2**31]) for _ in range(2)),
    *(st.sampled_from([value, value, value, other]) for value, other in ((8, 16), (0, 2), (0, 1), (0, 1), (0, 1))),
)


@cases(250)
@given(HEADS, CHUNKS, st.binary(max_size=60), CHUNKS)
def test_sheets_with_right_checksums(valid, outcome, head, before, pixels, after):
    files = valid["members"][0]
    body = [chunk(b"IHDR", struct.pack(">IIBBBBB", *head))]
    body += [chunk(*one) for one in before] + [chunk(b"IDAT", zlib.compress(pixels))] + [chunk(*one) for one in after]
    outcome(tar(files | {"factual.png": b"\x89PNG\r\n\x1a\n" + b"".join(body) + chunk(b"IEND", b"")}))


@cases(100)
@given(st.binary(max_size=300))
def test_any_sheet(valid, outcome, content):
    assert outcome(tar(valid["members"][0] | {"leave_0_x.png": content})) is None
