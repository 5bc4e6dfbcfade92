"""An ensemble of adapters: trained, drawn, ablated, measured and exported, against slow loops over its members."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from whence import artefacts
from whence.attribution.attribute import attribute
from whence.attribution.ensemble_queries import encode_shown
from whence.attribution.queries import read_queries
from whence.attribution.request import AttributionConfig
from whence.config import Config
from whence.credit.contributors import Contributors
from whence.credit.ensemble_credit import credit_of_ensemble
from whence.data import Dataset, write
from whence.diffusion.adapters.adapter import Adapter
from whence.diffusion.adapters.mean import mean_adapter
from whence.diffusion.draws import Draws
from whence.diffusion.encoding import Encoders
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.prompts import Prompts
from whence.diffusion.sampling import draw, draw_pictures
from whence.diffusion.training import train
from whence.engine import Engine
from whence.ensemble import Ensemble, ablate, sample, train_ensemble
from whence.ensemble.loss_draws import losses_batch
from whence.ensemble.make_landscape import landscape
from whence.ensemble.make_losses import losses
from whence.ensemble.model import member_path
from whence.ensemble.opt_out import opt_out
from whence.ensemble.training import member_config
from whence.errors import ArtefactError, ConfigError, DataError, MismatchError
from whence.images import from_pixels
from whence.proof import commit
from whence.report.ensemble import write_report
from whence.seeds import derived_seed

CONFIG = (
    Config()
    .updated("training", steps=4, batch_size=3, warmup=1, checkpoints=2, save_every=2, learning_rate=3e-2, seed=3)
    .updated("adapter", rank=2, alpha=4.0)
    .updated("sampler", method="ddim", steps=3, batch_size=4, clip=False)
)
PROMPTS = Prompts(("picture 1", "picture 2"), "ugly", 2.0)
#: One step of few layers.
QUICK = CONFIG.updated("training", steps=1, warmup=0, checkpoints=1).updated("adapter", target="attn2")
WEIGHTS = "pytorch_lora_weights.safetensors"
UNIT = "artist 2"


def styled(count: int = 12) -> Dataset:
    """Random pictures of four artists, with captions; ids are not in the order of the alphabet."""
    ids = tuple("lkjihgfedcba"[:count])
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
    units = tuple((f"artist {n % 4}",) for n in range(count))
    return Dataset(ids, pixels, units, tuple(f"picture {n % 3}" for n in range(count)))


@pytest.fixture(scope="module")
def data() -> Dataset:
    return styled()


@pytest.fixture(scope="module")
def made(data, stable_diffusion, tmp_path_factory) -> Ensemble:
    """Six members with the pictures 0/0 ... 0/2 by predictions and 1/0 ... 1/1 by weights; only to be read."""
    path = tmp_path_factory.mktemp("adapters") / "ens"
    ensemble = train_ensemble(data, path, members=6, config=CONFIG, base=stable_diffusion, engine=Engine(1))
    sample(ensemble, count=3, prompts=PROMPTS, engine=Engine(1))
    sample(ensemble, count=2, seed=1, prompts=PROMPTS, combine="weights", engine=Engine(1))
    return ensemble


@pytest.fixture
def ensemble(made, tmp_path) -> Ensemble:
    """A copy that a test may change."""
    return Ensemble.open(shutil.copytree(made.path, tmp_path / "ens"))


def member_model(ensemble: Ensemble, member: int) -> DiffusionModel:
    return DiffusionModel.load(ensemble.base.folder, None, (Adapter(member_path(ensemble.path, member)),))


def by_hand(ensemble: Ensemble, members: list[int], prompts: Prompts, names: list[str]) -> torch.Tensor:
    """Latents of pictures: at each step every member's network for itself, guided, then the mean."""
    models = [member_model(ensemble, m) for m in members] or [ensemble.base.open()]
    encoders = Encoders.of(ensemble.base.folder)
    text = encoders.conditions(prompts.of(names))["encoder_hidden_states"][range(len(names))]
    away = encoders.conditions([prompts.negative] * len(names))["encoder_hidden_states"][range(len(names))]

    @torch.no_grad()
    def predict(x, t):
        outputs = []
        for model in models:
            one, other = (model.output(x, t, encoder_hidden_states=words).double() for words in (text, away))
            outputs.append(other + prompts.guidance * (one - other))
        return torch.stack(outputs).mean(0)

    places = [tuple(map(int, name.split("/"))) for name in names]
    return draw(predict, models[0], ensemble.config.sampler, places)


def test_the_ensemble_on_disk(made, data, stable_diffusion):
    manifest = made.manifest
    assert set(manifest.inputs) == {"data", "base"}
    assert set(manifest.inputs["base"]) == {"network", "autoencoder", "text_encoder"}
    assert manifest.facts["base"] == str(stable_diffusion)
    assert {"data", "codebook", "encoding"} <= set(manifest.parts)
    assert sum(name.startswith("members/") for name in manifest.parts) == 6
    assert not list(made.path.glob("members/*/encoding"))
    assert not list(made.path.rglob("unet"))
    assert made.config.sampler == CONFIG.sampler


def test_a_member_is_the_adapter_that_train_makes_of_its_images(made, data, stable_diffusion, tmp_path):
    """The same bytes as a run on its images alone, which knows nothing of the others."""
    rows = made.codebook.examples(2, data)
    assert 0 < len(rows) < len(data)
    train(data.select(rows), tmp_path / "alone", member_config(made.config, 2), base=stable_diffusion)
    folder = member_path(made.path, 2)
    assert (tmp_path / "alone" / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    assert (folder / WEIGHTS).read_bytes() != (member_path(made.path, 1) / WEIGHTS).read_bytes()


def test_members_begin_with_one_a(made):
    starts = [artefacts.read_manifest(member_path(made.path, m), "model").made["adapter"]["start"] for m in range(6)]
    assert starts == [3] * 6
    seeds = {artefacts.read_manifest(member_path(made.path, m), "model").made["training"]["seed"] for m in range(6)}
    assert len(seeds) == 6


def test_pictures_are_the_guided_mean_of_the_members(made):
    samples = sample(made, count=3, prompts=PROMPTS, engine=Engine(1))
    expected = by_hand(made, list(range(6)), PROMPTS, samples.names)
    torch.testing.assert_close(samples.examples, expected, atol=1e-4, rtol=1e-4)
    decoded = from_pixels(torch.from_numpy(made.reference_model.codec.decode(samples.examples)))
    assert torch.equal(samples.pictures, decoded)
    assert samples.captions == ("picture 1", "picture 2", "picture 1")
    assert samples.manifest.made["prompts"] == {
        "texts": ["picture 1", "picture 2"],
        "negative": "ugly",
        "guidance": 2.0,
    }


def test_pictures_by_the_mean_of_weights_are_those_of_one_adapter(made):
    """Drawn by the base with the exported adapter on it, as anybody would draw with it."""
    samples = sample(made, count=2, seed=1, prompts=PROMPTS, combine="weights", engine=Engine(1))
    export(made, made.path.parent / "all", [])
    model = DiffusionModel.load(made.base.folder, None, (Adapter(made.path.parent / "all"),))
    conditions, guidance = Encoders.of(model).prompted(PROMPTS, samples.names)
    expected = draw_pictures(model, made.config.sampler, samples.names, conditions=conditions, guidance=guidance)
    torch.testing.assert_close(samples.examples, expected, atol=1e-4, rtol=1e-4)


def export(ensemble: Ensemble, folder: Path, without: list[str], rank: int | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    opt_out(ensemble, without, rank).write(folder / WEIGHTS)
    return folder / WEIGHTS


@pytest.mark.parametrize("name", ["0/1", "1/1"])
def test_an_ablation_is_what_the_survivors_draw(ensemble, name):
    [ablation] = ablate(ensemble, name, [UNIT], engine=Engine(1))
    survivors = ensemble.codebook.survivors([UNIT])
    combine = "weights" if name[0] == "1" else "predictions"
    again = sample(
        ensemble, count=2, seed=int(name[0]), without=[UNIT], prompts=PROMPTS, combine=combine, engine=Engine(1)
    )
    assert torch.equal(ablation.pictures["counterfactual"], again.pictures[1])
    if combine == "predictions":
        latents = by_hand(ensemble, survivors, PROMPTS, [name])
        torch.testing.assert_close(again.examples[1], latents[0], atol=1e-4, rtol=1e-4)
    base = by_hand(ensemble, [], PROMPTS, [name])
    drawn = from_pixels(torch.from_numpy(ensemble.reference_model.codec.decode(base)))
    assert (ablation.pictures["base"] - drawn[0]).abs().max() <= 2 / 127.5 + 1e-6
    assert ablation.manifest.made["combine"] == combine


def test_a_landscape_is_its_ablations(ensemble):
    [drawn] = landscape(ensemble, "0/0", placebos=3, engine=Engine(1))
    assert drawn.units == ensemble.codebook.units
    [ablation] = ablate(ensemble, "0/0", [UNIT], engine=Engine(1))
    batch = drawn.manifest.made["sampler"]["batch_size"]
    assert batch != ensemble.config.sampler.batch_size
    assert (drawn.counterfactual(UNIT) - ablation.pictures["counterfactual"]).abs().max() <= 2 / 127.5 + 1e-6


def test_exact_losses_of_drawn_and_foreign_pictures(ensemble, data):
    """By hand: the residual of the mean of the survivors' networks, with the caption, without guidance."""
    drawn = read_queries(ensemble, "0/0-1")
    assert drawn.captions == ("picture 1", "picture 2")
    held = ensemble.encoders.encode_queries(data.select([0, 5]))
    for queries in (drawn, held):
        measured = losses(ensemble, queries, draws=3, engine=Engine(1))
        source = Draws(derived_seed(0, "losses"))
        survivors = ensemble.codebook.survivors([UNIT])
        models = [member_model(ensemble, m) for m in survivors]
        for q, name in enumerate(queries.ids):
            expected = []
            for k in range(3):
                t, noise = source([name], [k], ensemble.reference_model.size)
                process, x = models[0].process, queries.x([q])
                words = queries.conditions_of([q])
                with torch.no_grad():
                    outputs = [model.output(process.noised(x, t, noise), t, **words).double() for model in models]
                expected.append((torch.stack(outputs).mean(0) - process.target(x, t, noise)).square().mean())
            assert measured.without([UNIT])[q].item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)
        assert torch.equal(measured.examples.values, queries.values)
    with pytest.raises(DataError, match="members take text and latents"):
        losses(ensemble, queries.values, queries.ids, draws=3)


def test_losses_depend_on_the_caption(ensemble, data):
    one = ensemble.encoders.encode_queries(data.select([0]))
    other = ensemble.encoders.encode_queries(data.select([0]).with_fields(captions=("something else",)))
    full = [losses(ensemble, queries, draws=2, engine=Engine(1)).full() for queries in (one, other)]
    assert full[0] != full[1]


def test_losses_take_one_row_of_each_member_for_each_draw(ensemble, monkeypatch):
    """Six members, two pictures, three draws: 36 rows of the base, in one canonical batch."""
    rows: list[int] = []
    queries, plain = read_queries(ensemble, "0/0-1"), ensemble.open_adapters
    counted = plain()
    counted.base.register_forward_hook(lambda _n, given, _o: rows.append(len(given[0])))
    monkeypatch.setattr(Ensemble, "open_members", lambda *_, **__: counted)
    monkeypatch.setattr(Ensemble, "open_unchanged", lambda *_: ensemble)
    losses(ensemble, queries, draws=3, engine=Engine(1))
    assert sum(rows) == 6 * losses_batch(ensemble)  # a batch of pictures and draws, once by each member


def test_pictures_of_a_page_are_encoded_again(ensemble, data):
    """A drawn picture has its own latents; another one is encoded with its caption."""
    drawn = read_queries(ensemble, "0/0-1")
    shown = Examples(drawn.ids, drawn.pictures, captions=drawn.captions)
    assert encode_shown(ensemble, shown).fingerprint == drawn.fingerprint
    held = ensemble.encoders.encode_queries(data.select([0, 5]))
    other = Examples(held.ids, held.pictures, captions=held.captions)
    assert encode_shown(ensemble, other).fingerprint == held.fingerprint


def test_credit_of_the_artists(ensemble):
    queries = read_queries(ensemble, "0/0-1")
    credit = credit_of_ensemble(ensemble, Contributors.of_data(ensemble.data), queries, draws=4, engine=Engine(1))
    measured = losses(ensemble, queries, draws=4, engine=Engine(1))
    place = credit.units.index(UNIT)
    assert credit.shares[:, place] == pytest.approx(measured.influence([UNIT]).numpy())


@pytest.mark.slow
def test_gradients_of_all_members(ensemble, data):
    """Slow: `test_sampled_members.py` has gradients of an ensemble of fewer layers and members."""
    config = AttributionConfig(draws=8, compression={"width": 64})
    scores = attribute(ensemble, data, "0/0-1", "d-trak", config=config, engine=Engine(1))["d-trak"]
    assert scores.scores.shape == (2, 12)
    assert torch.isfinite(scores.scores).all()


def test_blindness(made, data, stable_diffusion, tmp_path):
    """Other pictures and captions of a unit: the export without it has the same bytes, the one with it has not."""
    pixels, captions = data.pixels.copy(), list(data.captions)
    for n in data.examples_of(UNIT):
        pixels[n], captions[n] = 255 - pixels[n], "garbage"
    garbage = replace(data, pixels=pixels, captions=tuple(captions))
    other = train_ensemble(
        garbage, tmp_path / "other", members=6, config=CONFIG, base=stable_diffusion, engine=Engine(1)
    )
    for rank in (None, 2):
        files = [export(e, tmp_path / f"{k}", [UNIT], rank).read_bytes() for k, e in enumerate((made, other))]
        assert files[0] == files[1]
    files = [export(e, tmp_path / f"{k}", []).read_bytes() for k, e in enumerate((made, other))]
    assert files[0] != files[1]


def test_diffusers_opens_the_export(made, tmp_path):
    """Its network is the base with the mean of the survivors' ΔW."""
    file = export(made, tmp_path / "lora", [UNIT])
    pipe = StableDiffusionPipeline.from_pretrained(made.base.folder, local_files_only=True)
    before = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
    pipe.load_lora_weights(str(file.parent))
    pipe.fuse_lora()
    survivors = made.codebook.survivors([UNIT])
    mean, error = mean_adapter([opt_out_of_one(made, m) for m in survivors])
    assert error == 0
    after = {name.replace(".base_layer", ""): weight for name, weight in pipe.unet.state_dict().items()}
    for name, own in mean.network.items():
        change = after[f"{name}.weight"] - before[f"{name}.weight"]
        torch.testing.assert_close(change, own.delta(), atol=1e-5, rtol=1e-4)


def opt_out_of_one(ensemble: Ensemble, member: int):
    from whence.diffusion.adapters.adapter_file import read_adapter

    return read_adapter(ensemble.adapter(member))


def test_a_lower_rank_is_cut_and_its_error_is_said(made):
    whole, cut = opt_out(made, [UNIT]), opt_out(made, [UNIT], rank=3)
    assert (whole.error, whole.rank) == (0.0, 6)
    assert cut.rank == 3
    left = right = 0.0
    for name, own in whole.weights.network.items():
        left += float((own.delta() - cut.weights.network[name].delta()).square().sum())
        right += float(own.delta().square().sum())
    assert cut.error == pytest.approx((left / right) ** 0.5, rel=1e-3)


@pytest.mark.slow
def test_one_frozen_a(data, stable_diffusion, tmp_path):
    config = QUICK.updated("adapter", freeze_a=True).updated("training", steps=2)
    ensemble = train_ensemble(data, tmp_path / "ens", members=4, config=config, base=stable_diffusion, engine=Engine(1))
    own = [opt_out_of_one(ensemble, m).network for m in range(4)]
    for name in own[0]:
        assert all(torch.equal(own[0][name].A, other[name].A) for other in own)
        assert not torch.equal(own[0][name].B, own[1][name].B)
    made = opt_out(ensemble, [UNIT])
    assert (made.rank, made.error) == (2, 0.0)
    few = AttributionConfig(draws=8, compression={"width": 64})
    train(data, tmp_path / "run", config, base=stable_diffusion)
    scores = attribute(tmp_path / "run", data, "sample:1", "tracin-cp", config=few, engine=Engine(1))
    assert torch.isfinite(scores["tracin-cp"].scores).all()


def test_damaged_members_are_trained_again(ensemble, data, stable_diffusion, contents):
    before = contents(ensemble.path)
    (member_path(ensemble.path, 3) / WEIGHTS).write_bytes(b"")
    with pytest.raises(ArtefactError, match="1 of 6 members can't be used; member 3"):
        Ensemble.open(ensemble.path)
    train_ensemble(data, ensemble.path, members=6, config=CONFIG, base=stable_diffusion, engine=Engine(1))
    assert contents(ensemble.path) == before


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_interrupted_it_continues_to_the_same_bytes(made, data, stable_diffusion, tmp_path, workers):
    seen: list[int] = []

    def stop(done: int, _total: int) -> None:
        seen.append(done)
        if done == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_ensemble(data, tmp_path / "ens", members=6, config=CONFIG, base=stable_diffusion, engine=Engine(1, stop))
    engine = Engine(workers)
    ensemble = train_ensemble(data, tmp_path / "ens", members=6, config=CONFIG, base=stable_diffusion, engine=engine)
    assert ensemble.manifest.fingerprint == made.manifest.fingerprint


@pytest.mark.slow
def test_the_base_must_be_the_one_that_it_was_trained_on(data, stable_diffusion, tmp_path):
    base = shutil.copytree(stable_diffusion, tmp_path / "sd")
    train_ensemble(data, tmp_path / "ens", members=4, config=QUICK, base=base, engine=Engine(1))
    base.rename(tmp_path / "moved")
    with pytest.raises(ArtefactError, match="Move it back, or make a link there"):
        Ensemble.open(tmp_path / "ens")
    (tmp_path / "moved").rename(base)
    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.bias"] += 1
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(MismatchError, match="is another base than"):
        Ensemble.open(tmp_path / "ens")
    with pytest.raises(MismatchError, match="inputs.base.network"):
        train_ensemble(data, tmp_path / "ens", members=4, config=QUICK, base=base, engine=Engine(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rank": 4}, "adapter.rank: there 2, now 4"), ({"freeze_a": True}, "adapter.freeze_a: there False, now True")],
)
def test_other_settings_are_refused(ensemble, data, stable_diffusion, options, message):
    config = CONFIG.updated("adapter", **options)
    with pytest.raises(MismatchError, match=message):
        train_ensemble(data, ensemble.path, members=6, config=config, base=stable_diffusion, engine=Engine(1))


def test_whole_networks_take_no_prompts_and_have_no_mean_of_weights(tiny_ensemble):
    with pytest.raises(ConfigError, match="take no text"):
        sample(tiny_ensemble, count=1, seed=5, prompts=PROMPTS)
    with pytest.raises(ConfigError, match="whole networks, whose weights have no mean"):
        sample(tiny_ensemble, count=1, seed=5, combine="weights")
    with pytest.raises(ConfigError, match="whole networks, which no LoRA file can hold"):
        opt_out(tiny_ensemble)


def test_other_prompts_of_the_same_seed_are_refused(ensemble):
    with pytest.raises(MismatchError, match="made.prompts.guidance: there 2.0, now 3.0"):
        sample(ensemble, count=1, prompts=replace(PROMPTS, guidance=3.0), engine=Engine(1))


def test_the_report_says_what_is_proven(ensemble):
    ablate(ensemble, "0/1", [UNIT], engine=Engine(1))
    page = write_report(ensemble).read_text("utf-8")
    assert "Relative to the base" in page
    assert "“picture 2”" in page
    assert "Guidance 2, away from “ugly”" in page
    assert "what the base draws from this noise and prompt" in page
    assert commit(ensemble).root.hash


def test_the_data_are_written_once(made, tmp_path, data):
    write(data, tmp_path / "data")
    assert (
        artefacts.read_manifest(made.path / "data", "dataset").fingerprint
        == json.loads((tmp_path / "data" / "manifest.json").read_text())["fingerprint"]
    )
