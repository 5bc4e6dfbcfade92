"""What headers of adapters claim: parsed, shown, and applied where it is asked for."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from whence.data import Dataset
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.adapters.claims import Claims
from whence.errors import ArtefactError, ConfigError, MismatchError

FOLDERS = {"10_cat": {"n_repeats": 10, "img_count": 2}, "1_dog": {"n_repeats": 1, "img_count": 4}}
#: A header as the trainer writes it.
HEADER = {
    "ss_network_dim": "32",
    "ss_network_alpha": "16.0",
    "ss_resolution": "(512, 512)",
    "ss_noise_offset": "0.05",
    "ss_min_snr_gamma": "5.0",
    "ss_caption_dropout_rate": "0.0",
    "ss_shuffle_caption": "True",
    "ss_flip_aug": "False",
    "ss_clip_skip": "None",
    "ss_dataset_dirs": json.dumps(FOLDERS),
    "ss_reg_dataset_dirs": json.dumps({"1_animal": {"n_repeats": 1, "img_count": 9}}),
    "modelspec.prediction_type": "v",
}


def test_a_header_of_the_trainer():
    claims = Claims.of(HEADER, "style.safetensors")
    assert (claims.rank, claims.alpha, claims.resolution, claims.side) == (32, 16.0, (512, 512), 512)
    assert claims.prediction == "v_prediction"
    assert claims.process.record() == {"snr_gamma": 5.0, "noise_offset": 0.05}
    assert (claims.repeats, claims.counts) == ({"10_cat": 10, "1_dog": 1}, {"10_cat": 2, "1_dog": 4})
    assert list(claims.lines()) == [
        "rank 32",
        "alpha 16",
        "prediction v_prediction",
        "resolution 512x512",
        "folder 10_cat: 2 images, 10 visits of each in an epoch",
        "folder 1_dog: 4 images, 1 visit of each in an epoch",
        "min-SNR gamma 5",
        "noise offset 0.05",
        "shuffled captions True",
        "regularisation images in 1_animal",
    ]


def test_a_header_of_a_trainer_with_a_file_of_settings():
    subsets = [{"image_dir": "cat", "num_repeats": 3, "flip_aug": True}, {"image_dir": "dog", "flip_aug": False}]
    datasets = json.dumps([{"resolution": [768, 512], "subsets": subsets}])
    claims = Claims.of({"ss_resolution": "None", "ss_datasets": datasets}, "a")
    assert (claims.resolution, claims.side, claims.not_used) == ((768, 512), None, {"mirror images": "True"})


RESOLUTIONS = {
    "(512, 768)": (512, 768),
    "512,512": (512, 512),
    "512": (512, 512),
    "[64, 64]": (64, 64),
    "None": None,
    "large": None,
    "(1, 2, 3)": None,
    "0": None,
}


@pytest.mark.parametrize(("text", "resolution"), RESOLUTIONS.items(), ids=RESOLUTIONS)
def test_resolutions(text, resolution):
    claims = Claims.of({"ss_resolution": text}, "a")
    assert claims.resolution == resolution
    assert claims.unreadable == (() if resolution or text == "None" else ("ss_resolution",))


PREDICTIONS = {
    "epsilon": ({"modelspec.prediction_type": "epsilon"}, "epsilon"),
    "velocity": ({"ss_v_parameterization": "True"}, "v_prediction"),
    "noise": ({"ss_v_parameterization": "False"}, "epsilon"),
    "nothing": ({"modelspec.prediction_type": "x"}, None),
}


@pytest.mark.parametrize(("header", "prediction"), PREDICTIONS.values(), ids=PREDICTIONS)
def test_predictions(header, prediction):
    claims = Claims.of(header, "a")
    assert claims.prediction == prediction
    claims.require_prediction(prediction or "epsilon")
    if prediction:
        with pytest.raises(
            MismatchError, match=rf"claims a network that predicts {prediction}, and this base predicts"
        ):
            claims.require_prediction("sample")


def test_malformed_claims_are_named():
    header = {"ss_network_dim": "x", "ss_network_alpha": "nan", "ss_dataset_dirs": "{", "ss_datasets": "3"}
    claims = Claims.of(header | {"ss_reg_dataset_dirs": "[]"}, "a")
    assert list(claims.lines()) == ["not readable: ss_dataset_dirs, ss_network_dim, ss_network_alpha"]


names = st.sampled_from([*HEADER, "ss_datasets", "ss_v_parameterization"])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
json_values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
)
texts = st.text(max_size=12) | json_values.map(json.dumps)


@given(st.dictionaries(names, texts))
def test_any_header_is_read(header):
    claims = Claims.of(header, "a")
    assert all(isinstance(line, str) for line in claims.lines())
    assert all(count > 0 for count in claims.repeats.values())


def images(*ids: str) -> Dataset:
    return Dataset(ids, np.zeros((len(ids), 1, 2, 2), np.uint8), tuple((id,) for id in ids), (None,) * len(ids))


def test_claimed_visits_are_weights():
    claims, data = Claims.of(HEADER, "a"), images("10_cat/1.png", "x/1_dog/2.png", "1_dog/3.png")
    assert claims.weigh(data).weights == pytest.approx((2.5, 0.25, 0.25))
    own = data.with_fields(weights=(2.0, 0.5, 0.5))
    assert claims.weigh(own) is own
    flat = images("1.png")
    assert claims.weigh(flat) is flat
    with pytest.raises(ConfigError, match=r"claims images in 10_cat, 1_dog; the data have others: \(none\), bird"):
        claims.weigh(images("1.png", "bird/2.png", "1_dog/3.png"))


def test_claims_are_read_from_the_file(tmp_path):
    file = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(1)}, file, HEADER)
    assert Claims.read(Adapter(file)) == Claims.of(HEADER, "a.safetensors")
    save_file({"x": torch.zeros(1)}, file, {"format": "pt"})
    assert Claims.read(Adapter(file)) is None
    file.write_bytes(b"no")
    with pytest.raises(ArtefactError, match=r"can't be read as a .safetensors file"):
        Claims.read(Adapter(file))
