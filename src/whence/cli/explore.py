"""The command that serves pages to look at: `whence explore`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from whence.cli.show import say
from whence.errors import ConfigError

#: Packages of the extra.
NEEDED = ("starlette", "uvicorn", "python_multipart")


def explore(
    run: Annotated[
        Path, typer.Argument(help="The directory of an ensemble, or what `attribute` or `credit compute` wrote.")
    ],
    host: Annotated[
        str, typer.Option(help="The address to listen at. With another one than this machine's own, a key is needed.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The port; default the first free one from 8000 on.")
    ] = None,
) -> None:
    """Look at pictures in a browser: who each is made of, and what would be drawn without them.

    Of an ensemble: click a training image or a contributor, and the picture is drawn again without it, beside a
    placebo. Of scores and credit: proponents, opponents and shares with their intervals. The pages are served on this
    machine alone, until Ctrl-C. What is drawn stays in RUN.

    Example: `whence explore runs/ens`
    """
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise ConfigError("`whence explore` needs more packages: pip install 'whence[explore]'")
    from whence.explore.server import serve

    serve(run, host, port, lambda address: say(f"Open {address}  (Ctrl-C ends it.)"))
