"""An ensemble of adapters on Stable Diffusion 3: its settings of the process, and its losses against a loop."""

import runpy
from pathlib import Path

import numpy as np
import torch

from whence.config import Config
from whence.data import Dataset
from whence.diffusion.adapter_run import AdapterRun
from whence.engine import Engine
from whence.ensemble import train_ensemble
from whence.ensemble.loss_draws import loss_draws
from whence.ensemble.make_losses import losses
from whence.ensemble.model import member_path

MAKE = runpy.run_path(str(Path(__file__).parent.parent / "flow_pipelines.py"))
CONFIG = (
    Config()
    .updated("training", steps=2, batch_size=2, warmup=1, checkpoints=1, save_every=2, learning_rate=3e-2, seed=3)
    .updated("adapter", rank=2, alpha=4.0)
    .updated("process", weighting="sigma_sqrt", density="uniform", precondition=False)
)


def test_losses_of_members_have_the_weight_of_the_training(tmp_path):
    base = MAKE["stable_diffusion_3"](tmp_path / "sd3")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)
    data = Dataset(tuple("abcd"), pixels, tuple((f"artist {n}",) for n in range(4)), ("a", "b", "a", "b"))
    ensemble = train_ensemble(data, tmp_path / "ens", members=4, config=CONFIG, base=base, engine=Engine(1))
    assert ensemble.reference_model.process.record()["weighting"] == "sigma_sqrt"
    queries = ensemble.encoders.encode_queries(data.select([0]))
    found = losses(ensemble, queries, draws=3, engine=Engine(1))
    t, noise = loss_draws(ensemble.reference_model, 0)(queries.ids * 3, [0, 1, 2], queries.size)
    x, rows = queries.x([0, 0, 0]), queries.conditions_of([0, 0, 0])
    with torch.no_grad():
        members = [AdapterRun(member_path(ensemble.path, m), base).checkpoint().open() for m in range(4)]
        process = members[0].process
        mean = torch.stack([one.output(process.noised(x, t, noise), t, **rows) for one in members]).mean(0)
        expected = ((mean - (noise - x)).square().mean((1, 2, 3)) * (t / 1000) ** -2).mean()
    torch.testing.assert_close(found.full()[0].float(), expected, rtol=1e-4, atol=1e-5)
