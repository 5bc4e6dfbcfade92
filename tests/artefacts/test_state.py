import pytest
import torch

from whence import artefacts


@pytest.fixture
def saved(tmp_path):
    for step in (3, 7):
        artefacts.write_state(tmp_path, step, {"x": torch.full((2,), float(step))})
    return tmp_path


def test_the_last_save_is_read_and_the_one_before_is_gone(saved):
    step, tensors = artefacts.read_state(saved)
    assert (step, tensors["x"].tolist()) == (7, [7.0, 7.0])
    assert sorted(file.name for file in (saved / "resume").iterdir()) == ["state-00000007.safetensors", "state.json"]


@pytest.mark.parametrize("file", ["state.json", "state-00000007.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_save_counts_as_none(saved, file, damage, flip_byte):
    if damage == "missing":
        (saved / "resume" / file).unlink()
    else:
        flip_byte(saved / "resume" / file, 0)
    assert artefacts.read_state(saved) is None


def test_where_nothing_was_saved_there_is_no_state(tmp_path):
    assert artefacts.read_state(tmp_path) is None
