"""Fetching train.zip and train_masks.zip of the Carvana competition with Kaggle's own client."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from unet_helpers.archives import (
    MASKS,
    PHOTOS,
    Part,
    check_crc,
    check_free_disk,
    list_entries,
    open_archive,
    unwrap_nested,
    writing_to,
)
from unet_helpers.environment import CourseError
from unet_helpers.kaggle_client import (
    environment_with,
    explained,
    look_for_credentials,
    no_credentials,
    sign_in,
)
from unet_helpers.sources import COMPETITION, ArchivePair, check_paired

FULL_SET = 5088  # photos of 318 cars, and as many masks
NEEDED = {"train.zip": 450_000_000, "train_masks.zip": 40_000_000}  # bytes, generously
MARKER = ".kaggle-partial"  # what the client puts beside a file it has not finished


def download_kaggle(to: Path, progress: bool = True) -> ArchivePair:
    """Fetch train.zip and train_masks.zip into `to`, each checked before it gets its name.

    What is there already is kept; a download that broke off goes on where it stopped. Raises
    CourseError: no credentials, refused ones (401), rules not accepted (403), no network, a
    download that keeps breaking off, a damaged archive, too little disk.
    """
    to = Path(to)
    pair = ArchivePair(to / "train.zip", to / "train_masks.zip", "kaggle")
    missing = [(p, part) for p, part in _halves(pair) if not p.is_file()]
    if not missing:
        return pair
    credentials = look_for_credentials()
    if credentials is None:
        raise no_credentials(
            'or go on without an account: the built-in photos are the source "studio"'
        )
    with writing_to(to):
        to.mkdir(parents=True, exist_ok=True)
        # Twice: once to keep, once more to unpack (JPEG and GIF hardly shrink in a zip).
        check_free_disk(to, 2 * sum(NEEDED[path.name] for path, _ in missing))
    with environment_with(credentials.variables):
        api = sign_in(credentials.place)
        for path, part in missing:
            _fetch(api, path, part, progress, credentials.place)
    _check_count(pair)
    return pair


def _halves(pair: ArchivePair) -> list[tuple[Path, Part]]:
    return [(pair.photos, PHOTOS), (pair.masks, MASKS)]


def _fetch(api: Any, path: Path, part: Part, progress: bool, place: str) -> None:
    """Download into a hidden folder, check, and only then give the file its name."""
    partial = path.with_name(f".{path.name}.partial")
    with writing_to(partial):
        partial.mkdir(exist_ok=True)
    try:
        with explained(place, path.name, partial):
            quiet = not progress
            api.competition_download_file(COMPETITION, path.name, path=str(partial), quiet=quiet)
    except ValueError as error:  # the client counted more or fewer bytes than were promised
        shutil.rmtree(partial)
        raise _damaged(path, "a whole file", error) from error
    # The client names the file after the address it was sent to: train.zip or train.zip.zip.
    files = [p for p in partial.iterdir() if not p.name.endswith(MARKER)]
    try:
        if len(files) != 1:  # the address changed its name between two attempts
            raise CourseError(path.name, expected="one file", found=f"{len(files)}")
        check_crc(files[0], part, progress)
    except CourseError as error:
        shutil.rmtree(partial)
        raise _damaged(path, error.expected, error.found) from error
    with writing_to(path):
        unwrap_nested(files[0], path)
    shutil.rmtree(partial)


def _damaged(path: Path, expected: object, found: object) -> CourseError:
    mend = "run this again: the damaged download is deleted and starts afresh"
    return CourseError(path, expected=expected, found=found, mend=mend)


def _check_count(pair: ArchivePair) -> None:
    names = []
    for path, part in _halves(pair):
        with open_archive(path) as archive:
            names.append(list_entries(archive, path, part))
    check_paired(pair, *names)
    if len(names[0]) != FULL_SET:
        print(f"note: {len(names[0])} pairs; Kaggle's full set has {FULL_SET}")
