"""Chances of membership: exact cases, the share of false alarms, and refusals."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.special import ndtri
from scipy.stats import rankdata

from whence.attribution.target import Target
from whence.audit.low_noise import LowNoiseDraws
from whence.audit.make_membership import audit_membership, code_word_statistics, joined
from whence.audit.membership_test import MembershipTest, group_chances
from whence.config import Config, ModelConfig, TrainingConfig
from whence.data import load
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.training import train
from whence.errors import ConfigError, DataError, NotFiniteError
from whence.retraining.denoising_losses import example_losses
from whence.seeds import derived_seed

MODEL = ModelConfig(channels=(8,), attention=0)
TRAINING = TrainingConfig(steps=8, batch_size=9, save_every=4, checkpoints=1, warmup=1)


def test_the_chance_is_the_rank_among_the_first_half():
    test = MembershipTest(np.array([5.0, 3.0, -1.0]), np.array([3.0, 0.0, 1.0, 2.0]), np.array([4.0, 0.5]), 0.25)
    assert test.chances.tolist() == [1 / 5, 2 / 5, 1.0]
    assert test.alarms.value == 0.5  # of 4.0 and 0.5, one is above all of the first half
    assert test.found.tolist() == [True, False, False]


def test_a_group_is_compared_with_all_groups():
    statistics, controls = np.array([3.0, 2.5]), np.array([0.0, 1.0, 2.0, 2.7, 4.0])
    scores = ndtri((rankdata(np.concatenate([statistics, controls])) - 0.5) / 7)
    all_groups = [scores[list(group)].sum() for group in combinations(range(7), 2)]
    exact = np.mean(np.array(all_groups) >= scores[:2].sum() - 1e-9)
    assert group_chances(statistics[None], controls)[0] == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("size", [1, 20])
def test_false_alarms_are_as_rare_as_the_level_says(size):
    source, alarms = np.random.default_rng(0), []
    for _ in range(300):
        statistics, controls = source.normal(size=size), source.normal(size=60)
        test = MembershipTest.of(statistics, controls, level=0.1)
        chance = test.chances if size == 1 else group_chances(statistics[None], test.first, 199)
        alarms.append(chance[0] <= 0.1)
    assert np.mean(alarms) < 0.1 + 3 * np.sqrt(0.1 * 0.9 / 300)
    assert np.mean(alarms) > 0.03


def test_pictures_together_are_found_where_none_is_alone():
    source = np.random.default_rng(1)
    test = MembershipTest.of(source.normal(1.0, 1.0, 20), source.normal(size=800), level=0.01)
    assert test.together <= 0.01 < test.chances.mean()
    assert test.group_alarms is not None
    assert test.can_tell
    assert test.can_tell_together


def test_too_few_controls_tell_nothing():
    test = MembershipTest.of(np.full(3, 9.0), np.zeros(100), level=0.01)
    assert not test.can_tell
    assert not test.found.any()
    assert test.needed == 198
    assert MembershipTest.of(np.full(3, 9.0), np.zeros(198), level=0.01).can_tell


def test_halves_that_are_not_alike_tell_nothing():
    test = MembershipTest(np.array([99.0]), np.zeros(200), np.ones(200), 0.01)
    assert test.alarms.value == 1.0
    assert not test.can_tell


@pytest.mark.parametrize(
    ("statistics", "controls", "level", "error"),
    [
        ([1.0], [1.0], 0.01, ConfigError),
        ([], [1.0, 2.0], 0.01, ConfigError),
        ([1.0], [1.0, 2.0], 1.0, ConfigError),
        ([np.nan], [1.0, 2.0], 0.01, NotFiniteError),
    ],
)
def test_what_is_refused(statistics, controls, level, error):
    with pytest.raises(error):
        MembershipTest.of(np.array(statistics), np.array(controls), level=level)


def test_draws_with_little_noise_are_those_of_the_seed_and_shared():
    plain = Draws(seed=3, timesteps=1000, shared=True)
    quiet = LowNoiseDraws.of(Draws(seed=3, timesteps=1000))
    t, noise = plain(["a"] * 64, np.arange(64), (1, 2, 2))
    rows = torch.nonzero(t < 250).flatten()
    few_t, few_noise = quiet(["b"] * len(rows), np.arange(len(rows)), (1, 2, 2))
    assert torch.equal(few_t, t[rows])
    assert torch.equal(few_noise, noise[rows])
    with pytest.raises(ConfigError, match="draws with little noise"):
        quiet(["a"], [10**5], (1, 2, 2))


def test_of_code_words_of_nobody_no_more_are_named_than_the_level_says():
    source, chances, together = np.random.default_rng(0), [], []
    for _ in range(200):
        words = source.normal(size=(3, 205)) * source.uniform(0.1, 9, (3, 1))
        found = code_word_statistics(words[:, :5], words[:, 5:], 3)
        chances += found.chances.tolist()
        together.append(found.together)
    for found in (chances, together):
        assert np.mean(np.array(found) <= 0.1) <= 0.1 + 3 * np.sqrt(0.09 / len(found))


def test_a_model_needs_controls_that_are_none_of_the_pictures(run, digits, tmp_path):
    pictures = digits.select(range(4))
    with pytest.raises(DataError, match="without comparison pictures"):
        audit_membership(run, pictures, None, tmp_path / "a")
    with pytest.raises(DataError, match="4 controls are among the pictures"):
        audit_membership(run, pictures, digits, tmp_path / "a")
    with pytest.raises(DataError, match="--resolution 8"):
        audit_membership(run, pictures, load("styles:test"), tmp_path / "a")


def test_statistics_of_a_model_are_minus_losses_and_of_a_run_since_its_first_checkpoint(run, digits, tmp_path):
    pictures, controls = digits.select(range(3)), load("digits:test").select(range(2))
    model, config = Target.open(run).model, Config(model=MODEL, training=TRAINING.model_copy(update={"checkpoints": 2}))
    found = audit_membership(model, pictures, controls, tmp_path / "a", draws=4).pictures["statistic"]
    every, draws = joined(Target.open(run), pictures, controls)[0], model.process.draws(derived_seed(0, "membership"))
    of_model = example_losses(model, Examples.of(every), LowNoiseDraws.of(draws), 4)
    assert found == pytest.approx(-of_model[:3])
    train(digits, tmp_path / "run", config)
    target = Target.open(tmp_path / "run")
    first, last = (one.checkpoint.open() for one in target.checkpoints("checkpoints", digits.ids))
    losses = [example_losses(one, Examples.of(every), LowNoiseDraws.of(draws), 4) for one in (first, target.model)]
    found = audit_membership(target, pictures, controls, tmp_path / "b", draws=4).pictures["statistic"]
    assert found == pytest.approx(np.log(losses[0] / losses[1])[:3])


def test_statistics_are_kept_and_do_not_depend_on_other_pictures(run, digits, tmp_path):
    controls = load("digits:test").select(range(6))
    audit = audit_membership(run, digits.select(range(4)), controls, tmp_path / "a", draws=8)
    assert (np.array(audit.pictures["statistic"]) < 0).all()
    assert len(audit.controls["statistic"]) == 6
    assert audit.placebos is None
    again = audit_membership(run, digits.select(range(4)), controls, tmp_path / "a", draws=8)
    assert again.manifest == audit.manifest
    alone = audit_membership(run, digits.select([2]), controls, tmp_path / "b", draws=8)
    assert alone.pictures["statistic"][0] == pytest.approx(audit.pictures["statistic"][2], rel=1e-5)


def test_an_ensemble_needs_no_controls_and_refuses_training_images(ensemble, tmp_path):
    pictures = load("digits:test").select(range(3))
    audit = audit_membership(ensemble, pictures, None, tmp_path / "a", draws=8)
    assert audit.test() is None
    assert audit.placebos is not None
    assert audit.placebos.smallest == 3 / 4  # three units, three words of nobody
    assert (audit.placebos.each >= 3 / 4).all()
    with pytest.raises(DataError, match="in the training data"):
        audit_membership(ensemble, pictures, ensemble.data.select(range(9)), tmp_path / "b", draws=8)
