"""Tars as img2dataset writes them."""

import io
import json
import tarfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whence.data import load, pixel_rows
from whence.data.webdataset import _names, is_pattern
from whence.errors import DataError, SplitError, WhenceError


def encoded(image, kind="PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def tar(tmp_path):
    """Write a tar of members; dicts are JSON."""

    def write(name: str, members: dict[str, object], kind="w", form=tarfile.USTAR_FORMAT):
        path = tmp_path / "tars" / name
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, kind, format=form) as file:
            for member, content in members.items():
                text = json.dumps(content) if isinstance(content, dict) else content
                data = text.encode() if isinstance(text, str) else text
                header = tarfile.TarInfo(member)
                header.size = len(data)
                file.addfile(header, io.BytesIO(data))
        return path

    return write


def example(key: str, image: bytes, **columns) -> dict[str, object]:
    """The members of an example as img2dataset writes them."""
    table = {"caption": f"picture {key}", "url": f"https://{key}", "key": key, "status": "success", "exif": "{}"}
    return {f"{key}.jpg": image, f"{key}.txt": f"picture {key}", f"{key}.json": table | columns}


@pytest.fixture
def shards(tar, picture):
    """Two tars of two examples each; returns their folder."""
    for shard in range(2):
        members = {}
        for n in range(2):
            members |= example(f"0000{shard}000{n}", encoded(picture(2 * shard + n)), artist=f"artist {shard}")
        path = tar(f"0000{shard}.tar", members)
    return path.parent


def test_tars_side_by_side_are_one_data_set(shards, picture):
    data = load(shards, unit_column="artist")
    assert data.ids == ("000000000", "000000001", "000010000", "000010001")
    assert data.captions == tuple(f"picture {id}" for id in data.ids)
    assert data.unit_ids == ("artist 0", "artist 1")
    assert np.array_equal(data.pixels[3], np.asarray(picture(3)).transpose(2, 0, 1))
    assert data.notes == ()
    assert load(f"{shards}/{{00000..00001}}.tar").fingerprint == load(shards).fingerprint
    assert load(shards / "00001.tar").ids == data.ids[2:]
    with pytest.raises(SplitError):
        load(shards, split="test")


def test_the_tables_of_img2dataset_beside_the_tars_are_counted(shards):
    (shards / "00000.parquet").write_bytes(b"")
    (shards / "00000_stats.json").write_text("{}")
    assert load(shards).notes == (
        "Files that are no images were left out: 1 .parquet (such as 00000.parquet), 1 .json (such as "
        "00000_stats.json).",
    )


def test_a_caption_is_the_text_or_else_in_the_table(tar, picture):
    image = encoded(picture(0))
    members = {"a.png": image, "a.json": {"caption": "from the table", "n": 1.0}, "b.webp": encoded(picture(1), "WEBP")}
    path = tar("x.tar", members)
    assert load(path).captions == ("from the table", None)
    assert load(path, unit_column="n").units == (("1",), ("(none)",))
    assert load(path, caption_column="caption").captions == ("from the table", None)
    with pytest.raises(DataError, match="no unit column 'artist'; there is caption, n"):
        load(path, unit_column="artist")


def test_folders_classes_and_long_names_are_read(tar, picture):
    key = "d" * 120 + "/0001"
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        path = tar("x.tar", {f"{key}.png": encoded(picture(0)), f"{key}.cls": "3"}, form=form)
        data = load(path)
        assert (data.ids, data.classes) == ((key,), ("3",))


def test_pickles_are_never_opened(tar, picture):
    members = {"a.png": encoded(picture(0)), "a.pyd": b"cos\nsystem\n(S'touch x'\ntR.", "a.pt": b"", "a.mp3": b"x"}
    assert load(tar("x.tar", members)).notes == (
        "Files that are no images were left out: 1 .mp3 (such as a.mp3).",
        "2 members that may be pickled, such as a.pyd, were not opened: reading one could run a program.",
    )


PNG = encoded(__import__("PIL.Image", fromlist=["new"]).new("RGB", (6, 4)))
BROKEN = {
    "bytes that are no image": ({"b.jpg": b"no"}, "b", "x.tar: b is not an image"),
    "an image that is cut off": ({"b.jpg": PNG[:-26]}, "b", "x.tar: b cannot be decoded"),
    "a caption that is no text": ({"b.jpg": PNG, "b.txt": b"\xff\xfe"}, "b", "x.tar: b cannot be read: 'utf-8' codec"),
    "a table that is no JSON": ({"b.jpg": PNG, "b.json": "{"}, "b", "x.tar: b cannot be read: Expecting"),
    "a table that is a list": ({"b.jpg": PNG, "b.json": "[]"}, "b", "its table is no JSON object"),
    "a caption without its image": ({"b.txt": "a cat"}, "b", "it has no image"),
    "two images": ({"b.jpg": PNG, "b.png": PNG}, "b", "it has two images, jpg and png"),
    "a very long text": ({"b.jpg": PNG, "b.txt": "x" * 2_000_000}, "b", "2,000,000 bytes; at most 1,048,576 are read"),
}


@pytest.mark.parametrize(("members", "key", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_member_is_named_and_the_rest_is_read(tar, picture, members, key, reason):
    whole = {"a.png": encoded(picture(0)), "a.txt": "one", "c.png": encoded(picture(2)), "c.txt": "three"}
    data = load(tar("x.tar", {**members, **whole}))
    assert (data.ids, data.captions) == (("a", "c"), ("one", "three"))
    [note] = [note for note in data.notes if "left out" in note]
    assert note.startswith(f"1 example can't be read and was left out: x.tar: {key}. The first reason: ")
    assert reason in note


def test_many_broken_members_are_all_counted_and_named(tar, picture):
    members = {f"{n:02}.png": b"no" for n in range(25)} | {"x.png": encoded(picture(0))}
    [note] = load(tar("x.tar", members)).notes
    assert note.startswith("25 examples can't be read and were left out: x.tar: 00, x.tar: 01,")
    assert "x.tar: 19 and 5 more." in note


def test_what_follows_a_damage_is_named(tar, picture, shards):
    path = tar("00002.tar", {f"{name}.png": encoded(picture(n)) for n, name in enumerate("abcd")})
    whole = path.read_bytes()
    start = whole.index(b"c.png")
    for damaged in (whole[: start + 600], whole[:start] + b"\xff" * 512 + whole[start + 512 :]):
        path.write_bytes(damaged)
        data = load(shards)
        assert data.ids[4:] == ("a",), "members of b may be missing"
        assert data.notes[0].startswith(
            "2 examples can't be read and were left out: the rest of 00002.tar, 00002.tar: b."
        )


def test_a_member_that_is_there_twice_is_not_guessed(tar, picture):
    path = tar("x.tar", {"a.png": encoded(picture(0)), "b.png": encoded(picture(1))})
    tar("x.tar", {"a.png": encoded(picture(2))}, "a")
    data = load(path)
    assert data.ids == ("b",)
    assert "has two members a.png." in data.notes[0]


REFUSED = {
    "no tar": (b"hello", "is not a tar file"),
    "empty": (b"", "is not a tar file"),
    "gzip": (b"\x1f\x8b" + bytes(600), r"is compressed \(gzip\); an uncompressed tar is expected"),
    "no example": (bytes(1024), "is not a tar file"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_a_tar_without_any_example_is_an_error(shards, content, message):
    (shards / "00002.tar").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(shards)


def test_a_tar_whose_examples_are_all_broken_is_an_error(tar, shards):
    tar("00002.tar", {"a.jpg": b"", "a.json": "{"})
    with pytest.raises(DataError, match=r"00002.tar has no example that can be read: 00002.tar: a cannot be read"):
        load(shards)


def test_links_are_not_followed(shards, tmp_path):
    with tarfile.open(shards / "00000.tar", "a") as file:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    assert "Files that are no images were left out: 1 .png (such as link.png)." in load(shards).notes


def test_other_sizes_repeated_keys_and_images_beside_are_refused(tar, shards, picture):
    tar("00002.tar", example("000000000", encoded(picture(0))))
    with pytest.raises(DataError, match=r"Ids must be unique; 1 of them are used more than once: 000000000"):
        load(shards)
    tar("00002.tar", example("x", encoded(picture(0, size=(3, 3)))))
    with pytest.raises(DataError, match="The images have 2 sizes"):
        load(shards)
    assert load(shards, resolution=2).size == (3, 2, 2)
    picture(0).save(shards / "a.png")
    with pytest.raises(DataError, match=r"has both tars and images \(a.png\)"):
        load(shards)


PATTERNS = {
    "data/{08..11}.tar": ["data/08.tar", "data/09.tar", "data/10.tar", "data/11.tar"],
    "{0..1}-{3..4}.tar": ["0-3.tar", "0-4.tar", "1-3.tar", "1-4.tar"],
    "{5..5}.tar": ["5.tar"],
}


@pytest.mark.parametrize(("pattern", "names"), PATTERNS.items(), ids=PATTERNS)
def test_patterns_stand_for_ranges(pattern, names):
    assert is_pattern(pattern)
    assert [str(path) for path in _names(pattern)] == names


@pytest.mark.parametrize("pattern", ["{3..2}.tar", "{0..99999999}.tar"])
def test_empty_and_endless_patterns_are_refused(pattern):
    with pytest.raises(DataError, match=r"stands for .* tars; 1 to 1,000,000 are expected"):
        load(pattern)


def test_tars_of_a_pattern_that_are_not_there_are_named(shards):
    with pytest.raises(DataError, match=r"stands for 4 tars, and 2 are not there: 00002.tar, 00003.tar"):
        load(f"{shards}/{{00000..00003}}.tar")


def test_large_data_are_kept_in_a_file_with_the_same_pixels(shards, monkeypatch):
    small = load(shards)
    monkeypatch.setattr(pixel_rows, "LARGE", 100)
    large = load(shards)
    assert isinstance(large.pixels.base, np.memmap)
    assert large.fingerprint == small.fingerprint
    assert np.array_equal(large.images([3, 0]), small.images([3, 0]))


@given(st.integers(0, 10**6), st.sampled_from(["cut", "overwrite", "insert"]), st.binary(min_size=1, max_size=600))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_tars_are_read_or_refused(shards, place, kind, content):
    path = shards / "00000.tar"
    whole = path.read_bytes()
    where = place % len(whole)
    rest = {"cut": b"", "overwrite": content + whole[where + len(content) :], "insert": content + whole[where:]}[kind]
    path.write_bytes(whole[:where] + rest)
    with suppress(WhenceError):
        data = load(shards)
        assert all(id in ("000010000", "000010001") or data.ids for id in data.ids)
    path.write_bytes(whole)
