import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from whence import data
from whence.credit.contributors import Contributors
from whence.credit.credit import Credit, Explained
from whence.data import NO_UNIT, Dataset, load

HOSTILE = "anna <script>alert(1)</script>"

EXPLAINED = (
    Explained("diversity", "Diversity of what the model draws: entropy over 20 kinds", "bits", None, 0.5, 2.1),
    Explained("held-out-fit", "Fit to pictures that training never saw", "mean squared error", None, -1.0, -0.04),
    Explained("fit 0/0", "Fit to the picture: minus its denoising loss (picture 0/0)", "loss", "0/0", -0.9, -0.03),
    Explained("ssim 0/0", "Likeness to the picture (picture 0/0)", "similarity", "0/0", 0.1, 0.2),
    Explained("fit 0/1 <b>", "Fit to the picture (picture 0/1)", "loss", "0/1 <b>", -0.8, -0.0399999),
)


def contributed(count: int = 80, others: Sequence[str] = ()) -> Dataset:
    """Digits of 12 contributors of unequal size, some of two contributors and some of none."""
    digits = load("digits").select(range(count))
    names = [HOSTILE, *(f"artist {k}" for k in range(1, 12)), *others]
    units = [(names[int(np.sqrt(n) * len(names) / np.sqrt(count))],) for n in range(count)]
    units[-1], units[-2] = (NO_UNIT,), (names[-1], names[0])
    return digits.with_fields(units=tuple(units))


def credit_of(images: Dataset, name: str, efficient: bool, spread: float | None = 0.3, seed: int = 0) -> Credit:
    """Shares around those of examples, one of them below zero; in the last behaviour all could be nothing."""
    rng = np.random.default_rng(seed)
    who = Contributors.of_data(images)
    whole = np.array([one.all - one.none for one in EXPLAINED])
    parts = rng.gamma(1.2, size=(len(EXPLAINED), len(who)))
    parts[:, 1] *= -0.4
    parts /= parts.sum(1, keepdims=True)
    shares = whole[:, None] * parts * (1 if efficient else 0.7)
    replicates = None
    if spread is not None:
        wide = spread * whole[:, None] / len(who) * np.array([1, 1, 1, 2, 9])[:, None]
        moved = rng.normal(size=(400, *shares.shape)) * wide
        replicates = (shares + moved - (moved.mean(2, keepdims=True) if efficient else 0)).astype(np.float32)
    own = tuple(tuple(images.ids[n] for n in np.flatnonzero(row)) for row in who.member)
    how = {
        "values": "128 models, each trained further for a short time on the pictures of a random set of contributors; "
        "64 pictures were drawn of each.",
        "interval": "95% for which sets of contributors were drawn, and the noise of their models. It does not cover "
        "how far short training is from training anew."
        if spread is not None
        else "None: every set of contributors was measured only once.",
        "null": "An untrained model.",
    }
    return Credit(name, efficient, who.names, own, EXPLAINED, shares, replicates, how)


def write_folder(path: Path, images: Dataset, *credits: Credit) -> Path:
    """A folder as `whence credit compute` writes it."""
    data.write(images, path / "data")
    asked = images.select([3, 11])
    data.write(dataclasses.replace(asked, ids=("0/0", "0/1 <b>")), path / "queries")
    for credit in credits:
        made = {"estimator": credit.estimator, "efficient": credit.efficient, "sampler": {"seed": 3}}
        credit.write(path / credit.estimator, {"data": images.fingerprint}, made)
    return path


@pytest.fixture(scope="session")
def images() -> Dataset:
    return contributed()


@pytest.fixture(scope="session")
def folder(images: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shares by three estimators, one of them without intervals; only to be read."""
    path = tmp_path_factory.mktemp("credit") / "my <i>credit"
    return write_folder(
        path,
        images,
        credit_of(images, "leave-one-out", False, seed=1),
        credit_of(images, "shapley", True),
        credit_of(images, "add-one-in", False, spread=None, seed=2),
    )


@pytest.fixture(scope="session", name="contributed")
def _contributed():
    return contributed


@pytest.fixture(scope="session", name="credit_of")
def _credit_of():
    return credit_of


@pytest.fixture(scope="session", name="write_folder")
def _write_folder():
    return write_folder
