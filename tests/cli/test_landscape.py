"""The commands about all units at once, as a user runs them, on the tiny ensemble of ten units and twenty words."""

from __future__ import annotations

import re
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whence import images
from whence.ensemble import Ensemble
from whence.ensemble.ablation import nearest_units
from whence.ensemble.landscape import Landscape, landscapes
from whence.ensemble.losses import Losses
from whence.ensemble.members import NetworkMembers
from whence.scores.scores import Scores

PAIRS = list(combinations([f"u{k}" for k in range(10)], 2))


@pytest.fixture(scope="module")
def run(tiny_ensemble, tmp_path_factory) -> Path:
    """A copy of the ensemble to which commands of this file add."""
    return shutil.copytree(tiny_ensemble.path, tmp_path_factory.mktemp("landscape") / "ens")


@pytest.fixture(scope="module")
def pair(tiny_ensemble) -> tuple[str, str]:
    """Two units without which somebody is left."""
    book = tiny_ensemble.codebook
    return next(two for two in PAIRS if (~book.bits[:, book.columns(two)]).all(axis=1).any())


@pytest.fixture(scope="module")
def fatal(tiny_ensemble) -> tuple[str, ...]:
    """Units of which every member saw one."""
    return tiny_ensemble.codebook.units


@pytest.fixture
def drawn(whence, run) -> Path:
    """The run with the landscapes of 0/0 and 0/1."""
    assert whence("ensemble", "landscape", run, "--samples", "0/0-1", "--placebos", 6, "--workers", 1).code == 0
    return run


def files(path: Path) -> dict[Path, int]:
    """Every file but locks, and when it was written."""
    return {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file() and file.suffix != ".lock"}


def rows(said: str) -> list[list[str]]:
    """The rows of the tables of units: id, effect, chance alone and of all."""
    return re.findall(r"^ +(\S+) +(-?[\d.e-]+) +([\d.e-]+) +([\d.e-]+)$", said, re.MULTILINE)


def test_codebook(whence):
    said = whence("ensemble", "codebook", "--units", 10, "--remove", 2, "--survivors", 2)
    assert said.code == 0, said.err
    table = [line.split() for line in said.out.splitlines() if re.match(r" +\d+ +\d", line)]
    assert table[0][:6] == ["6", "2", "15", "2", "4", "no"]
    able = next(row for row in table if row[5] == "yes")
    assert able[:6] == ["10", "4", "210", "2", "6", "yes"]
    powers = [[int(share.rstrip("%")) for share in row[6:]] for row in table]
    assert all(row == sorted(row) and len(row) == 4 for row in powers)
    assert "whence ensemble train DATA --members 10 --weight 4 --out runs/ens" in said.out
    assert "10 training runs, each on about 40% of the units" in said.out
    assert "6 for its ablation, 60 for its whole landscape" in said.out
    assert "10 members give at most 55 independent numbers" in said.out


def test_a_codebook_that_can_name_nobody(whence):
    said = whence("ensemble", "codebook", "--units", 199, "--remove", 199, "--survivors", 1)
    assert said.code == 0, said.err
    assert "No codebook of this table has enough words to name one of so many" in said.out


def test_losses_of_drawn_pictures(whence, run):
    command = ("ensemble", "losses", run, "--queries", "0/0-2", "--draws", 16, "--workers", 1, "--top", 3)
    said = whence(*command)
    assert said.code == 0, said.err
    assert len(re.findall(r"^Picture 0/\d: loss 0\.\d{4} by all members, mean over 16 draws$", said.out, re.M)) == 3
    assert "among 10 units at a family-wise error of 5% it takes 199 placebos, and there are 10." in said.out
    ensemble = Ensemble.open(run)
    path = Path(re.search(r"Scores of all units with standard errors: (.*)", said.out)[1])
    found, scores = Losses.open(Path(str(path).removesuffix("-scores")), ensemble.codebook), Scores.read(path)
    assert scores.queries == ("0/0", "0/1", "0/2")
    assert scores.examples == ensemble.codebook.units
    assert scores.standard_error is not None
    assert scores.estimand.model == ensemble.manifest.fingerprint
    for q, query in enumerate(scores.queries):
        shown = rows(said.out)[3 * q : 3 * q + 3]
        assert [unit for unit, *_ in shown] == [unit for unit, _ in scores.top(query, 3)]
        for unit, effect, alone, corrected in shown:
            u = ensemble.codebook.units.index(unit)
            assert float(effect) == pytest.approx(found.influence([unit])[q].item(), rel=1e-4)
            assert float(alone) == pytest.approx(found.influence_on(query).p_values[u].item(), abs=0.006)
            assert float(corrected) == pytest.approx(found.influence_on(query).adjusted_p_values[u].item(), abs=0.006)
    before = files(run)
    again = whence(*command)
    assert (again.code, again.out) == (0, said.out)
    assert files(run) == before


def test_losses_without_two_units_together(whence, run, pair):
    words = ("--draws", 16, "--workers", 1, *(word for unit in reversed(pair) for word in ("--unit", unit)))
    said = whence("ensemble", "losses", run, "--queries", "0/0-2", *words)
    assert said.code == 0, said.err
    assert [unit for unit, *_ in rows(said.out)] == ["+".join(pair)] * 3
    assert "increase of the loss" in said.out
    assert "As a whole" not in said.out
    one = whence("ensemble", "losses", run, "--queries", "0/1", "--draws", 8, "--workers", 1, "--unit", "u7")
    assert [unit for unit, *_ in rows(one.out)] == ["u7"]


def test_losses_of_a_folder_of_other_pictures(whence, run, tmp_path):
    for n in range(22):
        pixels = np.random.default_rng(n).integers(0, 256, (10, 12, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{n:02d}.png")
    said = whence("ensemble", "losses", run, "--queries", tmp_path, "--draws", 2, "--workers", 1)
    assert said.code == 0, said.err
    assert "Picture 00.png: loss" in said.out
    assert "Picture 19.png: loss" in said.out
    assert "... and 2 more pictures." in said.out
    path = Path(re.search(r"Scores of all units without standard errors, which take 8 draws: (.*)", said.out)[1])
    assert Scores.read(path).standard_error is None  # of two draws
    assert len(Scores.read(path).queries) == 22


def test_losses_of_a_region(whence, run, tmp_path):
    Image.fromarray(np.repeat(np.uint8([255, 0]), 4)[None].repeat(8, 0)).save(tmp_path / "left.png")
    words = ("ensemble", "losses", run, "--queries", "0/1", "--draws", 8, "--workers", 1)
    whole, left = whence(*words), whence(*words, "--mask", tmp_path / "left.png")
    assert left.code == 0, left.err
    loss, part = (float(re.search(r"loss (\S+) by all", said.out)[1]) for said in (whole, left))
    assert 0 < part < loss
    missing = whence(*words, "--mask", tmp_path / "none.png")
    assert (missing.code, "does not exist" in missing.err) == (1, True)


def test_landscape_and_who_mattered(whence, ensemble):
    run = ensemble.path
    command = ("ensemble", "landscape", run, "--samples", "0/0-1", "--samples", "0/1", "--workers", 1)
    said = whence(*command)
    assert said.code == 0, said.err
    found = landscapes(ensemble)
    assert [one.sample for one in found] == ["0/0", "0/1"]
    for one in found:
        assert f"Picture {one.sample}: radius {one.influence().radius:.3f} (" in said.out
        published = images.distance(one.factual, one.counterfactual(one.units[one.influence().order[0]])) * 55.4256
        assert f"({published:.1f} at 256x256x3) over 10 units; of 10 units" in said.out
    before = files(run)
    again = whence(*command)
    assert (again.code, again.out) == (0, said.out)
    assert files(run) == before

    told = whence("ensemble", "influence", run, "--sample", "0/0-1", "--top", 4)
    assert told.code == 0, told.err
    assert len(rows(told.out)) == 8
    for k, one in enumerate(found):
        order = [one.units[u] for u in one.influence().order[:4]]
        assert [unit for unit, *_ in rows(told.out)[4 * k : 4 * k + 4]] == order
    mean = np.sqrt(found[0].influence().radius * found[1].influence().radius)
    assert f"Geometric mean of the 2 radii: {mean:.3g}" in told.out
    assert "6 members give at most 21 independent numbers" in told.out
    assert files(run) == before


def test_a_landscape_without_two_units_together(whence, run, pair):
    words = [word for unit in pair for word in ("--unit", unit)]
    said = whence("ensemble", "landscape", run, "--samples", "0/3", "--placebos", 4, "--workers", 1, *words)
    assert said.code == 0, said.err
    one = Landscape.open(run / "landscapes" / f"0-3-without-{'+'.join(pair)}")
    assert [unit for unit, *_ in rows(said.out)] == ["+".join(pair)]
    assert float(rows(said.out)[0][1]) == pytest.approx(one.distances.item(), rel=1e-4)
    assert "among 1 unit at a family-wise error of 5% it takes 19 placebos, and there are 4." in said.out
    assert "ensemble influence" not in said.out


def test_only_the_nearest(whence, drawn):
    said = whence("ensemble", "influence", drawn, "--sample", "0/1", "--nearest", 3, "--level", 0.5)
    assert said.code == 0, said.err
    near = {unit for _, (unit,) in nearest_units(Ensemble.open(drawn), ["0/1"], 3)}
    assert {unit for unit, *_ in rows(said.out)} == near
    assert "3 units" in said.out
    assert "a family-wise error of 50%" in said.out
    assert "Nobody can be named" not in said.out  # five placebos are enough
    every = whence("ensemble", "influence", drawn, "--sample", "0/1", "--nearest", 99)
    assert len(rows(every.out)) == 10


def test_levels_are_told_as_they_are(whence, drawn):
    said = whence("ensemble", "influence", drawn, "--sample", "0/0", "--level", 0.001)
    assert "at a family-wise error of 0.1% it takes 9,999 placebos, and there are 6." in said.out


def test_black_and_white(whence, drawn):
    said = whence("ensemble", "influence", drawn, "--sample", "0/0-1", "--binarise")
    assert said.code == 0, said.err
    assert re.search(r"Picture 0/0 in black and white: radius \d\.\d{3}; \d of 10 units", said.out)
    assert said.out.count("left out by themselves change no pixel") == 2
    assert rows(said.out) == []


def test_nobody_changes_a_picture_of_copies(whence, ensemble, monkeypatch):
    network = ensemble.open_members([0]).networks[0]
    copies = NetworkMembers(dict.fromkeys(range(6), network))
    monkeypatch.setattr(Ensemble, "open_members", lambda *_, **__: copies)
    assert whence("ensemble", "landscape", ensemble.path, "--samples", "0/0", "--placebos", 0, "--workers", 1).code == 0
    said = whence("ensemble", "influence", ensemble.path, "--sample", "0/0", "--binarise")
    assert "Picture 0/0 in black and white is unattributable: 10 of 10 units certify it" in said.out
    said = whence("ensemble", "influence", ensemble.path, "--sample", "0/0")
    assert said.code == 0, said.err
    assert "and there are 0." in said.out
    assert "As a whole" not in said.out
    assert said.err == ""


def test_another_eye(whence, drawn, tmp_path):
    import transformers

    tower = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8, "patch_size": 4}
    transformers.Dinov2Model(transformers.Dinov2Config(**tower)).save_pretrained(tmp_path / "dino")
    said = whence("ensemble", "influence", drawn, "--sample", "0/1", "--embedding", tmp_path / "dino", "--top", 2)
    assert said.code == 0, said.err
    by_pixels = whence("ensemble", "influence", drawn, "--sample", "0/1", "--top", 2)
    assert len(rows(said.out)) == len(rows(by_pixels.out)) == 2
    assert rows(said.out) != rows(by_pixels.out)
    assert all(0 <= float(distance) <= 2 for _, distance, *_ in rows(said.out))


@pytest.mark.parametrize(
    ("command", "work"),
    [
        (("losses", "--queries", "digits:test", "--draws", 50), "297 pictures, 50 draws each: about 798 network eval"),
        (("losses", "--queries", "0/0"), "1 pictures, 100 draws each: about 6 network evaluations"),
        (("landscape", "--samples", "0/2"), "21 pictures in 4 steps: 24 network evaluations"),
        (("landscape", "--samples", "0/2", "--unit", "PAIR"), "pictures in 4 steps"),
    ],
)
def test_plan_states_the_cost_and_starts_nothing(whence, run, pair, command, work):
    words = [word for part in command for word in ((pair[0], "--unit", pair[1]) if part == "PAIR" else (part,))]
    before = files(run)
    said = whence("ensemble", words[0], run, *words[1:], "--plan")
    assert said.code == 0, said.err
    assert work in said.out
    for word in ("Time:", "Memory:", "Disk:", "Nothing was started"):
        assert word in said.out
    assert files(run) == before


def test_the_plan_of_what_is_there(whence, drawn):
    said = whence("ensemble", "landscape", drawn, "--samples", "0/0-1", "--placebos", 6, "--plan")
    assert "nothing: all of it is there already" in said.out


def test_fewer_placebos_than_asked_for_are_told(whence, drawn):
    for more in (("--plan",), ()):
        said = whence("ensemble", "landscape", drawn, "--samples", "0/0", "--placebos", 999_999_999, *more)
        assert said.code == 0, said.err
        assert "Note: 999,999,999 placebos were asked for; the codebook has words for 10 that differ." in said.out
    assert "Note" not in whence("ensemble", "landscape", drawn, "--samples", "0/0", "--placebos", 10).out


@pytest.mark.parametrize(("draws", "told"), [(1, "without standard errors, which take 8 draws"), (8, "with standard")])
def test_standard_errors_are_claimed_where_there_are_some(whence, drawn, draws, told):
    said = whence("ensemble", "losses", drawn, "--queries", "0/0", "--draws", draws)
    assert f"Scores of all units {told}" in said.out


BAD = [
    (("codebook", "--units", 0), 1, "must be at least 1; given 0"),
    (("codebook", "--units", 900, "--remove", 300), 1, "No codebook of at most 200 members"),
    (("codebook", "--units", 10, "--remove", 11), 1, "--remove 11 removes more units than there are: --units 10"),
    (("losses", "ENS", "--queries", "SAMPLES"), 1, "holds pictures that an ensemble drew; name them as 0/0-3"),
    (("codebook", "--units", "many"), 2, "--units"),
    (("codebook",), 2, "--units"),
    (("losses", "ENS"), 2, "--queries"),
    (("losses", "ENS", "--queries", "0/99"), 1, "0/99 has not been drawn"),
    (("losses", "ENS", "--queries", "nowhere"), 1, "nowhere does not exist"),
    (("losses", "ENS", "--queries", "0/0", "--draws", 0), 1, "--draws must be at least 1"),
    (("losses", "ENS", "--queries", "0/0", "--draws", 0, "--plan"), 1, "--draws must be at least 1"),
    (("losses", "ENS", "--queries", "0/0", "--unit", "u77"), 1, "no unit 'u77'"),
    (("losses", "ENS", "--queries", "0/0", "--unit", "FATAL"), 1, "Ablate fewer units"),
    (("losses", "ENS", "--queries", "0/0", "--top", 0), 2, "--top"),
    (("losses", "ENS", "--queries", "0/0", "--workers", 0), 2, "--workers"),
    (("losses", "EMPTY", "--queries", "0/0"), 1, "is not a Whence ensemble"),
    (("landscape", "ENS", "--samples", "0/99"), 1, "--count 100"),
    (("landscape", "ENS", "--samples", "0/0-99"), 1, "0/4 has not been drawn"),
    (("landscape", "ENS", "--samples", "zero"), 1, "SEED/INDEX"),
    (("landscape", "ENS", "--samples", "0/2", "--placebos", -1), 1, "--placebos must be at least 0"),
    (("landscape", "ENS", "--samples", "0/2", "--unit", "u77"), 1, "no unit 'u77'"),
    (("landscape", "ENS", "--samples", "0/2", "--unit", "FATAL"), 1, "Ablate fewer units"),
    (("landscape", "EMPTY", "--samples", "0/2"), 1, "is not a Whence ensemble"),
    (("influence", "ENS", "--sample", "0/2"), 1, "has not been drawn yet. First: whence ensemble landscape"),
    (("influence", "ENS", "--sample", "0/3-1"), 1, "SEED/FIRST-LAST"),
    (("influence", "ENS", "--sample", "0/0", "--nearest", 0), 2, "--nearest"),
    (("influence", "ENS", "--sample", "0/0", "--level", 0), 2, "--level"),
    (("influence", "ENS", "--sample", "0/0", "--level", 1.5), 2, "--level"),
    (("influence", "ENS", "--sample", "0/0", "--embedding", "EMPTY"), 1, "no config.json"),
    (("influence", "ENS", "--sample", "0/0", "--binarise", "--nearest", 2), 2, "--binarise"),
]


@pytest.mark.parametrize(("command", "code", "text"), BAD, ids=[" ".join(map(str, row[0])) for row in BAD])
def test_bad_input_ends_with_one_message_and_writes_nothing(whence, drawn, fatal, tmp_path, command, code, text):
    names = {
        "ENS": (drawn,),
        "EMPTY": (tmp_path,),
        "SAMPLES": (drawn / "samples/0",),
        "FATAL": (fatal[0], *(w for u in fatal[1:] for w in ("--unit", u))),
    }
    before = files(drawn)
    said = whence("ensemble", *(word for part in command for word in names.get(part, (part,))))
    assert said.code == code
    assert text in said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert files(drawn) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["truncated", "lost", "flipped"])
@pytest.mark.parametrize("file", ["shards/00000.safetensors", "distances.safetensors", "units.parquet"])
def test_a_damaged_landscape_is_told_and_not_read(whence, drawn, tmp_path, flip_byte, file, damage):
    run = shutil.copytree(drawn, tmp_path / "ens")
    victim = run / "landscapes" / "0-0" / file
    if damage == "lost":
        victim.unlink()
    elif damage == "flipped":
        flip_byte(victim)
    else:
        victim.write_bytes(victim.read_bytes()[:-7])
    for command in (("influence", run, "--sample", "0/0"), ("landscape", run, "--samples", "0/0", "--placebos", 1)):
        said = whence("ensemble", *command)
        assert said.code == 1
        assert f"{victim} is {'missing' if damage == 'lost' else 'damaged'}" in said.err
        assert "Delete " in said.err
