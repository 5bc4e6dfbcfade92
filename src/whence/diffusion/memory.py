"""Whether a training step fits into memory, known before the first one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import torch
from torch import Tensor

from whence.cost import peak_memory
from whence.errors import ConfigError

#: Values in a batch from which the memory is checked; smaller ones fit anywhere, and the check would cost more.
LARGE = 2**18
#: Share of the free memory that a step may take.
SHARE = 0.95
_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_GROUP_USED = Path("/sys/fs/cgroup/memory.current")


def require_memory(loss: Callable[[int], Tensor], batch: int, later: int, device: torch.device) -> None:
    """Check that a step on a batch fits, by the peaks of a step on one and on four examples.

    Args:
        loss: The loss of so many examples, which is differentiated.
        batch: Examples in a step.
        later: Bytes that the optimiser takes later.
        device: Where the step runs.

    Raises:
        ConfigError: It does not fit; the message names the batch that fits.
    """
    peaks = [_peak(loss, count, device) for count in (1, 4)]
    single = (peaks[1] - peaks[0]) / 3
    free, needed = free_memory(device), peaks[0] + later + single * (batch - 1)
    if single <= 0 or needed <= SHARE * free:
        return
    fitting = int((SHARE * free - peaks[0] - later) / single) + 1
    way_out = f"Set training.batch_size to {fitting} or less" if fitting > 0 else "Use a smaller network or resolution"
    raise ConfigError(
        f"A training step on {batch} images needs about {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB "
        f"can be had on {device}. {way_out}."
    )


def _peak(loss: Callable[[int], Tensor], count: int, device: torch.device) -> int:
    """Bytes of the most memory that this process takes on the device in a step on `count` examples."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    torch.autograd.backward(loss(count).sum())
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()


def free_memory(device: torch.device) -> int:
    """Bytes that this process may use on a device, with those that it uses now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    free, used = psutil.virtual_memory().available, psutil.Process().memory_info().rss
    with suppress(OSError, ValueError):
        free = min(free, int(_GROUP_LIMIT.read_text()) - int(_GROUP_USED.read_text()))
    return free + used
