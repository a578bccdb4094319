"""Fetching train.zip and train_masks.zip of the Carvana competition with Kaggle's own client.

The client is imported inside the functions: version 2.0.2 ends the process on import when it
finds no credentials, 2.2 does so in `authenticate()`. Credentials are looked for first, here.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
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
from unet_helpers.environment import CourseError, where
from unet_helpers.sources import COMPETITION, ArchivePair, check_paired

RULES = f"https://www.kaggle.com/competitions/{COMPETITION}/rules"
TOKENS = "https://www.kaggle.com/settings/api"
FULL_SET = 5088  # photos of 318 cars, and as many masks
NEEDED = {"train.zip": 450_000_000, "train_masks.zip": 40_000_000}  # bytes, generously
MARKER = ".kaggle-partial"  # what the client puts beside a file it has not finished
KEY_NAMES = ("KAGGLE_USERNAME", "KAGGLE_KEY")


@dataclass(frozen=True)
class _Credentials:
    """Where credentials are, and the variables the client needs in its environment to see them."""

    place: str
    variables: dict[str, str] = field(default_factory=dict, repr=False)


def find_credentials() -> str | None:
    """Say where Kaggle credentials are on this machine, in the client's order; None if nowhere.

    Looked at: KAGGLE_API_TOKEN, ~/.kaggle/access_token, KAGGLE_USERNAME with KAGGLE_KEY,
    kaggle.json (KAGGLE_CONFIG_DIR, ~/.kaggle or ~/.config/kaggle), the login that
    `kaggle auth login` stores, and Colab's secrets. Whether Kaggle takes them is not asked.
    """
    found = _look_for_credentials()
    return found.place if found else None


def _look_for_credentials() -> _Credentials | None:
    home = Path("~/.kaggle").expanduser()
    token = os.environ.get("KAGGLE_API_TOKEN")
    if token and (not Path(token).exists() or _is_filled(token)):  # a token, or a file with one
        return _Credentials("the environment variable KAGGLE_API_TOKEN")
    for name in ("access_token", "access_token.txt"):
        if _is_filled(home / name):
            return _Credentials(f"~/.kaggle/{name}")
    stored = _read_json(_kaggle_json())
    username = os.environ.get("KAGGLE_USERNAME") or stored.get("username")
    key = os.environ.get("KAGGLE_KEY") or stored.get("key")
    if username and key:
        place = "the environment variables KAGGLE_USERNAME and KAGGLE_KEY"
        if not all(os.environ.get(name) for name in KEY_NAMES):
            place = _without_home(_kaggle_json())
        # Handed on as variables: a client imported earlier looks for kaggle.json in the folder
        # that was right at that time.
        return _Credentials(place, {"KAGGLE_USERNAME": str(username), "KAGGLE_KEY": str(key)})
    if _read_json(home / "credentials.json").get("refresh_token"):
        return _Credentials("~/.kaggle/credentials.json", {"KAGGLE_ENABLE_OAUTH": "1"})
    return _colab_secrets()


def _kaggle_json() -> Path:
    """Where the client looks for kaggle.json: its own rule, XDG folder included."""
    folder = os.environ.get("KAGGLE_CONFIG_DIR")
    if folder:
        return Path(folder) / "kaggle.json"
    home = Path("~/.kaggle").expanduser()
    if sys.platform.startswith("linux") and not home.exists():
        base = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
        return Path(base) / "kaggle" / "kaggle.json"
    return home / "kaggle.json"


def _is_filled(path: str | Path | None) -> bool:
    try:
        return bool(path) and bool(Path(path).read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        return False


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _without_home(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


def _colab_secrets() -> _Credentials | None:
    try:
        from google.colab import userdata
    except ImportError:
        return None
    for names in (("KAGGLE_API_TOKEN",), KEY_NAMES):
        try:
            values = {name: userdata.get(name) for name in names}
        except Exception:  # no such secret, access refused, no notebook to ask: Colab's own types
            continue
        if all(values.values()):
            return _Credentials(f"Colab's secrets ({', '.join(names)})", values)
    return None


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
    credentials = _look_for_credentials()
    if credentials is None:
        raise _no_credentials()
    with writing_to(to):
        to.mkdir(parents=True, exist_ok=True)
        # Twice: once to keep, once more to unpack (JPEG and GIF hardly shrink in a zip).
        check_free_disk(to, 2 * sum(NEEDED[path.name] for path, _ in missing))
    with _environment(credentials.variables):
        api = _client(credentials.place)
        for path, part in missing:
            _fetch(api, path, part, progress, credentials.place)
    _check_count(pair)
    return pair


def _halves(pair: ArchivePair) -> list[tuple[Path, Part]]:
    return [(pair.photos, PHOTOS), (pair.masks, MASKS)]


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the client, and put back what was there."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _client(place: str) -> Any:
    """Kaggle's client, signed in; its own advice on signing in is kept off the screen."""
    with _explained(place, "signing in to Kaggle"):
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                import kaggle

                kaggle.api.authenticate()
        except (SystemExit, ValueError) as error:
            raise _refused(place, "invalid or expired ones") from error
        except ImportError as error:
            mend = "pip install kaggle"
            raise CourseError("kaggle", expected="the client", found=error, mend=mend) from error
    return kaggle.api


def _fetch(api: Any, path: Path, part: Part, progress: bool, place: str) -> None:
    """Download into a hidden folder, check, and only then give the file its name."""
    partial = path.with_name(f".{path.name}.partial")
    with writing_to(partial):
        partial.mkdir(exist_ok=True)
    try:
        with _explained(place, path.name, partial):
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


@contextlib.contextmanager
def _explained(place: str, doing: str, partial: Path | None = None) -> Iterator[None]:
    """Turn what the client raises into a CourseError that says what to do."""
    import requests
    import urllib3

    try:
        yield
    except requests.HTTPError as error:
        raise _answer(error, place, doing) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError) as error:
        raise CourseError(
            doing,
            expected="an answer from Kaggle to the end",
            found=f"a connection that broke off ({type(error).__name__}: {error})",
            mend="check the network and run this again; a download goes on where it stopped",
        ) from error
    except OSError as error:
        if partial and error.errno == errno.ENOSPC:
            shutil.rmtree(partial)  # gives its space back
        with writing_to(partial or Path("~/.kaggle")):
            raise


def _answer(error: Any, place: str, doing: str) -> CourseError:
    status = error.response.status_code if error.response is not None else 0
    if status == 401:
        return _refused(place, f"answer 401 ({error})")
    if status == 403:
        return CourseError(
            f"{doing} of {COMPETITION}",
            expected="a Kaggle account that has accepted the competition's rules",
            found=f"answer 403 ({error})",
            mend=f'sign in, open {RULES}, click "Join Competition" at its end (or "Late '
            'Submission" at its top) and then "I Understand and Accept"; then run this again',
        )
    return CourseError(
        doing,
        expected="the file",
        found=f"answer {status} ({error})",
        mend="wait a little and run this again; what is fetched already is kept",
    )


def _refused(place: str, found: str) -> CourseError:
    return CourseError(
        f"Kaggle credentials in {place}",
        expected="credentials that Kaggle takes",
        found=found,
        mend=f'open {TOKENS}, click "Generate New Token", and set KAGGLE_API_TOKEN to it',
    )


def _no_credentials() -> CourseError:
    ways = "set the variable KAGGLE_API_TOKEN to it or save it as ~/.kaggle/access_token"
    if where() == "colab":
        ways = "add it to Colab's secrets (the key on the left) as KAGGLE_API_TOKEN"
    if where() == "kaggle":
        ways = f'or simply click "Add Input" in the notebook and add the competition {COMPETITION}'
    found = "none"
    if _kaggle_json().exists():
        found = f"{_without_home(_kaggle_json())} without a username and a key"
    return CourseError(
        "Kaggle credentials",
        expected="KAGGLE_API_TOKEN, access_token, KAGGLE_USERNAME with KAGGLE_KEY, or kaggle.json",
        found=found,
        mend=f'open {TOKENS}, click "Generate New Token", {ways}; or go on without an account: '
        'the built-in photos are the source "studio"',
    )


def _check_count(pair: ArchivePair) -> None:
    names = []
    for path, part in _halves(pair):
        with open_archive(path) as archive:
            names.append(list_entries(archive, path, part))
    check_paired(pair, *names)
    if len(names[0]) != FULL_SET:
        print(f"note: {len(names[0])} pairs; Kaggle's full set has {FULL_SET}")
