"""Features of a batch: one forward pass, and one backward pass through the activations alone for each readout.

The weights are frozen, so their gradients are never formed. Hooks take each layer's input as it passes and reduce it at
once to what the layer's map keeps of it; as the backward pass brings the layer's cotangent, the two are multiplied and
written to the layer's columns. A layer that is called twice adds up, as its gradient does.

A row is a pair of example and draw. Its features don't depend on the other rows of the batch, to the last bit. Their
last bits do depend on the batch size and, where the network multiplies matrices of all rows at once, on the place in
the batch. So the code that makes features keeps both fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from whence.diffusion.denoiser import denoise
from whence.errors import ModelError
from whence.gradients.check import explained_errors, plainly_computed, require_separate_rows
from whence.gradients.compression import Compression, maps
from whence.gradients.layers import TABLE, Coverage, TableLayer
from whence.gradients.maps import LayerMap, Maps
from whence.gradients.product_layers import ProductLayer


@dataclass(frozen=True)
class TableByRow:
    """A table [...] that is taken as ``table[None]``, which gives [n, ...] in place of [1, ...]."""

    table: Tensor
    rows: Callable[[Tensor], Tensor]

    def __getitem__(self, index: None) -> Tensor:
        if index is not None:
            raise ModelError(f"A table {TABLE} is used as table[{index}]; its gradient is known of table[None].")
        return self.rows(self.table)

    @property
    def device(self) -> torch.device:
        """That of the table."""
        return self.table.device


class Collector:
    """Collects the features of batches of a denoiser in eval mode, by the maps of its layers.

    With `autocast` the network runs in bfloat16 where that is safe; the projections stay in float32.
    """

    def __init__(self, network: nn.Module, cover: Coverage, maps: Maps, autocast: bool = False) -> None:
        self.network, self.cover, self.maps, self.autocast = network, cover, maps, autocast
        self._features = torch.empty(0)
        self._written: set[int] = set()
        self._batch = 0

    def __call__(
        self,
        x_t: Tensor,
        t: Tensor,
        cotangents: Sequence[Callable[[Tensor], Tensor]],
        *,
        conditions: Mapping[str, Any] | None = None,
    ) -> list[Tensor]:
        """Return the features of every row, float32 [n, p] for each readout.

        Args:
            x_t: Noised images [n, C, H, W].
            t: Timesteps [n].
            cotangents: ∂f/∂output [n, C, H, W] as functions of the (detached) output, one per readout.
            conditions: Further arguments of the network, by name.

        Raises:
            ModelError: The output's gradient doesn't reach a single layer, or a layer mixes the rows.
        """
        self._batch = len(x_t)
        results = []
        with self._collecting(), plainly_computed(self.network), explained_errors(), torch.enable_grad():
            with torch.autocast(x_t.device.type, torch.bfloat16, enabled=self.autocast):
                output = denoise(self.network, x_t, t, **(conditions or {}))
            if not output.requires_grad:
                raise ModelError("No layer with parameters leads to the output of the network.")
            detached = output.detach()
            for k, cotangent in enumerate(cotangents):
                self._features = torch.zeros(len(x_t), self.maps.width, device=x_t.device)
                self._written.clear()
                torch.autograd.backward([output], [cotangent(detached)], retain_graph=k + 1 < len(cotangents))
                results.append(self._features)
        self._features = torch.empty(0)
        return results

    @contextmanager
    def _collecting(self) -> Iterator[None]:
        """Freeze the weights and add hooks to the layers; undo both afterwards."""
        with ExitStack() as stack:
            for parameter in self.network.parameters():
                stack.callback(parameter.requires_grad_, parameter.requires_grad)
                parameter.requires_grad_(False)
            for name in self.maps.by_layer:
                if isinstance(self.cover.layers[name], TableLayer):
                    stack.enter_context(self._table_by_row(name))
                    continue
                handle = self.cover.modules[name].register_forward_hook(partial(self._listen, name))
                stack.callback(handle.remove)
            yield

    @contextmanager
    def _table_by_row(self, name: str) -> Iterator[None]:
        """Give a module a table with a copy for each row, whose cotangent is the row's gradient."""
        module, (layer_map, place) = self.cover.modules[name], self.maps.by_layer[name]

        def rows(table: Tensor) -> Tensor:
            copies = table.detach().expand(self._batch, *table.shape).clone().requires_grad_()
            copies.register_hook(partial(self._take, layer_map, place, None))  # type: ignore[no-untyped-call]
            return copies

        vars(module)[TABLE] = TableByRow(getattr(module, TABLE), rows)  # comes before the parameter of this name
        try:
            yield
        finally:
            del vars(module)[TABLE]

    def _listen(self, name: str, _module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """Reduce a layer's input, and keep it until its cotangent arrives."""
        if not torch.is_grad_enabled():
            raise ModelError(
                f"The network calls the layer {name!r} under torch.no_grad, or in a checkpoint that is computed twice, "
                "so its parameters have no gradient there. Take that out, or leave the layer out: `parameters` is a "
                "regular expression of the layers that are differentiated."
            )
        x = self._checked(name, inputs, output)
        layer_map, place = self.maps.by_layer[name]
        exact = torch.autocast(x.device.type, enabled=False) if self.autocast else nullcontext()
        with torch.no_grad(), exact:
            prepared = layer_map.prepare(x.detach().float() if x.is_floating_point() else x, output)
        if not output.requires_grad:
            output = output.detach().requires_grad_().clone()
        output.register_hook(partial(self._take, layer_map, place, prepared))  # type: ignore[no-untyped-call]
        return output

    def _checked(self, name: str, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """The layer's input, whose rows must be those of the batch, so that their gradients can be separated."""
        if len(inputs) != 1:
            raise ModelError(
                f"The layer {name!r} was called with {len(inputs)} positional arguments; expected its input."
            )
        x: Tensor = inputs[0]
        if len(x) != self._batch or len(output) != self._batch:
            raise ModelError(
                f"The layer {name!r} turns {len(x)} rows into {len(output)}, in a batch of {self._batch}. Gradients of "
                "single examples need layers that keep the examples apart in their first dimension."
            )
        return x

    def _take(self, layer_map: LayerMap, place: slice, prepared: Any, cotangent: Tensor) -> None:
        """Multiply the two sides, and write the product to the layer's columns or add it to what is there."""
        with torch.no_grad():
            features, columns = layer_map.features(prepared, cotangent.float()), self._features[:, place]
            if place.start in self._written:
                columns += features
            else:
                columns.copy_(features)
                self._written.add(place.start)


def check(
    network: nn.Module,
    cover: Coverage,
    x_t: Tensor,
    t: Tensor,
    cotangent: Callable[[Tensor], Tensor],
    conditions: Mapping[str, Any] | None = None,
    tolerance: float = 1e-3,
) -> None:
    """Compare the gradient that the layers add up to with that of autograd, parameter by parameter, on a few rows.

    Features are linear in the gradient, so those of a batch must add up to those of the batch's whole gradient. This
    finds what no list of layers can: weights that are used in other ways than by calling their layer, or a forward pass
    that gives another result when it is repeated. The tolerance is relative to the norm of the layer's gradient, or to
    1e-3 of the norm of all.

    Raises:
        ModelError: The gradient of a layer differs, or the network mixes examples; the message names the layer.
    """
    require_separate_rows(network, x_t, t, conditions)
    whole = maps(cover, Compression(kind="none"), device=x_t.device)
    (features,) = Collector(network, cover, whole)(x_t, t, [cotangent], conditions=conditions)
    expected = _autograd(network, cover, x_t, t, cotangent, conditions or {})
    scale = float(torch.cat([part.flatten() for parts in expected.values() for part in parts.values()]).norm())
    for name, (_, place) in whole.by_layer.items():
        layer = cover.layers[name]
        gradient = features[:, place].sum(0)
        shape = (layer.outputs, layer.inputs) if isinstance(layer, ProductLayer) else (layer.size,)
        parts = layer.by_parameter(gradient.reshape(shape))
        error = sum(float((parts[key] - value).square().sum()) for key, value in expected[name].items()) ** 0.5
        norm = sum(float(value.square().sum()) for value in expected[name].values()) ** 0.5
        if not error <= tolerance * max(norm, 1e-3 * scale):
            raise ModelError(
                f"The gradient of the layer {name!r} is not what autograd says (difference {error:.3g}, norm "
                f"{norm:.3g}). Its weights may be used in other ways than by calling it, or its forward pass may "
                "differ from call to call: put the network into eval mode, and call the layer where its weights are "
                "used."
            )


def _autograd(
    network: nn.Module,
    cover: Coverage,
    x_t: Tensor,
    t: Tensor,
    cotangent: Callable[[Tensor], Tensor],
    conditions: Mapping[str, Any],
) -> dict[str, dict[str, Tensor]]:
    """The batch's gradient, by layer and parameter."""
    owned = {
        (name, key): parameter
        for name, module in cover.modules.items()
        for key, parameter in module.named_parameters(recurse=False)
    }
    before = [parameter.requires_grad for parameter in owned.values()]
    try:
        for parameter in owned.values():
            parameter.requires_grad_(True)
        with plainly_computed(network), explained_errors(), torch.enable_grad():
            output = denoise(network, x_t, t, **conditions)
            cotangents = [cotangent(output.detach())]
            gradients = torch.autograd.grad([output], list(owned.values()), cotangents, allow_unused=True)
    finally:
        for parameter, state in zip(owned.values(), before, strict=True):
            parameter.requires_grad_(state)
    result: dict[str, dict[str, Tensor]] = {name: {} for name in cover.modules}
    for ((name, key), parameter), gradient in zip(owned.items(), gradients, strict=True):
        result[name][key] = torch.zeros_like(parameter) if gradient is None else gradient.detach()
    return result
