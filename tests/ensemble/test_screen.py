"""Screens: estimates of every unit's ablation, kept as artefacts."""

import shutil

import numpy as np
import pytest
import torch

from whence import artefacts
from whence.config import SamplerConfig
from whence.engine import Engine
from whence.ensemble import Ensemble, sample
from whence.ensemble import screen as screen_module
from whence.ensemble.codebook import Codebook
from whence.ensemble.screen import Screen, screen, unit_changes
from whence.ensemble.tangents import forward_evaluations, tangents, weight_change
from whence.errors import ArtefactError, ConfigError, MismatchError
from whence.scores.scores import Scores

UNITS = tuple(f"u{k}" for k in range(10))
NAMES = ["0/0", "0/1", "0/2"]


@pytest.fixture(scope="module")
def screened(tiny_ensemble, tmp_path_factory):
    """An ensemble with the screens of 0/0 ... 0/2, two at a time, and what they said."""
    path = tmp_path_factory.mktemp("screened") / "ens"
    ensemble, seen = Ensemble.open(shutil.copytree(tiny_ensemble.path, path)), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen_module, "TOGETHER", 2)
        scores = screen(ensemble, ["0/0-2"], engine=Engine(1, lambda *progress: seen.append(progress)))
    return ensemble, scores, seen


def opened(ensemble: Ensemble, name: str) -> Screen:
    return Screen.open(ensemble.path / "screens" / name.replace("/", "-"))


def test_scores_against_the_sum_over_members(screened):
    """‖Σ_m Δw_m J_m‖₂ / 2 written out, for every unit and sample."""
    ensemble, scores, _ = screened
    for name in NAMES:
        J = opened(ensemble, name).tensors["tangents"]
        for u, unit in enumerate(UNITS):
            survivors = ensemble.codebook.survivors([unit])
            moved = sum((1 / len(survivors) if m in survivors else 0) * J[m] - J[m] / 6 for m in range(6))
            assert scores.row(name)[u].item() == pytest.approx(moved.norm().item() / 2, rel=1e-6)
    assert (scores.scores > 0).all()


def test_an_artefact_holds_the_tangents_of_the_members_in_order(screened):
    ensemble, _, _ = screened
    sampler = SamplerConfig(steps=4, batch_size=4)
    picture, J = tangents(ensemble.reference_model, ensemble.open_members(), sampler, [(0, 2)])
    one = opened(ensemble, "0/2")
    assert one.manifest.made == {"sample": "0/2", "sampler": sampler.record() | {"clip": False}}
    assert one.manifest.inputs == {"ensemble": ensemble.manifest.fingerprint}
    assert (one.tensors["factual"].dtype, one.tensors["tangents"].dtype) == (torch.float32, torch.float64)
    assert torch.allclose(one.tensors["factual"], picture[0].float(), atol=1e-5)
    assert torch.allclose(one.tensors["tangents"], J[:, 0], atol=1e-5)


def test_the_scores_say_what_they_are(screened, tmp_path):
    ensemble, scores, _ = screened
    assert (scores.queries, scores.examples) == (tuple(NAMES), UNITS)
    assert (scores.method, scores.sign, scores.combine) == ("differential ablation", "unsigned", "max")
    assert "first order" in scores.estimand.behaviour
    assert scores.estimand.model == ensemble.manifest.fingerprint
    assert scores.by_unit().top("0/1", 10) == scores.top("0/1", 10)
    scores.write(tmp_path / "scores", {"ensemble": ensemble.manifest.fingerprint})
    assert torch.equal(Scores.read(tmp_path / "scores").scores, scores.scores)


def test_placebos_and_any_weights_follow_from_the_same_tangents(screened):
    one = opened(screened[0], "0/1")
    changes = torch.stack([weight_change(6, [0, 1]), weight_change(6, range(6)), torch.zeros(6).double()])
    found = one.distances(changes)
    expected = torch.einsum("m,mchw->chw", changes[0], one.tensors["tangents"]).norm().item() / 2
    assert found[0].item() == pytest.approx(expected, rel=1e-9)
    assert found[1:].abs().max() < 1e-12
    assert one.distances(2 * changes)[0].item() == pytest.approx(2 * expected, rel=1e-9)


@pytest.mark.parametrize("weight", [None, 2, 5])
def test_at_most_m_minus_one_independent_numbers(weight):
    """The changes of any number of units sum to zero over the members."""
    book = Codebook.random(tuple(f"u{k}" for k in range(6)), 6, seed=0, weight=weight)
    changes = unit_changes(book)
    assert changes.shape == (6, 6)
    assert changes.sum(1).abs().max() < 1e-15
    assert torch.linalg.matrix_rank(changes) <= 5
    for u, unit in enumerate(book.units):
        assert np.flatnonzero(changes[u].numpy() > 0).tolist() == book.survivors([unit])


def test_progress_counts_forward_mode_evaluations(screened):
    _, _, seen = screened
    total = 3 * forward_evaluations(6, SamplerConfig(steps=4))
    assert total == 3 * 4 * 6 * 7
    assert [one for one in seen if one[1] == total][-1] == (total, total)


def test_one_alone_agrees_within_rounding_and_is_not_mixed_with_samples_drawn_in_another_way(screened, ensemble):
    expected = opened(screened[0], "0/2")
    screen(ensemble, "0/2", engine=Engine(1))
    for key, tensor in opened(ensemble, "0/2").tensors.items():
        assert torch.allclose(tensor, expected.tensors[key], atol=1e-5)
    shutil.rmtree(ensemble.path / "samples" / "0")
    sample(ensemble, count=3, sampler=SamplerConfig(steps=2, batch_size=4), engine=Engine(1))
    with pytest.raises(MismatchError, match=r"sampler\.steps"):
        screen(ensemble, ["0/2"], engine=Engine(1))


@pytest.mark.slow
def test_an_interrupted_screen_continues(screened, ensemble, monkeypatch, contents):
    monkeypatch.setattr(screen_module, "TOGETHER", 2)

    class StoppedError(Exception):
        pass

    def stop(done, total):
        if done > 0.7 * total:
            raise StoppedError

    with pytest.raises(StoppedError):
        screen(ensemble, NAMES, engine=Engine(1, stop))
    there = [path.name for path in artefacts.whole(ensemble.path / "screens", "*")]
    assert there == ["0-0", "0-1"]
    seen = []
    scores = screen(ensemble, NAMES, engine=Engine(1, lambda *progress: seen.append(progress)))
    assert max(total for _, total in seen) == forward_evaluations(6, SamplerConfig(steps=4))
    assert contents(ensemble.path / "screens") == contents(screened[0].path / "screens")
    assert torch.equal(scores.scores, screened[1].scores)


def test_twice_is_nothing_to_do(screened):
    ensemble, scores, _ = screened
    times = {file: file.stat().st_mtime_ns for file in (ensemble.path / "screens").rglob("*")}
    seen = []
    again = screen(ensemble, NAMES, engine=Engine(1, lambda *progress: seen.append(progress)))
    assert seen == [(1, 1)]
    assert torch.equal(again.scores, scores.scores)
    assert {file: file.stat().st_mtime_ns for file in (ensemble.path / "screens").rglob("*")} == times


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["0/0", "0/4"], ArtefactError, r"0/4 has not been drawn yet .*First: whence ensemble sample .*--count 5"),
        (["3/0"], ArtefactError, "3/0 has not been drawn yet"),
        (["0/0", "nine"], ConfigError, "SEED/INDEX"),
        ([], ConfigError, "No sample is given"),
    ],
)
def test_bad_requests_leave_nothing_behind(ensemble, names, error, message):
    with pytest.raises(error, match=message):
        screen(ensemble, names, engine=Engine(1))
    assert not (ensemble.path / "screens").exists()


def test_a_damaged_screen_is_refused(screened, tmp_path, flip_byte):
    path = shutil.copytree(screened[0].path / "screens" / "0-1", tmp_path / "0-1")
    flip_byte(path / "tangents.safetensors")
    with pytest.raises(ArtefactError, match=r"tangents\.safetensors is damaged"):
        Screen.open(path)


def test_an_ensemble_that_changed_is_refused(ensemble):
    group = screen_module.screen_requests(ensemble, "0/0")
    with pytest.raises(MismatchError, match="changed while it was used"):
        screen_module.draw_group(str(ensemble.path), "0" * 64, group, lambda *_: None)


@pytest.mark.slow
def test_two_workers_write_the_same_bytes(screened, ensemble, monkeypatch, contents):
    monkeypatch.setattr(screen_module, "TOGETHER", 2)
    screen(ensemble, NAMES, engine=Engine(2))
    assert contents(ensemble.path / "screens") == contents(screened[0].path / "screens")
