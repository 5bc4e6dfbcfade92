"""Credit of an encoded ensemble: its exact loss without a contributor, by the members that never saw its examples.

With ℓ(S) the exact loss of the mean prediction of the members S on a picture (whence.ensemble.losses), and S_u the
members that trained on no example of contributor u,

    share_u = ℓ(S_u) - (mean of ℓ over all sets of |S_u| members)

The second term is what fewer members cost by themselves; without it everybody would get credit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from whence.credit.contributors import Contributors
from whence.credit.credit import LEVEL, Credit, Explained
from whence.diffusion.examples import Examples
from whence.engine import DEFAULT, Engine
from whence.ensemble.losses import Losses
from whence.ensemble.make_losses import losses
from whence.ensemble.model import Ensemble
from whence.errors import MismatchError, NoSurvivorsError

#: Permutations of the members for intervals.
REPLICATES = 1000
#: The fewest choices of survivors that have an interval: fewer have nothing outside of 95%.
FEWEST = math.ceil(2 / (1 - LEVEL))


def credit_of_ensemble(
    ensemble: Ensemble,
    contributors: Contributors,
    pictures: Tensor | Examples,
    names: Sequence[str] = (),
    *,
    draws: int = 100,
    engine: Engine = DEFAULT,
) -> Credit:
    """Measure the loss of an ensemble on pictures without each contributor, exactly and without training.

    Args:
        ensemble: A whole ensemble.
        contributors: Whose its training examples are; any grouping, not only the one that it was trained with.
        pictures: Any pictures, float32 [Q, C, H, W] in [-1, 1], or the examples that `read_queries` returns.
        names: Their ids, Q; examples have their own.
        draws: Draws (timestep, noise) per picture.
        engine: Where work runs. Its report is called with (network evaluations done, evaluations in all).

    Returns:
        Shares [Q, U] of fit, which is minus the loss: positive where the loss is higher without the contributor than
        without as many members. v(all) is the fit of all members; v(∅) is NaN, and so is the remainder. Replicates
        [R, Q, U] are share + (the same formula for the survivors of all contributors after a random permutation of the
        members), which is how shares vary together where contributors don't matter; None where the survivors of some
        contributor could be chosen in fewer than 40 ways.

    Raises:
        MismatchError: The contributors are of other examples.
        NoSurvivorsError: Every member trained on examples of some contributor.
    """
    survivors = torch.from_numpy(survivors_of(ensemble, contributors))
    exact = losses(ensemble, pictures, names, draws=draws, engine=engine)
    counts, members = survivors.sum(1), ensemble.codebook.members
    expected = torch.stack([exact.expected(int(count)) for count in counts], 1)
    shares = (exact.of(survivors) - expected).numpy()
    explained = [_explained(name, -float(loss)) for name, loss in zip(exact.queries, exact.full(), strict=True)]
    pairs = zip(contributors.names, counts.tolist(), strict=True)
    few = [name for name, count in pairs if math.comb(members, count) < FEWEST]
    return Credit(
        estimator="leave-one-out",
        efficient=False,
        units=contributors.names,
        examples=contributors.owned,
        explained=tuple(explained),
        shares=shares,
        replicates=None if few else _replicates(exact, survivors, shares, expected.numpy()),
        how=_notes(ensemble, counts, expected, exact, few),
    )


def _explained(name: str, fit: float) -> Explained:
    title = f"Fit of picture {name} (minus its denoising loss)"
    return Explained(f"fit {name}", title, "mean squared error", name, none=math.nan, all=fit)


def survivors_of(ensemble: Ensemble, contributors: Contributors) -> np.ndarray:
    """Return which members trained on no example of a contributor, bool [U, M].

    A member trains on an example if the bits of all units of the example are set, so with overlapping units there may
    be more such members than those without the unit's bit, and never fewer.

    Raises:
        MismatchError: The contributors are of other examples than the ensemble's.
        NoSurvivorsError: There is no such member for some contributor.
    """
    data, book = ensemble.data, ensemble.codebook
    if set(data.ids) != set(contributors.examples):
        raise MismatchError(
            f"The contributors are of {len(contributors.examples):,} examples and the ensemble in {ensemble.path} was "
            f"trained on {len(data):,}, which are not the same. Name the contributors of the ensemble's own data."
        )
    units = [data.units[data.index_of(example)] for example in contributors.examples]
    trained = np.stack([book.bits[:, book.columns(several)].all(1) for several in units])  # [N, M]
    survivors: np.ndarray = ~(contributors.member.astype(np.int64) @ trained.astype(np.int64) > 0)
    without = [name for name, row in zip(contributors.names, survivors, strict=True) if not row.any()]
    if without:
        some = ", ".join(map(repr, without[:5])) + (" ..." if len(without) > 5 else "")
        raise NoSurvivorsError(
            f"Every one of the {book.members} members trained on examples of {len(without)} of the {len(survivors)} "
            f"contributors: {some}. So the ensemble can't tell what it would do without them. Train one whose units "
            "are the contributors: whence ensemble train DATA --unit-column COLUMN."
        )
    return survivors


def _replicates(exact: Losses, survivors: Tensor, shares: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Shares + those of survivors under permutations of the members, float32 [R, Q, U]."""
    source = np.random.default_rng(0)
    members = survivors.shape[1]
    orders = np.argsort(source.random((REPLICATES, members)), axis=1)
    permuted = survivors[:, orders].transpose(0, 1).reshape(-1, members)
    scattered = exact.of(permuted).numpy().reshape(len(shares), REPLICATES, -1).transpose(1, 0, 2) - expected
    replicates: np.ndarray = (shares + scattered).astype(np.float32)
    return replicates


def _notes(ensemble: Ensemble, counts: Tensor, expected: Tensor, exact: Losses, few: list[str]) -> dict[str, str]:
    cost, least, most = (expected - exact.full()[:, None]).mean(), int(counts.min()), int(counts.max())
    some = f"the {least}" if least == most else f"{least} to {most}"
    return {
        "values": f"Exact: the loss of {some} of {ensemble.codebook.members} members that never saw the contributor, "
        f"on {exact.draws} draws, minus the mean loss over all choices of as many members. No model was made for it.",
        "averaging": f"Fewer members by themselves cost {float(cost):.4g} on average, which is nobody's and taken off.",
        "null": "Not measured: there is no ensemble of members that saw nobody, so what nobody is owed is not known.",
        "interval": f"None: {_list(few)} could have too few different survivors (under {FEWEST} ways to choose them) "
        "to see how shares vary. Train more members."
        if few
        else f"95% for which members survive: how the same number varies under {REPLICATES:,} random permutations of "
        "the members, all contributors together. An interval contains zero where other survivors, that have nothing to "
        "do with the contributor, have as large a share. Not corrected for the number of contributors.",
    }


def _list(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
