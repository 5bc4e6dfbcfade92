"""`whence evaluate` on the tiny ensemble."""

import pytest
from typer.testing import CliRunner

from whence import artefacts
from whence.cli.app import app
from whence.cli.evaluate.false_attribution import result_lines
from whence.engine import Engine
from whence.errors import ArtefactError, ConfigError
from whence.evaluation.false_rate import FalseAttribution, Trial


def evaluate(ensemble, *words):
    return CliRunner().invoke(app, ["evaluate", "false-attribution", str(ensemble.path), *words])


def test_false_attribution(ensemble):
    planned = evaluate(ensemble, "--attributor", "pixel", "--plan")
    assert planned.exit_code == 0
    assert "8 pictures in 4 steps" in planned.output
    assert not (ensemble.path / "evaluations").exists()
    done = evaluate(ensemble, "--attributor", "pixel", "--workers", "1")
    assert done.exit_code == 0, done.output
    (path,) = artefacts.whole(ensemble.path / "evaluations", "false-attribution/*")
    found = FalseAttribution.read(path)
    assert [row.sample for row in found.trials] == ["0/0", "0/1", "0/2", "0/3"]
    assert all(line in done.output for line in result_lines(found))
    assert str(path) in done.output.replace("\n", "")
    again = evaluate(ensemble, "--attributor", "pixel")
    assert again.stdout == done.stdout
    assert "nothing: all of it is there already" in evaluate(ensemble, "--attributor", "pixel", "--plan").output


def test_options_reach_the_measurement(ensemble):
    words = ["--attributor", "pixel-flips", "--samples", "0/0-1", "--samples", "0/3", "--controls", "2", "--seed", "7"]
    assert evaluate(ensemble, *words, "--workers", "1").exit_code == 0
    (path,) = artefacts.whole(ensemble.path / "evaluations", "false-attribution/*")
    found = FalseAttribution.read(path)
    assert [(row.sample, len(row.controls)) for row in found.trials] == [("0/0", 2), ("0/1", 2), ("0/3", 2)]
    assert (found.attributor, found.seed) == ("pixel with flips", 7)


@pytest.mark.slow
def test_an_attributor_of_gradients(ensemble, tmp_path):
    words = ["--attributor", "gradient-dot", "--samples", "0/0", "--draws", "8", "--workers", "1"]
    planned = evaluate(ensemble, *words, "--plan")
    assert planned.exit_code == 0, planned.output
    assert "2 pictures in 4 steps" in planned.output
    assert f"{6 * (40 + 3) * 8:,} gradients of a picture at a draw" in planned.output
    assert not (ensemble.path / "evaluations").exists()
    done = evaluate(ensemble, *words, "--store", str(tmp_path / "features"))
    assert done.exit_code == 0, done.output
    assert "Attributor gradient-dot, 1 pictures" in done.output
    assert sorted(path.name for path in (ensemble.path / "evaluations").iterdir()) == ["false-attribution", "removals"]


def test_pictures_without_a_unit_are_not_taken_by_default(ensemble):
    from whence.ensemble import sample

    sample(ensemble, count=2, seed=3, without=["u1"], engine=Engine(1))
    assert "8 pictures in 4 steps" in evaluate(ensemble, "--attributor", "pixel", "--plan").output


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--attributor", "pixels"], ConfigError, "no method 'pixels'. `whence methods` lists them"),
        (["--attributor", "pixel", "--draws", "8"], ConfigError, "pixel compares pictures: it has no draws"),
        (["--attributor", "d-trak", "--draws", "4"], ConfigError, "draws"),
        (["--attributor", "pixel", "--samples", "three"], ConfigError, "SEED/INDEX"),
        (["--attributor", "pixel", "--samples", "0/7"], ArtefactError, "--count 8"),
        (["--attributor", "pixel", "--controls", "10"], ConfigError, "from 1 to 9"),
    ],
)
def test_bad_requests(ensemble, words, error, message):
    found = evaluate(ensemble, *words).exception
    assert isinstance(found, error)
    assert message in str(found)
    assert not (ensemble.path / "evaluations").exists()


def test_an_ensemble_that_has_drawn_nothing(ensemble):
    import shutil

    shutil.rmtree(ensemble.path / "samples")
    found = evaluate(ensemble, "--attributor", "pixel").exception
    assert isinstance(found, ArtefactError)
    assert "No picture has been drawn yet" in str(found)


@pytest.mark.parametrize("words", [[], ["--attributor", "pixel", "--seed", "-1"]])
def test_bad_options(ensemble, words):
    assert evaluate(ensemble, *words).exit_code == 2


def result(*rows: tuple[str, ...]) -> FalseAttribution:
    """Rows of the unit named after the removal, and after each control; "u" is the one named at first."""
    named = [
        Trial(f"0/{n}", "u", after, ("r",) * len(controls), controls)
        for n, (after, *rest) in enumerate(rows)
        for controls in [tuple(rest)]
    ]
    return FalseAttribution("pixel", tuple(named), 0)


@pytest.mark.parametrize(
    ("found", "parts"),
    [
        (
            result(*[("u", "u"), ("v", "u"), ("v", "v"), ("v", "u")] * 4),
            [
                "16 pictures",
                "without that unit: 4 of 16, FA = 0.25",
                "without a random one: 12 of 16, B = 0.75",
                "FA/B: 0.33, 95% interval 0.",
                "So few pictures (16)",
            ],
        ),
        (
            result(("v", "u", "v"), ("v", "u", "u")),
            ["without 2 random ones: 3 of 4, B = 0.75", "FA/B: 0.00", "No attribution stayed", "FA may be up to 0.78"],
        ),
        (result(("u", "v"), ("v", "v")), ["undefined, since the control never agreed"]),
        (result(("v", "u"), ("v", "v")), ["resamples where B is not 0"]),
    ],
)
def test_words(found, parts):
    said = " ".join(" ".join(result_lines(found)).split())
    for part in parts:
        assert part in said
    assert "So few" not in " ".join(result_lines(result(*[("u", "u")] * 100)))
