"""Kaggle's own client, in a process of its own, against a loopback server."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from kaggle_server import BASIC, KEY, TOKEN, USERNAME, KaggleServer
from make_pairs import car_name, gif_bytes, jpeg_bytes

from unet_helpers import kaggle_download
from unet_helpers.environment import CourseError
from unet_helpers.kaggle_client import find_credentials
from unet_helpers.kaggle_download import download_kaggle
from unet_helpers.sources import open_source, verify_pair

MIB = 1 << 20
# The client waits 2, 4, 8 … seconds between attempts; here it does not wait.
DRIVER = """
import sys, time
time.sleep = lambda seconds: None
from pathlib import Path
from unet_helpers.environment import CourseError
from unet_helpers.kaggle_client import find_credentials
from unet_helpers.sources import open_source
print("credentials:", find_credentials())
try:
    pair = open_source("kaggle", Path(sys.argv[1]), kaggle_input=Path("/nowhere"))
except CourseError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
print("pair:", pair.photos.name, pair.masks.name)
"""
KEYS = {"KAGGLE_USERNAME": USERNAME, "KAGGLE_KEY": KEY}


@pytest.fixture(scope="module")
def archives() -> dict[str, bytes]:
    """A pair whose photos are noise, so that train.zip is over 3 MiB: enough to be cut in two."""
    rng = np.random.default_rng(0)
    photos, masks = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(photos, "w") as train, zipfile.ZipFile(masks, "w") as train_masks:
        for angle in range(1, 7):
            stem = f"{car_name(0)}_{angle:02d}"
            noise = rng.integers(0, 256, (640, 960, 3), dtype=np.uint8)
            train.writestr(f"train/{stem}.jpg", jpeg_bytes(noise))
            mask = np.zeros((640, 960), np.uint8)
            mask[200:500, 80 * angle : 700] = 1
            train_masks.writestr(f"train_masks/{stem}_mask.gif", gif_bytes(mask))
    assert len(photos.getvalue()) > 3 * MIB
    return {"train.zip": photos.getvalue(), "train_masks.zip": masks.getvalue()}


@pytest.fixture
def server(archives: dict[str, bytes]) -> Iterator[KaggleServer]:
    with KaggleServer(dict(archives)) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def fetch(server: KaggleServer, home: Path, tmp_path: Path) -> Callable:
    """Run the real client in a fresh process; the download goes to tmp_path/kaggle."""

    def run(**variables: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", DRIVER, str(tmp_path / "kaggle")],
            env=server.environment(home, **variables),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )

    return run


def is_clean_failure(done: subprocess.CompletedProcess) -> bool:
    """One message, exit code 2, no traceback."""
    return done.returncode == 2 and "error: " in done.stderr and "Traceback" not in done.stderr


def test_fetches_the_two_archives_and_nothing_else(fetch, server, tmp_path, archives) -> None:
    done = fetch(**KEYS)
    assert done.returncode == 0, done.stderr
    assert "pair: train.zip train_masks.zip" in done.stdout
    assert "note: 6 pairs; Kaggle's full set has 5088" in done.stdout
    target = tmp_path / "kaggle"
    assert {path.name: path.read_bytes() for path in target.iterdir()} == archives
    assert verify_pair(open_source(target), progress=False).photos == 6
    assert {call.name for call in server.calls} == {"train.zip", "train_masks.zip"}
    assert {c.authorization for c in server.calls if c.path == "DownloadDataFile"} == {BASIC}
    assert "100%" in done.stderr  # the client's progress bar

    server.calls.clear()
    again = fetch()  # no credentials, and none needed: everything is there
    assert again.returncode == 0, again.stderr
    assert server.calls == []


def test_goes_on_after_a_cut_without_fetching_bytes_twice(
    fetch, server, tmp_path, archives
) -> None:
    server.cuts = [2 * MIB]
    done = fetch(KAGGLE_API_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert "Resuming from 2097152 bytes" in done.stdout
    first, second = server.storage_calls("train.zip")
    assert (first.range, first.sent) == (None, 2 * MIB)
    assert (second.range, second.status) == (f"bytes={2 * MIB}-", 206)
    assert first.sent + second.sent == len(archives["train.zip"])
    assert (tmp_path / "kaggle" / "train.zip").read_bytes() == archives["train.zip"]


def test_goes_on_after_the_process_was_killed(fetch, server, home, tmp_path, archives) -> None:
    server.hold_at = 2 * MIB
    target = tmp_path / "kaggle"
    command = [sys.executable, "-c", DRIVER, str(target)]
    environment = server.environment(home, **KEYS)
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    partial = target / ".train.zip.partial" / "train.zip"
    deadline = time.monotonic() + 60
    while not (partial.is_file() and partial.stat().st_size == 2 * MIB):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "the client never wrote what the server sent"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (target / "train.zip").exists()  # a part must never look like the whole
    with pytest.raises(CourseError, match=r"train\.zip and train_masks\.zip"):
        open_source(target)

    server.release()
    server.calls.clear()
    done = fetch(**KEYS)
    assert done.returncode == 0, done.stderr
    # The client asks for the file, drops that answer unread, and asks again for the rest.
    resumed = server.storage_calls("train.zip")[-1]
    assert (resumed.range, resumed.status) == (f"bytes={2 * MIB}-", 206)
    assert resumed.sent == len(archives["train.zip"]) - 2 * MIB
    assert (target / "train.zip").read_bytes() == archives["train.zip"]
    assert sorted(path.name for path in target.iterdir()) == ["train.zip", "train_masks.zip"]


def test_a_connection_that_keeps_breaking_is_said_and_its_part_kept(
    fetch, server, tmp_path, archives
) -> None:
    server.cuts = [2 * MIB] + [0] * 5
    done = fetch(**KEYS)
    assert is_clean_failure(done), done.stderr
    assert "a connection that broke off" in done.stderr
    assert "goes on where it stopped" in done.stderr
    target = tmp_path / "kaggle"
    assert [path.name for path in target.iterdir()] == [".train.zip.partial"]
    done = fetch(**KEYS)
    assert done.returncode == 0, done.stderr
    assert server.storage_calls("train.zip")[-1].range == f"bytes={2 * MIB}-"
    assert (target / "train.zip").read_bytes() == archives["train.zip"]


def test_no_network_at_all(server, home, tmp_path) -> None:
    environment = server.environment(home, **KEYS)
    environment["HTTP_PROXY"] = environment["http_proxy"] = "http://127.0.0.1:9"
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "kaggle")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert is_clean_failure(done), done.stderr
    assert "check the network" in done.stderr


@pytest.mark.parametrize("sign_in", ["key", "token", "inactive token"])
def test_refused_credentials(fetch, server, tmp_path, sign_in: str) -> None:
    server.api_status, server.api_message = 401, "Unauthenticated"
    server.sign_in = {"key": "active", "token": "401", "inactive token": "inactive"}[sign_in]
    done = fetch(**KEYS) if sign_in == "key" else fetch(KAGGLE_API_TOKEN=TOKEN)
    assert is_clean_failure(done), done.stderr
    assert "Kaggle credentials in the environment variable" in done.stderr
    assert "401" in done.stderr or sign_in == "inactive token"
    assert '"Generate New Token"' in done.stderr
    assert not any(secret in done.stderr + done.stdout for secret in (KEY, TOKEN))


def test_rules_not_accepted(fetch, server) -> None:
    server.api_status = 403
    server.api_message = "You must accept this competition's rules before you can download files."
    done = fetch(**KEYS)
    assert is_clean_failure(done), done.stderr
    page = "https://www.kaggle.com/competitions/carvana-image-masking-challenge/rules"
    for part in (page, '"Join Competition"', '"I Understand and Accept"', server.api_message):
        assert part in done.stderr


@pytest.mark.parametrize("damage", ["truncated", "corrupt", "a web page"])
def test_a_damaged_archive_never_gets_its_name(fetch, server, tmp_path, archives, damage) -> None:
    whole = archives["train.zip"]
    broken = bytearray(whole)
    broken[MIB : MIB + 64] = bytes(64)
    server.files["train.zip"] = {
        "truncated": whole[: 2 * MIB],
        "corrupt": bytes(broken),
        "a web page": b"<!doctype html><title>Sign in to the Wi-Fi</title>",
    }[damage]
    done = fetch(**KEYS)
    assert is_clean_failure(done), done.stderr
    words = {"truncated": "cut short", "corrupt": "CRC-32", "a web page": "a web page"}
    assert "train.zip: expected a whole zip file; found" in done.stderr
    assert words[damage] in done.stderr
    assert list((tmp_path / "kaggle").iterdir()) == []
    if damage == "corrupt":  # mended on the other side: the next run fetches it afresh
        server.files["train.zip"] = whole
        assert fetch(**KEYS).returncode == 0
        assert (tmp_path / "kaggle" / "train.zip").read_bytes() == whole


def test_a_zip_inside_a_zip_is_unwrapped(fetch, server, tmp_path, archives) -> None:
    wrapped = io.BytesIO()
    with zipfile.ZipFile(wrapped, "w", zipfile.ZIP_DEFLATED) as outer:
        outer.writestr("train.zip", archives["train.zip"])
    server.files["train.zip"] = wrapped.getvalue()
    server.stored_as["train.zip"] = "train.zip.zip"
    done = fetch(**KEYS)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kaggle" / "train.zip").read_bytes() == archives["train.zip"]


def test_no_credentials_ends_with_advice_before_any_call(fetch, server) -> None:
    done = fetch()
    assert is_clean_failure(done), done.stderr
    assert "Kaggle credentials: expected KAGGLE_API_TOKEN" in done.stderr
    assert 'the source "studio"' in done.stderr
    assert server.calls == []


def write_json(path: Path, **content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    path.chmod(0o600)


@pytest.mark.parametrize(
    "place", ["access_token", "kaggle.json", "xdg", "KAGGLE_CONFIG_DIR", "Colab's secrets"]
)
def test_the_client_signs_in_with_what_was_found(fetch, server, home, tmp_path, place) -> None:
    variables, login = {}, {"username": USERNAME, "key": KEY}
    if place == "access_token":
        (home / ".kaggle").mkdir()
        (home / ".kaggle" / "access_token").write_text(TOKEN + "\n")
    elif place == "kaggle.json":
        write_json(home / ".kaggle" / "kaggle.json", **login)
    elif place == "xdg":
        write_json(home / ".config" / "kaggle" / "kaggle.json", **login)
    elif place == "KAGGLE_CONFIG_DIR":
        write_json(tmp_path / "settings" / "kaggle.json", **login)
        variables["KAGGLE_CONFIG_DIR"] = str(tmp_path / "settings")
    else:
        make_colab(tmp_path / "site", KAGGLE_API_TOKEN=TOKEN)
        root = server.environment(home)["PYTHONPATH"]
        variables["PYTHONPATH"] = f"{tmp_path / 'site'}:{root}"
    done = fetch(**variables)
    assert done.returncode == 0, done.stderr
    named = {"access_token": "~/.kaggle/access_token", "kaggle.json": "~/.kaggle/kaggle.json"}
    named |= {"xdg": "~/.config/kaggle/kaggle.json", "KAGGLE_CONFIG_DIR": "kaggle.json"}
    assert named.get(place, place) in done.stdout.splitlines()[0]
    signed = {c.authorization for c in server.calls if c.path == "DownloadDataFile"}
    assert signed == {f"Bearer {TOKEN}" if place in ("access_token", "Colab's secrets") else BASIC}


def make_colab(site: Path, **secrets: str) -> None:
    """A package google.colab that answers as Colab's does: an exception for an unknown secret."""
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").touch()
    (site / "google" / "colab" / "userdata.py").write_text(
        "class SecretNotFoundError(Exception): pass\n"
        f"SECRETS = {secrets!r}\n"
        "def get(name):\n"
        "    if name not in SECRETS: raise SecretNotFoundError(name)\n"
        "    return SECRETS[name]\n"
    )


@pytest.fixture
def bare(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process without any Kaggle settings and with an empty home."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    return home


def test_find_credentials_one_place_after_another(bare: Path, monkeypatch) -> None:
    assert find_credentials() is None
    write_json(bare / ".kaggle" / "credentials.json", refresh_token="made up")
    assert find_credentials() == "~/.kaggle/credentials.json"
    write_json(bare / ".kaggle" / "kaggle.json", username=USERNAME, key=KEY)
    assert find_credentials() == "~/.kaggle/kaggle.json"
    monkeypatch.setenv("KAGGLE_USERNAME", USERNAME)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    assert "KAGGLE_USERNAME and KAGGLE_KEY" in find_credentials()
    (bare / ".kaggle" / "access_token.txt").write_text(TOKEN)
    assert find_credentials() == "~/.kaggle/access_token.txt"
    (bare / ".kaggle" / "access_token").write_text(TOKEN)
    assert find_credentials() == "~/.kaggle/access_token"
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    assert "KAGGLE_API_TOKEN" in find_credentials()


def test_half_credentials_are_none(bare: Path, monkeypatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", USERNAME)
    assert find_credentials() is None
    (bare / ".kaggle").mkdir()
    (bare / ".kaggle" / "access_token").write_text("  \n")
    for broken in ("{", "[]", '{"username": "learner"}'):
        (bare / ".kaggle" / "kaggle.json").write_text(broken)
        assert find_credentials() is None
    with pytest.raises(CourseError, match=r"kaggle\.json without a username and a key"):
        download_kaggle(bare / "target")
    assert not (bare / "target").exists()


def test_too_little_disk_is_said_before_any_call(bare: Path, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    small = kaggle_download.shutil._ntuple_diskusage(10**9, 10**9 - 5 * 10**7, 5 * 10**7)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: small)
    with pytest.raises(CourseError, match="980 MB of free disk; found 50 MB"):
        download_kaggle(tmp_path / "kaggle")
