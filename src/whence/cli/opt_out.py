"""The opt-out of `whence ensemble export --format lora`: a LoRA file without some units, and its certificate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import whence
from whence.cli.show import say, show_certificate, size


def export_adapter(ensemble: whence.Ensemble, out: Path, without: Sequence[str], rank: int | None, run: Path) -> None:
    """Write the adapter of the members that never saw some units with its certificate, and say what they are."""
    from whence.diffusion.shipped_base import base_name
    from whence.ensemble.opt_out import opt_out
    from whence.proof import certify_adapter

    made = opt_out(ensemble, without, rank)
    certificate = certify_adapter(ensemble, made) if made.units else None
    made.write(out)
    members = f"{len(made.survivors)} of {ensemble.codebook.members} members"
    kept = f"the {members} that never saw {', '.join(made.units)}" if made.units else f"all {members}"
    error = "exactly" if made.error == 0 else f"with an error of {made.error:.2%}"
    say(f"{out} is the mean of {kept}, {error}: a LoRA file of rank {made.rank}, {size(out.stat().st_size)}.")
    say(f"Load it with  pipe.load_lora_weights({str(out)!r})  into a pipeline of its base.")
    assert ensemble.base is not None
    say(f"Its base is {base_name(ensemble.base.folder)}, which saw what it saw.")
    if certificate is None:
        return say("No unit is left out, so there is no certificate.")
    file = certificate_file(out)
    certificate.write(file)
    show_certificate(certificate, file, f"--file {out} --run {run}")


def certificate_file(adapter: Path) -> Path:
    """Return where the certificate of a LoRA file is written.

    Example:
        >>> certificate_file(Path("shared/opt-out.safetensors")).name
        'opt-out.json'
    """
    return Path(f"{str(adapter).removesuffix('.safetensors')}.json")
