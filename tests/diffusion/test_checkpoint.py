import pickle

import pytest
import torch

from whence import artefacts
from whence.config import ModelConfig
from whence.diffusion.checkpoint import Checkpoint, parameter_pattern
from whence.diffusion.model import DiffusionModel
from whence.errors import ConfigError

NAMES = ["conv_in", "mid_block.attentions.0.to_q", "mid_block.attentions.0.to_k", "conv_out"]


def test_the_weights_of_a_file_take_the_place_of_those_of_the_folder(tmp_path):
    first, second = (DiffusionModel.new(ModelConfig(channels=(8,)), (1, 8, 8), seed) for seed in (1, 2))
    first.save(tmp_path / "m")
    weights = {f"weights/{name}": tensor for name, tensor in second.network.state_dict().items()}
    artefacts.write_tensors(tmp_path / "w.safetensors", {**weights, "step": torch.tensor(3)})
    for checkpoint, expected in (
        (Checkpoint(tmp_path / "m"), first),
        (Checkpoint(tmp_path / "m", tmp_path / "w.safetensors", "conv"), second),
    ):
        opened = pickle.loads(pickle.dumps(checkpoint)).open()
        assert not opened.network.training
        for name, tensor in expected.network.state_dict().items():
            assert torch.equal(opened.network.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (None, NAMES),
        ("conv", ["conv_in", "conv_out"]),
        (r"to_[qv]$", NAMES[1:2]),
        ("up", []),
        ("^attn|^mid", NAMES[1:3]),
    ],
)
def test_a_name_is_differentiated_where_the_pattern_matches_a_part_of_it(parameters, expected):
    assert [name for name in NAMES if parameter_pattern(parameters).search(name)] == expected


def test_what_is_no_regular_expression_is_refused_when_the_checkpoint_is_made(tmp_path):
    with pytest.raises(ConfigError, match=r"The parameters '\(conv' are no regular expression: .*unterminated"):
        Checkpoint(tmp_path, parameters="(conv")
