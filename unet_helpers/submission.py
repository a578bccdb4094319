"""A submission to Kaggle's Carvana competition, built in notebook 10: written, checked, sent.

A submission is one CSV file in gzip: a header, and for each of the 100,064 test photos one row
with the photo's name and its mask as run-length text (see `rle`). The order of the rows is that
of sample_submission.csv.
"""

from __future__ import annotations

import contextlib
import glob
import gzip
import hashlib
import io
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from unet_helpers.archives import writing_to
from unet_helpers.environment import CourseError
from unet_helpers.gzip_rows import continued_rows, one_writer
from unet_helpers.kaggle_client import (
    RULES,
    environment_with,
    explained,
    look_for_credentials,
    no_credentials,
    sign_in,
)
from unet_helpers.progress import progress_bar
from unet_helpers.rle import check_shape, read_runs, rle_decode, rle_encode
from unet_helpers.sources import COMPETITION

__all__ = [
    "check_submission",
    "read_names",
    "rle_decode",
    "rle_encode",
    "submit",
    "write_submission",
]

HEADER = "img,rle_mask"
PHOTOS = 100_064  # of the competition's test set
CARVANA = (1280, 1918)  # height and width of every photo of the competition
AGAIN = "write the submission again with write_submission"
END = "the end"  # stands in place of a name
UNZIP = "unzip Kaggle's sample_submission.csv.zip, and name the .csv file in it"
# What the client answers when the bytes did not arrive (client 2.0.2 says it, 2.2 names it too).
UPLOAD_FAILED = "Could not submit"


def read_names(sample: str | Path) -> list[str]:
    """The photos' names in the order of a sample_submission.csv or .csv.gz.

    CourseError for a file that is missing or damaged, another header, or a name that stands twice.
    """
    names = [name for _, name, _ in _rows(Path(sample), UNZIP)]
    _check_names(Path(sample), names, UNZIP)
    return names


def write_submission(
    predict: Callable[[list[str]], Iterable[tuple[str, np.ndarray]]],
    names: Sequence[str],
    to: str | Path,
    *,
    shape: tuple[int, int] = CARVANA,
    made_by: str = "",
    progress: bool = True,
) -> Path:
    """Write the rows of all `names`, in this order, to a .csv.gz; goes on after a cut.

    predict: given the names that are still to do, gives (name, mask) for one after the other.
    shape: (H, W) of every mask. made_by: what the masks depend on, such as a checkpoint's digest.
    Every row is in a hidden file beside `to` before the next mask is asked for. Whoever calls
    again with the same names, shape and made_by is asked only for what is missing; with another
    made_by everything starts afresh. The hidden file of the other call stays, in case somebody
    goes back to it, and is mentioned. The finished file is checked, and only then takes the place
    of `to`. Decompressed, it is the same however often it was cut. progress: show a bar, and say
    what earlier calls have left.
    CourseError for names that repeat, a `to` that is no .csv.gz, a wrong shape, masks of other
    names, of another size or too few, a full disk, and a second process that writes the same
    submission.
    """
    to, names, shape = Path(to), list(names), check_shape(shape)
    _check_names(to, names, "name at least one photo, each only once")
    _check_target(to)
    key = hashlib.sha256("\n".join([made_by, str(shape), *names]).encode()).hexdigest()[:12]
    partial = to.with_name(f".{to.name}.{key}.partial")
    with writing_to(to.parent):
        to.parent.mkdir(parents=True, exist_ok=True)
    if progress:
        _mention_others(to, partial)
    with one_writer(partial):
        with continued_rows(partial, HEADER, names) as (add, finished):
            if progress and finished:
                print(f"going on after {finished:,} rows of an earlier call")
            rest = names[finished:]
            masks = _in_order(predict(rest) if rest else (), rest, shape)
            counted = {"total": len(names), "initial": finished, "unit": "photo"}
            for name, mask in progress_bar(masks, to.name, disable=not progress, **counted):
                add(f"{name},{rle_encode(mask)}\n")
        check_submission(partial, names, shape=shape, progress=progress)
        with writing_to(to):
            partial.replace(to)
    return to


def _check_target(to: Path) -> None:
    """Before hours of work: is `to` a name that the finished file can take?"""
    if not to.name.endswith(".csv.gz"):
        mend = f"write to {to.name.removesuffix('.gz').removesuffix('.csv')}.csv.gz"
        raise CourseError(to, expected="a name that ends in .csv.gz", found=to.name, mend=mend)
    if to.is_dir():
        mend = f"name a file in it, such as {to / 'submission.csv.gz'}"
        raise CourseError(to, expected="a file to write", found="a folder", mend=mend)


def _mention_others(to: Path, partial: Path) -> None:
    """Say which hidden files beside `to` hold rows of other calls."""
    left = sorted(to.parent.glob(f".{glob.escape(to.name)}.*"))
    ends = (".partial", ".cut")
    others = [path for path in left if path.suffix in ends and path.stem != partial.stem]
    if others:
        print(
            "note: calls with other names, shape or made_by have left unfinished rows in "
            f"{', '.join(map(str, others))}; delete what nobody goes on with"
        )


def _in_order(
    pairs: Iterable[tuple[str, np.ndarray]], names: Sequence[str], shape: tuple[int, int]
) -> Iterator[tuple[str, np.ndarray]]:
    """The pairs, checked: these names in this order, and masks of one size."""
    what = f"(name, mask) for {len(names)} names, in their order"
    mend = "go through the names that predict(names) is given, and leave none out"
    if not isinstance(pairs, Iterable):
        found = f"{type(pairs).__name__} {pairs!r:.40}"
        raise CourseError("predict(names)", expected=what, found=found, mend=mend)
    for wanted, pair in itertools.zip_longest(names, pairs, fillvalue=END):
        if pair is not END and not _is_pair(pair):
            found = f"{type(pair).__name__} in place of (name, mask)"
            mend = "yield name, mask for every name"
            raise CourseError("predict(names)", expected=what, found=found, mend=mend)
        name, mask = (END, None) if pair is END else pair
        if pair is END or wanted is END or name != wanted:
            found = f"{name} in place of {wanted}"
            raise CourseError("predict(names)", expected=what, found=found, mend=mend)
        if np.shape(mask) != shape:
            raise CourseError(
                f"the mask of {name}",
                expected=f"{shape[0]}×{shape[1]} (height × width), the size of the photos",
                found=f"{np.shape(mask)}",
                mend="predict at the photo's own size, or pass shape=, the size of all photos",
            )
        yield name, mask


def _is_pair(pair: object) -> bool:
    return isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str)


def check_submission(
    path: str | Path,
    names: Sequence[str] | None = None,
    *,
    shape: tuple[int, int] | None = CARVANA,
    progress: bool = True,
) -> int:
    """Check a submission from the first row to the last; returns the number of its photos.

    names: the photos that must be in it, in any order (None: no matter which). shape: height and
    width of the photos (None: the place of the last pixel is not checked). CourseError, with the
    row, for: a file that is no CSV or cut short, another header, a name that stands twice, is
    missing or unknown, and runs that descend, overlap or leave the picture (see `rle.read_runs`).
    """
    path, found = Path(path), []
    rows = _rows(path, AGAIN)
    for number, name, rle in progress_bar(rows, "checking", unit="photo", disable=not progress):
        read_runs(rle, shape, f"{path}, row {number} ({name})")
        found.append(name)
    _check_names(path, found, AGAIN)
    if names is not None and set(names) != set(found):
        missing, unknown = sorted(set(names) - set(found)), sorted(set(found) - set(names))
        said = [f"no row for {missing[0]} ({len(missing):,} missing)"] if missing else []
        said += [f"a row for {unknown[0]} ({len(unknown):,} unknown)"] if unknown else []
        what = f"one row for each of the {len(set(names)):,} photos"
        raise CourseError(path, expected=what, found=" and ".join(said), mend=AGAIN)
    return len(found)


def _rows(path: Path, mend: str) -> Iterator[tuple[int, str, str]]:
    """Number (the header is row 1), name and run-length text of each row; CourseError as above.

    mend: the way out if the file is there, but is no such table.
    """
    if not path.is_file():
        look = "check the path; Kaggle has sample_submission.csv among the competition's files"
        raise CourseError(path, expected="a submission", found="no such file", mend=look)
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with (gzip.open if packed else open)(path, "rt", encoding="utf-8", newline="") as file:
            header = file.readline(1000).rstrip("\r\n")
            if ",".join(map(_bare, header.split(","))) != HEADER:
                found = f'the first line "{header[:60]}"'
                raise CourseError(path, expected=f'"{HEADER}" first', found=found, mend=mend)
            for number, line in enumerate(file, start=2):
                name, comma, rle = line.rstrip("\r\n").partition(",")
                if not comma or not name:
                    found = f'row {number}: "{line[:60].strip()}"'
                    what = "a name, a comma and run-length text in each row"
                    raise CourseError(path, expected=what, found=found, mend=mend)
                yield number, _bare(name), _bare(rle)
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        found = f"a damaged one, or a part of one ({error})"
        raise CourseError(path, expected="a whole CSV file", found=found, mend=mend) from error


def _bare(field: str) -> str:
    """A field without the quotes that some programs put around every one."""
    return field[1:-1] if len(field) > 1 and field[0] == field[-1] == '"' else field


def _check_names(path: Path, names: Sequence[str], mend: str) -> None:
    """CourseError for no name at all, names that repeat, and names that no row can hold."""
    if not names:
        raise CourseError(path, expected="rows for some photos", found="none", mend=mend)
    seen: set[str] = set()
    for name in names:
        if name in seen or not name or set(name) & set(',"\r\n'):
            found = f"{name!r} twice" if name in seen else f"the name {name!r}"
            what = "every photo's name once, without commas, quotes and line ends"
            raise CourseError(path, expected=what, found=found, mend=mend)
        seen.add(name)


def submit(
    path: str | Path,
    message: str,
    names: Sequence[str] | None = None,
    *,
    shape: tuple[int, int] | None = CARVANA,
    progress: bool = True,
) -> str:
    """Check a submission and send it to the Carvana competition; returns what Kaggle answers.

    message: a line that you will find beside the score. names: the photos that must be in it
    (None: all 100,064 of the test set are counted). shape: as for `check_submission`.
    The competition is over: scores come as a "late submission", outside the leaderboard.
    CourseError as in `check_submission`, and for: no credentials, refused ones (401), rules not
    accepted (403), no network, and an upload that broke off. The file stays as it is.
    """
    path, kept = Path(path), "the file is still there; nothing has to be predicted again"
    credentials = look_for_credentials()
    if credentials is None:
        page = RULES.removesuffix("rules")
        raise no_credentials(f'or upload {path} by hand: open {page} and click "Late Submission"')
    count = check_submission(path, names, shape=shape, progress=progress)
    if names is None and count != PHOTOS:
        mend = "write the rows of all photos of the test set; with names=read_names(…) of "
        mend += "sample_submission.csv you are told which ones are missing"
        raise CourseError(path, expected=f"{PHOTOS:,} photos", found=f"{count:,}", mend=mend)
    with environment_with(credentials.variables):
        api = sign_in(credentials.place)
        said = io.StringIO()  # the client prints why an upload failed, and says only that it did
        with (
            explained(credentials.place, f"submitting {path.name}", kept=kept),
            contextlib.redirect_stdout(said),
        ):
            answer = api.competition_submit(str(path), message, COMPETITION, quiet=not progress)
    text = str(getattr(answer, "message", answer) or "")
    if not text or text.startswith(UPLOAD_FAILED):
        raise CourseError(
            f"submitting {path.name}",
            expected=f"an upload of {path.stat().st_size:,} bytes that Kaggle takes",
            found=" ".join([text or "no answer", said.getvalue().strip()]).strip(),
            mend=f"check the network and run this again; {kept}",
        )
    return f"{text} ({count:,} photos)"
