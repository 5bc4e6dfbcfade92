"""Every family against its pipeline and against a few lines: conditions, loss, gradients, drawn pictures, refusals."""

import inspect
import json
import re
import shutil
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from whence.attribution.queries import draw_queries
from whence.config import SamplerConfig
from whence.data import Dataset
from whence.diffusion.encoding import Encoders
from whence.diffusion.model import DiffusionModel
from whence.diffusion.pipeline_check import PipelineCheck
from whence.diffusion.prompts import Prompts
from whence.diffusion.sampling import picture_noise
from whence.errors import ArtefactError, ConfigError, DataError, ModelError
from whence.gradients.collector import check
from whence.gradients.layers import coverage

TEXTS = ("a cat", "", "A Dog ", "a caption that is much longer than twenty letters")
CAPTIONS = {
    "stable_diffusion_xl": TEXTS,
    "pixart": TEXTS,
    "pixart_alpha": TEXTS,
    "dit": ("dog", "", "cat, house cat", "3"),
    "class_unet": ("3", "0", "9", "3"),
}
CONDITIONS = {
    "stable_diffusion_xl": {"encoder_hidden_states": (16, 32), "text_embeds": (12,), "time_ids": (6,)},
    "pixart": {"encoder_hidden_states": (300, 16), "encoder_attention_mask": (300,)},
    "pixart_alpha": {
        "encoder_hidden_states": (120, 16),
        "encoder_attention_mask": (120,),
        "resolution": (2,),
        "aspect_ratio": (1,),
    },
    "dit": {"class_labels": ()},
    "class_unet": {"class_labels": ()},
}
SMALL = (4, 8, 8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, pipelines):
    """Makes the folder of a family once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            make = "pixart" if name == "pixart_alpha" else name
            own = {"kind": "Alpha", "side": 128} if name == "pixart_alpha" else {}
            made[name] = pipelines[make](tmp_path_factory.mktemp("family") / name, **own)
        return made[name]

    return folder


@pytest.fixture(params=CAPTIONS)
def name(request) -> str:
    return request.param


@pytest.fixture
def folder(folders, name) -> Path:
    return folders(name)


@pytest.fixture
def model(folder, name) -> DiffusionModel:
    return DiffusionModel.load(folder, SMALL if name == "pixart_alpha" else None)


@pytest.fixture
def pipeline(folder):
    kind = json.loads((folder / "model_index.json").read_text())["_class_name"]
    pipe = getattr(diffusers, kind).from_pretrained(folder, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def data(model, name) -> Dataset:
    size = model.codec.picture_size(model.size)
    pixels = np.random.default_rng(0).integers(0, 256, (4, *size), dtype=np.uint8)
    return Dataset(tuple("abcd"), pixels, tuple((id,) for id in "abcd"), CAPTIONS[name])


def own_conditions(pipeline, name: str, texts, height: int, width: int) -> dict:
    """The conditions of texts in the pipeline's own words, one text after the other."""
    if name == "dit":
        return {"class_labels": torch.tensor([1, 1000, 0, 3])}
    if name == "class_unet":
        return {"class_labels": torch.tensor([3, 0, 9, 3])}
    if name == "stable_diffusion_xl":
        found = [pipeline.encode_prompt(text, "", "cpu", 1, False) for text in texts]
        sizes = torch.tensor([[height, width, 0, 0, height, width]] * len(texts)).float()
        added = {"text_embeds": torch.cat([one[2] for one in found]), "time_ids": sizes}
        return {"encoder_hidden_states": torch.cat([one[0] for one in found]), "added_cond_kwargs": added}
    found = [pipeline.encode_prompt(text, False, device="cpu") for text in texts]
    sizes = {"resolution": None, "aspect_ratio": None}
    if name == "pixart_alpha":
        sizes = {"resolution": torch.tensor([[height, width]] * 4).float(), "aspect_ratio": torch.ones(4, 1)}
    return {
        "encoder_hidden_states": torch.cat([one[0] for one in found]),
        "encoder_attention_mask": torch.cat([one[1] for one in found]),
        "added_cond_kwargs": sizes,
    }


def test_conditions_have_the_names_and_shapes_of_the_network(folder, model, data, name):
    examples = Encoders.of(folder).encode(data)
    shapes = {key: tuple(one.shape[1:]) for key, one in examples.conditions_of(range(4)).items()}
    assert shapes == CONDITIONS[name]
    kept = {key: tuple(one.shape[1:]) for key, one in examples.sorted().conditions_of([2, 0]).items()}
    assert kept == shapes


def test_an_encoding_that_is_kept_has_the_same_conditions(folder, data, tmp_path):
    encoders = Encoders.of(folder)
    kept, made = encoders.encode(data, tmp_path / "encoding"), encoders.encode(data)
    for key, one in made.conditions_of(range(4)).items():
        assert torch.equal(kept.conditions_of(range(4))[key], one)
    assert kept.fingerprint == made.fingerprint


def test_the_loss_is_that_of_a_few_lines(folder, model, pipeline, data, name):
    examples = Encoders.of(folder).encode(data)
    t = torch.tensor([3, 200, 700, 999])
    noise = torch.randn(4, *model.size, generator=torch.Generator().manual_seed(1))
    height, width = data.size[1:]
    network = getattr(pipeline, "unet", None) or pipeline.transformer
    with torch.no_grad():
        ours = model.loss(examples.x(range(4)), t, noise, **examples.conditions_of(range(4)))
        x = torch.from_numpy(data.pixels).float() / 127.5 - 1
        if name != "class_unet":
            x = pipeline.vae.encode(x).latent_dist.mean * pipeline.vae.config.scaling_factor
        noised = pipeline.scheduler.add_noise(x, noise, t)
        conditions = own_conditions(pipeline, name, TEXTS, height, width)
        output = network(noised, timestep=t, **conditions).sample[:, : x.shape[1]]
        theirs = (output - noise).square().mean((1, 2, 3))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_the_conditions_matter(folder, model, data):
    examples = Encoders.of(folder).encode(data)
    t, noise = torch.full((4,), 500), torch.zeros(4, *model.size)
    x = examples.x([0] * 4)
    if isinstance(model.network, diffusers.DiTTransformer2DModel | diffusers.PixArtTransformer2DModel):
        for parameter in model.network.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        losses = model.loss(x, t, noise, **examples.conditions_of([0, 1, 2, 0]))
    assert losses[0] == losses[3]
    assert len(set(losses.tolist())) == 3


#: Families that draw small pictures, and those with something to be guided away from.
SMALL_PICTURES = ("stable_diffusion_xl", "pixart", "dit", "class_unet")
DRAWINGS = [(name, scale) for name in SMALL_PICTURES for scale in ((1.0,) if name == "class_unet" else (1.0, 4.0))]


@pytest.mark.parametrize(("name", "guidance"), DRAWINGS)
def test_whence_draws_as_the_pipeline(folders, name, guidance, monkeypatch):
    checked = PipelineCheck.open(folders(name), prompt=CAPTIONS[name][0])
    sampler = SamplerConfig(method="ddim", steps=4, clip=False)
    queries = draw_queries(checked.model, ("0/0",), sampler, Prompts((CAPTIONS[name][0],), guidance=guidance))
    start = picture_noise([(0, 0)], 0, checked.model.size)
    if name == "dit":
        monkeypatch.setattr("diffusers.pipelines.dit.pipeline_dit.randn_tensor", lambda **_: start)
        theirs = checked.pipeline([1], guidance_scale=guidance, num_inference_steps=4, output_type="np").images
        ours = queries.pictures.permute(0, 2, 3, 1).numpy() / 255
        assert np.abs(ours - theirs).max() < 0.01
        return
    with torch.no_grad():
        theirs = checked.reference.drawn(start, checked.text, guidance, 4)
    theirs = theirs.clamp(-1, 1) if name == "class_unet" else theirs
    torch.testing.assert_close(queries.values, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["stable_diffusion_xl", "pixart", "dit"])
def test_guidance_that_is_not_said_is_that_of_the_pipeline(folders, name):
    kind = json.loads((folders(name) / "model_index.json").read_text())["_class_name"]
    usual = inspect.signature(getattr(diffusers, kind).__call__).parameters["guidance_scale"].default
    assert Encoders.of(folders(name)).text.guidance == usual


@pytest.mark.parametrize("name", SMALL_PICTURES)
def test_whence_check_agrees(folders, name):
    comparisons = {one.what: one for one in PipelineCheck.open(folders(name)).compare()}
    latents = set() if name == "class_unet" else {"latents"}
    assert comparisons.keys() == {"embedded prompt", "loss", "drawn picture"} | latents
    assert all(one.agrees for one in comparisons.values()), comparisons


def test_gradients_of_examples_are_those_of_autograd(folder, model, data):
    examples = Encoders.of(folder).encode(data)
    x_t, t = torch.randn(4, *model.size), torch.tensor([3, 200, 700, 999])
    cover = coverage(model.network)
    check(model.network, cover, x_t, t, lambda output: 2 * output, examples.conditions_of(range(4)))


def test_a_network_made_anew_is_called_in_the_same_way(folder, model, data):
    conditions = Encoders.of(folder).encode(data).conditions_of(range(4))
    fresh = model.untrained(seed=1)
    output = fresh.output(torch.zeros(4, *model.size), torch.zeros(4, dtype=torch.int64), **conditions)
    assert output.shape == (4, *model.size)
    assert fresh.network.state_dict().keys() == model.network.state_dict().keys()


def edited(folder: Path, file: str, **changes: object) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


REFUSED = {
    "SDXL of another kind": (
        "stable_diffusion_xl",
        lambda f: edited(f, "unet/config.json", addition_embed_type="text_image"),
        ModelError,
        "addition_embed_type = 'text_image'",
    ),
    "SDXL without its second encoder": (
        "stable_diffusion_xl",
        lambda f: shutil.rmtree(f / "text_encoder_2"),
        ArtefactError,
        "has no text_encoder_2",
    ),
    "SDXL without a projection": (
        "stable_diffusion_xl",
        lambda f: edited(f, "model_index.json", text_encoder_2=["transformers", "CLIPTextModel"]),
        ModelError,
        "needs a CLIPTextModelWithProjection",
    ),
    "latents with a mean": (
        "stable_diffusion_xl",
        lambda f: edited(f, "vae/config.json", latents_mean=[0, 0, 0, 0]),
        ModelError,
        "latents_mean",
    ),
    "a tokenizer without its vocabulary": (
        "stable_diffusion_xl",
        lambda f: (f / "tokenizer_2" / "tokenizer.json").unlink(),
        ArtefactError,
        "has no tokenizer_2: .*vocab.json does not exist",
    ),
    "T5's tokenizer without its vocabulary": (
        "pixart",
        lambda f: (f / "tokenizer" / "tokenizer.json").unlink(),
        ArtefactError,
        "spiece.model does not exist",
    ),
    "channels that are no variance": (
        "dit",
        lambda f: edited(f, "transformer/config.json", out_channels=5),
        ModelError,
        "returns 5 channels for 4",
    ),
    "a label that is not there": (
        "dit",
        lambda f: edited(f, "model_index.json", id2label={"1001": "cat"}),
        ConfigError,
        "'cat' as the name of label '1001'; labels are 0 ... 999",
    ),
    "class embeddings that are vectors": (
        "class_unet",
        lambda f: edited(f, "unet/config.json", class_embed_type="identity"),
        ModelError,
        "needs classes in a form that is not read",
    ),
}


@pytest.mark.parametrize(("family", "change", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_folders_that_are_refused(folders, tmp_path, family, change, error, message):
    copy = shutil.copytree(folders(family), tmp_path / "copy")
    change(copy)
    with pytest.raises(error, match=message):
        DiffusionModel.load(copy)


def test_a_damaged_tokenizer_is_refused(folders, tmp_path):
    copy = shutil.copytree(folders("pixart"), tmp_path / "copy")
    file = copy / "tokenizer" / "tokenizer.json"
    file.write_text(file.read_text()[:1000])
    with pytest.raises(ArtefactError, match="can't be opened by transformers"):
        Encoders.of(copy).conditions(["a"])
    file.unlink()
    (copy / "tokenizer" / "spiece.model").write_bytes(b"")
    with pytest.raises(ArtefactError, match="tokens; the text encoder knows|can't be opened"):
        Encoders.of(copy).conditions(["a"])


def test_guidance_away_from_a_negative_prompt_is_not_away_from_zeros(folders):
    encoders = Encoders.of(DiffusionModel.load(folders("stable_diffusion_xl")))
    prompts = [Prompts(("a cat",), negative, 3.0) for negative in ("", "ugly")]
    empty, ugly = (encoders.prompted(one, ["0/0"])[1].conditions for one in prompts)
    for key in ("encoder_hidden_states", "text_embeds"):
        assert not empty[key][[0]].any()
        assert torch.equal(ugly[key][[0]], encoders.conditions(["ugly"])[key][[0]])
    assert torch.equal(empty["time_ids"][[0]], ugly["time_ids"][[0]])


def test_names_of_classes_come_from_a_file_and_not_from_an_order(folders, tmp_path):
    file = tmp_path / "classes.txt"
    file.write_text("\n".join([*"jihgfedcb", ""]) + "\n")
    model = DiffusionModel.load(folders("class_unet"), classes=file)
    assert model.text.conditions(["j", "b", ""])["class_labels"].tolist() == [0, 8, 9]
    assert model.text.null == 9
    with pytest.raises(DataError, match="a is no class"):
        model.text.conditions(["a"])
    (tmp_path / "classes.json").write_text(json.dumps({"3": "cat"}))
    named = DiffusionModel.load(folders("class_unet"), classes=tmp_path / "classes.json").text
    assert named.conditions(["cat", "7"])["class_labels"].tolist() == [3, 7]
    with pytest.raises(ConfigError, match="takes no classes"):
        DiffusionModel.load(folders("pixart"), classes=file)
    with pytest.raises(ConfigError, match="can't be read"):
        DiffusionModel.load(folders("dit"), classes=tmp_path / "none.txt")


def test_a_name_of_two_classes_is_none_and_a_class_is_needed(folders):
    dit, unet = (DiffusionModel.load(folders(name)).text for name in ("dit", "class_unet"))
    with pytest.raises(DataError, match="crane is no class, or the name of several"):
        dit.conditions(["crane"])
    assert dit.unconditional("")["class_labels"].tolist() == [1000]
    assert unet.guidance == 1.0
    with pytest.raises(DataError, match="has no class"):
        unet.conditions([""])
    with pytest.raises(ConfigError, match="--guidance 1"):
        unet.unconditional("")


def test_labels_are_dropped_by_the_recorded_dropout_alone(folders):
    model = DiffusionModel.load(folders("dit"))
    model.network.train()
    x, t = torch.zeros(64, *model.size), torch.zeros(64, dtype=torch.int64)
    with torch.no_grad():
        output = model.output(x, t, class_labels=torch.ones(64, dtype=torch.int64))
    assert (output - output[:1]).abs().max() < 1e-5


def test_the_worked_example_quotes_the_file():
    root = Path(__file__).parents[2]
    page = (root / "docs" / "extending.md").read_text("utf-8").split("### A worked example: PixArt")[1]
    source = (root / "src/whence/diffusion/families/pixart.py").read_text("utf-8")
    quotes = re.findall(r"^```\n(.*?)^```$", page.split("\nHow examples")[0], re.DOTALL | re.MULTILINE)
    assert len(quotes) == 3
    assert all(quote in source for quote in quotes)
