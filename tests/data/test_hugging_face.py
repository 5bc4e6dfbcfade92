import datetime
import decimal
import io
import re

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from whence.data import NO_UNIT, load
from whence.errors import DataError

datasets.disable_progress_bars()


def encode(image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def saved(picture):
    """Six images with a class, captions, a list of artists and their own ids."""
    features = datasets.Features(
        {
            "pic": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "tags": datasets.List(datasets.ClassLabel(names=["sea", "sky"])),
            "artists": datasets.List(datasets.Value("string")),
            "year": datasets.Value("int64"),
        }
    )
    columns = {
        "pic": [picture(n) for n in range(6)],
        "label": [0, 1, -1, 0, 1, 0],
        "tags": [[0], [1], [0, 1], [], [0], [1]],
        "artists": [["anna"], ["anna", "ben"], [], None, ["ben"], ["ben"]],
        "year": [1900, 1901, 1900, None, 1902, 1900],
    }
    return datasets.Dataset.from_dict(columns, features=features)


UNITS = {
    "label": (("cat",), ("dog",), (NO_UNIT,), ("cat",), ("dog",), ("cat",)),
    "tags": (("sea",), ("sky",), ("sea", "sky"), (NO_UNIT,), ("sea",), ("sky",)),
    "artists": (("anna",), ("anna", "ben"), (NO_UNIT,), (NO_UNIT,), ("ben",), ("ben",)),
    "year": (("1900",), ("1901",), ("1900",), (NO_UNIT,), ("1902",), ("1900",)),
}


@pytest.mark.parametrize("column", UNITS)
def test_units_are_the_same_saved_and_as_parquet(saved, tmp_path, column):
    saved.save_to_disk(tmp_path / "saved")
    saved.to_parquet(tmp_path / "file.parquet", batch_size=4)
    found = [load(tmp_path / name, unit_column=column) for name in ("saved", "file.parquet")]
    assert found[0].units == found[1].units == UNITS[column]
    assert found[0].fingerprint == found[1].fingerprint


def test_ids_captions_and_pixels(saved, picture, tmp_path):
    saved.save_to_disk(tmp_path / "saved")
    data = load(tmp_path / "saved")
    assert data.ids == ("0", "1", "2", "3", "4", "5")
    assert data.captions == data.classes == ("cat", "dog", None, "cat", "dog", "cat")
    assert np.array_equal(data.pixels[5], np.asarray(picture(5)).transpose(2, 0, 1))


def test_a_text_column_is_the_caption_and_an_id_column_the_id(saved, tmp_path):
    texts = [f"text {n}" for n in range(6)]
    saved.add_column("text", texts).add_column("id", [60, 50, 40, 30, 20, 10]).to_parquet(tmp_path / "x.parquet")
    data = load(tmp_path / "x.parquet")
    assert data.ids == ("60", "50", "40", "30", "20", "10")
    assert data.captions == tuple(texts)
    assert data.classes == ("cat", "dog", None, "cat", "dog", "cat")


@pytest.mark.parametrize("name", ["text", "caption"])
def test_a_caption_column_of_class_numbers_holds_classes(saved, tmp_path, name):
    saved.rename_column("label", name).save_to_disk(tmp_path / "saved")
    assert load(tmp_path / "saved").classes == ("cat", "dog", None, "cat", "dog", "cat")


def test_captions_of_a_column_that_is_named(saved, tmp_path):
    poems = [f"poem {n}" for n in range(6)]
    named = saved.add_column("text", ["x"] * 6).add_column("Poem", poems)
    named.save_to_disk(tmp_path / "saved")
    named.to_parquet(tmp_path / "x.parquet")
    for path in (tmp_path / "saved", tmp_path / "x.parquet"):
        data = load(path, caption_column="Poem")
        assert data.captions == tuple(poems)
        assert data.classes == ("cat", "dog", None, "cat", "dog", "cat")
        assert load(path, caption_column="label").captions == data.classes, "names of classes are text"
        with pytest.raises(DataError, match="'year' is not text: it holds int"):
            load(path, caption_column="year")
        with pytest.raises(DataError, match=r"no caption column 'image'; there is .*label.*year.*Poem"):
            load(path, caption_column="image")


def test_splits_of_a_saved_data_set(saved, tmp_path):
    splits = {"train": saved, "validation": saved.select([4, 2])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    assert len(load(tmp_path / "saved")) == 6
    assert load(f"{tmp_path}/saved:val", unit_column="year").units == (("1902",), ("1900",))
    with pytest.raises(DataError, match=re.escape("saved has no split 'test'; it has train, validation.")):
        load(tmp_path / "saved", split="test")


@pytest.mark.parametrize(
    "names", [("data/train-0.parquet", "data/test-0.parquet"), ("x/train/0.parquet", "x/test/0.parquet")]
)
def test_splits_of_parquet_files(saved, tmp_path, names):
    for name, rows in zip(names, ([0, 1, 2], [5]), strict=True):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        saved.select(rows).to_parquet(tmp_path / "set" / name)
    assert load(tmp_path / "set").captions == ("cat", "dog", None)
    assert load(tmp_path / "set:test").captions == ("cat",)
    saved.to_parquet(tmp_path / "set" / "extra.parquet")
    with pytest.raises(DataError, match=r"others whose names tell no split: extra.parquet"):
        load(tmp_path / "set")


def test_images_beside_parquet_files_are_refused(saved, picture, tmp_path):
    (tmp_path / "set").mkdir()
    saved.to_parquet(tmp_path / "set" / "x.parquet")
    picture(0).save(tmp_path / "set" / "logo.png")
    with pytest.raises(DataError, match=r"set has both Parquet files and images \(logo.png\)."):
        load(tmp_path / "set")
    assert len(load(tmp_path / "set" / "x.parquet")) == 6


def test_shards_are_read_in_the_order_of_their_names(saved, tmp_path):
    (tmp_path / "set").mkdir()
    for shard in (2, 0, 1):
        saved.select([shard, shard + 3]).to_parquet(tmp_path / "set" / f"{shard}.parquet")
    shuffled = saved.select([0, 3, 1, 4, 2, 5])
    shuffled.to_parquet(tmp_path / "whole.parquet")
    assert load(tmp_path / "set").fingerprint == load(tmp_path / "whole.parquet").fingerprint


def test_many_small_row_groups_stay_in_order(picture, tmp_path):
    images = [{"bytes": encode(picture(n, size=(2, 2))), "path": None} for n in range(150)]
    table = pa.table({"image": images, "text": [str(n) for n in range(150)]})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=7)
    data = load(tmp_path / "x.parquet")
    assert data.captions == data.ids
    expected = np.stack([np.asarray(picture(n, size=(2, 2))).transpose(2, 0, 1) for n in range(150)])
    assert np.array_equal(data.pixels, expected)


def test_plain_bytes_in_a_column_called_image_do(picture, tmp_path):
    pq.write_table(pa.table({"image": [encode(picture(0, "L"))]}), tmp_path / "x.parquet")
    assert load(tmp_path / "x.parquet").size == (1, 4, 6)


def test_nothing_is_written(saved, tmp_path, monkeypatch):
    saved.save_to_disk(tmp_path / "saved")
    saved.to_parquet(tmp_path / "x.parquet")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("HOME", str(tmp_path))
    load(tmp_path / "saved")
    load(tmp_path / "x.parquet")
    assert sorted(tmp_path.rglob("*")) == before


REFUSED = {
    "no image column": (
        {"text": ["a"], "n": [1]},
        {},
        "has no image column; it has text, n. Name one of them",
    ),
    "no rows": ({"image": pa.array([], pa.binary())}, {}, "The data set has no training example."),
    "a path alone": (
        {"image": [{"bytes": None, "path": "x.png"}]},
        {},
        "row 0: the column 'image' holds no image",
    ),
    "a missing image": (
        {"image": pa.array([None], pa.binary())},
        {},
        "row 0: the column 'image' holds no image",
    ),
    "text as image": ({"image": ["x.png"]}, {}, "row 0: the column 'image' holds no image bytes"),
    "a damaged image": ({"image": [b"hello"]}, {}, "x.parquet, row 0 is not an image"),
    "a missing id": ({"image": [b"", b""], "id": ["a", None]}, {}, "the column 'id' has no value for row 1."),
    "repeated ids": ({"image": "good", "id": ["a", "a"]}, {}, "1 of them are used more than once: a."),
    "an unknown unit column": (
        {"image": "good", "n": [1, 2]},
        {"unit_column": "x"},
        "column 'x'; there is n.",
    ),
    "an image as unit": ({"image": "good", "n": [1, 2]}, {"unit_column": "image"}, "'image'; there is n."),
    "no such split": ({"image": "good"}, {"split": "test"}, "has no split 'test'; it has train."),
}


@pytest.mark.parametrize(("columns", "arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused(tmp_path, picture, columns, arguments, message):
    good = [encode(picture(n)) for n in range(2)]
    columns = {name: good if values == "good" else values for name, values in columns.items()}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=re.escape(message)):
        load(tmp_path / "x.parquet", **arguments)


def test_several_image_columns_are_refused(saved, picture, tmp_path):
    both = datasets.Dataset.from_dict(
        {"a": [picture(0)], "b": [picture(1)]},
        features=datasets.Features({"a": datasets.Image(), "b": datasets.Image()}),
    )
    both.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"has several image columns; it has a, b. Name one of them 'image'."):
        load(tmp_path / "x.parquet")


@pytest.mark.parametrize("noted", [b"{", b"[]", b'{"info": {"features": 3}}'])
def test_damaged_features_are_as_good_as_none(picture, tmp_path, noted):
    table = pa.table({"image": [encode(picture(0))], "label": [3]}).replace_schema_metadata({"huggingface": noted})
    pq.write_table(table, tmp_path / "x.parquet")
    assert load(tmp_path / "x.parquet", unit_column="label").units == (("3",),)


def test_damaged_files_are_refused(saved, tmp_path):
    saved.save_to_disk(tmp_path / "saved")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 hello")
    (tmp_path / "saved" / "state.json").write_text("{")
    for name in ("saved", "x.parquet"):
        with pytest.raises(DataError, match=rf"{name} cannot be read"):
            load(tmp_path / name)
    saved.save_to_disk(tmp_path / "cut")
    file = next((tmp_path / "cut").glob("*.arrow"))
    file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(DataError, match=r"cut cannot be read"):
        load(tmp_path / "cut")


STRINGS = {
    "string": pa.string(),
    "large": pa.large_string(),
    "view": pa.string_view(),
    "bytes": pa.binary(),
    "dictionary": pa.dictionary(pa.int8(), pa.string()),
}


@pytest.mark.parametrize("kind", STRINGS.values(), ids=STRINGS)
def test_known_columns_of_every_type_of_text_are_used(tmp_path, picture, kind):
    columns = {name: pa.array(["a", "b"]).cast(kind) for name in ("id", " Text", "artist")}
    table = pa.table({"image": [encode(picture(n)) for n in range(2)], **columns})
    pq.write_table(table, tmp_path / "x.parquet")
    data = load(tmp_path, unit_column="artist")
    assert (data.ids, data.captions, data.unit_ids) == (("a", "b"), ("a", "b"), ("a", "b"))


def test_a_known_column_with_structure_is_refused(tmp_path, picture):
    table = pa.table({"image": [encode(picture(0))], "text": [{"en": "a cat"}]})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(DataError, match="has dict as a value in 'text'"):
        load(tmp_path)


def test_whole_numbers_with_gaps_have_no_decimal_places(tmp_path, picture):
    numbers = {"label": [1.0, None, 3.0], "year": [1999.0, 2000.5, float("nan")]}
    pq.write_table(pa.table({"image": [encode(picture(n)) for n in range(3)], **numbers}), tmp_path / "x.parquet")
    assert load(tmp_path).classes == ("1", None, "3")
    assert load(tmp_path, unit_column="label").units[2] == ("3",)
    assert load(tmp_path, unit_column="year").units[0] == ("1999.0",)


def test_other_files_beside_parquet_are_counted(tmp_path, picture):
    for name in ("a.parquet", "b.PARQUET"):
        pq.write_table(pa.table({"image": [encode(picture(0))], "id": [name]}), tmp_path / name)
    (tmp_path / "c.arrow").write_text("")
    data = load(tmp_path)
    assert data.ids == ("a.parquet", "b.PARQUET")
    assert data.notes[0] == "Files that are no images were left out: 1 .arrow (such as c.arrow)."


def shards(path, picture, *columns) -> None:
    """Write a Parquet file of one picture for each row of further columns."""
    for n, more in enumerate(columns):
        table = pa.table({"image": pa.array([encode(picture(n))], pa.binary()), **more})
        pq.write_table(table, path / f"{n}.parquet")


OTHER_COLUMNS = {
    "missing in the first": (({}, {"text": ["a"], "id": ["x"]}), r"1.parquet has the column 'text', and .*0.parquet"),
    "missing in a later one": (({"text": ["a"]}, {}), r"0.parquet has the column 'text', and .*1.parquet has not\."),
    "another case": (({"text": ["a"]}, {"Text": ["b"]}), r"has the column 'text', and .*1.parquet has 'Text'\."),
    "a list beside text": (({"text": ["a"]}, {"text": [["b"]]}), r"cannot be read: .* with one type in all files"),
}


@pytest.mark.parametrize(("columns", "message"), OTHER_COLUMNS.values(), ids=OTHER_COLUMNS)
def test_files_of_other_columns_are_refused(tmp_path, picture, columns, message):
    shards(tmp_path, picture, *columns)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


OTHER_TYPES = {
    "no value": (pa.array([None], pa.null()), pa.array(["b"]), (None, "b")),
    "no value later": (pa.array(["a"]), pa.array([None], pa.null()), ("a", None)),
    "numbers and text": (pa.array([7]), pa.array(["b"]), ("7", "b")),
    "text and numbers": (pa.array(["a"]), pa.array([7]), ("a", "7")),
    "whole numbers and others": (pa.array([1]), pa.array([2.0]), ("1", "2")),
    "short and long numbers": (pa.array([1], pa.int8()), pa.array([300], pa.int64()), ("1", "300")),
    "short and long text": (pa.array(["a"]), pa.array(["b"], pa.large_string()), ("a", "b")),
}


@pytest.mark.parametrize(("first", "second", "captions"), OTHER_TYPES.values(), ids=OTHER_TYPES)
def test_files_of_other_types_are_one_table(tmp_path, picture, first, second, captions):
    shards(tmp_path, picture, {"text": first}, {"text": second})
    assert load(tmp_path).captions == captions


def test_a_column_that_occurs_twice_is_refused_by_the_name_of_its_file(tmp_path, picture):
    image = pa.array([encode(picture(0))], pa.binary())
    for n, names in enumerate((["image", "text"], ["image", "text", "text"])):
        table = pa.Table.from_arrays([image, *[pa.array(["a"])] * (len(names) - 1)], names=names)
        pq.write_table(table, tmp_path / f"{n}.parquet")
    with pytest.raises(DataError, match=r"1.parquet has the columns 'text' and 'text'\. Keep one of them\."):
        load(tmp_path)


def test_a_damaged_file_among_others_is_named(tmp_path, picture):
    shards(tmp_path, picture, {}, {})
    (tmp_path / "1.parquet").write_bytes(b"PAR1 hello")
    with pytest.raises(DataError, match=r"1.parquet cannot be read: .*Restore the file, or move it away\."):
        load(tmp_path)


def test_files_that_number_their_classes_otherwise_are_refused(tmp_path, picture):
    for n, names in enumerate((["cat", "dog"], ["dog", "cat"])):
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
        one = datasets.Dataset.from_dict({"image": [picture(n)], "label": [0]}, features=features)
        one.to_parquet(tmp_path / f"{n}.parquet")
    with pytest.raises(DataError, match=r"declare different classes of the column 'label': cat, dog, and dog, cat\."):
        load(tmp_path)


def test_class_numbers_with_gaps_are_classes(tmp_path, saved):
    saved.to_parquet(tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    place = table.schema.get_field_index("label")
    floats = table.set_column(place, "label", pa.array([0.0, 1.0, None, 0.0, 1.5, float("nan")]))
    pq.write_table(floats.replace_schema_metadata(table.schema.metadata), tmp_path / "x.parquet")
    assert load(tmp_path).classes == ("cat", "dog", None, "cat", None, None)


@pytest.mark.parametrize("names", [("Train-0.parquet", "Test-0.parquet"), ("TRAIN/0.parquet", "val/0.PARQUET")])
def test_splits_of_parquet_files_are_known_in_upper_case(tmp_path, picture, names):
    for n, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"image": [encode(picture(n))], "id": [name]}), tmp_path / name)
    assert load(tmp_path).ids == names[:1]
    assert load(tmp_path, split="TEST" if "Test" in names[1] else "validation").ids == names[1:]


def test_parquet_files_of_two_names_of_a_split_are_refused(tmp_path, picture):
    for name in ("val-0.parquet", "validation-0.parquet"):
        pq.write_table(pa.table({"image": [encode(picture(0))]}), tmp_path / name)
    with pytest.raises(DataError, match=r"has val and validation for one split. Keep one of them."):
        load(tmp_path)


def test_splits_of_a_saved_data_set_are_known_in_upper_case(saved, tmp_path):
    datasets.DatasetDict({"Train": saved, "Test": saved.select([1])}).save_to_disk(tmp_path / "saved")
    assert (len(load(tmp_path / "saved")), len(load(f"{tmp_path}/saved:test"))) == (6, 1)
    datasets.DatasetDict({"val": saved, "Valid": saved.select([1])}).save_to_disk(tmp_path / "two")
    assert len(load(f"{tmp_path}/two:Valid")) == 1
    with pytest.raises(DataError, match=r"has val and Valid for the split 'validation'. Name one of them."):
        load(f"{tmp_path}/two:validation")


CLASSES = {
    "decimals": (pa.array([decimal.Decimal("1.50"), None]), ("1.50", None)),
    "bytes": (pa.array([b"cat", b"dog"]), ("cat", "dog")),
    "dates": (pa.array([datetime.date(1999, 1, 2), None]), ("1999-01-02", None)),
    "truth values": (pa.array([True, False]), ("True", "False")),
}


@pytest.mark.parametrize(("labels", "classes"), CLASSES.values(), ids=CLASSES)
def test_classes_beside_text_are_text_of_any_kind(tmp_path, picture, labels, classes):
    images = [encode(picture(n)) for n in range(2)]
    pq.write_table(pa.table({"image": images, "text": ["a", "b"], "label": labels}), tmp_path / "x.parquet")
    assert (load(tmp_path).captions, load(tmp_path).classes) == (("a", "b"), classes)


def test_classes_beside_text_that_are_lists_are_refused(tmp_path, picture):
    table = pa.table({"image": [encode(picture(0))], "text": ["a"], "label": [["x", "y"]], "tags": [["x", "y"]]})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(DataError, match="has list as a value in 'label'"):
        load(tmp_path)
    pq.write_table(table.drop_columns(["label"]), tmp_path / "x.parquet")
    assert load(tmp_path, unit_column="tags").units == (("x", "y"),)


def test_a_column_whose_name_is_damaged_is_refused_by_the_name_of_the_file(tmp_path, picture):
    shards(tmp_path, picture, {"\u00e9": ["a"]})
    file = tmp_path / "0.parquet"
    file.write_bytes(file.read_bytes().replace("\u00e9".encode(), b"\xf3\xf3"))
    with pytest.raises(DataError, match=r"0\.parquet cannot be read: 'utf-8' codec"):
        load(tmp_path)
