"""The test from end to end on a tiny ensemble, with attributors whose rate is known."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable

import pytest
import torch

from whence import artefacts
from whence.config import SamplerConfig
from whence.engine import Engine
from whence.ensemble import Ensemble, sample
from whence.errors import ArtefactError, ConfigError, DataError
from whence.evaluation.false_attribution import control_units, false_attribution, missing_trajectories
from whence.evaluation.false_rate import FalseAttribution
from whence.scores.scores import Estimand, Scores
from whence.similarity.attributors import attributor

UNITS = tuple(f"u{k}" for k in range(10))
SAMPLES = ["0/0", "0/1", "0/2", "0/3"]


class Saying:
    """An attributor that answers by the pictures' names, "0/1" and "0/1 without u3", and keeps what it was shown."""

    def __init__(self, answer: Callable[[str, str | None], str], method: str = "saying") -> None:
        self.answer, self.method, self.shown = answer, method, {}

    def __call__(self, pictures, names):
        assert pictures.dtype == torch.float32
        self.shown |= dict(zip(names, pictures, strict=True))
        scores = torch.zeros(len(names), len(UNITS))
        for q, name in enumerate(names):
            picture, _, unit = name.partition(" without ")
            scores[q, UNITS.index(self.answer(picture, unit or None))] = 1
        estimand = Estimand("what is said", "none", "none", "none", "unit")
        units = tuple((unit,) for unit in UNITS)
        return Scores(scores, tuple(names), UNITS, units, self.method, estimand, "unsigned", "max")


def own(picture: str) -> str:
    """The unit of a picture: u3 for 0/3."""
    return f"u{picture[-1]}"


def another(unit: str) -> str:
    return f"u{(int(unit[1:]) + 1) % 10}"


RULES = {
    "never moves": (lambda picture, unit: own(picture), 1, 1, 1),
    "moves exactly when its unit goes": (
        lambda picture, unit: another(unit) if unit == own(picture) else own(picture),
        0,
        1,
        0,
    ),
    "moves whatever goes": (lambda picture, unit: another(own(picture)) if unit else own(picture), 0, 0, None),
    "moves half the time": (
        lambda picture, unit: another(own(picture)) if unit == own(picture) and picture < "0/2" else own(picture),
        0.5,
        1,
        0.5,
    ),
}


@pytest.fixture(scope="module")
def shared(tiny_ensemble, tmp_path_factory) -> Ensemble:
    """An ensemble whose pictures without a unit are drawn once for all rules, which name the same units."""
    return Ensemble.open(shutil.copytree(tiny_ensemble.path, tmp_path_factory.mktemp("shared") / "ens"))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("controls", [1, 3])
def test_attributors_of_known_rate(shared, rule, controls):
    answer, fa, control, rate = RULES[rule]
    found = false_attribution(shared, SAMPLES, Saying(answer), controls=controls, engine=Engine(1))
    assert (found.fa, found.control, found.rate) == (fa, control, rate)
    assert (found.interval is None) == (rate is None)
    assert [row.sample for row in found.trials] == SAMPLES
    assert FalseAttribution.read(found.path) == found


def test_the_pictures_are_drawn_without_the_unit_that_is_named(ensemble):
    said = Saying(RULES["never moves"][0])
    found = false_attribution(ensemble, SAMPLES, said, controls=2, engine=Engine(1))
    for row in found.trials[1:3]:
        assert row.unit == own(row.sample)
        assert row.unit not in row.controls
        assert len(set(row.controls)) == 2
        index = int(row.sample[-1])
        for unit in (row.unit, *row.controls):
            expected = sample(ensemble, count=4, without=[unit], engine=Engine(1)).pictures[index]
            assert torch.equal(said.shown[f"{row.sample} without {unit}"], expected)
    assert len(said.shown) == 4 + 4 * 3


def test_the_removed_unit_stays_a_candidate(ensemble):
    shown = []

    def ask(pictures, names):
        shown.append(attributor("pixel", ensemble.data)(pictures, names))
        return shown[-1]

    found = false_attribution(ensemble, SAMPLES, ask, engine=Engine(1))
    assert all(set(scores.by_unit().examples) == set(UNITS) for scores in shown)
    before, after = (scores.by_unit() for scores in shown)
    for row in found.trials:
        assert row.unit == before.top(row.sample, 1)[0][0]
        assert row.after_removal == after.top(f"{row.sample} without {row.unit}", 1)[0][0]
        (control,) = row.controls
        assert row.after_controls == (after.top(f"{row.sample} without {control}", 1)[0][0],)
    assert found.attributor == "pixel"


def test_neither_the_order_nor_repeats_of_samples_matter(ensemble):
    said = Saying(RULES["moves half the time"][0])
    first = false_attribution(ensemble, SAMPLES, said, engine=Engine(1))
    again = false_attribution(ensemble, [*SAMPLES[::-1], "0/1", "0/01"], said, engine=Engine(1))
    assert again == first
    assert again.path == first.path


def test_a_row_depends_on_its_own_sample_alone(ensemble):
    ask = attributor("pixel", ensemble.data)
    together = false_attribution(ensemble, SAMPLES, ask, controls=2, seed=5, engine=Engine(1))
    for row in together.trials[1:3]:
        (alone,) = false_attribution(ensemble, [row.sample], ask, controls=2, seed=5, engine=Engine(1)).trials
        assert alone == row


def files(ensemble: Ensemble) -> dict:
    return {file: file.stat().st_mtime_ns for file in ensemble.path.rglob("*") if file.suffix != ".lock"}


def test_twice_is_nothing_to_do(ensemble):
    ask = attributor("pixel", ensemble.data)
    first = false_attribution(ensemble, SAMPLES, ask, engine=Engine(1))
    before, seen = files(ensemble), []
    again = false_attribution(ensemble, SAMPLES, ask, engine=Engine(1, lambda *step: seen.append(step)))
    assert again == first
    assert seen == [(1, 1)]
    assert files(ensemble) == before
    assert missing_trajectories(ensemble, SAMPLES, ask) == {}


def test_attributors_that_name_the_same_units_share_pictures_but_not_results(ensemble):
    one = false_attribution(ensemble, SAMPLES, Saying(RULES["never moves"][0]), engine=Engine(1))
    seen = []
    other = false_attribution(
        ensemble,
        SAMPLES,
        Saying(RULES["moves whatever goes"][0]),
        engine=Engine(1, lambda *step: seen.append(step)),
    )
    assert seen == [(1, 1)]
    assert one.path != other.path
    assert (FalseAttribution.read(one.path).rate, FalseAttribution.read(other.path).rate) == (1, None)


def test_samples_of_several_samplers(ensemble):
    sampler = SamplerConfig(steps=3, batch_size=4)
    sample(ensemble, count=2, seed=7, sampler=sampler, engine=Engine(1))
    said = Saying(RULES["never moves"][0])
    names = ["7/1", "0/2"]
    missing = missing_trajectories(ensemble, names, said)
    assert {drawing.sampler.steps: len(some) for drawing, some in missing.items()} == {3: 2, 4: 2}
    found = false_attribution(ensemble, names, said, engine=Engine(1))
    assert [row.sample for row in found.trials] == ["0/2", "7/1"]
    expected = sample(ensemble, count=2, seed=7, without=["u1"], sampler=sampler, engine=Engine(1)).pictures[1]
    assert torch.equal(said.shown["7/1 without u1"], expected)


class StoppedError(Exception):
    pass


@pytest.mark.slow
def test_interrupted_it_continues(ensemble, tiny_ensemble, tmp_path):
    """Four samples with five removals each are 20 pictures: a part of 16 is finished, the second is not."""
    whole = Ensemble.open(shutil.copytree(tiny_ensemble.path, tmp_path / "whole"))
    ask = attributor("pixel", ensemble.data)
    expected = false_attribution(whole, SAMPLES, ask, controls=4, engine=Engine(1))

    def stop(done: int, total: int) -> None:
        if done > 0.9 * total:
            raise StoppedError

    with pytest.raises(StoppedError):
        false_attribution(ensemble, SAMPLES, ask, controls=4, engine=Engine(1, stop))
    assert not list(artefacts.whole(ensemble.path / "evaluations", "*/*"))
    seen = []
    found = false_attribution(ensemble, SAMPLES, ask, controls=4, engine=Engine(1, lambda *step: seen.append(step)))
    assert found.trials == expected.trials
    assert found.path.relative_to(ensemble.path) == expected.path.relative_to(whole.path)
    assert seen[0][0] > seen[0][1] / 2, "the finished part was used"


def test_damaged_pictures_are_refused(ensemble, flip_byte):
    ask = attributor("pixel", ensemble.data)
    false_attribution(ensemble, SAMPLES, ask, engine=Engine(1))
    (file,) = ensemble.path.glob("evaluations/removals/*/pictures.safetensors")
    flip_byte(file)
    with pytest.raises(ArtefactError, match="pictures.safetensors is damaged"):
        false_attribution(ensemble, SAMPLES, ask, engine=Engine(1))


def test_controls_are_uniform_over_the_other_units():
    drawn = Counter(control_units(UNITS, f"0/{n}", "u4", 1, seed=0)[0] for n in range(1800))
    assert set(drawn) == set(UNITS) - {"u4"}
    assert all(150 < count < 255 for count in drawn.values())


@pytest.mark.parametrize("seed", range(5))
def test_more_controls_begin_with_the_fewer(seed):
    nine = control_units(UNITS, "0/3", "u4", 9, seed)
    assert sorted(nine) == sorted(set(UNITS) - {"u4"})
    for count in range(1, 9):
        assert control_units(UNITS, "0/3", "u4", count, seed) == nine[:count]


def test_controls_depend_on_the_seed_and_the_sample_but_not_on_the_attribution():
    def drawn(seed: int, sample: str, unit: str) -> tuple[str, ...]:
        return control_units([f"v{k}" for k in range(1000)], sample, unit, 3, seed)

    assert drawn(0, "0/1", "v0") == drawn(0, "0/1", "v1")
    assert len({drawn(0, "0/1", "v0"), drawn(1, "0/1", "v0"), drawn(0, "0/2", "v0")}) == 3


@pytest.mark.parametrize(
    ("samples", "answer", "controls", "error", "message"),
    [
        ([], None, 1, ConfigError, "No sample is given"),
        (["0/9"], None, 1, ArtefactError, "0/9 has not been drawn yet"),
        (["nine"], None, 1, ConfigError, "SEED/INDEX"),
        (SAMPLES, None, 0, ConfigError, "--controls must be from 1 to 9"),
        (SAMPLES, None, 10, ConfigError, "--controls must be from 1 to 9, the units other than 'u0'; given 10"),
        (SAMPLES, "queries", 1, DataError, r"'saying' was given 4 pictures \(0/0, 0/1 ...\) and returned"),
        (SAMPLES, "units", 1, DataError, "no unit 'nobody'"),
    ],
)
def test_bad_requests_leave_nothing_behind(ensemble, samples, answer, controls, error, message):
    def foreign(pictures, names):
        estimand = Estimand("", "", "", "", "unit")
        return Scores(torch.ones(len(names), 1), tuple(names), ("a",), (("nobody",),), "x", estimand, "unsigned", "max")

    def renamed(pictures, names):
        return Saying(lambda *_: "u0")(pictures, [f"q{k}" for k in range(len(names))])

    ask = {"queries": renamed, "units": foreign}.get(answer, Saying(lambda picture, unit: own(picture)))
    with pytest.raises(error, match=message):
        false_attribution(ensemble, samples, ask, controls=controls, engine=Engine(1))
    assert not (ensemble.path / "evaluations").exists()
