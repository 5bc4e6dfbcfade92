"""Data of kohya's trainer: folders N_NAME, and files of settings."""

import math
import re
from contextlib import suppress
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whence.config import Config
from whence.data import load, read, write
from whence.data.buckets import Buckets
from whence.data.trainer_folder import parse_name
from whence.data.trainer_subset import Subset, count_visits
from whence.errors import ConfigError, DataError, SplitError, WhenceError


@pytest.fixture
def folder(fill, picture):
    """Ten visits of two cats, one of a dog; one cat and the dog have captions."""
    files = {f"10_sks cat/{n}.png": picture(n) for n in range(2)} | {"1_dog/a.png": picture(2)}
    return fill(files | {"10_sks cat/0.txt": "a cat, on a mat\nmore", "1_dog/a.txt": "a dog"})


def test_a_folder_of_the_trainer_has_repeats_and_captions(folder):
    data = load(f"kohya:{folder}", unit_column="subset")
    assert data.ids == ("10_sks cat/0.png", "10_sks cat/1.png", "1_dog/a.png")
    assert data.captions == ("a cat, on a mat", "sks cat", "a dog")
    assert data.weights == pytest.approx((10 / 7, 10 / 7, 1 / 7))
    assert data.unit_ids == ("10_sks cat", "1_dog")
    assert data.notes == (
        "Images are not visited equally often; visits in an epoch by subset: 10_sks cat 20, 1_dog 1. They are weights "
        "of the images in the loss and in scores.",
    )


def test_a_plain_folder_of_such_names_is_read_as_it_is_and_said(folder):
    data = load(folder)
    assert data.captions == ("10_sks cat", "10_sks cat", "1_dog")
    assert data.weights == ()
    assert data.notes[-1] == (
        "The names of the folders, such as 10_sks cat, look like repeats and class tokens of kohya's trainer. They are "
        f"read as classes. Give kohya:{folder} to read repeats and captions as the trainer does."
    )


def test_captions_beside_images_are_read_by_name(fill, picture):
    path = fill({"a.png": picture(0), "b.png": picture(1), "a.caption": "a cat", "b.txt": "a dog"})
    data = load(path, caption_column=".caption")
    assert data.captions == ("a cat", None)
    assert [note for note in data.notes if "captions" in note] == [
        "Text files beside the images were not read as captions (1, such as b.txt). Pass --caption-column .txt to read "
        "them."
    ]
    with pytest.raises(DataError, match=r"has no \.txt file beside an image"):
        load(fill({"a.png": picture(0)}, "other"), caption_column=".txt")


def test_equal_repeats_are_no_weights(fill, picture):
    data = load(f"kohya:{fill({f'{name}/1.png': picture(n) for n, name in enumerate(['7_a', '7_b', 'old', '0_c'])})}")
    assert data.ids == ("7_a/1.png", "7_b/1.png")
    assert (data.weights, data.captions) == ((), ("a", "b"))
    assert data.notes == ("Folders without repeats in their names were left out: 0_c, old.",)


REFUSED_FOLDERS = {
    "no such name": ({"cats/1.png": 0}, r"no sub-folder named REPEATS_NAME, such as 10_cat; it has cats\."),
    "no images": ({"3_cat/1.txt": "a cat"}, r"3_cat has no images directly in it"),
    "two kinds of captions": (
        {"3_cat/1.png": 0, "3_cat/1.txt": "a", "3_cat/1.caption": "b"},
        r"two kinds of caption files \(3_cat/1.caption, 3_cat/1.txt\)",
    ),
    "an empty caption": ({"3_cat/1.png": 0, "3_cat/1.txt": ""}, r"3_cat/1.txt is empty"),
    "a caption that is no text": ({"3_cat/1.png": 0, "3_cat/1.txt": b"\xff\xfe\x00"}, r"1.txt is not text in UTF-8"),
}


@pytest.mark.parametrize(("files", "message"), REFUSED_FOLDERS.values(), ids=REFUSED_FOLDERS)
def test_a_folder_that_the_trainer_would_not_read_is_refused(fill, picture, files, message):
    path = fill({name: picture(content) if isinstance(content, int) else content for name, content in files.items()})
    with pytest.raises(DataError, match=message):
        load(f"kohya:{path}")
    with pytest.raises(SplitError):
        load(f"kohya:{path}", split="test")


@given(st.text(max_size=12))
def test_names_of_folders_are_repeats_and_tokens_or_nothing(text):
    parsed = parse_name(text)
    assert (parsed is None) == (re.match(r"\d+_", text) is None)
    if parsed is not None:
        assert int(text.split("_", 1)[0]) == parsed[0]
        assert text.split("_", 1)[1] == parsed[1]


def slow_visits(training: list[int], regularisation: list[int]) -> list[int]:
    """Visits of regularisation images, one by one in turn."""
    visits, n, first = [0] * len(regularisation), 0, True
    while regularisation and n < sum(training):
        for image, repeats in enumerate(regularisation):
            more = repeats if first else 1
            visits[image] += more
            n += more
            if n >= sum(training):
                break
        first = False
    return [count for count in visits if count]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.lists(st.integers(1, 9), max_size=6))
def test_regularisation_images_are_visited_in_turn(training, regularisation):
    images = [(Subset(Path(f"t{n}"), repeats), "x") for n, repeats in enumerate(training)]
    images += [(Subset(Path(f"r{n}"), repeats, regularisation=True), "x") for n, repeats in enumerate(regularisation)]
    visits = count_visits(images)
    assert [count for (one, _), count in visits.items() if not one.regularisation] == training
    assert [count for (one, _), count in visits.items() if one.regularisation] == slow_visits(training, regularisation)


def config(tmp_path: Path, *subsets, dataset=(), general=(), **top) -> Path:
    """A file of settings beside the images."""
    file = tmp_path / "data.toml"
    content = {"general": dict(general), "datasets": [{**dict(dataset), "subsets": list(subsets)}]}
    file.write_text(tomli_w.dumps(content | top))
    return file


CAT = {"image_dir": "images/10_sks cat", "num_repeats": 3, "class_tokens": "sks cat"}
DOG = {"image_dir": "images/1_dog", "is_reg": True, "class_tokens": "dog"}


def test_a_file_of_the_trainer_names_subsets(folder, tmp_path):
    file = config(tmp_path, CAT | {"caption_extension": ".txt"}, DOG, general={"caption_prefix": "photo of"})
    data = load(file, unit_column="kind")
    assert data.ids == ("10_sks cat/0.png", "10_sks cat/1.png", "1_dog/a.png")
    assert data.captions == ("photo of a cat, on a mat", "photo of sks cat", "photo of dog")
    assert data.weights == pytest.approx((3 / 4, 3 / 4, 6 / 4)), "the dog has as many visits as both cats"
    assert data.unit_ids == ("training", "regularisation")
    assert "Files that are no images were left out: 1 .txt (such as 1_dog/a.txt)." in data.notes


CAPTIONS = {
    "class tokens": ({}, "sks cat"),
    "an extension": ({"caption_extension": ".txt"}, "a cat, on a mat"),
    "without its dot": ({"caption_extension": "txt"}, "a cat, on a mat"),
    "a suffix": ({"caption_suffix": "in oil"}, "sks cat in oil"),
    "a second separator": ({"caption_extension": ".txt", "secondary_separator": " on"}, "a cat,, a mat"),
}


@pytest.mark.parametrize(("changed", "caption"), CAPTIONS.values(), ids=CAPTIONS)
def test_captions_are_put_together_as_in_the_trainer(folder, tmp_path, changed, caption):
    assert load(config(tmp_path, CAT | changed)).captions[0] == caption


def test_a_subset_comes_before_its_data_set_and_that_before_general(folder, tmp_path):
    dog, general, dataset = {"image_dir": "images/1_dog"}, {"class_tokens": "g"}, {"class_tokens": "d"}
    files = [
        (dog, {}, {}),
        (dog, {}, general),
        (dog, dataset, general),
        (dog | {"class_tokens": "s"}, dataset, general),
    ]
    found = [load(config(tmp_path, one, dataset=above, general=top)).captions[0] for one, above, top in files]
    assert found == [None, "g", "d", "s"]


def test_visits_that_all_subsets_share_are_settings_of_a_training(folder, tmp_path):
    file = config(tmp_path, CAT, DOG, general={"flip_aug": True, "caption_dropout_rate": 0.25, "batch_size": 4})
    recipe = load(file).recipe
    followed = recipe.follow(Config()).training
    assert (followed.flip, followed.caption_dropout) == (True, 0.25)
    with pytest.raises(ConfigError, match=r"says that caption_dropout is 0.25, and training.caption_dropout is 0.5"):
        recipe.follow(Config().updated("training", caption_dropout=0.5))
    data = load(file)
    write(data, tmp_path / "kept")
    kept = read(tmp_path / "kept")
    assert (kept.recipe, kept.weights, kept.fingerprint) == (recipe, data.weights, data.fingerprint)


BEYOND = {
    "shuffled captions": ([CAT | {"shuffle_caption": True, "keep_tokens": 1}, DOG], "shuffle_caption"),
    "flips of some": ([CAT | {"flip_aug": True}, DOG], r"flip_aug \(other for some subsets\)"),
    "dropout of some": ([CAT, DOG | {"caption_dropout_rate": 0.1}], r"caption_dropout_rate \(other for some subsets\)"),
    "changed colours": ([CAT | {"color_aug": True}], "color_aug"),
    "faces": ([CAT | {"face_crop_aug_range": [1.0, 2.0]}], "face_crop_aug_range"),
    "tags": ([CAT | {"caption_tag_dropout_rate": 0.1}], "caption_tag_dropout_rate"),
}


@pytest.mark.parametrize(("subsets", "name"), BEYOND.values(), ids=BEYOND)
def test_visits_that_no_training_does_are_said_and_refused_for_training(folder, tmp_path, subsets, name):
    data = load(config(tmp_path, *subsets))
    assert re.search(rf"data.toml changes visits by .*{name}", data.notes[0])
    with pytest.raises(ConfigError, match=rf"data.toml sets {name}, which no training of Whence does"):
        data.recipe.follow(Config())


REFUSED = {
    "an unknown setting": ([CAT | {"alpha_mask": True}], {}, r"data set 1: alpha_mask is unknown"),
    "a wrong type": ([CAT | {"num_repeats": "3"}], {}, r"num_repeats: expected a whole number \(given: '3'\)"),
    "no repeats": ([CAT | {"num_repeats": 0}], {}, r"num_repeats"),
    "metadata": ([CAT | {"metadata_file": "m.json"}], {}, r"metadata_file makes a data set of captions in one file"),
    "ControlNet": ([CAT | {"conditioning_data_dir": "c"}], {}, r"conditioning_data_dir makes a data set of ControlNet"),
    "no image_dir": ([{"num_repeats": 3}], {}, r"image_dir: expected a value; none was given"),
    "a missing folder": ([{"image_dir": "no"}], {}, r"names the folder 'no', which is neither beside it nor"),
    "a folder twice": ([CAT, CAT], {}, r"Two subsets have the folder .*10_sks cat\. Keep one"),
    "regularisation images alone": ([DOG], {}, "There are regularisation images alone"),
    "no subsets": ([], {}, r"no \[\[datasets.subsets\]\]"),
    "another table": ([CAT], {"extra": {}}, r"has extra beside \[general\]"),
    "small buckets": (
        [CAT],
        {"general": {"resolution": 32, "enable_bucket": True}},
        "The sides of buckets are multiples of 64, and the resolution is 32x32",
    ),
}


@pytest.mark.parametrize(("subsets", "tables", "message"), REFUSED.values(), ids=REFUSED)
def test_what_whence_cannot_follow_is_refused_by_name(folder, tmp_path, subsets, tables, message):
    with pytest.raises((ConfigError, DataError), match=message):
        load(config(tmp_path, *subsets, **tables))


def test_the_resolution_of_the_trainer_is_used_unless_another_is_given(folder, tmp_path):
    file = config(tmp_path, CAT, general={"resolution": 3})
    assert load(file).size == (3, 3, 3)
    assert load(file, resolution=2).size == (3, 2, 2)


@pytest.mark.parametrize("name", ["10_sks cat", "./10_sks cat/"])
def test_a_folder_is_found_beside_the_file_or_in_the_current_one(folder, tmp_path, monkeypatch, name):
    file = config(tmp_path, {"image_dir": name})
    monkeypatch.chdir(folder)
    assert load(file).ids == ("10_sks cat/0.png", "10_sks cat/1.png")
    (tmp_path / "10_sks cat").mkdir()
    with pytest.raises(DataError, match="is in two places"):
        load(file)


toml_values = st.one_of(
    st.booleans(), st.integers(-2, 600), st.floats(allow_nan=False), st.text(max_size=5), st.just([1, 2])
)
keys = st.sampled_from(["image_dir", "num_repeats", "is_reg", "caption_extension", "resolution", "flip_aug", "x"])
tables = st.dictionaries(keys, toml_values, max_size=4)


@given(tables, tables, st.lists(tables, max_size=3))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_read_or_refused(folder, tmp_path, general, dataset, subsets):
    subsets = [{"image_dir": "images/1_dog"} | one for one in subsets]
    file = config(tmp_path, *subsets, dataset=dataset, general=general)
    with suppress(WhenceError):
        load(file)


@given(st.binary(max_size=40))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused(tmp_path, content):
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(DataError):
        load(tmp_path / "x.toml")


BUCKETS = {
    "a square": ((1000, 1000), False, (512, 512)),
    "a photograph": ((640, 480), False, (576, 448)),
    "upright": ((480, 640), False, (448, 576)),
    "a strip": ((4000, 500), False, (1024, 256)),
    "a small one": ((100, 100), False, (512, 512)),
    "a small one as it is": ((100, 150), True, (64, 128)),
    "a large one that is scaled down": ((2000, 1000), True, (640, 320)),
}


@pytest.mark.parametrize(("size", "no_upscale", "shape"), BUCKETS.values(), ids=BUCKETS)
def test_buckets_of_512(size, no_upscale, shape):
    assert Buckets((512, 512), no_upscale=no_upscale).of(size) == shape


@given(st.integers(1, 5000), st.integers(1, 5000), st.booleans())
def test_a_bucket_is_of_steps_and_not_larger_than_the_area(width, height, no_upscale):
    buckets = Buckets((512, 512), no_upscale=no_upscale)
    wide, high = buckets.of((width, height))
    assert wide % 64 == high % 64 == 0
    assert min(wide, high) >= 64
    if not no_upscale:
        assert wide * high <= buckets.area
        nearest = min(abs(w / h - width / height) for w, h in buckets.shapes)
        assert math.isclose(abs(wide / high - width / height), nearest) or (width, height) in buckets.shapes
