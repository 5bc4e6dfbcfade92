"""The bases that come with Whence, by their names. `benchmarks/styles_base.py` makes them."""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).parent / "shipped"


def shipped_bases() -> tuple[str, ...]:
    """Names of the bases that come with Whence."""
    return tuple(sorted(file.parent.name for file in SHIPPED.glob("*/model_index.json")))


def base_folder(base: str | Path) -> Path:
    """Return the folder of a base: ``"styles"`` is one that comes with Whence, ``"./styles"`` a folder of that name.

    Example:
        >>> base_folder("styles").is_dir(), base_folder("./styles")
        (True, PosixPath('styles'))
    """
    return SHIPPED / base if isinstance(base, str) and base in shipped_bases() else Path(base)


def base_name(folder: Path) -> str:
    """Return the text by which `base_folder` finds a folder; it does not say where Whence is installed.

    Example:
        >>> base_name(base_folder("styles")), base_name(Path("styles")), base_name(Path("runs/sd"))
        ('styles', './styles', 'runs/sd')
    """
    if folder.parent == SHIPPED and folder.name in shipped_bases():
        return folder.name
    return f"./{folder}" if str(folder) in shipped_bases() else str(folder)
