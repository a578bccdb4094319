"""Kaggle's own client: where its credentials are, signing in, and what its errors mean.

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

from unet_helpers.archives import writing_to
from unet_helpers.environment import CourseError, where
from unet_helpers.sources import COMPETITION

RULES = f"https://www.kaggle.com/competitions/{COMPETITION}/rules"
TOKENS = "https://www.kaggle.com/settings/api"
KEY_NAMES = ("KAGGLE_USERNAME", "KAGGLE_KEY")


@dataclass(frozen=True)
class Credentials:
    """Where credentials are, and the variables the client needs in its environment to see them."""

    place: str
    variables: dict[str, str] = field(default_factory=dict, repr=False)


def find_credentials() -> str | None:
    """Say where Kaggle credentials are on this machine, in the client's order; None if nowhere.

    Looked at: KAGGLE_API_TOKEN, ~/.kaggle/access_token, KAGGLE_USERNAME with KAGGLE_KEY,
    kaggle.json (KAGGLE_CONFIG_DIR, ~/.kaggle or ~/.config/kaggle), the login that
    `kaggle auth login` stores, and Colab's secrets. Whether Kaggle takes them is not asked.
    """
    found = look_for_credentials()
    return found.place if found else None


def look_for_credentials() -> Credentials | None:
    """The credentials that the client will use; None if there are none."""
    home = Path("~/.kaggle").expanduser()
    token = os.environ.get("KAGGLE_API_TOKEN")
    if token and (not Path(token).exists() or _is_filled(token)):  # a token, or a file with one
        return Credentials("the environment variable KAGGLE_API_TOKEN")
    for name in ("access_token", "access_token.txt"):
        if _is_filled(home / name):
            return Credentials(f"~/.kaggle/{name}")
    stored = _read_json(_kaggle_json())
    username = os.environ.get("KAGGLE_USERNAME") or stored.get("username")
    key = os.environ.get("KAGGLE_KEY") or stored.get("key")
    if username and key:
        place = "the environment variables KAGGLE_USERNAME and KAGGLE_KEY"
        if not all(os.environ.get(name) for name in KEY_NAMES):
            place = _without_home(_kaggle_json())
        # Handed on as variables: a client imported earlier looks for kaggle.json in the folder
        # that was right at that time.
        return Credentials(place, {"KAGGLE_USERNAME": str(username), "KAGGLE_KEY": str(key)})
    if _read_json(home / "credentials.json").get("refresh_token"):
        return Credentials("~/.kaggle/credentials.json", {"KAGGLE_ENABLE_OAUTH": "1"})
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


def _colab_secrets() -> Credentials | None:
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
            return Credentials(f"Colab's secrets ({', '.join(names)})", values)
    return None


@contextlib.contextmanager
def environment_with(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the client, and put back what was there."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def sign_in(place: str) -> Any:
    """Kaggle's client, signed in; its own advice on signing in is kept off the screen."""
    with explained(place, "signing in to Kaggle"):
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


@contextlib.contextmanager
def explained(
    place: str,
    doing: str,
    partial: Path | None = None,
    kept: str = "a download goes on where it stopped",
) -> Iterator[None]:
    """Turn what the client raises into a CourseError that says what to do.

    place: of the credentials. partial: the folder it writes to. kept: what a failure leaves.
    """
    import requests
    import urllib3

    try:
        yield
    except requests.HTTPError as error:
        raise _answer(error, place, doing, kept) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError) as error:
        raise CourseError(
            doing,
            expected="an answer from Kaggle to the end",
            found=f"a connection that broke off ({type(error).__name__}: {error})",
            mend=f"check the network and run this again; {kept}",
        ) from error
    except OSError as error:
        if partial and error.errno == errno.ENOSPC:
            shutil.rmtree(partial)  # gives its space back
        with writing_to(partial or Path("~/.kaggle")):
            raise


def _answer(error: Any, place: str, doing: str, kept: str) -> CourseError:
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
        expected="an answer of 200",
        found=f"answer {status} ({error})",
        mend=f"wait a little and run this again; {kept}",
    )


def _refused(place: str, found: str) -> CourseError:
    return CourseError(
        f"Kaggle credentials in {place}",
        expected="credentials that Kaggle takes",
        found=found,
        mend=f'open {TOKENS}, click "Generate New Token", and set KAGGLE_API_TOKEN to it',
    )


def no_credentials(otherwise: str) -> CourseError:
    """The error for a machine without credentials; otherwise: what one can do without them."""
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
        mend=f'open {TOKENS}, click "Generate New Token", {ways}; {otherwise}',
    )
