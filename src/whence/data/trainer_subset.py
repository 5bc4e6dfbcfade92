"""A subset of a trainer's data: the images directly in one folder, their captions, and how often they are visited.

The caption of ``cat.png`` is the first line of the file ``cat`` with the subset's extension, or else the class tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from whence.data.files import list_files
from whence.data.image_files import is_image
from whence.data.other_files import left_out
from whence.data.raw_examples import RawExamples
from whence.data.recipe import Recipe
from whence.errors import DataError, join_names

#: Values of the column that tells regularisation images from the others.
TRAINING, REGULARISATION = "training", "regularisation"


@dataclass(frozen=True)
class Subset:
    """The images directly in a folder, with one number of repeats.

    Attributes:
        folder: The folder.
        repeats: Visits of each image in an epoch, 1 or more.
        class_tokens: The caption of images without a caption file; None for the empty one.
        regularisation: Whether they are regularisation images.
        extension: How the names of caption files end; None for none.
        prefix: What captions begin with, before a space.
        suffix: What captions end with, after a space.
        separators: A text in captions, and the one that stands in its place.
    """

    folder: Path
    repeats: int = 1
    class_tokens: str | None = None
    regularisation: bool = False
    extension: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    separators: tuple[str, str] | None = None

    @property
    def files(self) -> tuple[list[str], list[str]]:
        """The names of the images, and of the other files directly in the folder; hidden ones are left out."""
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is no folder; one of images is expected. Correct image_dir.")
        names = [name for name in list_files(self.folder, self.folder) if "/" not in name]
        images = [name for name in names if is_image(self.folder / name)]
        if not images:
            raise DataError(f"{self.folder} has no images directly in it. Take it out, or put its images there.")
        return images, [name for name in names if name not in set(images)]

    def caption(self, image: str) -> str | None:
        """Return the caption of an image, as the trainer puts it together; None for the empty one.

        Raises:
            DataError: The file of the caption is empty or no text in UTF-8.
        """
        text = self._text(image)
        text = self.class_tokens if text is None else text
        if self.prefix:
            text = f"{self.prefix} {text or ''}"
        if self.suffix:
            text = f"{text or ''} {self.suffix}"
        return text.replace(*self.separators) if text and self.separators else text

    def _text(self, image: str) -> str | None:
        """The first line of the caption file, if there is one."""
        file = self.folder / (Path(image).stem + (self.extension or ""))
        return None if self.extension is None or not file.is_file() else first_line(file)


def first_line(file: Path) -> str:
    """Return the first line of a text file without space around it.

    Raises:
        DataError: The file is empty or no text in UTF-8.
    """
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"The caption {file} is not text in UTF-8: {error}. Save it as UTF-8.") from None
    if not lines:
        raise DataError(f"The caption {file} is empty. Write a caption, or remove the file.")
    return lines[0].strip()


def raw_examples(
    datasets: Sequence[Sequence[Subset]], root: Path, recipe: Recipe | None, notes: tuple[str, ...] = ()
) -> RawExamples:
    """Return the images of all subsets, with their visits as weights; ids are paths relative to a folder.

    An image is visited r_n times in an epoch; its weight is w_n = r_n / mean(r), so that the mean gradient of a step is
    that of the trainer. Regularisation images of a data set are visited in turn until they have as many visits as its
    other images, and those that are never reached are left out.

    Args:
        datasets: The subsets of each data set.
        root: The folder that all are in.
        recipe: What the file of the trainer says of every visit.
        notes: What the user should know.

    Raises:
        DataError: A folder is in two subsets or has no images, or a caption can't be read.
    """
    subsets = [subset for dataset in datasets for subset in dataset]
    _require_distinct([subset.folder for subset in subsets])
    files = {subset: subset.files for subset in subsets}
    images = [(subset, name) for subset in subsets for name in files[subset][0]]
    visits: dict[tuple[Subset, str], int] = {}
    for dataset in datasets:
        own = set(dataset)
        visits |= count_visits([one for one in images if one[0] in own])
    if not visits:
        raise DataError(
            "There are regularisation images alone, which the trainer never visits. Add a subset of others."
        )
    paths = sorted(((subset.folder / name, subset, name) for subset, name in visits), key=lambda one: str(one[0]))
    others = [
        f"{subset.folder.name}/{name}" for subset in subsets for name in files[subset][1] if not _is_read(subset, name)
    ]
    counts = [visits[subset, name] for _, subset, name in paths]
    mean = Fraction(sum(counts), len(counts))
    return RawExamples(
        ids=[path.relative_to(root).as_posix() for path, _, _ in paths],
        names=[str(path) for path, _, _ in paths],
        sources=[path for path, _, _ in paths],
        columns={
            "text": [subset.caption(name) for _, subset, name in paths],
            "subset": [subset.folder.relative_to(root).as_posix() for _, subset, _ in paths],
            "class_tokens": [subset.class_tokens for _, subset, _ in paths],
            "kind": [REGULARISATION if subset.regularisation else TRAINING for _, subset, _ in paths],
        },
        notes=(*notes, *_visit_notes(subsets, images, visits), *left_out(others)),
        weights=[float(count / mean) for count in counts],
        recipe=recipe,
    )


def count_visits(images: Sequence[tuple[Subset, str]]) -> dict[tuple[Subset, str], int]:
    """Return the visits in an epoch of the images of one data set; regularisation images that get none are left out.

    Example:
        >>> cats, pets = Subset(Path("cats"), 3), Subset(Path("pets"), 1, regularisation=True)
        >>> list(count_visits([(cats, "a"), (pets, "b"), (pets, "c")]).values())
        [3, 2, 1]
    """
    visits = {one: one[0].repeats for one in images if not one[0].regularisation}
    missing, reached = sum(visits.values()), dict[tuple[Subset, str], int]()
    for one in images:
        if one[0].regularisation and missing > 0:
            reached[one] = one[0].repeats
            missing -= one[0].repeats
    for place, one in enumerate(reached):
        if missing > 0:
            reached[one] += missing // len(reached) + (place < missing % len(reached))
    return visits | reached


def _is_read(subset: Subset, name: str) -> bool:
    """Whether a file is one of the captions that are read."""
    return subset.extension is not None and name.endswith(subset.extension)


def _require_distinct(folders: Sequence[Path]) -> None:
    repeated = [
        str(folder) for n, folder in enumerate(folders) if folder.resolve() in {f.resolve() for f in folders[:n]}
    ]
    if repeated:
        raise DataError(f"Two subsets have the folder {repeated[0]}. Keep one of them, with the sum of the repeats.")


def _visit_notes(
    subsets: Sequence[Subset], images: Sequence[tuple[Subset, str]], visits: dict[tuple[Subset, str], int]
) -> list[str]:
    """Notes on weights, where they are not all 1, and on images that are never visited."""
    notes = []
    if len(set(visits.values())) > 1:
        totals = [
            f"{subset.folder.name} {sum(n for one, n in visits.items() if one[0] == subset):,}" for subset in subsets
        ]
        notes.append(
            f"Images are not visited equally often; visits in an epoch by subset: {join_names(totals, most=20)}. They "
            "are weights of the images in the loss and in scores."
        )
    left = [f"{subset.folder.name}/{name}" for subset, name in images if (subset, name) not in visits]
    if left:
        notes.append(
            f"{len(left):,} regularisation images were left out, because the trainer never reaches them: "
            f"{join_names(left)}."
        )
    return notes
