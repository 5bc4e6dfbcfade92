"""The commands `whence ensemble root`, `certify` and `prove`, and `whence verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import whence
from whence.cli.options import PLAN, RUN, WORKERS
from whence.cli.show import say, show_certificate, show_cost, show_work

_OUT = Annotated[Path, typer.Option(help="The JSON file to write.")]


def root(run: RUN) -> None:
    """Print the root hash of an ensemble. Publish it, so that certificates can be checked against it later.

    It covers the settings, every file of every member, the code words and the training data, and reveals nothing of
    them. Every file is checked first.

    Example: `whence ensemble root runs/ens`
    """
    parts = whence.commit(whence.Ensemble.open(run)).root
    say(f"ensemble  {parts.ensemble}")
    say(f"images    {parts.images.root}  ({parts.images.leaves:,} of {'x'.join(map(str, parts.size))})")
    say(f"units     {parts.units.root}  ({parts.units.leaves:,})")
    say(f"root      {parts.hash}")


def certify(
    run: RUN,
    sample: Annotated[str, typer.Option(help="SEED/INDEX of a picture that was drawn.")],
    without: Annotated[list[str], typer.Option(help="The unit to leave out; repeated, all are left out together.")],
    out: _OUT,
    workers: WORKERS = None,
    plan: PLAN = False,
) -> None:
    """Draw a picture without some units, and write the certificate that the members which drew it never saw them.

    `whence verify` checks it: most of it with the root hash alone, all of it with the run directory.

    Example: `whence ensemble certify runs/ens --sample 0/3 --without 17 --out cert.json`
    """
    from whence.ensemble.ablation import missing_trajectories
    from whence.ensemble.drawing_cost import drawing_cost

    ensemble = whence.Ensemble.open(run)
    if plan:
        missing = missing_trajectories(ensemble, [(sample, without)])
        return show_cost(drawing_cost(ensemble, missing, engine=whence.Engine(workers)), run)
    with show_work("drawing", workers) as engine:
        certificate = whence.certify(ensemble, sample, without, engine=engine)
    certificate.write(out)
    show_certificate(certificate, out, f"--run {run}")


def prove(run: RUN, image: Annotated[Path, typer.Option(help="An image file.")], out: _OUT) -> None:
    """Write the proof that an image is, or is not, among the training images, without showing the others.

    The proof is about the pixels as training would have read them: the central square of the file, scaled to the size
    of the training images.

    Example: `whence ensemble prove runs/ens --image mine.png --out proof.json`
    """
    from whence.proof import prove as make_proof

    proof = make_proof(whence.Ensemble.open(run), image)
    proof.write(out)
    say(proof.statement)
    say(f"To check it: whence verify {out} --image {image} --root {proof.root}")


def verify(
    proof: Annotated[Path, typer.Argument(help="A certificate, or a proof about one image.", metavar="FILE")],
    run: Annotated[Path | None, typer.Option(help="The directory of the ensemble.")] = None,
    root: Annotated[str | None, typer.Option(help="The root hash that was published, from elsewhere.")] = None,
    retrain_one: Annotated[
        bool, typer.Option("--retrain-one", help="Train one member again, chosen at random, and compare.")
    ] = False,
    member: Annotated[int | None, typer.Option(help="Train this member again.")] = None,
    image: Annotated[Path | None, typer.Option(help="The image that the proof must be about.")] = None,
    file: Annotated[Path | None, typer.Option(help="The LoRA file that the certificate must be about.")] = None,
    plan: PLAN = False,
) -> None:
    """Check a certificate or a proof about one image; the last line is VERIFIED or REFUSED with the reason.

    Without --run, everything is checked that needs no run: that the document belongs to the root and agrees with
    itself. With --run, all files, records and data are checked too, and the picture is drawn again: it must be the same
    bit for bit, or on another machine within one grey level of 255 per pixel. The LoRA file of an opt-out is made
    again; with --file it must be the one that the certificate is about. With --retrain-one, the record of a member is
    checked by training it again. The exit code is 0 only for VERIFIED.

    Example: `whence verify cert.json --run runs/ens --root HASH`

    Of an opt-out: `whence verify opt-out.json --file opt-out.safetensors --run runs/ens --root HASH`
    """
    if plan:
        return _show_plan(run, retrain_one or member is not None)
    try:
        with show_work("verifying") as engine:
            verification = whence.verify(
                proof,
                run=run,
                root=root,
                retrain_one=retrain_one,
                member=member,
                image=image,
                file=file,
                engine=engine,
            )
    except whence.WhenceError as error:
        say(f"REFUSED: {error}")
        raise typer.Exit(1) from None
    _show(verification)
    if not verification.ok:
        raise typer.Exit(1)


def _show(verification: whence.Verification) -> None:
    """Print the checks and the verdict. The statement of a document that is refused is not printed."""
    for check in verification.checks:
        say(str(check))
    if verification.ok:
        say(verification.statement)
        for line in verification.not_proven:
            say(f"Not proven: {line}")
    say(verification.verdict)


def _show_plan(run: Path | None, retrain: bool) -> None:
    """Print the cost of a verification; nearly all of it is training a member again."""
    from whence.diffusion.training import training_cost

    if run is None or not retrain:
        return say(
            "Reading every file once, and drawing one picture or taking one mean: seconds where networks are small. "
            "Nothing was started."
        )
    ensemble = whence.Ensemble.open(run)
    rows = ensemble.codebook.examples(0, ensemble.data)
    base = None if ensemble.base is None else ensemble.base.folder
    show_cost(training_cost(ensemble.data.select(rows), ensemble.config, base=base), Path.cwd())
