"""The command `whence credit ingredients`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whence.cli.options import CREDIT, ESTIMATOR
from whence.cli.show import say


def ingredients(
    credit: CREDIT,
    query: Annotated[str, typer.Option(help="The picture, such as 0/3.")],
    to: Annotated[Path, typer.Option(help="The JSON file, best beside the picture.")],
    estimator: ESTIMATOR = None,
) -> None:
    """Write the shares in a picture as ingredients, in the JSON form of C2PA manifests. The file is not signed.

    Each contributor is an ingredient with its share and interval. A tool of C2PA can take them over and sign them.

    Example: `whence credit ingredients credit/ --query 0/3 --to 0-3.ingredients.json`
    """
    from whence.credit.ingredients import write_ingredients
    from whence.report.credit.credit_folder import CreditFolder

    folder = CreditFolder.read(credit)
    shares = folder.credits[folder.estimator(estimator)]
    say(f"The ingredients of {query}, not signed: {write_ingredients(shares, query, to)}")
