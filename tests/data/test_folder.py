import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from whence.data import NO_UNIT, load
from whence.data.files import list_files
from whence.errors import DataError


def jsonl(*rows) -> str:
    return "\n".join(map(json.dumps, rows))


def test_a_flat_folder(fill, picture):
    data = load(fill({"b.png": picture(1), "a.PNG": picture(0), "B.png": picture(2)}))
    assert data.ids == ("B.png", "a.PNG", "b.png")
    assert data.size == (3, 4, 6)
    assert np.array_equal(data.pixels[1], np.asarray(picture(0)).transpose(2, 0, 1))
    assert data.captions == (None, None, None)
    assert data.units == (("B.png",), ("a.PNG",), ("b.png",))
    assert data.notes == ()


def test_class_folders_are_labels(fill, picture):
    files = {"horse/2.png": picture(0), "cat/1.png": picture(1), "horse/1.png": picture(2)}
    data = load(str(fill(files)), unit_column="label")
    assert data.ids == ("cat/1.png", "horse/1.png", "horse/2.png")
    assert data.captions == data.classes == ("cat", "horse", "horse")
    assert data.units == (("cat",), ("horse",), ("horse",))


def test_files_that_are_not_images_are_ignored(fill, picture):
    files = {
        "a.png": picture(0),
        "README.md": "hello",
        ".hidden.png": "no",
        ".cache/b.png": "no",
        "c.txt": "",
    }
    assert load(fill(files)).ids == ("a.png",)


@pytest.mark.parametrize("wanted", ["validation", "valid", "val"])
@pytest.mark.parametrize("folder", ["validation", "valid", "val"])
def test_splits_go_by_all_their_names(fill, picture, folder, wanted):
    path = fill({"train/cat/1.png": picture(0), f"{folder}/dog/2.png": picture(1)})
    assert load(path).ids == ("cat/1.png",)
    assert load(path, split=wanted).ids == load(f"{path}:{wanted}").ids == ("dog/2.png",)
    assert load(path, split=wanted).captions == ("dog",)


def test_images_beside_the_splits_are_reported(fill, picture):
    data = load(fill({"train/1.png": picture(0), "2.png": picture(1), "notes/a.md": ""}))
    assert data.notes == (
        "Images outside the folders train were left out: 2.png.",
        "Files that are no images were left out: 1 .md (such as notes/a.md).",
    )


def test_a_class_called_train_beside_other_classes_is_no_split(fill, picture):
    path = fill({"train/1.png": picture(0), "bus/2.png": picture(1), "tram/3.png": picture(2)})
    with pytest.raises(DataError, match=r"train, which names a split, beside other folders of images: bus, tram\."):
        load(path)


def test_metadata_gives_captions_ids_and_units(fill, picture):
    table = "file_name,id,text,artist\n./x/1.png,second,a cat,anna\n2.png,first,,ben;carl\n"
    path = fill({"x/1.png": picture(0), "2.png": picture(1), "metadata.csv": table})
    data = load(path, unit_column="artist")
    assert data.ids == ("first", "second")
    assert data.captions == (None, "a cat")
    assert data.classes == (None, "x"), "text is no class; the name of a folder is one"
    assert data.units == (("ben;carl",), ("anna",))
    assert np.array_equal(data.pixels[1], np.asarray(picture(0)).transpose(2, 0, 1))


CLASSES = {
    "labels": ({"label": ["cat", "dog"]}, ("cat", "dog"), ("cat", "dog")),
    "text": ({"text": ["cat", "cat"]}, ("cat", "cat"), (None, None)),
    "text beside labels": ({"text": ["a cat", None], "label": ["cat", "dog"]}, ("a cat", None), ("cat", "dog")),
    "numbers": ({"caption": [3, None], "label": ["cat", "dog"]}, ("3", None), ("3", None)),
    "text without a value": ({"text": ["", None], "prompt": ["a", "b"]}, ("a", "b"), (None, None)),
    "two texts without a value": (
        {"text": ["", " "], "prompt": ["", ""], "label": ["x", "y"]},
        (None, None),
        ("x", "y"),
    ),
    "a text in one row": ({"text": ["", "a"], "prompt": ["b", "c"]}, (None, "a"), (None, None)),
    "neither": ({"artist": ["anna", "ben"]}, (None, None), (None, None)),
}


@pytest.mark.parametrize(("columns", "captions", "classes"), CLASSES.values(), ids=CLASSES)
def test_labels_and_numbers_are_classes_and_text_is_not(fill, picture, columns, captions, classes):
    rows = [{"file_name": f"{n}.png", **{name: values[n] for name, values in columns.items()}} for n in range(2)]
    data = load(fill({"0.png": picture(0), "1.png": picture(1), "metadata.jsonl": jsonl(*rows)}))
    assert (data.captions, data.classes) == (captions, classes)


def test_captions_of_a_column_that_is_named(fill, picture):
    rows = [
        {"file_name": "0.png", " Description": "a cat\u0301 ", "text": "x", "label": "cat"},
        {"file_name": "1.png", " Description": None, "text": "y", "label": "dog"},
    ]
    path = fill({"0.png": picture(0), "1.png": picture(1), "metadata.jsonl": jsonl(*rows)})
    usual, named = load(path), load(path, caption_column="Description", unit_column="text")
    assert usual.captions == ("x", "y")
    assert named.captions == ("a cat\u0301", None)
    assert named.classes == usual.classes == ("cat", "dog")
    assert named.units == (("x",), ("y",))
    assert load(path, caption_column=" Description").fingerprint == load(path, caption_column="Description").fingerprint
    assert named.with_fields(units=usual.units).fingerprint != usual.fingerprint, "captions are compared"
    assert load(path, caption_column="label").captions == load(path, caption_column="label").classes == ("cat", "dog")


NOT_TEXT = {"a number": (1900, "int"), "a list": (["a"], "list"), "a fraction": (0.5, "float")}


@pytest.mark.parametrize(("value", "kind"), NOT_TEXT.values(), ids=NOT_TEXT)
def test_a_caption_column_that_is_not_text_is_refused_with_its_type(fill, picture, value, kind):
    rows = [{"file_name": "0.png", "year": None}, {"file_name": "1.png", "year": value}]
    path = fill({"0.png": picture(0), "1.png": picture(1), "metadata.jsonl": jsonl(*rows)})
    with pytest.raises(DataError, match=f"The caption column 'year' is not text: it holds {kind}"):
        load(path, caption_column="year")


def test_a_caption_column_that_is_not_there_names_those_that_are(fill, picture):
    path = fill({"0.png": picture(0), "metadata.csv": "file_name,artist\n0.png,anna\n"})
    with pytest.raises(DataError, match="There is no caption column 'poem'; there is file_name, artist."):
        load(path, caption_column="poem")


def test_metadata_beside_the_splits_names_them_in_its_paths(fill, picture):
    table = "file_name,caption\ntrain/1.png,one\ntest/2.png,two\n"
    path = fill({"train/1.png": picture(0), "test/2.png": picture(1), "metadata.csv": table})
    assert (load(path).ids, load(path).captions) == (("1.png",), ("one",))
    assert load(path, split="test").captions == ("two",)


def test_missing_units_are_reported(fill, picture):
    values = [["anna", "ben", "anna"], [], None, float("nan"), " ", 7, "Nan"]
    rows = [{"file_name": f"{n}.png", "artist": value} for n, value in enumerate(values)]
    files = {f"{n}.png": picture(n) for n in range(8)}
    data = load(fill({**files, "metadata.jsonl": jsonl(*rows, {"file_name": "7.png"})}), unit_column="artist")
    assert data.units == (("anna", "ben"), *((NO_UNIT,),) * 4, ("7",), ("Nan",), (NO_UNIT,))
    note = "5 of 8 training examples have no value in 'artist' and belong to the unit (none)."
    assert data.notes == (note,)


def test_metadata_can_be_parquet(fill, picture, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = fill({"1.png": picture(0)})
    pq.write_table(pa.table({"file_name": ["1.png"], "artist": [["anna", "ben"]]}), path / "metadata.parquet")
    assert load(path, unit_column="artist").units == (("anna", "ben"),)


def test_the_order_of_files_and_rows_does_not_matter(fill, picture):
    names = [f"{kind}/{n}.png" for kind in ("b", "a", "é") for n in (10, 9)]
    pictures = {name: picture(n) for n, name in enumerate(names)}
    rows = [{"file_name": name, "text": name} for name in names]
    found = [
        load(fill({name: pictures[name] for name in order} | {"metadata.jsonl": jsonl(*order_of_rows)}, folder))
        for folder, order, order_of_rows in (("one", names, rows), ("two", names[::-1], rows[3:] + rows[:3]))
    ]
    assert found[0].fingerprint == found[1].fingerprint
    assert found[0].ids == ("a/10.png", "a/9.png", "b/10.png", "b/9.png", "é/10.png", "é/9.png")


def test_duplicate_images_are_kept_and_named(fill, picture):
    files = {f"{n}.png": picture(n // 2) for n in range(10)}
    data = load(fill(files))
    assert len(data) == 10
    expected = "0.png = 1.png, 2.png = 3.png, 4.png = 5.png and 2 more"
    assert data.notes == (f"Images that occur more than once and were all kept: {expected}.",)


def test_grey_images_have_one_channel_and_mixed_ones_three(fill, picture):
    grey = {"a.png": picture(0, "L"), "b.png": picture(1, "LA"), "c.png": picture(2, "1")}
    assert load(fill(grey, "grey")).size == (1, 4, 6)
    mixed = load(fill({**grey, "d.png": picture(3), "e.png": picture(4, "P")}, "mixed"))
    assert mixed.size == (3, 4, 6)
    note = "Images converted to RGB: 1 (1), L (1), LA (1), P (1); transparent parts are white."
    assert mixed.notes == (note,)
    assert load(fill({}, "mixed"), grey=True).size == (1, 4, 6)


def test_animations_are_reported(fill, picture):
    path = fill({"a.png": picture(0)})
    picture(1).save(path / "b.gif", save_all=True, append_images=[picture(2)])
    assert load(path).notes[-1] == (f"Images with several frames, of which the first is used: {path / 'b.gif'}.")


def test_a_resolution_settles_mixed_sizes(fill, picture):
    path = fill({"a.png": picture(0, size=(9, 5)), "b.png": picture(1), "c.png": picture(2)})
    with pytest.raises(DataError, match=re.escape("2 sizes: 6x4 (2), 9x5 (1). Pass --resolution")):
        load(path)
    assert load(path, resolution=4).size == (3, 4, 4)


GOOD = {"a.png": Image.new("RGB", (6, 4)), "b.png": Image.new("RGB", (6, 4), "red")}
ROWS = "file_name,artist\na.png,anna\nb.png,ben\n"
REFUSED = {
    "empty": ({".keep": ""}, {}, "images has no images (0 other files). Images are files of the formats "),
    "no images": ({"a.txt": "", "b.svg": ""}, {}, "has no images (2 other files)"),
    "a damaged image": ({**GOOD, "c.jpg": "hello"}, {}, "c.jpg is not an image in one of the formats"),
    "no such split": (GOOD, {"split": "test"}, "images has no split 'test'; it has train."),
    "no train split": ({"test/a.png": GOOD["a.png"]}, {}, "images has no split 'train'; it has test."),
    "two names for a split": (
        {"val/a.png": GOOD["a.png"], "valid/a.png": ""},
        {},
        "valid and val for one split",
    ),
    "no unit columns": (GOOD, {"unit_column": "artist"}, "no unit column 'artist'; there is none at all."),
    "an unknown unit column": (
        {**GOOD, "metadata.csv": ROWS},
        {"unit_column": "person"},
        "no unit column 'person'; there is file_name, artist.",
    ),
    "units with structure": (
        {"a.png": GOOD["a.png"], "metadata.jsonl": jsonl({"file_name": "a.png", "artist": {"name": "x"}})},
        {"unit_column": "artist"},
        "training example 'a.png' has dict as a value in 'artist'",
    ),
    "a list of classes": (
        {"a.png": GOOD["a.png"], "metadata.jsonl": jsonl({"file_name": "a.png", "text": "a", "label": ["x", "y"]})},
        {},
        "training example 'a.png' has list as a value in 'label'; text or a number is expected. Write one value, or",
    ),
    "a list of captions": (
        {"a.png": GOOD["a.png"], "metadata.jsonl": jsonl({"file_name": "a.png", "text": ["x", "y"]})},
        {},
        "training example 'a.png' has list as a value in 'text'",
    ),
    "rows without a file": (
        {**GOOD, "metadata.csv": ROWS + "c.png,x\nd.png,y\n"},
        {},
        "metadata.csv has rows for files that are not among the images (2): c.png, d.png.",
    ),
    "a file without a row": (
        {**GOOD, "c.png": GOOD["a.png"], "metadata.csv": ROWS},
        {},
        "has no row for some images (1): c.png. Add a row or remove the file.",
    ),
    "two rows for a file": (
        {**GOOD, "metadata.csv": ROWS + "./b.png,x\n"},
        {},
        "has several rows for b.png.",
    ),
    "repeated ids": (
        {**GOOD, "metadata.csv": "file_name,id\na.png,1\nb.png,1\n"},
        {},
        "Ids must be unique; 1 of them are used more than once: 1.",
    ),
    "a row without an id": (
        {**GOOD, "metadata.csv": "file_name,id\na.png,1\nb.png,\n"},
        {},
        "the column 'id' has no value for b.png.",
    ),
    "an id that UTF-8 cannot hold": (
        {"a.png": GOOD["a.png"], "metadata.jsonl": '{"file_name": "a.png", "id": "\\ud800"}'},
        {},
        r"'\ud800' of the training example '\ud800' is not text in UTF-8",
    ),
    "a path upwards": (
        {**GOOD, "metadata.csv": "file_name\n../x.png\n"},
        {},
        "../x.png points out of the folder",
    ),
    "a path inside and out": ({**GOOD, "metadata.csv": "file_name\na/../../x.png\n"}, {}, "points out"),
    "an absolute path": ({**GOOD, "metadata.csv": "file_name\n/etc/x.png\n"}, {}, "/etc/x.png points out"),
    "two metadata files": (
        {**GOOD, "metadata.csv": ROWS, "metadata.jsonl": ""},
        {},
        "has metadata.csv and metadata.jsonl. Keep one of them.",
    ),
    "metadata in a sub-folder": (
        {"x/a.png": GOOD["a.png"], "x/metadata.csv": ROWS},
        {},
        "x/metadata.csv is in a sub-folder. Move its rows to",
    ),
}


@pytest.mark.parametrize(("files", "arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused(fill, files, arguments, message):
    with pytest.raises(DataError, match=re.escape(message)):
        load(fill(files), **arguments)


def test_links_out_of_the_folder_are_refused(fill, picture, tmp_path):
    picture(0).save(tmp_path / "outside.png")
    path = fill({"a.png": picture(1)})
    (path / "b.png").symlink_to("a.png")
    assert load(path).ids == ("a.png", "b.png")
    (path / "c.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(DataError, match=r"c.png is a link to .*outside.png. Put a copy in its place."):
        load(path)


def test_links_to_folders_are_refused(fill, picture):
    path = fill({"a/1.png": picture(1)})
    (path / "b").symlink_to("a")
    with pytest.raises(DataError, match=r"b is a link to a"):
        load(path)


def test_what_is_not_there_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(
        DataError, match=r"nowhere does not exist. Data is 'digits', 'styles', a folder, or a Parquet file."
    ):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"notes.txt is neither a folder, nor an image, nor a file that ends with"):
        load(tmp_path / "notes.txt")


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere cannot be listed: No such file or directory."):
        list_files(tmp_path / "nowhere", tmp_path)


def test_names_that_look_like_something_else(fill, picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill({"a.png": picture(0)}, "digits")
    fill({"b.png": picture(0)}, "with:colon")
    assert load("./digits").ids == ("a.png",)
    assert load("with:colon").ids == ("b.png",)


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_a_file_name_that_is_not_utf_8_is_refused(fill, picture):
    path = fill({"a.png": picture(0)})
    os.rename(path / "a.png", os.fsencode(path) + b"/\xff.png")
    with pytest.raises(DataError, match=r"is not text in UTF-8"):
        load(path)


def test_images_are_known_by_their_content(fill, picture):
    files = {"anna/1.png": picture(0), "ben/2.jfif": b"", "cleo/3.avif": picture(2), "dora/4.jp2": picture(3), "5": b""}
    path = fill(files)
    picture(1).save(path / "ben/2.jfif", "JPEG")
    picture(4).save(path / "5", "WEBP")
    data = load(path, unit_column="label")
    assert data.ids == ("5", "anna/1.png", "ben/2.jfif", "cleo/3.avif", "dora/4.jp2")
    assert data.units == ((NO_UNIT,), ("anna",), ("ben",), ("cleo",), ("dora",))


def test_files_that_are_not_read_are_counted_with_an_example(fill, picture):
    files = {"a.png": picture(0), "a.txt": "a cat", "b.txt": "", "x.heic": "hello", "captions.csv": "", "README": ""}
    data = load(fill(files))
    assert data.notes == (
        "Files that are no images were left out: 1 without extension (such as README), 1 .txt (such as b.txt), "
        "1 .csv (such as captions.csv), 1 .heic (such as x.heic).",
        "Text files beside the images were not read as captions (1, such as a.txt). Pass --caption-column .txt to read "
        "them.",
    )


UNREAD = ["1.heic", "1.svg", "1.mp4", "1.tga", "1.dds", "1.zip", "1.npy", "1.pdf", "1.dcm", "1.unknown", "1"]


@pytest.mark.parametrize("folder", ["ben", "ben/old"])
@pytest.mark.parametrize("name", UNREAD)
def test_a_contributor_whose_pictures_cannot_be_read_is_an_error(fill, picture, name, folder):
    path = fill({"anna/1.png": picture(0), f"{folder}/{name}": "hello", "docs/a.txt": ""})
    with pytest.raises(
        DataError, match=rf"no file in {folder} can be read as an image, such as {folder}/{name}\. Readable are"
    ):
        load(path)
    (path / folder / name).unlink()
    assert load(path).ids == ("anna/1.png",)


def test_a_folder_is_read_if_one_of_its_files_is(fill, picture):
    data = load(fill({"anna/1.png": picture(0), "anna/2.tga": "hello", "3.tga": "hello"}))
    assert data.ids == ("anna/1.png",)
    assert data.notes == ("Files that are no images were left out: 2 .tga (such as 3.tga).",)


def test_folders_without_an_image_are_told(fill, picture):
    files = {"anna/1.png": picture(0), "ben/.1.png": "", "docs/README": "", "docs/Thumbs.db": "", ".git/x": ""}
    path = fill(files)
    (path / "cleo" / "old").mkdir(parents=True)
    assert load(path).notes == (
        "Files that are no images were left out: 1 without extension (such as docs/README), 1 .db (such as "
        "docs/Thumbs.db).",
        "Folders without an image: ben, cleo, cleo/old and 1 more.",
    )


@pytest.mark.parametrize("name", ["metadata.csv", "Metadata.CSV", "metadata.tsv"])
@pytest.mark.parametrize("separator", [",", ", ", ";", "\t"])
@pytest.mark.parametrize("header", ["file_name text artist", "File_Name Text artist"])
def test_tables_of_any_separator_and_case_give_captions(fill, picture, name, separator, header):
    rows = [header.split(), ["a.png", "one", "anna"]]
    table = "\n".join(separator.join(row) for row in rows)
    data = load(fill({"a.png": picture(0), name: table}), unit_column="artist")
    assert (data.captions, data.units) == (("one",), (("anna",),))


def test_two_spellings_of_a_known_column_are_refused(fill, picture):
    path = fill({"a.png": picture(0), "metadata.csv": "file_name,Text,TEXT\na.png,x,y\n"})
    with pytest.raises(DataError, match=r"has the columns 'Text' and 'TEXT'\. Keep one of them\."):
        load(path)


@pytest.mark.parametrize("text", [[{"file_name": "a.png", "prompt": "one"}], {"file_name": "a.png", "prompt": "one"}])
def test_json_metadata_and_prompts_give_captions(fill, picture, text):
    assert load(fill({"a.png": picture(0), "metadata.json": json.dumps(text)})).captions == ("one",)


def test_class_folders_keep_their_labels_beside_metadata(fill, picture):
    table = "file_name,text\ncat/1.png,a cat\ndog/2.png,a dog\n"
    path = fill({"cat/1.png": picture(0), "dog/2.png": picture(1), "metadata.csv": table})
    data = load(path, unit_column="label")
    assert (data.captions, data.classes) == (("a cat", "a dog"), ("cat", "dog"))
    assert data.units == (("cat",), ("dog",))


def test_folders_of_one_name_are_units_by_their_paths(fill, picture):
    path = fill({"a/x/1.png": picture(0), "b/x/2.png": picture(1), "b/y/3.png": picture(2)})
    assert load(path, unit_column="label").units == (("a/x",), ("b/x",), ("y",))


def test_names_that_look_the_same_are_the_same(fill, picture):
    composed, decomposed = "Jos\u00e9", "Jose\u0301"
    rows = [{"file_name": f"{decomposed}.png", "artist": composed}, {"file_name": "b.png", "artist": decomposed}]
    files = {f"{composed}.png": picture(0), "b.png": picture(1), "metadata.jsonl": jsonl(*rows)}
    data = load(fill(files), unit_column="artist")
    assert data.ids == (f"{composed}.png", "b.png")
    assert data.unit_ids == (composed,)
    assert data.examples_of(decomposed).tolist() == [0, 1]
    assert data.index_of(f"{decomposed}.png") == 0
    assert data.notes == ("Names and captions of 1 training examples were brought to Unicode's composed form (NFC).",)


@pytest.mark.parametrize(("train", "test"), [("Train", "Test"), ("TRAIN", "test"), ("train", "TEST"), ("Train", "Val")])
def test_splits_are_known_in_upper_case(fill, picture, train, test):
    path = fill({f"{train}/cat/1.png": picture(0), f"{test}/dog/2.png": picture(1)})
    assert (load(path).ids, load(path).classes) == (("cat/1.png",), ("cat",))
    assert load(f"{path}:{test}").ids == load(f"{path}:{test.lower()}").ids == ("dog/2.png",)


@pytest.mark.parametrize(("one", "two"), [("Train", "train"), ("TEST", "Test"), ("Valid", "validation")])
def test_two_folders_of_one_split_are_refused(fill, picture, one, two):
    path = fill({f"{one}/1.png": picture(0), f"{two}/2.png": picture(1)})
    with pytest.raises(DataError, match=rf"has ({one} and {two}|{two} and {one}) for one split. Keep one of them."):
        load(path)


def test_metadata_names_splits_as_their_folders(fill, picture):
    table = "file_name,text\nTrain/1.png,one\nTest/2.png,two\n"
    path = fill({"Train/1.png": picture(0), "Test/2.png": picture(1), "metadata.csv": table})
    assert (load(path).captions, load(f"{path}:test").captions) == (("one",), ("two",))


@pytest.mark.parametrize("empty", ["", " ", "nan"])
def test_a_column_of_classes_without_a_value_leaves_the_names_of_folders(fill, picture, empty):
    table = f"file_name,label,text\ncat/1.png,{empty},a cat\ndog/2.png,{empty},a dog\n"
    data = load(fill({"cat/1.png": picture(0), "dog/2.png": picture(1), "metadata.csv": table}), unit_column="label")
    assert (data.classes, data.units) == (("cat", "dog"), (("cat",), ("dog",)))


@pytest.mark.parametrize("table", [{}, {"metadata.csv": "file_name,id\n\u00e9.png,1\ne\u0301.png,2\n"}])
def test_two_files_whose_names_look_the_same_are_refused(fill, picture, table):
    path = fill({"\u00e9.png": picture(0), "e\u0301.png": picture(1), **table})
    with pytest.raises(DataError, match="has two files with the name \u00e9.png: .* Rename one of them."):
        load(path)


@pytest.mark.parametrize("header", ["Text", "text", " TEXT"])
@pytest.mark.parametrize("asked", ["Text", "text", " TEXT"])
def test_a_unit_column_is_known_by_either_spelling(fill, picture, header, asked):
    path = fill({"a.png": picture(0), "metadata.csv": f"file_name,{header}\na.png,anna\n"})
    assert load(path, unit_column=asked).units == (("anna",),)


def test_other_columns_are_known_by_their_own_spelling(fill, picture):
    path = fill({"a.png": picture(0), "metadata.csv": "file_name,Artist\na.png,anna\n"})
    assert load(path, unit_column="Artist").units == (("anna",),)
    with pytest.raises(DataError, match="no unit column 'artist'; there is file_name, Artist"):
        load(path, unit_column="artist")


@pytest.fixture
def truncated(fill, picture):
    """Four images, of which two have lost their ends: they are found when they are decoded."""
    folder = fill({f"{k}.png": picture(k) for k in range(4)})
    for name in ("1.png", "3.png"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) - 30])
    return folder


def test_all_images_that_cannot_be_read_are_named_together(truncated):
    with pytest.raises(
        DataError, match=r"^2 images can't be read. --skip-bad leaves such images out.\n.*1.png.*\n.*3.png"
    ):
        load(truncated)


def test_bad_images_are_left_out_where_that_is_wanted_and_a_note_names_them(truncated):
    left = load(truncated, skip_bad=True)
    assert left.ids == ("0.png", "2.png")
    [note] = [note for note in left.notes if "left out" in note]
    assert note.startswith("2 examples can't be read and were left out: ")
    assert "1.png" in note
    assert "3.png" in note
