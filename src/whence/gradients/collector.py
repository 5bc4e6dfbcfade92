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
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from whence.diffusion.denoiser import denoise
from whence.errors import ModelError
from whence.gradients.coverage import Coverage
from whence.gradients.maps import LayerMap, Maps


class Collector:
    """Collects the features of batches.

    Args:
        network: Any denoiser, (x_t, t) -> output or an object with ``.sample``, as in diffusers; in eval mode.
        cover: Its layers.
        maps: What is kept of each layer.
        autocast: Whether the network runs in bfloat16 where that is safe; the projections stay in float32.

    Example:
        >>> from whence.gradients.compression import Compression, maps
        >>> from whence.gradients.coverage import coverage
        >>> class Scale(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.scale = nn.Linear(1, 1, bias=False)
        ...     def forward(self, x, t):
        ...         return self.scale(x)
        >>> network = Scale()
        >>> collector = Collector(network, coverage(network), maps(coverage(network), Compression(kind="none")))
        >>> x = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
        >>> collector(x, torch.zeros(4), [torch.ones_like])[0].tolist()
        [[1.0], [2.0], [3.0], [4.0]]
    """

    def __init__(self, network: nn.Module, cover: Coverage, maps: Maps, autocast: bool = False) -> None:
        self.network, self.cover, self.maps, self.autocast = network, cover, maps, autocast
        self._features = torch.empty(0)
        self._batch = 0

    def __call__(
        self,
        x_t: Tensor,
        t: Tensor,
        cotangents: Sequence[Callable[[Tensor], Tensor]],
        *,
        conditions: Mapping[str, Any] | None = None,
    ) -> list[Tensor]:
        """Features of every row.

        Args:
            x_t: Noised images [n, C, H, W].
            t: Timesteps [n].
            cotangents: ∂f/∂output [n, C, H, W] as functions of the (detached) output, one per readout.
            conditions: Further arguments of the network, by name.

        Returns:
            Features of every readout, float32 [n, p].

        Raises:
            ModelError: The output's gradient doesn't reach a single layer, or a layer mixes the rows.
        """
        self._batch = len(x_t)
        results = []
        with self._collecting(), torch.enable_grad():
            with torch.autocast(x_t.device.type, torch.bfloat16, enabled=self.autocast):
                output = denoise(self.network, x_t, t, **(conditions or {}))
            if not output.requires_grad:
                raise ModelError("No layer with parameters leads to the output of the network.")
            detached = output.detach()
            for k, cotangent in enumerate(cotangents):
                self._features = torch.zeros(len(x_t), self.maps.width, device=x_t.device)
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
                handle = self.cover.modules[name].register_forward_hook(partial(self._listen, name))
                stack.callback(handle.remove)
            yield

    def _listen(self, name: str, _module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """Reduce a layer's input, and keep it until its cotangent arrives."""
        x = self._checked(name, inputs, output)
        layer_map, place = self.maps.by_layer[name]
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            prepared = layer_map.prepare(x.detach().float() if x.is_floating_point() else x)
        if not output.requires_grad:
            output = output.detach().requires_grad_().clone()
        output.register_hook(partial(self._take, layer_map, place, prepared))  # type: ignore[no-untyped-call]
        return output

    def _checked(self, name: str, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """Return the layer's input, after a check that its rows are those of the batch.

        Raises:
            ModelError: They are not, so that the gradients of single rows can't be separated.
        """
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
        """Multiply the two sides and add the product to the layer's columns."""
        with torch.no_grad():
            self._features[:, place] += layer_map.features(prepared, cotangent.float())
