"""The curvature against explicit inputs, cotangents and gradients, where it is exact, and whatever the batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import nn

from whence import artefacts
from whence.diffusion.checkpoint import LoadedCheckpoint
from whence.diffusion.denoiser import denoise
from whence.diffusion.draws import Draws, order
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.diffusion.philox import keys, normals
from whence.engine import Engine
from whence.errors import MismatchError, NotFiniteError
from whence.gradients import make_curvature as module
from whence.gradients.check import plainly_computed
from whence.gradients.compression import Compression
from whence.gradients.draw_sources import OwnDraws
from whence.gradients.gradient_spec import make_gradient_spec
from whence.gradients.layers import NormLayer
from whence.gradients.make_curvature import BASES, EIGENVALUES, CurvatureJob, make_curvature
from whence.seeds import derived_seed

IDS = tuple(f"image {n}" for n in range(7))
STAGES = ("factors", "eigenvalues")
ROWS = 40
#: Largest block that is formed in full.
SMALL = 700


def curvature_job(path, network, size, places=range(7), **changes) -> CurvatureJob:
    """Forty rows of seven random pictures in some order."""
    model = DiffusionModel(network, DDPMScheduler(), size)
    pictures = torch.randn(7, *size, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    examples = Examples(tuple(IDS[n] for n in places), pictures[list(places)])
    examples.write(path / "examples")
    spec = make_gradient_spec(path, LoadedCheckpoint(model), examples, Compression(kind="none"))
    draws = {stage: OwnDraws(Draws(derived_seed(0, stage))) for stage in STAGES}
    whole = CurvatureJob(path / "made", spec, path / "examples", examples.fingerprint, draws, ROWS, 0, batch=8)
    return replace(whole, **changes)


def made(job):
    make_curvature(job, engine=Engine(1))
    return artefacts.read_tensors(job.path / BASES), artefacts.read_tensors(job.path / EIGENVALUES)


@pytest.fixture(scope="module")
def job(case, tmp_path_factory) -> CurvatureJob:
    return curvature_job(tmp_path_factory.mktemp("curvature"), case.network, tuple(case.x_t.shape[1:]))


def explicit_rows(job, stage):
    """Of every row and layer: input sides [S, I] and cotangents [S, O], call by call, and the gradient [O, I]."""
    (model, collector), examples = job.spec.open(), Examples.read(job.examples)
    modules, network = collector.cover.modules, model.network
    for row in range(job.rows):
        n, index = row % len(examples), np.array([row // len(examples)])
        t, noise = job.draws[stage]([examples.ids[n]], index, model.size)
        calls = []
        hooks = [
            one.register_forward_hook(lambda _, x, y, name=name, calls=calls: calls.append((name, x[0], y)))
            for name, one in modules.items()
        ]
        with plainly_computed(network):
            output = denoise(network, model.process.noised(examples.x([n]), t, noise), t)
        for hook in hooks:
            hook.remove()
        key = keys("target", derived_seed(0, f"targets of {stage}"), [examples.ids[n]])
        v = normals(key, index, model.size) * (2 / output.numel()) ** 0.5
        parameters = [p for one in modules.values() for p in one.parameters(recurse=False)]
        found = torch.autograd.grad((output * v).sum(), [*(y for *_, y in calls), *parameters], allow_unused=True)
        pairs = zip(parameters, found[len(calls) :], strict=True)
        gradients = {id(p): torch.zeros_like(p) if g is None else g for p, g in pairs}
        layers = {name: ([], gradient_matrix(one, gradients)) for name, one in modules.items()}
        for (name, x, _), cotangent in zip(calls, found, strict=False):
            layers[name][0].append(sides(modules[name], x.detach(), cotangent))
        yield layers


def gradient_matrix(layer, gradients):
    """The gradient of a layer [O, I], the bias last; of a normalisation [1, size]."""
    weight, *bias = (gradients[id(p)].double() for p in layer.parameters(recurse=False))
    if weight.dim() == 1:
        return torch.cat([weight, *bias])[None]
    weight = weight.T if isinstance(layer, nn.Embedding) else weight.flatten(1)
    return torch.cat([weight, *(one[:, None] for one in bias)], 1)


def sides(layer, x, cotangent):
    """Inputs [S, I], with 1 for a bias, and cotangents [S, O] of one example; groups are positions."""
    if isinstance(layer, nn.Embedding):
        x = F.one_hot(x.reshape(-1), layer.num_embeddings).float()
    elif isinstance(layer, nn.Conv2d):
        groups, outputs = layer.groups, cotangent.shape[1]
        x = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)[0]
        x = x.reshape(groups, -1, x.shape[-1]).transpose(1, 2).flatten(0, 1)
        apart = torch.zeros(groups, cotangent[0, 0].numel(), outputs)
        for g in range(groups):
            own = slice(g * outputs // groups, (g + 1) * outputs // groups)
            apart[g, :, own] = cotangent[0, own].flatten(1).T
        cotangent = apart
    if getattr(layer, "bias", None) is not None:
        x = torch.cat([x, torch.ones(*x.shape[:-1], 1)], -1)
    return x.reshape(-1, x.shape[-1]).double(), cotangent.reshape(len(x.reshape(-1, x.shape[-1])), -1).double()


def explicit_factors(job):
    """A and S of every layer."""
    rows, found = list(explicit_rows(job, "factors")), {}
    for name, layer in job.spec.open()[1].cover.layers.items():
        if isinstance(layer, NormLayer):
            g = torch.cat([row[name][1] for row in rows])
            found[name] = g.T @ g / len(g), torch.ones(1, 1).double()
        else:
            inputs, outputs = (torch.cat([call[side] for row in rows for call in row[name][0]]) for side in (0, 1))
            found[name] = inputs.T @ inputs / len(inputs), outputs.T @ outputs / job.rows
    return found


def by_layer(job, values):
    layers = job.spec.open()[1].cover.layers
    return dict(zip(layers, torch.split(values, [layer.size for layer in layers.values()]), strict=True))


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_the_eigenvectors_are_those_of_the_explicit_factors(job):
    bases, values = made(job)
    of_layer = by_layer(job, values["k-fac"])
    for name, factors in explicit_factors(job).items():
        diagonals = []
        for side, factor in zip(("inputs", "outputs"), factors, strict=True):
            basis = bases[f"{name} {side}"].double()
            close(basis.T @ basis, torch.eye(len(basis)).double())
            rotated = basis.T @ factor @ basis
            diagonals.append(rotated.diagonal())
            close(rotated, torch.diag(rotated.diagonal()))
        a, s = diagonals
        close(of_layer[name], torch.outer(s, a).flatten())


def test_the_corrected_eigenvalues_are_the_diagonal_of_the_gauss_newton_matrix_in_the_basis(job):
    bases, values = made(job)
    rows, formed = list(explicit_rows(job, "eigenvalues")), 0
    for name, own in by_layer(job, values["ek-fac"]).items():
        gradients = torch.stack([row[name][1] for row in rows])
        u, v = (bases[f"{name} {side}"].double() for side in ("inputs", "outputs"))
        close(own, (v.T @ gradients @ u).square().mean(0).flatten())
        if gradients[0].numel() <= SMALL:
            formed += 1
            g, q = gradients.flatten(1), torch.kron(v, u)
            close(own, (q.T @ (g.T @ g / len(g)) @ q).diagonal())
    assert formed > 4


class OneLayer(nn.Module):
    """A linear layer with one position: the whole picture."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x, t):
        return self.layer(x.flatten(1)).reshape(x.shape)


def test_k_fac_is_exact_for_a_linear_layer_with_one_position(tmp_path):
    """Then G = 2/D · 1 ⊗ E a aᵀ, and S is 2/D · 1 up to the error of the sampled targets."""
    rows = 4096
    job = curvature_job(tmp_path, OneLayer(), (1, 4, 4), rows=rows, batch=256)
    bases, values = made(job)
    examples, inputs = Examples.read(job.examples), []
    for first in range(0, rows, 7):
        index = np.full(min(7, rows - first), first // 7)
        t, noise = job.draws["factors"](examples.ids[: len(index)], index, (1, 4, 4))
        inputs.append(job.spec.open()[0].process.noised(examples.x(range(len(index))), t, noise).flatten(1))
    a = torch.cat([torch.cat(inputs), torch.ones(rows, 1)], 1).double()
    exact = torch.kron(torch.eye(16) * 2 / 16, a.T @ a / rows)
    q = torch.kron(bases["layer outputs"], bases["layer inputs"]).double()
    for name in ("k-fac", "ek-fac"):
        found = q @ torch.diag(values[name]) @ q.T
        assert (found - exact).norm() < 3 * (16 / rows) ** 0.5 * exact.norm()


@pytest.fixture(scope="module")
def plain_job(tmp_path_factory):
    torch.manual_seed(0)
    return curvature_job(tmp_path_factory.mktemp("plain"), OneLayer(), (1, 4, 4))


def same(left, right):
    return all(torch.equal(value, right[n][name]) for n in (0, 1) for name, value in left[n].items())


def test_the_order_of_the_examples_does_not_matter(plain_job, tmp_path):
    network = plain_job.spec.open()[0].network
    other = curvature_job(tmp_path, network, (1, 4, 4), places=[3, 0, 6, 1, 5, 2, 4])
    assert same(made(plain_job), made(other))


def test_the_size_of_batches_changes_rounding_alone(plain_job, tmp_path):
    (bases, values), (_, others) = made(plain_job), made(replace(plain_job, path=tmp_path / "made", batch=16))
    for name, value in values.items():
        torch.testing.assert_close(value, others[name], rtol=1e-4, atol=1e-6)
    assert bases.keys() == {"layer inputs", "layer outputs"}


@pytest.mark.parametrize("stop", [1, 4])
def test_interrupted_it_continues_with_the_same_bits(plain_job, tmp_path, monkeypatch, interrupted, stop):
    monkeypatch.setattr(module, "BLOCK", 16)
    whole, job = replace(plain_job, path=tmp_path / "whole"), replace(plain_job, path=tmp_path / "made")
    expected = made(whole)
    with interrupted(module, "sum_block", stop):
        made(job)
    assert not job.is_made
    assert same(expected, made(job))
    assert [path.name for path in job.path.iterdir()] != []
    assert not (job.path / artefacts.RESUME).exists()


def test_fewer_rows_than_examples_are_a_random_part_of_them(plain_job, tmp_path):
    job = replace(plain_job, path=tmp_path / "made", rows=3)
    bases, _ = made(job)
    seen = [IDS[n] for n in sorted(order(0, 0, IDS)[:3])]
    examples = Examples.read(job.examples)
    t, noise = job.draws["factors"](seen, np.zeros(3), (1, 4, 4))
    x = job.spec.open()[0].process.noised(examples.x([IDS.index(name) for name in seen]), t, noise)
    a = torch.cat([x.flatten(1), torch.ones(3, 1)], 1).double()
    u = bases["layer inputs"].double()
    close(u.T @ (a.T @ a / 3) @ u, torch.diag((u.T @ (a.T @ a / 3) @ u).diagonal()))


def test_other_rows_are_refused_in_the_same_folder(plain_job):
    made(plain_job)
    with pytest.raises(MismatchError, match=r"made.rows: there 40, now 41"):
        make_curvature(replace(plain_job, rows=41), engine=Engine(1))


def test_what_is_not_finite_is_refused_by_layer(plain_job, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "pseudo_cotangent", lambda _seed, _ids, _index, _weight, output: output * torch.nan)
    with pytest.raises(NotFiniteError, match=r"The curvature of 'layer outputs' is not finite"):
        make_curvature(replace(plain_job, path=tmp_path / "made"), engine=Engine(1))
