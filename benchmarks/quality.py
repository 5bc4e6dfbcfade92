"""Is the ensemble a good generator, and does it stay one when a unit is ablated?

Two measurements on digits that no model was trained on:

* denoising loss on the 297 held-out digits, 100 draws each: the full ensemble, the mean over the ensembles with
  one unit ablated (all 1,500 of them, exactly: with R the Gram matrix of the members' residuals, the loss of the
  mean of the members S is wᵀRw, w = 1/|S| on S), and one model trained on all digits for as many steps as a member;
* recognisability: the share of 200 pictures to which a support vector classifier, trained on the training digits,
  gives a probability of at least .9, and how many of the ten digits are among them; for held-out digits beside it (the
  ceiling) and for pictures of noise (the floor).

Everything continues after an interruption. Settings of the classifier are scikit-learn's defaults.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from figures import write_figures
from scipy.stats import binomtest
from sklearn.svm import SVC

import whence
from whence.cli.show import progress
from whence.diffusion.draws import Draws
from whence.engine import Engine, one_thread

DRAWS, PICTURES, CHUNK = 100, 200, 99
#: Pictures of no other seed are reported; settings were chosen while looking at pictures of seed 0.
SEED = 7


def main() -> None:
    """Measure and print; writes docs/figures/quality.json."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--members", type=int, default=16)
    arguments.add_argument("--steps", type=int, default=None, help="steps of a member; default the library's")
    arguments.add_argument("--out", type=Path, default=Path("runs/quality"))
    given = arguments.parse_args()
    digits, held_out = whence.load("digits"), whence.load("digits:test")
    config = whence.Config().updated("training", steps=given.steps)
    with progress(f"training {given.members} members") as report:
        ensemble = whence.train_ensemble(
            digits, given.out / "ensemble", members=given.members, config=config, engine=Engine(report=report)
        )
    with progress("training one model on all digits") as report:
        whence.train(digits, given.out / "single", config, engine=Engine(report=report))
    results = {"members": given.members, "steps": config.training.steps}
    results |= {"loss": losses(ensemble, given.out / "single", held_out)}
    results |= {"recognisable": recognisable(ensemble, digits, held_out)}
    write_figures("quality", results)
    show(results)


def losses(ensemble: whence.Ensemble, single: Path, held_out: whence.Dataset) -> dict[str, float]:
    """Held-out loss of the single model, the full ensemble and the ablated ones (mean over all units)."""
    model = whence.DiffusionModel.load(single)
    networks = list(ensemble.open_members().networks.values())
    draws = Draws(seed=2, timesteps=model.process.timesteps)
    gram = torch.zeros(len(networks), len(networks), dtype=torch.float64)
    alone, count = 0.0, 0
    with one_thread(), torch.inference_mode(), progress("held-out losses") as report:
        for k in range(DRAWS):
            for start in range(0, len(held_out), CHUNK):
                rows = range(start, min(start + CHUNK, len(held_out)))
                x = held_out.images(rows)
                t, noise = draws([held_out.ids[n] for n in rows], [k] * len(rows), held_out.size)
                noised, target = model.process.noised(x, t, noise), model.process.target(x, t, noise)
                residuals = torch.stack([(net(noised, t).sample - target).double().flatten() for net in networks])
                gram += residuals @ residuals.T
                alone += (model.network(noised, t).sample - target).double().square().sum().item()
                count += target.numel()
            report(k + 1, DRAWS)
    gram /= count

    def loss(members: np.ndarray) -> float:
        weights = torch.from_numpy(members / members.sum())
        return float(weights @ gram @ weights)

    seen = ensemble.codebook.bits
    ablated = np.array([loss(~seen[:, u] * 1.0) for u in range(seen.shape[1])])
    full = loss(np.ones(len(networks)))
    members = gram.diagonal().mean().item()
    return {
        "single": alone / count,
        "full": full,
        "ablated": float(ablated.mean()),
        "ablated_worst": float(ablated.max()),
        "member": members,
        "full_to_single": full / (alone / count),
        "ablated_to_single": float(ablated.mean()) / (alone / count),
    }


def recognisable(
    ensemble: whence.Ensemble, digits: whence.Dataset, held_out: whence.Dataset
) -> dict[str, dict[str, float]]:
    """Share of pictures with p >= .9 and number of digits seen, for several sources of pictures."""
    labels = np.array([int(caption) for caption in digits.captions])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        classifier = SVC(probability=True, random_state=0).fit(_flat(digits.images(range(len(digits)))), labels)

    def judge(pictures: torch.Tensor) -> dict[str, float]:
        p = classifier.predict_proba(_flat(pictures))
        sure = int((p.max(1) >= 0.9).sum())
        interval = binomtest(sure, len(p)).proportion_ci(method="wilson")
        return {
            "value": sure / len(p),
            "low": interval.low,
            "high": interval.high,
            "digits": len(set(p.argmax(1)[p.max(1) >= 0.9].tolist())),
        }

    with progress("drawing") as report:
        full = whence.sample(ensemble, count=PICTURES, seed=SEED, engine=Engine(report=report))
    with progress("drawing without one unit") as report:
        without = whence.sample(
            ensemble, count=PICTURES, seed=SEED, without=[digits.ids[0]], engine=Engine(report=report)
        )
    noise = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, full.pictures.shape)).float()
    return {
        "full ensemble": judge(full.pictures),
        f"without unit {digits.ids[0]}": judge(without.pictures),
        "held-out digits": judge(held_out.images(range(len(held_out)))),
        "noise": judge(noise),
    }


def show(results: dict) -> None:
    """Print the figures."""
    loss = results["loss"]
    print(f"{results['members']} members, {results['steps']} steps each. Loss on held-out digits, {DRAWS} draws:")
    print(f"  one model on all digits  {loss['single']:.4f}")
    print(f"  full ensemble            {loss['full']:.4f}  ({loss['full_to_single']:.3f} of the one model)")
    print(f"  one unit ablated, mean   {loss['ablated']:.4f}  ({loss['ablated_to_single']:.3f} of the one model)")
    print(f"  one unit ablated, worst  {loss['ablated_worst']:.4f}")
    print(f"  one member, mean         {loss['member']:.4f}")
    print("Share of pictures that the classifier gives p >= .9 (95% interval), digits among them:")
    for name, row in results["recognisable"].items():
        print(f"  {name:17} {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}), {row['digits']} of 10")


def _flat(pictures: torch.Tensor) -> np.ndarray:
    return pictures.flatten(1).numpy()


if __name__ == "__main__":
    main()
