"""`whence credit ...` and the report of credit, as a user runs them."""

import csv

import numpy as np
import pytest
from PIL import Image

from whence.config import Config, ModelConfig, TrainingConfig
from whence.credit.credit import Credit, Explained
from whence.credit.stored_credit import write_credit
from whence.data import load
from whence.diffusion.training import train

TRAINING = TrainingConfig(steps=20, batch_size=20, save_every=20, checkpoints=2, warmup=2, learning_rate=1e-3)
SMALL = ("--workers", 1, "--pictures", 6, "--steps", 2, "--sampler-steps", 5)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Thirty digits of three artists and two licences, two of nobody, a run without a column, and held-out digits."""
    root = tmp_path_factory.mktemp("credit")
    digits = load("digits").select(range(30))
    rows = []
    (root / "images").mkdir()
    for n in range(30):
        Image.fromarray(np.asarray(digits.pixels[n, 0])).save(root / "images" / f"{n:02d}.png")
        artist = "" if n in (3, 8) else ("anna", "ben", "cleo")[n % 3]
        rows.append({"file_name": f"{n:02d}.png", "artist": artist, "licence": ("cc", "own")[n % 2]})
    with (root / "images" / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (root / "held-out").mkdir()
    for n, pixels in enumerate(load("digits:test").pixels[:8, 0]):
        Image.fromarray(np.asarray(pixels)).save(root / "held-out" / f"{n}.png")
    train(load(root / "images"), root / "run", Config(model=ModelConfig(channels=(8,)), training=TRAINING))
    return root


@pytest.fixture(scope="module")
def computed(place, printed_by):
    """Credit of the run, by two estimators; ``printed.txt`` beside it is what the command says."""
    out, wanted = place / "computed", ("--unit-column", "artist", "--behaviour", "held-out-fit")
    names = ("--estimator", "leave-one-out", "--estimator", "shapley", "--coalitions", 10, "--repeats", 2)
    printed = compute(printed_by, place, out, *wanted, "--held-out", place / "held-out", *names)
    (place / "printed.txt").write_text(printed, "utf-8")
    return out


def compute(run, place, out, *words, source="run"):
    return run("credit", "compute", place / source, place / "images", "--out", out, *SMALL, *words)


@pytest.mark.parametrize("command", [(), ("compute",), ("statement",), ("why-not",), ("audit",)])
def test_help(whence, command):
    outcome = whence("credit", *command, "--help")
    assert outcome.code == 0
    assert "whence credit" in outcome.out


def test_from_a_run_to_a_statement(whence, place, computed):
    printed = (place / "printed.txt").read_text("utf-8")
    assert "leave-one-out: 4 contributors" in printed
    assert "held-out-fit: v(none) " in printed
    shapley, left_out = (Credit.read(computed / name) for name in ("shapley", "leave-one-out"))
    assert shapley.units == ("anna", "ben", "cleo", "(none)")
    assert [len(own) for own in shapley.examples] == [9, 10, 9, 2]
    assert abs(shapley.remainder[0]) < 1e-9 < abs(left_out.remainder[0])
    assert left_out.low is not None
    assert "Rank " in whence("credit", "why-not", computed, "--unit", "ben").out
    audited = whence("credit", "audit", computed)
    assert "leave-one-out, copies, held-out-fit" in audited.out
    assert (computed / "audit.csv").exists()
    assert whence("credit", "statement", computed, "--unit", "anna").code == 0
    assert "anna" in (computed / "statements" / "anna.html").read_text("utf-8")
    assert whence("report", computed).code == 0
    assert "Owed to nobody" in (computed / "report.html").read_text("utf-8")


def test_the_same_command_again_makes_no_model(whence, place, computed, recwarn):
    before = {path: path.stat().st_mtime_ns for path in (computed / "looks").rglob("*.safetensors")}
    wanted = ("--unit-column", "artist", "--held-out", place / "held-out", "--behaviour", "held-out-fit")
    assert compute(whence, place, computed, *wanted, "--estimator", "leave-one-out", "--repeats", 2).code == 0
    assert {path: path.stat().st_mtime_ns for path in (computed / "looks").rglob("*.safetensors")} == before
    assert before


def test_a_plan_starts_nothing(whence, place, computed, tmp_path):
    out = tmp_path / "new"
    outcome = compute(whence, place, out, "--unit-column", "artist", "--plan")
    assert outcome.code == 0, outcome.err
    assert "15 models" in outcome.out
    assert "Nothing was started" in outcome.out
    assert not out.exists()
    wanted = ("--unit-column", "artist", "--held-out", place / "held-out", "--behaviour", "held-out-fit", "--plan")
    assert "all of it is there" in compute(whence, place, computed, *wanted, "--estimator", "leave-one-out").out


@pytest.mark.slow
def test_a_split_is_measured_on_new_models(whence, place, computed):
    assert "name the run" in whence("credit", "audit", computed, "--split", "ben", "--names", 2).err
    outcome = whence(
        "credit", "audit", computed, "--split", "ben", "--names", 2, "--run", place / "run", "--workers", 1
    )
    assert outcome.code == 0, outcome.err
    assert "leave-one-out, split, held-out-fit" in outcome.out


def test_several_columns_make_contributors_that_overlap(whence, place, tmp_path):
    out = tmp_path / "both"
    words = ("--unit-column", "artist", "--unit-column", "licence", "--estimator", "leave-one-out")
    assert compute(whence, place, out, *words).code == 0
    credit = Credit.read(out / "leave-one-out")
    assert credit.units == ("artist: anna", "artist: ben", "artist: cleo", "licence: cc", "licence: own")
    assert sum(map(len, credit.examples)) == 28 + 30


@pytest.mark.slow
def test_owen_values_over_a_declared_and_over_found_clusters(whence, place, tmp_path):
    words = ("--unit-column", "artist", "--estimator", "owen", "--coalitions", 20)
    assert "Owen values over 4 clusters of 4 contributors" in compute(whence, place, tmp_path / "found", *words).out
    refused = compute(whence, place, tmp_path / "declared", *words, "--clusters", "licence")
    assert "are of 2 clusters (cc, own); a contributor belongs to one" in refused.err


@pytest.fixture
def scores(whence, place):
    """Scores by two methods, of which one adds up; made once."""
    asked = ("--queries", "sample:2", "--method", "tangent", "--method", "gradient-cosine")
    few = ("--draws", 8, "--width", 200, "--workers", 1, "--out", place / "scores")
    if not (place / "scores").exists():
        done = whence("attribute", place / "run", place / "images", "--unit-column", "artist", *asked, *few)
        assert done.code == 0, done.err
    return place / "scores"


def test_from_scores_to_shares(whence, place, scores):
    outcome = whence("credit", "compute", scores, "--out", place / "sums")
    assert outcome.code == 0, outcome.err
    assert "Left out gradient-cosine" in outcome.out
    assert Credit.read(place / "sums" / "sum-tangent").units == ("anna", "ben", "cleo", "(none)")
    told = whence("credit", "why-not", place / "sums", "--query", "0/1", "--unit", "ben").out
    assert "Rank " in told
    assert "of 4" in told


def test_from_an_ensemble_to_shares(whence, ensemble, tmp_path):
    out = tmp_path / "exact"
    outcome = whence("credit", "compute", ensemble.path, "--queries", "0/0", "--draws", 4, "--out", out)
    assert outcome.code == 0, outcome.err
    credit = Credit.read(out / "leave-one-out")
    assert len(credit.units) == 10
    assert np.isnan(credit.remainder[0])
    assert "not known, v(none) was not measured" in outcome.out


UNUSED = {
    "a plan and an estimator": (
        ("--estimator", "banzhaf", "--plan"),
        "--estimator is not used",
        "--estimator is not used",
    ),
    "a behaviour": (("--behaviour", "diversity"), "--behaviour is not used", "--behaviour is not used"),
    "held-out pictures": (("--held-out", "x"), "--held-out is not used", "--held-out is not used"),
    "several": (("--pictures", 6, "--way", "retraining"), "--way, --pictures are not", "--way, --pictures are not"),
    "clusters": (("--clusters", "licence"), "--clusters is not used", "--clusters is not used"),
    "draws": (("--draws", 4), "--draws is not used", None),
    "queries": (("--queries", "sample:1"), "--queries is not used", None),
    "a column without data": (("--unit-column", "x"), "--unit-column is about DATA", "--unit-column is about DATA"),
}


@pytest.mark.parametrize("case", UNUSED)
def test_options_that_a_source_does_not_use_are_refused(whence, place, scores, ensemble, tmp_path, case):
    options, of_scores, of_ensemble = UNUSED[case]
    for source, message in ((scores, of_scores), (ensemble.path, of_ensemble)):
        if message is not None:
            outcome = whence("credit", "compute", source, *options, "--out", tmp_path / "x")
            assert (outcome.code, message in outcome.err) == (1, True), outcome.err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--draws", 4), "--draws is not used"), (("--clusters", "licence"), "add --estimator owen")],
)
def test_options_that_a_run_does_not_use_are_refused(whence, place, tmp_path, options, message):
    outcome = compute(whence, place, tmp_path / "x", "--unit-column", "artist", *options)
    assert (outcome.code, message in outcome.err) == (1, True), outcome.err


def test_a_plan_of_scores_and_of_an_ensemble_starts_nothing(whence, place, scores, ensemble, tmp_path):
    for words in ((scores,), (ensemble.path, "--queries", "0/0", "--draws", 4)):
        outcome = whence("credit", "compute", *words, "--out", tmp_path / "x", "--plan")
        assert outcome.code == 0, outcome.err
        assert "Nothing was started" in outcome.out
        assert not (tmp_path / "x").exists()


def test_shares_get_a_folder_of_their_own(whence, place, scores, ensemble, tmp_path):
    for source in (scores, ensemble.path, place / "run"):
        for out in (source, source / "credit"):
            data = (place / "images", "--unit-column", "artist") if source == place / "run" else ()
            outcome = whence("credit", "compute", source, *data, "--out", out)
            assert (outcome.code, "or inside of it" in outcome.err) == (1, True), outcome.err
        assert not (source / "credit").exists()
    outcome = whence("credit", "compute", ensemble.path, "--queries", "0/0", "--out", scores)
    assert (outcome.code, "holds something else (attribution)" in outcome.err) == (1, True), outcome.err


REFUSED = {
    "no data": (("run",), (), "give DATA and --unit-column"),
    "no column": (("run", "images"), (), "give DATA and --unit-column"),
    "an unknown behaviour": (("run", "images"), ("--unit-column", "artist", "--behaviour", "x"), "no behaviour 'x'"),
    "an unknown estimator": (("run", "images"), ("--unit-column", "artist", "--estimator", "x"), "no estimator 'x'"),
    "an unknown column": (("run", "images"), ("--unit-column", "x"), "no unit column 'x'"),
    "no held-out pictures": (
        ("run", "images"),
        ("--unit-column", "artist", "--behaviour", "coverage"),
        "needs more than 5 held-out pictures",
    ),
    "no queries": (("run", "images"), ("--unit-column", "artist", "--behaviour", "fit"), "name the queries"),
    "something else": (("images",), (), "DATA and --unit-column"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused(whence, place, tmp_path, case):
    words, options, message = REFUSED[case]
    outcome = whence("credit", "compute", *[place / word for word in words], "--out", tmp_path / "x", *SMALL, *options)
    assert outcome.code == 1
    assert message in outcome.err, outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("plan", [("--plan",), ()], ids=["planned", "begun"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pictures", 4), "Diversity needs 6 drawn pictures or more"),
        (("--behaviour", "coverage"), "'coverage' needs more than 5 held-out pictures"),
        (("--behaviour", "precision", "--pictures", 0), "'precision' is measured on drawn pictures"),
        (("--behaviour", "classes"), "need training examples of two classes or more"),
        (("--behaviour", "held-out-fit"), "is measured on held-out pictures"),
    ],
)
def test_what_a_behaviour_lacks_is_said_before_a_study_is_begun(whence, place, tmp_path, options, message, plan):
    out = tmp_path / "x"
    outcome = compute(whence, place, out, "--unit-column", "artist", *options, *plan)
    assert (outcome.code, message in outcome.err) == (1, True), outcome.err
    assert not out.exists()


def test_an_audit_of_shares_of_zero_has_no_ratio(whence, tmp_path):
    explained = (Explained("diversity", "Diversity", "bits", None, 0.0, 0.0),)
    write_credit(
        Credit("leave-one-out", False, ("a", "b"), (("1",), ("2",)), explained, np.zeros((1, 2)), None, {}),
        tmp_path,
        {},
        {},
    )
    told = whence("credit", "audit", tmp_path).out
    assert "leave-one-out, copies, diversity: 0 before, 0 after, no ratio" in told
    assert "nan" not in told


@pytest.mark.parametrize("command", [("audit",), ("statement", "--unit", "a"), ("why-not", "--unit", "a")])
def test_a_folder_without_shares_is_refused(whence, tmp_path, command):
    outcome = whence("credit", command[0], tmp_path, *command[1:])
    assert outcome.code == 1
    assert "holds no shares" in outcome.err
