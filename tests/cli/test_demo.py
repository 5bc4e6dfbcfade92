"""The demo in the small: what it prints, and that it continues."""

import numpy as np
import pytest
import torch
from PIL import Image

import whence
from whence.cli import demo
from whence.cli.demo_pictures import Redrawn, nearest_contributors, nobody_in_particular, sentences
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.model import DiffusionModel
from whence.diffusion.shipped_base import base_folder
from whence.ensemble.ablation import ablations
from whence.ensemble.influence import Influence

PICTURES = 3


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A demo of six adapters of two steps, run twice: its folder and what each run printed."""
    out = tmp_path_factory.mktemp("demo") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        small = {"MEMBERS": 6, "WEIGHT": 4, "DRAWS": 2, "STEPS": 2, "DRAWING_STEPS": 3, "NUMERALS": ("zero",)}
        for name, value in small.items():
            patch.setattr(demo, name, value)
        patch.setattr(demo, "PROMPTS", ("a zero in style 1", "a two in black on white", "a six in red on sky"))
        printed = []
        for _ in range(2):
            lines = []
            patch.setattr(demo, "say", lines.append)
            demo.demo(out, workers=1)
            printed.append("\n".join(lines))
    return out, printed


def test_it_writes_pictures_an_opt_out_and_a_page(ran):
    out, printed = ran
    ensemble = whence.Ensemble.open(out)
    assert len(ensemble.codebook.units) == 6
    assert len(ablations(ensemble)) == PICTURES
    sheet = np.asarray(Image.open(out / "demo.png"))
    assert sheet.shape[1] > 8 * 64
    assert "Nobody in particular" in printed[0]
    assert (out / "report.html").stat().st_size > 10_000


def test_the_opt_out_is_an_adapter_of_the_base(ran):
    out, _ = ran
    model = DiffusionModel.load(base_folder("styles"), adapters=[Adapter(out / "opt-out.safetensors")])
    assert sum(p.numel() for p in model.network.parameters()) > 0


def test_a_second_run_prints_the_same_and_draws_nothing_anew(ran):
    _, (first, second) = ran
    kept = [[line for line in text.splitlines() if not line.startswith("Done in")] for text in (first, second)]
    assert kept[0] == kept[1]


class Drawn:
    """An ablation as sentences read it."""

    sample, units, distance, placebo_distance = "0/0", ["a"], 3.0, 1.0

    class drawing:  # noqa: N801
        @staticmethod
        def captions(_):
            return ("a cat in a",)


def influence(effect: float) -> Influence:
    return Influence("0/0", ("a", "b"), torch.tensor([effect, 0.0], dtype=torch.float64), torch.arange(99.0) / 99)


TELLING = {"factual": "a", "counterfactual": "b", "placebo": "a"}


@pytest.mark.parametrize(
    ("effect", "nearest", "telling"),
    [
        (9.0, TELLING, True),
        (0.5, TELLING, False),
        (9.0, {**TELLING, "counterfactual": "a"}, False),
        (9.0, {**TELLING, "placebo": "b"}, False),
        (9.0, {**TELLING, "factual": "b"}, False),
    ],
)
def test_a_picture_is_telling_if_named_gone_and_kept_under_the_placebo(effect, nearest, telling):
    assert Redrawn(influence(effect), Drawn(), nearest).is_telling == telling


def test_sentences_count_what_they_say():
    named, unnamed = (Redrawn(influence(effect), Drawn(), TELLING) for effect in (9.0, 0.5))
    lines = sentences([named, unnamed, unnamed], named, "b", 1)
    assert lines[0].startswith('A contributor. Picture 0/0, "a cat in a": exact losses name a. Without a it looks most')
    assert "it moves by 3.00; under the placebo by 1.00" in lines[1]
    assert lines[3].startswith("Prompts with a style: 1. Exact losses name the contributor of the style for 1;")
    assert lines[3].endswith("Prompts without a style: 2. Nobody is named for 2.")
    assert nobody_in_particular([named]) is None
    assert "for none of the pictures" in sentences([named], named, "b", 1)[1]


def test_the_nearest_contributor_is_that_of_the_picture_itself():
    data = whence.load("styles:train-six", unit_column="contributor")
    pictures = {name: data.images([row])[0] for name, row in {"x": 0, "y": 17}.items()}
    assert nearest_contributors(data, pictures) == {"x": data.units[0][0], "y": data.units[17][0]}
