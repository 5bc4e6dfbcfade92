"""`whence bank` on the tiny bank."""

import shutil

import numpy as np
import pytest
from PIL import Image

from whence import artefacts
from whence.cli.bank import held_out_pictures, settings_of
from whence.cli.options import shard_of
from whence.config import ModelConfig
from whence.data import load
from whence.diffusion.model import DiffusionModel
from whence.errors import ConfigError, DataError, MismatchError
from whence.evaluation.bank import Bank
from whence.scores.scores import Scores

OWN = ("--held-out", "digits:test", "--held-out-count", 3, "--drawn", 3, "--draws", 8, "--models", 2)
POOLS = ("--subsets", 2, "--seeds", 1, "--development", 0, "--workers", 1)


@pytest.fixture
def build(whence, bank_data, tiny_bank, tiny_bank_config, tmp_path):
    """`whence bank build` as `tiny_bank` was built."""
    (tmp_path / "tiny.toml").write_text(tiny_bank_config.to_toml())

    def run(out, *words):
        given = ("bank", "build", tiny_bank.path / "data", *OWN, "--config", tmp_path / "tiny.toml", "--out", out)
        return whence(*given, *words)

    return run


@pytest.mark.slow
def test_a_bank_in_parts(build, whence, base, tmp_path, tiny_bank):
    planned = build(base.path, *POOLS, "--plan")
    assert "0 reference and 2 retrained models: 4 steps of" in planned.out
    assert not (base.path / "runs").exists()
    other = Bank.open(shutil.copytree(base.path, tmp_path / "other"))

    first = build(base.path, *POOLS, "--shard", "1/2")
    assert first.code == 0, first.err
    assert f"{base.path} has its base: 2 reference models and 6 queries." in first.out
    assert "Part 1 of 2 is trained and measured; 1 models of other parts are not here." in first.out
    assert f"copy what is in {base.path / 'runs'} on each machine into that of one of them" in first.out
    assert "test: unfinished, 1 models measured" in whence("bank", "show", base.path).out
    second = build(other.path, *POOLS, "--shard", "2/2")
    assert "Part 2 of 2" in second.out

    shutil.copytree(other.path / "runs", base.path / "runs", dirs_exist_ok=True)
    assert "nothing: all of it is there already" in build(base.path, *POOLS, "--plan").out
    whole = build(base.path, *POOLS)
    assert f"{base.path} is whole: test." in whole.out
    found, expected = Bank.open(base.path), tiny_bank.pool("test")
    assert np.array_equal(found.pool("test").losses, expected.losses[:2, :1])
    assert np.array_equal(found.full, tiny_bank.full)


@pytest.mark.slow
def test_the_base_is_that_of_python(build, tiny_bank, tmp_path):
    planned = build(tmp_path / "new", "--subsets", 0, "--development", 0, "--plan")
    assert "2 reference and 0 retrained models: 8 steps of" in planned.out
    done = build(tmp_path / "new", "--subsets", 0, "--development", 0, "--workers", 1)
    assert done.code == 0, done.err
    assert "To train on several machines, copy" in done.out
    assert Bank.open(tmp_path / "new").manifest == tiny_bank.manifest


def test_what_a_bank_holds(whence, tiny_bank):
    found = whence("bank", "show", tiny_bank.path)
    assert found.code == 0, found.err
    lines = found.out.splitlines()
    assert lines[0].endswith(": 24 training examples of 8x8 pixels, 1 channel, in 4 classes")
    assert lines[1] == "Reference models: 2, 4 steps on batches of 6 each; seed of the bank 0"
    assert lines[2] == "Queries: 3 held out, 3 drawn; 3 of them to choose knobs on, 3 to report figures on"
    rows = {words[0]: words[1:] for words in map(str.split, lines) if words}
    assert rows["reference"][:3] == ["24", "1", "2"]
    assert rows["test"][:3] == ["12", "4", "2"]
    assert rows["deterministic-50%"] == [*rows["deterministic-50%"][:5], "-"]
    losses, drawn = tiny_bank.pool("test").losses, tiny_bank.drawn
    assert rows["test"][3:5] == [f"{losses[..., ~drawn].mean():.4f}", f"{losses[..., drawn].mean():.4f}"]
    assert f"Attribute: {tiny_bank.attribution} --out scores/" in lines


def test_scores_of_the_command_that_is_shown_are_taken(whence, tiny_bank, tmp_path):
    words = [*tiny_bank.attribution.split(), "--method", "pixel", "--method", "gradient-dot", "--draws", "8"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert whence(*words[1:], "--out", one, "--workers", 1).code == 0
    assert whence(*words[1:], "--also", tiny_bank.models[1], "--out", two, "--workers", 1).code == 0
    for path in (one / "pixel", one / "gradient-dot", two / "gradient-dot"):
        scores = Scores.read(path)
        found = tiny_bank.require(scores, artefacts.read_manifest(path, "scores"))
        assert (found.queries, found.examples) == (tiny_bank.queries, tiny_bank.examples)
        assert (
            found.row(tiny_bank.queries[4])[7]
            == scores.row(tiny_bank.queries[4])[scores.examples.index(tiny_bank.examples[7])]
        )


def test_scores_of_other_things_are_refused(whence, tiny_bank, tmp_path):
    model, data, queries = tiny_bank.models[0], tiny_bank.path / "data", tiny_bank.path / "queries"
    DiffusionModel.new(ModelConfig(channels=(8,), attention=0), (1, 8, 8), 1).save(tmp_path / "new")
    requests = {
        "model": (tmp_path / "new", data, queries),
        "data": (tmp_path / "new", queries, queries),
        "queries": (model, data, data),
    }
    for role, (explained, examples, asked) in requests.items():
        out = tmp_path / role
        assert whence("attribute", explained, examples, "--queries", asked, "--method", "pixel", "--out", out).code == 0
        manifest = artefacts.read_manifest(out / "pixel", "scores")
        with pytest.raises(MismatchError, match=f"are of other .* than the bank: fingerprint .* {model} {data}"):
            tiny_bank.require(Scores.read(out / "pixel"), manifest)
    refused = whence("attribute", model, queries, "--queries", queries, "--method", "pixel", "--out", tmp_path / "no")
    assert refused.code == 1
    assert "was trained on data with the fingerprint" in refused.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shard", "0/2"), "A part is I/N with I from 1 to N, such as 2/4; given '0/2'."),
        (("--shard", "2/2"), "has no base yet. All parts share the reference models and queries"),
        (("--examples", 25), "--examples 25 asks for more training examples than the 24 that there are."),
        (("--deterministic", 2), "A share of 0.99 of 24 examples leaves nothing to keep or to remove."),
        (("--fraction", 1), "A share of 1 of 24 examples leaves nothing to keep or to remove."),
        (("--held-out-count", 298), "298 held-out queries were asked for, there are 297 held-out pictures."),
        (("--held-out", "nowhere"), "nowhere does not exist"),
    ],
)
def test_what_can_not_be_built_is_refused_before_anything_is_trained(build, tmp_path, words, message):
    failed = build(tmp_path / "new", *POOLS, *words)
    assert failed.code == 1
    assert message in failed.err
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "new.part").exists()


@pytest.mark.parametrize("text", ["", "1", "1/", "/2", "3/2", "0/0", "-1/2", "1/2/3", "a/b", "1.0/2", "²/3"])
def test_parts_that_are_written_wrong(text):
    with pytest.raises(ConfigError, match=r"A part is I/N"):
        shard_of(text)


def test_all_is_one_part():
    assert shard_of(None) == shard_of("1/1") == (1, 1)


def test_held_out_pictures_are_another_split(tmp_path):
    assert held_out_pictures("digits:train", None, None).fingerprint == load("digits:test").fingerprint
    assert held_out_pictures("digits", "train", None, resolution=4).size == (1, 4, 4)
    assert held_out_pictures("digits", "test", None) is None
    assert held_out_pictures("digits", None, "digits:train").fingerprint == load("digits").fingerprint
    for split in ("train", "val"):
        (tmp_path / "images" / split).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "images" / split / f"{split}.png")
    assert held_out_pictures(str(tmp_path / "images"), None, None).ids == ("val.png",)
    (tmp_path / "images/val/val.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"val\.png"):
        held_out_pictures(str(tmp_path / "images"), None, None)


def test_queries_are_drawn_by_ddim_where_the_settings_do_not_say_otherwise(tmp_path):
    assert settings_of(None, steps=7).sampler.method == "ddim"
    assert settings_of(None, steps=7).training.steps == 7
    assert settings_of(None, "styles").sampler.model_fields_set == set()
    (tmp_path / "flow.toml").write_text('[model]\nprediction = "flow_prediction"\n')
    assert settings_of(tmp_path / "flow.toml").sampler.model_fields_set == set()
    (tmp_path / "some.toml").write_text("[sampler]\nsteps = 9\n")
    found = settings_of(tmp_path / "some.toml").sampler
    assert (found.method, found.steps) == ("ddim", 9)
    (tmp_path / "other.toml").write_text('[sampler]\nmethod = "ddpm"\n')
    assert settings_of(tmp_path / "other.toml").sampler.method == "ddpm"
