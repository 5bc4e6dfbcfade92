import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from whence import artefacts
from whence.data import NO_UNIT, Dataset, class_inputs, load, read, write
from whence.errors import ArtefactError, DataError, MismatchError


def small() -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 6), dtype=np.uint8)
    pixels[0, 0, 0, :3] = (0, 255, 127)
    units = (("anna",), ("anna", "ben"), (NO_UNIT,), ("ben",))
    captions, classes = ("one", None, "", "drei ö"), ("cat", None, "cat", "ö")
    return Dataset(("a", "b", "c", "ü/d"), pixels, units, captions, classes=classes, notes=("a note",))


INVALID = {
    "too few units": ({"units": (("x",),) * 3}, "There are 4 ids, but 3 units."),
    "too few captions": ({"captions": ()}, "There are 4 ids, but 0 captions."),
    "too few classes": ({"classes": ("cat",)}, "There are 4 ids, but 1 classes."),
    "too few pixels": ({"pixels": np.zeros((3, 1, 2, 2), np.uint8)}, "There are 4 ids, but 3 pixels."),
    "floats": ({"pixels": np.zeros((4, 1, 2, 2), np.float32)}, "not float32 [4, 1, 2, 2]"),
    "no channel axis": ({"pixels": np.zeros((4, 2, 2), np.uint8)}, "not uint8 [4, 2, 2]"),
    "two channels": ({"pixels": np.zeros((4, 2, 2, 2), np.uint8)}, "not [2, 2, 2]"),
    "no height": ({"pixels": np.zeros((4, 1, 0, 2), np.uint8)}, "not [1, 0, 2]"),
    "empty": ({"ids": (), "pixels": np.zeros((0, 1, 2, 2), np.uint8)}, "no training example"),
    "no unit": ({"units": (("x",), ("x",), (), ("x",))}, "'c' has no unit; use '(none)'"),
    "a number as id": ({"ids": ("a", "b", "c", 4)}, "4 of the training example 4 is not text"),
    "a lone surrogate": ({"captions": ("\ud800", None, None, None)}, r"'\ud800' of the training example 'a'"),
    "a number as class": ({"classes": (1, None, None, None)}, "1 of the training example 'a' is not text"),
    "text as units of an example": (
        {"units": ("anna", "ben", "x", "y")},
        "units of the training example 'a' are 'anna'",
    ),
    "a set as units": ({"units": ({"anna"}, ("x",), ("x",), ("x",))}, "are {'anna'}; give a tuple: (NAME,)."),
    "text as all units": ({"units": "anna"}, "The units are the text 'anna'; give a tuple with an entry for each."),
    "text as captions": ({"captions": "abcd"}, "The captions are the text 'abcd'"),
    "text as notes": ({"notes": "a note"}, "The notes are the text"),
    "text as ids": ({"ids": "abcd"}, "The ids are the text 'abcd'"),
    "ids that look the same": ({"ids": ("a", "b", "\u00e9", "e\u0301")}, "1 of them are used more than once: \u00e9."),
    "repeated ids": ({"ids": ("a", "b", "a", "b")}, "2 of them are used more than once: a, b."),
}


@pytest.mark.parametrize(("changes", "message"), INVALID.values(), ids=INVALID)
def test_what_is_not_a_data_set_is_refused(changes, message):
    with pytest.raises(DataError, match=re.escape(message)):
        replace(small(), **changes)


def test_images_are_in_minus_one_to_one_by_the_formula():
    data = small()
    images = data.images([0, 3])
    assert images.dtype == torch.float32
    assert images.shape == (2, 3, 5, 6)
    assert images[0, 0, 0, :3].tolist() == pytest.approx([-1, 1, 127 / 127.5 - 1])
    expected = torch.from_numpy(data.pixels[[0, 3]]).float() / 127.5 - 1
    assert torch.equal(images, expected)
    assert data.images([]).shape == (0, 3, 5, 6)


def test_images_leave_the_pixels_as_they_were():
    data = small()
    before = data.pixels.copy()
    data.images(np.arange(4)).zero_()
    assert np.array_equal(data.pixels, before)


def test_units_and_their_examples():
    data = small()
    assert data.unit_ids == ("anna", "ben", NO_UNIT)
    assert data.examples_of("anna").tolist() == [0, 1]
    assert data.examples_of("ben").tolist() == [1, 3]
    assert data.examples_of(NO_UNIT).tolist() == [2]


def test_an_unknown_unit_or_id_is_named_with_close_matches():
    with pytest.raises(DataError, match=re.escape("no unit 'ana' among the 3. Did you mean anna?")):
        small().examples_of("ana")
    with pytest.raises(DataError, match=re.escape("no training example 'z' among the 4. Did you mean a, b, c?")):
        small().index_of("z")


def test_index_of_is_the_place_of_an_id():
    data = small()
    assert [data.index_of(example) for example in data.ids] == [0, 1, 2, 3]
    assert (len(data), data.size) == (4, (3, 5, 6))


@pytest.mark.parametrize("chosen", [[3, 1], np.array([3, 1]), [-1, 1]])
def test_select_keeps_the_order_that_was_asked_for(chosen):
    data = small()
    part = data.select(chosen)
    assert (part.ids, part.units, part.captions, part.classes) == (
        ("ü/d", "b"),
        (("ben",), ("anna", "ben")),
        ("drei ö", None),
        ("ö", None),
    )
    assert np.array_equal(part.pixels, data.pixels[[3, 1]])
    assert part.fingerprints == (data.fingerprints[3], data.fingerprints[1])


def test_select_takes_a_mask_and_refuses_what_is_out_of_range():
    data = small()
    assert data.select(np.array([False, True, False, True])).ids == ("b", "ü/d")
    with pytest.raises(IndexError):
        data.select([4])
    with pytest.raises(IndexError):
        data.select([0.5])


CHANGES = {
    "ids": {"ids": ("a", "b", "c", "e")},
    "units": {"units": (("anna",), ("ben", "anna"), (NO_UNIT,), ("ben",))},
    "captions": {"captions": ("one", None, None, "drei ö")},
    "pixels": {"pixels": small().pixels ^ np.uint8(1)},
    "shape": {"pixels": small().pixels.reshape(4, 3, 6, 5)},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_the_fingerprint_changes_with(changes):
    assert replace(small(), **changes).fingerprint != small().fingerprint


def test_the_fingerprint_does_not_depend_on_notes_or_memory_layout():
    data = small()
    strided = np.asfortranarray(data.pixels)
    assert replace(data, notes=(), pixels=strided).fingerprint == data.fingerprint


def test_other_units_keep_the_fingerprints_of_images():
    data = small()
    other = data.with_fields(units=(("x",),) * 4)
    assert other.fingerprints is data.fingerprints
    assert (other.units, other.classes, other.fingerprint != data.fingerprint) == ((("x",),) * 4, data.classes, True)


NO_CLASSES = (None,) * 4


def test_classes_that_are_not_given_are_not_known():
    data = small()
    assert Dataset(data.ids, data.pixels, data.units, data.captions).classes == NO_CLASSES


@pytest.mark.parametrize(
    ("classes", "recorded"),
    [
        (small().captions, {}),
        (NO_CLASSES, {}),
        (small().classes, {"data_classes": artefacts.digest({"classes": ["cat", None, "cat", "ö"]})}),
    ],
    ids=["the captions", "none known", "others"],
)
def test_classes_are_no_part_of_the_fingerprint_and_are_recorded_where_they_are_used(classes, recorded):
    data = replace(small(), classes=classes)
    assert data.fingerprint == "70dce43f48791c36a4812d7d4c83c6f69fb48053403c0c345fff1e46609a34a0"
    assert class_inputs(data=data, held_out=None) == recorded


@pytest.mark.parametrize("classes", [NO_CLASSES, small().classes], ids=["none known", "some known"])
def test_classes_that_are_not_the_captions_are_a_column(tmp_path, classes):
    data = replace(small(), classes=classes)
    write(data, tmp_path / "data")
    assert artefacts.read_table(tmp_path / "data" / "examples.parquet")["class"] == list(classes)
    assert read(tmp_path / "data").classes == classes


def test_classes_that_are_the_captions_are_no_column(tmp_path):
    """Such artefacts are those of earlier versions, byte for byte, and these are read with captions as classes."""
    data = replace(small(), classes=small().captions)
    write(data, tmp_path / "data")
    columns = artefacts.read_table(tmp_path / "data" / "examples.parquet")
    assert list(columns) == ["id", "units", "caption", "fingerprint"]
    assert read(tmp_path / "data").classes == data.captions


def test_write_and_read_round_trip(tmp_path):
    data = small()
    manifest = write(data, tmp_path / "data")
    back = read(tmp_path / "data")
    assert manifest.inputs == {"data": data.fingerprint}
    for name in ("ids", "units", "captions", "classes", "notes"):
        assert getattr(back, name) == getattr(data, name)
    assert np.array_equal(back.pixels, data.pixels)
    assert (back.fingerprint, back.fingerprints) == (data.fingerprint, data.fingerprints)
    assert replace(back).fingerprint == data.fingerprint, "hashed again"


def test_writing_again_does_nothing_and_another_data_set_is_refused(tmp_path):
    manifest = write(small(), tmp_path / "data")
    written = (tmp_path / "data" / "manifest.json").stat().st_mtime_ns
    assert write(small(), tmp_path / "data") == manifest
    assert (tmp_path / "data" / "manifest.json").stat().st_mtime_ns == written
    with pytest.raises(MismatchError, match=small().fingerprint[:20]):
        write(small().select([0]), tmp_path / "data")


def _drop_a_row(path):
    table = pq.read_table(path / "examples.parquet")
    pq.write_table(table.slice(1), path / "examples.parquet")


def _rename_a_unit(path):
    table = pq.read_table(path / "examples.parquet")
    units = pa.array([["eve"], *table["units"].to_pylist()[1:]])
    pq.write_table(table.set_column(1, "units", units), path / "examples.parquet")


def _change_a_class(path):
    table = pq.read_table(path / "examples.parquet")
    classes = pa.array(["dog", *table["class"].to_pylist()[1:]])
    pq.write_table(table.set_column(3, "class", classes), path / "examples.parquet")


def _drop_a_column(path):
    table = pq.read_table(path / "examples.parquet")
    pq.write_table(table.drop_columns(["units"]), path / "examples.parquet")


def _cut_the_pixels(path):
    file = path / "pixels.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


TAMPERED = {
    "a row is gone": (_drop_a_row, "There are 3 ids, but 4 pixels"),
    "a unit is renamed": (_rename_a_unit, small().fingerprint),
    "a class is changed": (_change_a_class, "examples.parquet is damaged"),
    "a column is gone": (_drop_a_column, "'units'"),
    "pixels are cut": (_cut_the_pixels, "pixels.safetensors is damaged"),
    "pixels are gone": (lambda path: (path / "pixels.safetensors").unlink(), "does not exist"),
    "the manifest is gone": (lambda path: (path / "manifest.json").unlink(), "is not a Whence dataset"),
}


@pytest.mark.parametrize(("tamper", "message"), TAMPERED.values(), ids=TAMPERED)
def test_a_tampered_artefact_is_refused(tmp_path, tamper, message):
    write(small(), tmp_path / "data")
    tamper(tmp_path / "data")
    with pytest.raises(ArtefactError, match=re.escape(message)):
        read(tmp_path / "data")


def test_changed_pixels_are_found_by_verify(tmp_path):
    manifest = write(small(), tmp_path / "data")
    file = tmp_path / "data" / "pixels.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ArtefactError, match=r"pixels.safetensors is damaged"):
        artefacts.verify(tmp_path / "data", manifest)


def test_a_written_data_set_is_loaded_as_it_is(tmp_path):
    write(small(), tmp_path / "data")
    for options in ({}, {"split": "train"}):
        back = load(str(tmp_path / "data"), **options)
        assert np.array_equal(back.pixels, small().pixels)
        assert (back.fingerprint, back.units, back.captions) == (small().fingerprint, small().units, small().captions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "test"}, "has no split 'test'; it has train"),
        ({"unit_column": "label"}, "Leave out --unit-column, --caption-column, --resolution, --buckets and --grey"),
        (
            {"resolution": 5},
            "6x5 pixels of 3 channels. Leave out --unit-column, --caption-column, --resolution, --buckets and --grey",
        ),
        ({"grey": True}, "Leave out --unit-column, --caption-column, --resolution, --buckets and --grey"),
    ],
)
def test_a_written_data_set_is_not_made_into_another(tmp_path, options, message):
    write(small(), tmp_path / "data")
    with pytest.raises(DataError, match=message):
        load(tmp_path / "data", **options)


@pytest.mark.parametrize("file", ["pixels.safetensors", "examples.parquet", "manifest.json"])
def test_loading_a_data_set_that_was_cut_is_refused(tmp_path, file):
    write(small(), tmp_path / "data")
    content = (tmp_path / "data" / file).read_bytes()
    (tmp_path / "data" / file).write_bytes(content[:-10])
    with pytest.raises(ArtefactError, match=file):
        load(tmp_path / "data")


def test_images_beside_a_manifest_of_something_else_are_a_folder_of_images(fill, picture):
    path = fill({"a.png": picture(0), "manifest.json": "{// not JSON"})
    assert load(path).ids == ("a.png",)


def test_what_holds_data_sets_is_none_itself(tmp_path):
    with artefacts.create(tmp_path / "all", "bank", inputs={}, made={}) as part:
        write(small(), part / "data")
    with pytest.raises(DataError, match="all is a bank, not a data set. Data sets in it: .*all/data"):
        load(tmp_path / "all")


COMPOSED, DECOMPOSED = "Jos\u00e9", "Jose\u0301"


def test_names_are_composed_and_units_are_there_once():
    units = [[DECOMPOSED, COMPOSED, "ben", "ben"], ("ben",), ("ben",), ("ben",)]
    given = {"ids": ["a", "b", "c", DECOMPOSED], "units": units, "captions": [DECOMPOSED, None, "", None]}
    data = replace(small(), **given, classes=[DECOMPOSED, None, None, None])
    assert data.ids == ("a", "b", "c", COMPOSED)
    assert data.units == ((COMPOSED, "ben"), ("ben",), ("ben",), ("ben",))
    assert data.captions == (COMPOSED, None, "", None)
    assert data.classes == (COMPOSED, None, None, None)
    assert data.examples_of(DECOMPOSED).tolist() == [0]


def test_a_data_set_that_was_written_with_other_names_is_read_with_them(tmp_path):
    data = small()
    vars(data).update(ids=("a", "b", "c", DECOMPOSED), units=((DECOMPOSED,), ("x", "x"), ("x",), ("x",)))
    write(data, tmp_path / "data")
    back = read(tmp_path / "data")
    assert (back.ids, back.units, back.fingerprint) == (data.ids, data.units, data.fingerprint)
