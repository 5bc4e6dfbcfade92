from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def _picture(seed: int, mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> Image.Image:
    """A small picture that differs with its seed."""
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


@pytest.fixture
def picture():
    return _picture


@pytest.fixture
def fill(tmp_path: Path):
    """Write pictures and texts below a new folder: {"a/1.png": image, "metadata.csv": text}."""

    def write(files: dict[str, Image.Image | str | bytes], folder: str = "images") -> Path:
        for name, content in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Image.Image):
                content.save(path)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / folder

    return write
