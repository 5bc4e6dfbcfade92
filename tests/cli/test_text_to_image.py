"""Text-to-image models by the commands: a pipeline, an adapter on it, prompts, and captions beside pictures."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from whence.attribution.request import AttributionConfig
from whence.config import Config, SamplerConfig
from whence.diffusion.adapters.adapter_file import write_adapter
from whence.diffusion.adapters.low_rank import AdapterWeights, LowRank
from whence.gradients.compression import Compression
from whence.scores.scores import Scores

DRAWS = ("--draws", 8, "--width", 64)
FEW = (*DRAWS, "--parameters", "attn2")


@pytest.fixture
def place(tmp_path, monkeypatch, stable_diffusion) -> Path:
    """A folder with nine captioned pictures of three artists, a pipeline `sd`, and an adapter of it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(stable_diffusion, "sd")
    pictures("data", [f"picture {n % 3}" for n in range(9)])
    weights = load_file("sd/unet/diffusion_pytorch_model.safetensors")
    random = torch.Generator().manual_seed(0)
    layers = {}
    for name, weight in weights.items():
        if name.endswith(("attn1.to_q.weight", "attn2.to_v.weight")):
            a, b = torch.randn(2, weight.shape[1], generator=random), torch.randn(len(weight), 2, generator=random)
            layers[name.removesuffix(".weight")] = LowRank(a, b, 0.5)
    Path("lora").mkdir()
    write_adapter(Path("lora"), AdapterWeights(layers))
    return tmp_path


def pictures(folder: str, captions: list[str | None]) -> None:
    Path(folder).mkdir()
    rows = ["file_name,text,artist"]
    for n, caption in enumerate(captions):
        pixels = np.random.default_rng(n).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"{folder}/{n}.png")
        rows.append(f"{n}.png,{caption or ''},{('anna', 'ben', 'cleo')[n % 3]}")
    Path(folder, "metadata.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("adapter", [(), ("--adapter", "lora:0.7")], ids=["base", "adapter"])
def test_a_check_against_the_pipeline(whence, place, adapter):
    result = whence("check", "sd", *adapter, "--out", "drawn.png")
    assert result.code == 0, result.err
    for what in ("embedded prompt", "latents", "loss", "drawn picture"):
        assert f"{what}: agrees" in result.out
    with Image.open("drawn.png") as drawn:
        assert drawn.size == (16, 16)
    assert ("64 parameters" in result.out or "Adapters: " in result.out) == bool(adapter)


@pytest.mark.slow
def test_an_adapter_on_a_model_of_classes_without_names(whence, place, pipelines):
    pipelines["dit"](Path("dit"))
    pictures("insects", ["ant", "bee", "ant", "bee"])
    Path("classes.txt").write_text("ant\nbee\n")
    base, few = ("--base", "dit", "--classes", "classes.txt"), ("--steps", 1, "--rank", 1)
    refused = whence("train", "insects", *base[:2], *few, "--out", "run")
    assert "is no class" in refused.err
    assert "--classes FILE" in refused.err
    assert whence("train", "insects", *base, *few, "--out", "run").code == 0
    parts = ("--queries", "insects", "--parameters", "blocks.0", *DRAWS)
    result = whence("attribute", "run", "insects", *parts, "--out", "scores")
    assert result.code == 0, result.err
    assert "4 queries" in result.out
    planned = whence("ensemble", "train", "insects", *base, *few, "--members", 4, "--out", "ens", "--plan")
    assert planned.code == 0, planned.err
    assert "takes no classes" in whence("train", "insects", "--base", "sd", *base[2:], *few, "--out", "other").err


def test_a_check_says_what_differs(whence, place, monkeypatch):
    from whence.diffusion.autoencoder import Autoencoder

    monkeypatch.setattr(Autoencoder, "scale", 0.5)
    result = whence("check", "sd")
    assert result.code == 1
    assert "latents: DIFFERS" in result.out
    assert "Whence and the pipeline differ in: latents" in result.err


@pytest.mark.slow
def test_attribution_of_drawn_pictures_to_an_adapters_images(whence, place):
    Path("prompts.txt").write_text("picture 1\n\n  picture 2  \n")
    command = ["attribute", "sd", "data", "--adapter", "lora", "--queries", "sample:3", "--prompts", "prompts.txt"]
    options = ["--guidance", 2, "--negative-prompt", "ugly", "--unit-column", "artist", "--sampler-steps", 4, *DRAWS]
    result = whence(*command, *options, "--method", "d-trak", "--method", "pixel", "--out", "scores")
    assert result.code == 0, result.err
    facts = json.loads(Path("scores/pictures/manifest.json").read_text())["facts"]
    assert facts["prompts"] == {"texts": ["picture 1", "picture 2"], "negative": "ugly", "guidance": 2.0}
    assert "with lora at strength 1 (base not verified)" in facts["model"]
    assert pq.read_table("scores/d-trak/examples.parquet").num_rows == 9
    [subject] = Path("scores/features").glob("*/subject/coverage.json")
    assert all(".lora_" in name for name, *_ in json.loads(subject.read_text()))
    strong = whence(*command, *options, "--method", "d-trak", "--adapter", "lora:-0.5", "--out", "scores")
    assert strong.code == 1
    assert "holds scores of something else" in strong.err
    assert whence("report", "scores").code == 0
    page = Path("scores/report.html").read_text("utf-8")
    assert page.count('<p class="caption">“picture 1”</p>') == 2  # the queries 0/0 and 0/2
    assert '<span class="line caption">“picture 0”</span>' in page


@pytest.mark.slow
def test_a_picture_with_its_prompt_is_the_same_as_a_table_of_captions(whence, place):
    """And scores depend on the caption alone: another gives others, the same gives the same again."""
    pictures("asked", ["picture 2"])
    pictures("other", ["something else"])
    shutil.copy("asked/0.png", "0.png")
    shown, stored = {}, ("--store", "store")
    for queries, *options in (
        ("asked", *stored),
        ("other", *stored),
        ("asked/0.png", *stored),
        ("0.png", "--prompt", "picture 2", *stored),
    ):
        options = ("--queries", queries, *options, "--unit-column", "artist", "--method", "gradient-dot", *FEW)
        result = whence("attribute", "sd", "data", *options, "--out", "scores")
        assert result.code == 0, result.err
        assert "by unit (sum of its images): " in result.out
        assert "whence credit compute scores --out credit/" in result.out
        scores = Scores.read(Path("scores/gradient-dot"))
        assert scores.queries == ("0.png",)
        shown[queries] = scores.scores
        shutil.rmtree("scores")
    assert torch.equal(shown["asked"], shown["asked/0.png"])
    assert torch.equal(shown["asked"], shown["0.png"])
    assert not torch.equal(shown["asked"], shown["other"])


@pytest.mark.slow
def test_captions_of_a_column_that_is_named(whence, place):
    train = ("--base", "sd", "--rank", 1, "--steps", 2, "--caption-column", "artist", "--out", "lora-of-artists")
    assert whence("train", "data", *train).code == 0
    explain = ("lora-of-artists", "data", "--queries", "data", *FEW, "--out", "scores")
    other = whence("attribute", *explain)
    assert other.code == 1
    assert "captions" in other.err
    assert whence("attribute", *explain, "--caption-column", "artist").code == 0
    unknown = whence("ensemble", "train", "data", "--caption-column", "poem", "--members", 2, "--out", "ens")
    assert unknown.code == 1
    assert "There is no caption column 'poem'; there is file_name, text, artist." in unknown.err
    unknown = whence("bank", "build", "data", "--caption-column", "poem", "--out", "bank")
    assert "There is no caption column 'poem'" in unknown.err


@pytest.mark.slow
def test_pictures_without_captions_get_the_empty_one_and_it_is_said(whence, place):
    pictures("bare", ["a picture", None])
    explain = ("attribute", "sd", "data", *FEW, "--store", "store", "--queries")
    result = whence(*explain, "bare", "--out", "scores")
    assert result.code == 0, result.err
    assert "Note on the queries: 1 of 2 pictures have no caption; they get the empty one: 1.png." in result.out
    drawn = whence(*explain, "sample:1", "--sampler-steps", 2, "--out", "drawn")
    assert "No prompts were given; the pictures are drawn from the empty prompt." in drawn.out


TRAIN = ("train", "data", "--base", "sd", "--rank", 4, "--steps", 2, "--out", "runs/lora")
DRAW = ("--queries", "sample:2", "--prompt", "picture 1", "--guidance", 2, "--sampler-steps", 3)


def test_an_adapter_is_trained_and_explained(whence, place):
    planned = whence(*TRAIN, "--plan")
    assert planned.code == 0, planned.err
    assert "1 x 2 steps of " in planned.out
    assert not Path("runs").exists()
    result = whence(*TRAIN)
    assert result.code == 0, result.err
    assert "runs/lora is trained: 2 steps on 9 images." in result.out
    assert "It has 2,752 weights of an adapter on sd." in result.out
    assert 'StableDiffusionPipeline.from_pretrained("sd").load_lora_weights("runs/lora")' in result.out
    manifest = Path("runs/lora/manifest.json").read_bytes()
    assert whence(*TRAIN).code == 0
    assert Path("runs/lora/manifest.json").read_bytes() == manifest
    command = ["attribute", "runs/lora", "data", *DRAW, *DRAWS, "--method", "gradient-dot", "--out", "scores"]
    assert whence(*command).code == 0
    facts = json.loads(Path("scores/pictures/manifest.json").read_text())["facts"]
    assert facts["model"] == "lora"
    other = whence(*command[:2], "other", *command[3:])
    assert other.code == 1
    Path("sd").rename("moved")
    lost = whence(*command)
    assert "sd does not exist. Say where it is now: --base BASE." in lost.err
    assert whence(*command, "--base", "moved").code == 0


NOT_TRAINED = {
    "another rank": (["--rank", 8], "made.adapter.rank: there 4, now 8"),
    "another alpha": (["--alpha", 8], "made.adapter.alpha: there 4.0, now 8.0"),
    "another base": (["--base", "other"], "inputs.base.network: there"),
    "no layers": (["--target", "nothing"], "has a name that contains 'nothing'"),
    "no expression": (["--target", "["], "adapter.target"),
    "no probability": (["--caption-dropout", 2], "training.caption_dropout"),
}


def test_an_adapter_that_is_refused(whence, place):
    assert whence(*TRAIN).code == 0
    shutil.copytree("sd", "other")
    weights = load_file("other/unet/diffusion_pytorch_model.safetensors")
    weights["conv_in.bias"] += 1
    save_file(weights, "other/unet/diffusion_pytorch_model.safetensors", {"format": "pt"})
    for name, (options, message) in NOT_TRAINED.items():
        result = whence(*TRAIN, *options)
        assert result.code == 1, name
        assert message in result.err, name
        assert "Traceback" not in result.err
    alone = whence("train", "data", "--rank", 8, "--out", "runs/alone")
    assert alone.code == 1
    assert "no base to train it on. Give one: --base BASE" in alone.err


def nan_latents() -> None:
    file = Path("sd/vae/diffusion_pytorch_model.safetensors")
    weights = load_file(file)
    weights["encoder.conv_in.bias"] = torch.full_like(weights["encoder.conv_in.bias"], 1e38)
    save_file(weights, file)


WRONG = {
    "no text encoder": (lambda: shutil.rmtree("sd/text_encoder"), [], "sd has no text_encoder"),
    "latents that are not finite": (nan_latents, [], "gives latents that are not finite"),
    "no adapter": (lambda: None, ["--adapter", "gone.safetensors"], "The adapter gone.safetensors does not exist"),
    "a strength of zero": (lambda: None, ["--adapter", "lora:0"], "expected a number other than 0"),
    "a file without prompts": (lambda: Path("p").write_text("\n"), ["--prompts", "p"], "p holds no prompts"),
    "prompts of pictures with captions": (
        lambda: None,
        ["--prompt", "x", "--queries", "data"],
        "the pictures in data have captions of their own, such as 'picture 0'",
    ),
    "as many prompts as fit nothing": (
        lambda: pictures("plain", [None] * 3),
        ["--prompt", "x", "--prompt", "y", "--queries", "plain"],
        "There are 2 prompts for 3 pictures in plain. Give one for all or one for each",
    ),
    "guidance of a picture that is read": (
        lambda: None,
        ["--guidance", "3", "--queries", "data/0.png"],
        "guidance and a negative prompt change nothing",
    ),
    "a pattern without layers": (lambda: None, ["--parameters", "nothing"], "no name of them contains 'nothing'"),
    "guidance": (lambda: None, ["--guidance", "-1"], "The guidance is -1.0; expected a number from 0 on"),
}


@pytest.mark.parametrize(("change", "options", "message"), WRONG.values(), ids=WRONG)
def test_one_clear_sentence(whence, place, change, options, message):
    change()
    queries = [] if "--queries" in options else ["--queries", "sample:1", "--sampler-steps", 2]
    result = whence("attribute", "sd", "data", *queries, *options, *DRAWS, "--out", "scores")
    assert result.code == 1
    assert message in " ".join(result.err.split())
    assert "Traceback" not in result.err


@pytest.mark.slow
def test_pictures_of_another_size_name_the_way_out(whence, place):
    Image.new("RGB", (24, 24)).save("data/0.png")
    for n in range(1, 9):
        Image.new("RGB", (24, 24), (n, 0, 0)).save(f"data/{n}.png")
    command = ("attribute", "sd", "data", "--queries", "sample:1", "--sampler-steps", 2, *FEW, "--out", "scores")
    result = whence(*command)
    assert result.code == 1
    assert "have 24x24 pixels; the model draws 16x16. Give --resolution 16, or --resolution 24" in result.err
    for out, resolution in {"16": ("--resolution", 16, "--plan"), "24": ("--resolution", 24)}.items():
        sized = whence(*command[:-1], out, *resolution)
        assert sized.code == 0, sized.err


@pytest.mark.slow
def test_the_python_of_the_docs_runs(place):
    text = (Path(__file__).parents[2] / "docs" / "text-to-image.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    small = {'"BASE"': '"sd"', "lora.safetensors": "lora", '"DATA"': '"data"', "1000)": "2), sampler=STEPS"}
    small |= {
        '"d-trak", out=': '"d-trak", config=FEW, out=',
        '"sample:4", "tangent")': '"sample:4", "tangent", config=FEW)',
    }
    small |= {'"sample:4", prompts': '"sample:4", steps=2, prompts', '"0/0-7"))': '"0/0-7"), draws=8)'}
    small |= {'autoencoder="FOLDER", text_encoder="FOLDER2"': 'SMALL, autoencoder="sd", text_encoder="sd"'}
    for there, here in (small | {"members=16": "members=4", "artist 7": "anna"}).items():
        assert there in code
        code = code.replace(there, here)
    settings = Config().updated("model", channels=(8, 16), attention=8).updated("training", steps=2, batch_size=2)
    few, steps = AttributionConfig(draws=8, compression=Compression(width=64)), SamplerConfig(method="ddim", steps=2)
    names: dict[str, object] = {"SMALL": settings, "FEW": few, "STEPS": steps}
    exec(code, names)
    assert names["scores"]["d-trak"].scores.shape == (4, 9)


ENSEMBLE = ("ensemble", "train", "data", "--base", "sd", "--rank", 2, "--members", 4, "--unit-column", "artist")


def test_an_ensemble_of_adapters_from_training_to_the_opt_out(whence, place):
    steps = ("--steps", 3, "--workers", 1, "--out", "ens")
    planned = whence(*ENSEMBLE, *steps, "--plan")
    assert planned.code == 0, planned.err
    assert "4 x 3 steps of " in planned.out
    assert not Path("ens").exists()
    assert whence(*ENSEMBLE, *steps).code == 0
    Path("prompts.txt").write_text("picture 1\npicture 2\n")
    draw = ("ensemble", "sample", "ens", "--count", 3, "--prompts", "prompts.txt", "--guidance", 2, "--steps", 3)
    assert "6 network evaluations" in whence(*draw, "--plan").out  # 12 pairs in one batch of 16, 3 steps, guided
    drawn = whence(*draw, "--workers", 1)
    assert drawn.code == 0, drawn.err
    other = whence(*draw, "--seed", 1, "--combine", "weights", "--workers", 1)
    assert other.code == 0, other.err
    assert not np.array_equal(*(np.asarray(Image.open(f"ens/samples/{seed}/00000.png")) for seed in (0, 1)))
    ablated = whence("ensemble", "ablate", "ens", "--sample", "0/2", "--unit", "ben", "--workers", 1)
    assert ablated.code == 0, ablated.err
    measured = whence("ensemble", "losses", "ens", "--queries", "data", "--draws", 8, "--workers", 1)
    assert measured.code == 0, measured.err
    assert whence("ensemble", "landscape", "ens", "--samples", "0/0", "--workers", 1).code == 0
    assert whence("report", "ens").code == 0
    page = Path("ens/report.html").read_text("utf-8")
    assert "The base alone" in page
    assert "“picture 2”" in page
    exported = whence("ensemble", "export", "ens", "--without", "ben", "--format", "lora", "opt-out.safetensors")
    assert exported.code == 0, exported.err
    assert "is the mean of the 2 of 4 members that never saw ben, exactly: a LoRA file of rank 4" in exported.out
    assert whence("check", "sd", "--adapter", "opt-out.safetensors").code == 0


SMALL = "[model]\nchannels = [8, 16]\n[training]\nbatch_size = 4\ncheckpoints = 1\n[sampler]\nsteps = 3\n"


@pytest.mark.slow
def test_a_network_of_latents_is_trained_and_explained(whence, place):
    Path("small.toml").write_text(SMALL)
    train = ("train", "data", "--autoencoder", "sd", "--steps", 6, "--config", "small.toml", "--out", "ldm")
    planned = whence(*train, "--plan")
    assert planned.code == 0, planned.err
    assert "1 x 6 steps" in planned.out
    assert not Path("ldm").exists()
    result = whence(*train)
    assert result.code == 0, result.err
    assert 'diffusers.LDMPipeline.from_pretrained("ldm")' in result.out
    assert whence("check", "ldm", "--out", "drawn.png").code == 0
    options = ("--queries", "sample:2", "--method", "tangent", "--method", "tracin", *DRAWS, "--out", "scores")
    result = whence("attribute", "ldm", "data", *options)
    assert result.code == 0, result.err
    for method in ("tangent", "tracin"):
        assert Scores.read(Path("scores", method)).scores.isfinite().all()
    assert whence("report", "scores").code == 0
    shared = whence("credit", "compute", "ldm", "data", "--unit-column", "artist", "--out", "credit")
    assert shared.code == 1
    assert "Models of coalitions are of pixels, and this one is of latents." in shared.err
    assert whence("credit", "compute", "scores", "data", "--unit-column", "artist", "--out", "credit").code == 0
    both = whence(*train[:-1], "other", "--base", "sd")
    assert both.code == 1
    assert "Leave out the autoencoder" in both.err


def test_a_network_of_latents_with_captions_is_trained_and_explained(whence, place):
    Path("small.toml").write_text(SMALL)
    train = ("train", "data", "--autoencoder", "sd", "--text-encoder", "sd", "--caption-dropout", 0.5, "--steps", 6)
    train = (*train, "--config", "small.toml", "--out", "t2i")
    assert "1 x 6 steps" in whence(*train, "--plan").out
    result = whence(*train)
    assert result.code == 0, result.err
    assert 'diffusers.StableDiffusionPipeline.from_pretrained("t2i")' in result.out
    assert whence("check", "t2i", "--prompt", "picture 1", "--out", "drawn.png").code == 0
    options = ("--queries", "sample:2", "--prompt", "picture 1", "--guidance", 2, "--parameters", "attn2")
    result = whence("attribute", "t2i", "data", *options, "--method", "tracin", *DRAWS, "--out", "scores")
    assert result.code == 0, result.err
    assert Scores.read(Path("scores/tracin")).scores.isfinite().all()
    assert whence("report", "scores").code == 0
    assert "picture 1" in Path("scores/report.html").read_text("utf-8")
    alone = whence("train", "data", "--text-encoder", "sd", "--out", "x")
    assert alone.code == 1
    assert "give --autoencoder too" in alone.err


@pytest.mark.slow
def test_what_an_ensemble_of_adapters_refuses(whence, place):
    assert whence(*ENSEMBLE, "--steps", 1, "--workers", 1, "--out", "ens").code == 0
    silent = whence("ensemble", "sample", "ens", "--count", 1, "--steps", 2, "--workers", 1)
    assert "Note: no prompts were given; the pictures are drawn from the empty prompt." in silent.out
    cases = {
        ("ensemble", "screen", "ens", "--sample", "0/0"): "these members draw latents. Draw the landscape",
        ("ensemble", "export", "ens", "--without", "dora", "--format", "lora", "x"): "dora",
        ("ensemble", "export", "ens", "--without", "ben", "u.ctf"): "--without and --rank belong to --format lora",
        (*ENSEMBLE, "--steps", 2, "--out", "ens"): "made.config.training.steps: there 1, now 2",
        ("ensemble", "train", "data", "--rank", 2, "--out", "e"): "no base to train it on",
    }
    for command, message in cases.items():
        result = whence(*command)
        assert result.code in (1, 2), command
        assert message in " ".join(result.err.replace("│", " ").split()), command
    shutil.rmtree("sd/text_encoder")
    lost = whence("ensemble", "sample", "ens", "--count", 1)
    assert lost.code == 1
    assert "sd has no text_encoder" in lost.err


ENSEMBLE_WRONG = {
    "no text encoder": (lambda: shutil.rmtree("sd/text_encoder"), "sd has no text_encoder"),
    "latents that are not finite": (nan_latents, "gives latents that are not finite"),
}


@pytest.mark.parametrize(("change", "message"), ENSEMBLE_WRONG.values(), ids=ENSEMBLE_WRONG)
def test_a_base_on_which_no_ensemble_can_be_trained(whence, place, change, message):
    change()
    result = whence(*ENSEMBLE, "--steps", 1, "--workers", 1, "--out", "ens")
    assert result.code == 1
    assert message in " ".join(result.err.split())
    assert "Traceback" not in result.err


def test_an_ensemble_of_pictures_without_captions_says_so(whence, place):
    pictures("bare", [None] * 4)
    result = whence("ensemble", "train", "bare", *ENSEMBLE[3:], "--steps", 1, "--workers", 1, "--out", "ens")
    assert result.code == 0, result.err
    note = "Note on the training images: 4 of 4 pictures have no caption; they get the empty one: "
    assert result.out.count(note) == 1


def unfinished_training(whence, monkeypatch, *command: object) -> Path:
    """Interrupt a training before its first step; returns the folder of what is unfinished."""

    def stop(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("whence.diffusion.loop.Loop.run", stop)
        assert whence(*command).code == 130
    return Path(f"{command[-1]}.part")


OF_ENSEMBLE = (*ENSEMBLE, "--steps", 1, "--workers", 1, "--out", "ens")


@pytest.mark.parametrize(
    ("command", "file"),
    [
        pytest.param(TRAIN, "latents/00000.safetensors", id="run, latents"),
        pytest.param(OF_ENSEMBLE, "examples.parquet", id="ensemble, table"),
        # Both files are opened in one place, for runs and for ensembles.
        pytest.param(TRAIN, "examples.parquet", id="run, table", marks=pytest.mark.slow),
        pytest.param(OF_ENSEMBLE, "latents/00000.safetensors", id="ensemble, latents", marks=pytest.mark.slow),
    ],
)
def test_an_encoding_that_was_cut_is_noticed_when_training_continues(whence, place, monkeypatch, command, file):
    encoding = unfinished_training(whence, monkeypatch, *command) / "encoding"
    whole = (encoding / file).read_bytes()
    (encoding / file).write_bytes(whole[:-20])
    result = whence(*command)
    assert result.code == 1
    assert f"{encoding / file} is damaged" in result.err
    assert f"Delete {encoding} and run the command that makes it again" in result.err
    assert "Traceback" not in result.err
    shutil.rmtree(encoding)
    assert whence(*command).code == 0


@pytest.mark.slow
def test_the_encoding_of_an_ensemble_is_made_again(whence, place):
    command = (*ENSEMBLE, "--steps", 1, "--workers", 1, "--out", "ens")
    assert whence(*command).code == 0
    manifest = Path("ens/encoding/manifest.json").read_bytes()
    shutil.rmtree("ens/encoding")
    assert whence(*command).code == 0
    assert Path("ens/encoding/manifest.json").read_bytes() == manifest


@pytest.mark.slow
def test_a_region_and_a_concept_of_pictures(whence, place):
    def scores(out: str, *options: object) -> Scores:
        command = ["attribute", "sd", "data", "--queries", "asked", "--method", "tangent", *FEW, "--out", out]
        result = whence(*command, "--store", "store", *options)
        assert result.code == 0, result.err
        return Scores.read(Path(out, "tangent"))

    pictures("asked", ["picture 2", "picture 2"])
    parts = []
    for name, side in (("left", slice(0, 8)), ("right", slice(8, 16))):
        pixels = np.zeros((16, 16), np.uint8)
        pixels[:, side] = 255
        Image.fromarray(pixels).save(f"{name}.png")
        parts.append(scores(name, "--mask", f"{name}.png"))
    whole = scores("whole")
    assert parts[0].estimand.behaviour == f"{whole.estimand.behaviour}, by its readout within the mask"
    difference = parts[0].scores.double() + parts[1].scores - whole.scores
    assert difference.abs().max() < 1e-5 * whole.scores.abs().max()

    concept = scores("concept", "--without-prompt", "picture", "--mask", "left.png")
    assert concept.estimand.behaviour.endswith("within the mask, minus that with the prompt 'picture'")
    facts = json.loads(Path("concept/pictures/manifest.json").read_text())["facts"]
    assert facts["focus"] == {"mask": True, "without prompts": ["picture"] * 2}
    assert concept.scores.any()
    ahead, same = scores("ahead", "--without-prompt", "picture", "--without-prompt", "picture 2").scores
    assert not same.any()
    pictures("turned", ["picture"])
    shutil.copy("asked/0.png", "turned/0.png")
    back = scores("back", "--queries", "turned", "--without-prompt", "picture 2").scores
    torch.testing.assert_close(back, -ahead[None])
    wrong = whence("attribute", "sd", "data", "--queries", "asked", *FEW, "--out", "s", *["--without-prompt", "a"] * 3)
    assert wrong.code == 1
    assert "3 prompts without the concept for 2 pictures" in wrong.err
