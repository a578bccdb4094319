"""Oxford-IIIT Pet: photos of cats and dogs with a trimap each, read by torchvision's own loader.

The layout (Parkhi et al. 2012, "Cats and dogs"), below a folder `root`:

    oxford-iiit-pet/images/Abyssinian_1.jpg             photos, each of a size of its own
    oxford-iiit-pet/annotations/trimaps/Abyssinian_1.png    1 pet, 2 background, 3 border
    oxford-iiit-pet/annotations/trainval.txt, test.txt      Abyssinian_1 1 1 1 (name, breed, …)

`torchvision.datasets.OxfordIIITPet(root, download=True)` fetches it (0.8 GB).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
from PIL import Image

from .augment import AugmentedDataset
from .environment import CourseError
from .split import SPLITS, draw

BASE = "oxford-iiit-pet"
PET, BACKGROUND, BORDER = 1, 2, 3  # what the trimaps hold
SHARE = 0.1  # of the trainval photos, for validation
DOWNLOAD = (
    'download it (0.8 GB): python -c "from torchvision.datasets import OxfordIIITPet as P; '
    "P('{root}', download=True)\""
)


@dataclass(frozen=True)
class Pets:
    """A folder with the data set, and how its photos are dealt.

    names: split -> names of its photos. places: name -> its list ("trainval" or "test") and its
    number there, by which torchvision's loader finds it.
    """

    root: Path
    names: dict[str, list[str]]
    places: dict[str, tuple[str, int]]

    def count(self, split: str) -> int:
        """Number of photos in a split: "train", "val" or "test"."""
        return len(self.names[split])

    def summary(self) -> str:
        """One line: photos of every split."""
        return "; ".join(f"{split} {self.count(split)} photos" for split in SPLITS)


def open_pets(root: str | Path, seed: int = 42) -> Pets:
    """Find the data set below `root`, and deal a tenth of its trainval photos to validation.

    The test photos are those of test.txt. Raises CourseError where the data set is not there, and
    for a list that cannot be read or that names photos without a file (all counted, five named).
    """
    root = Path(root)
    if (root / "annotations" / "trainval.txt").is_file():
        raise CourseError(
            root,
            expected=f"the folder that holds {BASE}",
            found=f"{BASE} itself",
            mend=f"give the folder above it: {root.resolve().parent}",
        )
    places: dict[str, tuple[str, int]] = {}
    for listed in ("trainval", "test"):
        for number, name in enumerate(_listed(root, listed)):
            if places.setdefault(name, (listed, number)) != (listed, number):
                found, mend = f"{name} twice", "take the lists as they were published"
                raise CourseError(
                    root / BASE, expected="each photo in one list", found=found, mend=mend
                )
    _check_files(root, places)
    trainval = [name for name, (listed, _) in places.items() if listed == "trainval"]
    dealt = draw(trainval, max(1, round(SHARE * len(trainval))), 0, seed)
    names = {split: [n for n in trainval if dealt[n] == split] for split in ("train", "val")}
    names["test"] = [name for name, (listed, _) in places.items() if listed == "test"]
    return Pets(root, names, places)


def _listed(root: Path, listed: str) -> list[str]:
    """The names in one of the lists, in the order in which torchvision's loader counts them."""
    path = root / BASE / "annotations" / f"{listed}.txt"
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(
            path,
            expected="a list of the photos of Oxford-IIIT Pet",
            found="no such file" if isinstance(error, FileNotFoundError) else str(error),
            mend=DOWNLOAD.format(root=root),
        ) from error
    wrong = [n for n, line in enumerate(lines, start=1) if len(line) != 4]
    if wrong or len(lines) < 1 + (listed == "trainval"):
        raise CourseError(
            path,
            expected="lines such as “Abyssinian_1 1 1 1”: a name and three numbers",
            found=f"something else in line {wrong[0]}" if wrong else f"{len(lines)} lines",
            mend="take the list as it was published",
        )
    return [line[0] for line in lines]


def _check_files(root: Path, names: Sequence[str]) -> None:
    base = root / BASE
    files = [f"images/{name}.jpg" for name in names]
    files += [f"annotations/trimaps/{name}.png" for name in names]
    missing = [file for file in files if not (base / file).is_file()]
    if missing:
        raise CourseError(
            base,
            expected="a photo and a trimap for every name in the lists",
            found=f"{len(missing)} file{'s' * (len(missing) > 1)} missing "
            f"({', '.join(missing[:5])}{', …' * (len(missing) > 5)})",
            mend=DOWNLOAD.format(root=root),
        )


class PetDataset(AugmentedDataset):
    """Photos of one split with their class indices: 0 background, 1 pet, 2 (or `border`) border.

    dataset[i] is as in CarvanaDataset; without a transform each photo has its own size. border:
    what the border becomes, a strip in which nobody could say where the pet ends: 2, a class of its
    own, or an index to be ignored, such as 255. Raises CourseError for another split or border, and
    for a file that is gone or cannot be decoded, a trimap in colour, of another size than its
    photo, or with other values than 1 to 3.
    """

    def __init__(
        self,
        pets: Pets,
        split: str,
        transform: A.Compose | None = None,
        *,
        border: int = 2,
        seed: int = 42,
    ) -> None:
        from torchvision.datasets import OxfordIIITPet

        super().__init__(transform, seed)
        if split not in SPLITS:
            known = ", ".join(SPLITS)
            raise CourseError("split", expected=known, found=repr(split), mend="choose one of them")
        if not 2 <= border <= 255:
            raise CourseError(
                "border",
                expected="2, a class of its own, or an index to be ignored, up to 255",
                found=repr(border),
                mend="0 and 1 are background and pet: take 2, or 255 with ignore_index=255",
            )
        self.root, self.border, self.stems = pets.root, border, pets.names[split]
        listed = {pets.places[name][0] for name in self.stems}.pop()
        self._numbers = [pets.places[name][1] for name in self.stems]
        self._pets = OxfordIIITPet(pets.root, listed, target_types="segmentation")

    def __getitem__(self, index: int) -> tuple[Any, Any, str]:
        index = range(len(self.stems))[index]  # IndexError past the end; -1 is the last one
        name = self.stems[index]
        trimap_file = self.root / BASE / "annotations" / "trimaps" / f"{name}.png"
        try:
            photo, trimap = self._pets[self._numbers[index]]
            stored = np.array(trimap)  # torchvision opens this file and leaves the decoding to us
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            gone = isinstance(error, FileNotFoundError)
            raise CourseError(
                f"{self.root / BASE}: {name}",
                expected="a photo and a trimap that can be decoded",
                found=f"no such file: {error.filename}" if gone else f"a damaged file ({error})",
                mend=DOWNLOAD.format(root=self.root),
            ) from error
        if trimap.mode not in ("L", "P") or trimap.size != photo.size:
            raise CourseError(
                trimap_file,
                expected=f"one channel of {photo.size[0]}×{photo.size[1]} pixels, as its photo",
                found=f"mode {trimap.mode}, {trimap.size[0]}×{trimap.size[1]}",
                mend="take the trimap as it was published",
            )
        labels = labels_from_trimap(stored, self.border, trimap_file)
        return self.transformed(index, np.array(photo), labels)


def labels_from_trimap(
    trimap: np.ndarray, border: int = 2, source: str | Path = "the trimap"
) -> np.ndarray:
    """Class indices uint8 (H, W), 0 background, 1 pet, `border`, from a trimap of 1, 2 and 3.

    Raises CourseError for any other value.
    """
    values = np.unique(trimap)
    if values.size and (values[0] < PET or values[-1] > BORDER):
        raise CourseError(
            source,
            expected="the values 1 (pet), 2 (background) and 3 (border)",
            found=f"values from {values[0]} to {values[-1]}",
            mend="take the trimap as it was published; these may be class indices already",
        )
    table = np.zeros(4, np.uint8)
    table[PET], table[BACKGROUND], table[BORDER] = 1, 0, border
    return table[trimap]
