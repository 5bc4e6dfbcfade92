"""Every gradient method against its formula: gradients example by example from autograd, and explicit inverses."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whence import artefacts
from whence.attribution.attribute import attribute
from whence.attribution.methods import METHODS
from whence.attribution.request import AttributionConfig
from whence.diffusion.checkpoint import Checkpoint
from whence.diffusion.draws import Draws
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.philox import keys, normals
from whence.diffusion.record import Record
from whence.diffusion.sampling import predicted_clean
from whence.engine import Engine
from whence.gradients.compression import Compression, maps
from whence.gradients.layers import coverage
from whence.gradients.product_layers import ProductLayer
from whence.gradients.readouts import signs
from whence.scores.jackknife import GROUPS
from whence.seeds import derived_seed

DRAWS, DAMPING, ROWS = 8, 0.3, 48
#: A thousand parameters, so that ΦᵀΦ + λI can be inverted as it stands.
LAYERS = ("conv_in", "conv_norm_out", "conv_out", "time_embedding.linear_1", "mid_block.resnets.0.conv1")
PARAMETERS = "^(" + "|".join(map(re.escape, LAYERS)) + ")$"
READOUTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "loss": lambda output, target: (output - target).square().mean(),
    "squared-norm": lambda output, target: output.square().mean(),
    "mean": lambda output, target: output.mean(),
}


def gradient(model, x, t, noise, readout, v=None) -> tuple[Tensor, float]:
    """∇f of one picture [p] and its loss, by autograd; v are the signs of the readout `signs`."""
    target = model.process.target(x[None], t[None], noise[None])
    output = model.network(model.process.noised(x[None], t[None], noise[None]), t[None]).sample
    chosen = [p for name, p in model.network.named_parameters() if name.rpartition(".")[0] in LAYERS]
    value = (output * v).mean() if readout == "signs" else READOUTS[readout](output, target)
    parts = torch.autograd.grad(value, chosen, allow_unused=True)
    flat = [torch.zeros_like(p) if part is None else part for p, part in zip(chosen, parts, strict=True)]
    return torch.cat([part.flatten() for part in flat]).double(), (output - target).square().mean().item()


@dataclass(eq=False)
class Slow:
    """The same question, answered slowly, but each part of it once."""

    run: object
    data: object
    queries: Examples
    kept: dict[tuple, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @cached_property
    def model(self) -> DiffusionModel:
        return DiffusionModel.load(self.run)

    @cached_property
    def columns(self) -> Tensor:
        """Where features keep the derivative by each parameter, in autograd's order [p]."""
        cover = coverage(self.model.network, PARAMETERS)
        whole, place = maps(cover, Compression(kind="none")), {}
        for layer, (_, columns) in whole.by_layer.items():
            shape = cover.layers[layer]
            numbers = torch.arange(columns.start, columns.stop)
            grid = numbers.reshape(shape.outputs, shape.inputs) if isinstance(shape, ProductLayer) else numbers
            place |= {f"{layer}.{key}": value for key, value in shape.by_parameter(grid).items()}
        return torch.cat([place[name].flatten() for name, _ in self.model.network.named_parameters() if name in place])

    @cached_property
    def record(self) -> Record:
        return Record(self.run)

    @cached_property
    def checkpoints(self) -> list[tuple[int, DiffusionModel]]:
        """Steps and raw weights."""
        files = sorted((self.run / "checkpoints").iterdir())
        steps = [int(artefacts.read_tensors(file)["step"]) for file in files]
        return [(step, Checkpoint(self.run, file).open()) for step, file in zip(steps, files, strict=True)]

    def rows(self, purpose: str, names) -> list[list[tuple[Tensor, Tensor]]]:
        """(timestep, noise) of every name and draw."""
        draws = Draws(derived_seed(0, purpose), 1000)
        found = [draws([name] * DRAWS, range(DRAWS), self.model.size) for name in names]
        return [list(zip(t, noise, strict=True)) for t, noise in found]

    def features(self, model, pictures, rows, readout, normalised) -> tuple[Tensor, Tensor]:
        """Φ [n, p], the mean over draws, and mean losses [n]."""
        means, losses = [], []
        for x, draws in zip(pictures, rows, strict=True):
            pairs = [gradient(model, x, *draw, readout) for draw in draws]
            own = [g / g.norm() if normalised else g for g, _ in pairs]
            means.append(torch.stack(own).mean(0))
            losses.append(np.mean([loss for _, loss in pairs]))
        return torch.stack(means), torch.tensor(losses)

    @cached_property
    def x(self) -> Tensor:
        return self.data.images(range(len(self.data)))

    def examples(self, model, readout="loss", normalised=False):
        return self.once("examples", self.data.ids, self.x, model, readout, normalised)

    def asked(self, model, readout="loss", normalised=False) -> Tensor:
        return self.once("queries", self.queries.ids, self.queries.values, model, readout, normalised)[0]

    def once(self, purpose, ids, pictures, model, readout, normalised) -> tuple[Tensor, Tensor]:
        key = (purpose, id(model), readout, normalised)
        if key not in self.kept:
            self.kept[key] = self.features(model, pictures, self.rows(purpose, ids), readout, normalised)
        return self.kept[key]

    @cached_property
    def steps(self) -> Tensor:
        """Φ of the picture predicted at every step [Q, S, p], at that step's timestep."""
        timesteps, clean = predicted_clean(self.model, self.queries.origin.sampler, self.queries.ids)
        draws, found = Draws(derived_seed(0, "trajectory"), 1000), []
        for q, name in enumerate(self.queries.ids):
            for s, t in enumerate(timesteps):
                _, noise = draws([f"{name}@{t}"] * GROUPS, range(GROUPS), self.model.size)
                rows = [(torch.tensor(t), one) for one in noise]
                found.append(self.features(self.model, [clean[s, q]], [rows], "loss", False)[0][0])
        return torch.stack(found).reshape(len(self.queries.ids), len(timesteps), -1)

    def visits(self, n: int, first: int, last: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        """What training saw of an example at these visits, as its record has it: picture, timestep, noise."""
        record, found = self.record, []
        for step, slot in zip(*torch.nonzero(record["rows"] == n, as_tuple=True), strict=True):
            if first <= record["visits"][step, slot] <= last:
                noise = record.noise(int(step), self.model.size)[slot]
                x = self.x[n].flip(-1) if record["flipped"][step, slot] else self.x[n]
                found.append((x, record["timesteps"][step, slot].long(), noise))
        assert len(found) == last - first + 1
        return found

    def tracin(self, normalised: bool) -> Tensor:
        """Σ_c η_c V_c / B ⟨ḡ_q, ḡ_n⟩ over the checkpoints c."""
        record, total, before = self.record, 0.0, -1
        size, count = record.training.batch_size, len(self.data)
        for step, model in self.checkpoints:
            last = step * size // count - 1
            rows = []
            for n in range(count):
                seen = [gradient(model, *visit, "loss")[0] for visit in self.visits(n, before + 1, last)]
                rows.append(torch.stack([g / g.norm() if normalised else g for g in seen]).mean(0))
            among = [s for s in range(step) if ((record["visits"][s] > before) & (record["visits"][s] <= last)).any()]
            rate = record["learning_rate"][among].mean()
            scores = self.asked(model, "loss", normalised) @ torch.stack(rows).T
            total = total + rate * (last - before) / size * scores
            before = last
        return total


def inverse(phi: Tensor) -> Tensor:
    """(ΦᵀΦ + λI)⁻¹ with λ relative to the mean eigenvalue."""
    gram = phi.T @ phi
    return torch.linalg.inv(gram + DAMPING * gram.trace() / min(phi.shape) * torch.eye(len(gram)))


def kernel(phi: Tensor, asked: Tensor) -> Tensor:
    return asked @ inverse(phi) @ phi.T


@cache
def tangent(slow):
    """Every draw's signs on output and features are made as the library makes them; the rest is autograd's."""
    draws, index = Draws(derived_seed(0, "shared"), 1000, shared=True), np.arange(DRAWS)
    kept_apart = signs("draw", index, len(slow.columns))[:, slow.columns]
    v = signs("output", index, slow.x[0].numel()).reshape(DRAWS, *slow.model.size)

    def mean_of(pictures):
        found = []
        for x in pictures:
            t, noise = draws(["anyone"] * DRAWS, index, slow.model.size)
            gradients = [
                gradient(slow.model, x, t[k], noise[k], "signs", v[k])[0] * kept_apart[k] for k in range(DRAWS)
            ]
            found.append(torch.stack(gradients).mean(0))
        return torch.stack(found)

    examples, asked = mean_of(slow.x), mean_of(slow.queries.values)
    layers = [name for name, _ in slow.model.network.named_parameters() if name.rpartition(".")[0] in LAYERS]
    names = np.repeat(
        [name.rpartition(".")[0] for name in layers],
        [slow.model.network.get_parameter(name).numel() for name in layers],
    )
    each = [kernel(examples[:, names == layer], asked[:, names == layer]) for layer in LAYERS]
    return torch.stack(each).mean(0)


def d_trak(slow):
    return kernel(slow.examples(slow.model, "squared-norm")[0], slow.asked(slow.model, "squared-norm"))


def trak(slow):
    return kernel(slow.examples(slow.model)[0], slow.asked(slow.model))


def journey(slow):
    return kernel(slow.examples(slow.model)[0], slow.steps.mean(1))


def journey_steps(slow):
    return kernel(slow.examples(slow.model)[0], slow.steps.flatten(0, 1))


@cache
def das(slow):
    phi, losses = slow.examples(slow.model, "mean", normalised=True)
    leverage = (phi @ inverse(phi) @ phi.T).diagonal()
    return kernel(phi, slow.asked(slow.model, "mean", normalised=True)) * losses.sqrt() / (1 - leverage)


def relative(slow):
    phi = slow.examples(slow.model)[0]
    return kernel(phi, slow.asked(slow.model)) / (inverse(phi) @ phi.T).norm(dim=0)


def renormalised(slow):
    phi = slow.examples(slow.model)[0]
    return kernel(phi, slow.asked(slow.model)) / phi.norm(dim=1)


def dot(slow, model=None):
    model = model or slow.model
    return slow.asked(model) @ slow.examples(model)[0].T


def cosine(slow, model=None):
    phi, asked = slow.examples(model or slow.model)[0], slow.asked(model or slow.model)
    return asked / asked.norm(dim=1, keepdim=True) @ (phi / phi.norm(dim=1, keepdim=True)).T


@cache
def pseudo_gradients(slow, stage):
    """What every layer sees at the rows of a stage: inputs [S, I] with a 1, cotangents [S, O], gradients."""
    model, draws = slow.model, Draws(derived_seed(0, stage), 1000)
    ids, seed, found = sorted(slow.data.ids), derived_seed(0, f"targets of {stage}"), []
    for row in range(ROWS):
        name, index = ids[row % len(ids)], row // len(ids)
        x, (t, noise) = slow.x[slow.data.ids.index(name)], draws([name], [index], model.size)
        layers = {layer: model.network.get_submodule(layer) for layer in LAYERS}
        seen = {}
        hooks = [
            module.register_forward_hook(lambda _, x, y, name=layer, seen=seen: seen.update({name: (x[0], y)}))
            for layer, module in layers.items()
        ]
        output = model.network(model.process.noised(x[None], t, noise), t).sample
        v = (2 / output.numel()) ** 0.5 * normals(keys("target", seed, [name]), np.array([index]), model.size)
        chosen = [p for module in layers.values() for p in module.parameters()]
        cotangents = torch.autograd.grad((output * v).sum(), [*(y for _, y in seen.values()), *chosen])
        for hook in hooks:
            hook.remove()
        of_outputs = dict(zip(seen, cotangents, strict=False))
        by_parameter = dict(zip(chosen, cotangents[len(seen) :], strict=True))
        found.append(
            {
                layer: (
                    *sides(module, seen[layer][0], of_outputs[layer]),
                    *(by_parameter[p] for p in module.parameters()),
                )
                for layer, module in layers.items()
            }
        )
    return found


def sides(module, x, cotangent):
    """Inputs [S, I] and cotangents [S, O] of a layer."""
    if isinstance(module, nn.Conv2d):
        x = F.unfold(x, module.kernel_size, module.dilation, module.padding, module.stride)[0].T
        cotangent = cotangent.flatten(2)[0].T
    inputs = torch.cat([x, torch.ones(len(x), 1)], 1) if x.dim() == 2 else x
    return inputs.detach().double(), cotangent.double()


def matrix(weight, bias):
    """A gradient as [O, I] with the bias last; of a normalisation as [1, size]."""
    return (
        torch.cat([weight, bias])[None] if weight.dim() == 1 else torch.cat([weight.flatten(1), bias[:, None]], 1)
    ).double()


def influence(slow, corrected: bool):
    """Σ_l ⟨Vᵀ g_q U / (Λ + λ), Vᵀ g_n U⟩ / N with explicit gradients and factors."""
    model, (phi, _), asked = slow.model, slow.examples(slow.model), slow.asked(slow.model)
    factors, moments = pseudo_gradients(slow, "factors"), pseudo_gradients(slow, "eigenvalues")
    total, first = 0.0, 0
    names = [name.rpartition(".")[0] for name, _ in model.network.named_parameters()]
    for layer in dict.fromkeys(name for name in names if name in LAYERS):
        if isinstance(model.network.get_submodule(layer), nn.GroupNorm):
            g = torch.cat([matrix(*row[layer][2:]) for row in factors])
            a, s = g.T @ g / ROWS, torch.ones(1, 1, dtype=torch.float64)
        else:
            inputs, outputs = (torch.cat([row[layer][side] for row in factors]) for side in (0, 1))
            a, s = inputs.T @ inputs / len(inputs), outputs.T @ outputs / ROWS
        (alpha, u), (sigma, v) = torch.linalg.eigh(a), torch.linalg.eigh(s)
        values = sigma.clamp_min(0)[:, None] * alpha.clamp_min(0)
        if corrected:
            values = torch.stack([(v.T @ matrix(*row[layer][2:]) @ u).square() for row in moments]).mean(0)
        parts = [p.shape for p in model.network.get_submodule(layer).parameters()]
        size = sum(shape.numel() for shape in parts)

        def rotated(rows, first=first, parts=parts, u=u, v=v, size=size):
            split = [torch.split(row[first : first + size], [shape.numel() for shape in parts]) for row in rows]
            return torch.stack([v.T @ matrix(w.reshape(parts[0]), b) @ u for w, b in split])

        damped = rotated(asked) / (values + DAMPING * values.mean())
        total = total + torch.einsum("qoi,noi->qn", damped, rotated(phi)) / len(phi)
        first += size
    return total


def over_checkpoints(score):
    return lambda slow: torch.stack([score(slow, model) for _, model in slow.checkpoints]).mean(0)


REFERENCE = {
    "tangent": tangent,
    "tangent-squared": lambda slow: tangent(slow).sign() * tangent(slow).square(),
    "d-trak": d_trak,
    "trak": trak,
    "journey-trak": journey,
    "journey-trak-steps": journey_steps,
    "das": das,
    "das-squared": lambda slow: das(slow).square(),
    "relative-if": relative,
    "renormalised-if": renormalised,
    "ek-fac": lambda slow: influence(slow, corrected=True),
    "k-fac": lambda slow: influence(slow, corrected=False),
    "gradient-dot": dot,
    "gradient-cosine": cosine,
    "tracin-cp": over_checkpoints(dot),
    "gas": over_checkpoints(cosine),
    "tracin": lambda slow: slow.tracin(normalised=False),
    "retrac": lambda slow: slow.tracin(normalised=True),
}


@pytest.fixture(scope="module")
def slow(recorded_run, few_digits, drawn) -> Slow:
    return Slow(recorded_run, few_digits, drawn)


@pytest.fixture(scope="module")
def found(slow):
    config = AttributionConfig(draws=DRAWS, damping=DAMPING, compression=Compression(kind="none"), curvature_rows=ROWS)
    return attribute(
        slow.run, slow.data, slow.queries, list(METHODS), config=config, parameters=PARAMETERS, engine=Engine(1)
    )


def test_every_method_has_a_reference():
    assert list(REFERENCE) == list(METHODS)


@pytest.mark.parametrize("name", REFERENCE)
def test_scores_are_those_of_the_formula(slow, found, name):
    expected, scores = REFERENCE[name](slow), found[name]
    assert scores.examples == slow.data.ids
    torch.testing.assert_close(scores.scores.double(), expected, rtol=2e-3, atol=2e-4 * float(expected.abs().max()))
    assert (scores.standard_error > 0).all()


def test_the_steps_are_named_by_picture_and_timestep(slow, found):
    timesteps, _ = predicted_clean(slow.model, slow.queries.origin.sampler, slow.queries.ids)
    assert found["journey-trak-steps"].queries == tuple(f"{q}@{t}" for q in slow.queries.ids for t in timesteps)


def test_the_last_checkpoint_is_not_the_averaged_model(slow):
    step, last = slow.checkpoints[-1]
    assert step == slow.record.training.steps
    assert not torch.equal(last.network.conv_in.weight, slow.model.network.conv_in.weight)
