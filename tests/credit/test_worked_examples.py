"""The behaviour and the estimator of docs/credit.md, each one file, in a study of their own."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whence.credit.coalitions import CoalitionSampling, proper
from whence.credit.game import Game
from whence.credit.make_game import measure_coalitions
from whence.credit.study_credit import credit_of_study
from whence.engine import Engine

PAGE = (Path(__file__).parent.parent.parent / "docs" / "credit.md").read_text("utf-8")


@pytest.fixture(scope="module")
def own() -> dict[str, Any]:
    """The names that the two files of the page define."""
    _, *files = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    for file in files:
        assert len(file.splitlines()) < 40
        exec(file, names)
    return names


def test_both_share_out_a_study(study, contributors, own):
    sampling = CoalitionSampling(coalitions=6)
    credit, game = credit_of_study(
        study, contributors, [own["CONTRAST"]], own["MEAN_DIFFERENCE"], sampling, engine=Engine(1)
    )
    [everybody] = measure_coalitions(study, [np.arange(24)])
    assert credit.all == pytest.approx([everybody[0].pictures.std((1, 2, 3)).mean() / 255])
    inside, values = game.coalitions[:, 0], game.values[:, 0]
    assert credit.shares[0, 0] == pytest.approx(values[inside].mean() - values[~inside].mean())


def test_the_estimator_weighs_coalitions(own):
    game = Game.of_function("abc", proper(3), lambda inside: inside @ np.array([3.0, 1.0, -1.0]))
    twice = game.select(np.repeat(np.arange(6), [2, 2, 1, 1, 1, 1]))
    weights = np.array([2.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    assert own["MEAN_DIFFERENCE"].shares(game, weights) == pytest.approx(own["MEAN_DIFFERENCE"].shares(twice))
