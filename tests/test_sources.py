"""The built-in pack, folders, archive pairs: found, verified, unpacked, and every bad input."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_pairs import MadePair, car_name, make_archive_pair, make_items

from unet_helpers import sources
from unet_helpers.environment import CourseError, course_root
from unet_helpers.sources import (
    ArchivePair,
    extract_pair,
    open_source,
    parse_stem,
    verify_pair,
)

A = f"{car_name(0)}_01"


def files_below(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of every file below a folder, hidden ones included."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def write_zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def pair(tiny_pair: MadePair) -> ArchivePair:
    return open_source(tiny_pair.folder)


# --- names ---------------------------------------------------------------------------------------


@given(st.integers(0, 2**48 - 1), st.integers(1, 16), st.sampled_from(["", "_mask"]))
def test_a_stem_gives_back_its_car_and_angle(number: int, angle: int, ending: str) -> None:
    assert parse_stem(f"{number:012x}_{angle:02d}{ending}") == (f"{number:012x}", angle)


@pytest.mark.parametrize(
    "stem",
    ["", "car_01", A[:-3], A[:-2] + "17", A[:-2] + "00", A[:-2] + "1", A + "_masks", " " + A],
)
def test_other_stems_are_refused(stem: str) -> None:
    with pytest.raises(CourseError, match="12 hex digits"):
        parse_stem(stem)


# --- finding a source ----------------------------------------------------------------------------


def test_the_word_studio_is_the_built_in_pack() -> None:
    pair = open_source()
    assert pair.photos == course_root() / "data" / "studio" / "train.zip"
    report = verify_pair(pair, progress=False)
    assert report.photos == report.masks == report.cars * 16


@pytest.mark.parametrize("below", ["competitions/carvana-image-masking-challenge", ""])
def test_a_kaggle_notebook_uses_the_files_it_has(tmp_path: Path, below: str) -> None:
    made = make_archive_pair(
        tmp_path / "input" / (below or "carvana-image-masking-challenge"), cars=1, angles=2
    )
    found = open_source("kaggle", tmp_path / "unused", kaggle_input=tmp_path / "input")
    assert (found.photos, found.masks, found.name) == (made.photos, made.masks, "kaggle")
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({}, "an empty folder"),
        ({"train.zip": b""}, "train.zip"),
        ({"train.zip": b"", "train_masks/x": b""}, "train.zip, train_masks"),
    ],
)
def test_a_folder_without_a_pair_is_named_with_what_it_holds(tmp_path, content, found) -> None:
    for name, data in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with pytest.raises(CourseError) as caught:
        open_source(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.found == found


def test_a_missing_folder_and_a_file_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="no such folder"):
        open_source(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(CourseError, match="found a file"):
        open_source(tmp_path / "file")


# --- verifying -----------------------------------------------------------------------------------


def test_a_good_pair_is_counted(pair: ArchivePair) -> None:
    report = verify_pair(pair, progress=False)
    assert (report.photos, report.masks, report.cars) == (48, 48, 3)
    assert (report.height, report.width) == (64, 96)
    assert report.bytes == sum(len(jpeg) + len(gif) for _, jpeg, gif in make_items())
    assert "48 photos and 48 masks of 3 cars, 64×96" in str(report)


def test_real_photos_are_a_pair(real_carvana: Path) -> None:
    report = verify_pair(open_source(real_carvana), progress=False)
    assert (report.photos, report.cars, report.height, report.width) == (3200, 200, 512, 512)
    full = verify_pair(open_source(real_carvana / "fullres"), progress=False)
    assert (full.photos, full.masks, full.height, full.width) == (5, 5, 1280, 1918)


def test_every_unpaired_file_is_named_in_one_error(tmp_path: Path) -> None:
    items = make_items(cars=2, angles=3)
    photos = {f"train/{stem}.jpg": jpeg for stem, jpeg, _ in items[1:]}
    masks = {f"train_masks/{stem}_mask.gif": gif for stem, _, gif in items[:-2]}
    write_zip(tmp_path / "train.zip", photos)
    write_zip(tmp_path / "train_masks.zip", masks)
    for work in (verify_pair, lambda pair: extract_pair(pair, tmp_path / "out")):
        with pytest.raises(CourseError) as caught:
            work(open_source(tmp_path))
        for name in (f"{items[0][0]}_mask.gif", f"{items[-1][0]}.jpg", f"{items[-2][0]}.jpg"):
            assert name in caught.value.found
        assert caught.value.found.count(",") == 2
    assert not (tmp_path / "out").exists()


def corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[2000:2016] = bytes(16)
    path.write_bytes(content)


BAD_ARCHIVES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "No such file"),
    "empty": (lambda path: path.write_bytes(b""), "an empty file"),
    "text": (lambda path: path.write_bytes(b"photos are here"), "no zip"),
    "a web page": (lambda path: path.write_bytes(b"\n<!DOCTYPE html>"), "a web page"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-3000]), "cut short"),
    "corrupt": (corrupt, f"train/{make_items()[0][0]}.jpg"),
    "nothing in it": (lambda path: write_zip(path, {}), "found none"),
    "another format": (lambda path: write_zip(path, {"train/car.png": b"x"}), "'train/car.png'"),
    "no top folder": (lambda path: write_zip(path, {f"{A}.jpg": b"x"}), f"'{A}.jpg'"),
}


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_a_bad_archive_is_named_and_nothing_is_left(pair, tmp_path: Path, kind: str) -> None:
    damage, words = BAD_ARCHIVES[kind]
    damage(pair.photos)
    out = tmp_path / "out"
    with pytest.raises(CourseError) as caught:
        verify_pair(pair, progress=False)
    assert str(pair.photos) in str(caught.value)
    assert words in str(caught.value)
    with pytest.raises(CourseError):
        extract_pair(pair, out, progress=False)
    assert not out.exists() or files_below(out) == {}


def test_an_encrypted_entry_is_refused(pair: ArchivePair) -> None:
    content = bytearray(pair.photos.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1  # the flag in the table of contents
    pair.photos.write_bytes(content)
    with pytest.raises(CourseError, match="an encrypted file"):
        verify_pair(pair, progress=False)


# --- unpacking -----------------------------------------------------------------------------------


def test_unpacks_every_byte_and_a_second_call_changes_nothing(pair, tmp_path: Path) -> None:
    before = files_below(pair.photos.parent)
    out = extract_pair(pair, tmp_path / "new" / "out", progress=False)
    expected = {f"train/{stem}.jpg": jpeg for stem, jpeg, _ in make_items()}
    expected |= {f"train_masks/{stem}_mask.gif": gif for stem, _, gif in make_items()}
    assert files_below(out) == expected
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert extract_pair(pair, out, progress=False) == out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == stamps
    assert files_below(pair.photos.parent) == before
    assert extract_pair(open_source(out), tmp_path / "unused") == out  # unpacked already
    assert not (tmp_path / "unused").exists()
    assert verify_pair(open_source(out)) == verify_pair(pair, progress=False)


def test_a_zip_in_a_zip_is_read_through(pair: ArchivePair, tmp_path: Path) -> None:
    folder = tmp_path / "wrapped"
    folder.mkdir()
    for path, level in ((pair.photos, zipfile.ZIP_DEFLATED), (pair.masks, zipfile.ZIP_STORED)):
        with zipfile.ZipFile(folder / f"{path.name}.zip", "w", level) as outer:
            outer.write(path, path.name)
    wrapped = open_source(folder)
    assert verify_pair(wrapped, progress=False) == verify_pair(pair, progress=False)
    out = extract_pair(wrapped, tmp_path / "out", progress=False)
    assert len(files_below(out)) == 96


def test_what_a_mac_adds_is_left_out_and_said(pair, tmp_path: Path, capsys) -> None:
    with zipfile.ZipFile(pair.photos, "a") as archive:
        archive.writestr(f"__MACOSX/train/._{A}.jpg", b"x")
        archive.writestr("train/.DS_Store", b"x")
    assert verify_pair(pair, progress=False).photos == 48
    assert (
        "train.zip: 2 entries that macOS or Windows added are left out" in capsys.readouterr().out
    )
    out = extract_pair(pair, tmp_path / "out", progress=False)
    assert len(files_below(out)) == 96


ESCAPES = [
    f"../{A}.jpg",
    f"train/../../{A}.jpg",
    f"/tmp/{A}.jpg",
    f"C:/{A}.jpg",
    f"C:{A}.jpg",
    f"..\\{A}.jpg",
    f"\\\\host\\share\\{A}.jpg",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_entries_that_leave_the_target_are_refused(pair, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(pair.photos, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"outside")
    before = files_below(tmp_path)
    for work in (verify_pair, lambda pair: extract_pair(pair, tmp_path / "deep" / "out")):
        with pytest.raises(CourseError, match="only files that stay inside the target folder"):
            work(pair)
    assert files_below(tmp_path) == before


def test_a_link_is_refused(pair: ArchivePair, tmp_path: Path) -> None:
    link = zipfile.ZipInfo(f"train/{A[:-2]}09.jpg")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    write_zip(pair.photos, {})
    with zipfile.ZipFile(pair.photos, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(CourseError, match="found a link"):
        extract_pair(pair, tmp_path / "out", progress=False)


def test_a_name_that_comes_twice_is_refused(pair: ArchivePair) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(pair.photos, "a") as z:
        z.writestr(f"train/{A}.jpg", b"another")
    with pytest.raises(CourseError, match="the same name twice"):
        verify_pair(pair, progress=False)


# The process kills itself with half an entry written: no handler, no finally, nothing flushed.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from unet_helpers import sources
done = []
def copy(source, target, length):
    if len(done) == int(sys.argv[3]):
        content = source.read()
        target.write(content[: len(content) // 2])
        target.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(target.write(source.read()))
sources.shutil.copyfileobj = copy
sources.extract_pair(sources.open_source(sys.argv[1]), Path(sys.argv[2]), progress=False)
"""


@pytest.mark.parametrize("after", [0, 20, 48, 95])
def test_killed_half_way_the_next_run_completes_it(pair, tmp_path: Path, after: int) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(pair.photos.parent), str(out), str(after)]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(course_root())})
    assert killed.returncode == -signal.SIGKILL
    part = "train" if after < 48 else "train_masks"
    assert not (out / part).exists()  # never a folder that looks whole
    kept = {path.name: path.stat() for path in (out / f".{part}.partial").iterdir()}
    assert len(kept) == after % 48 + 1
    extract_pair(pair, out, progress=False)
    expected = {f"train/{stem}.jpg": jpeg for stem, jpeg, _ in make_items()}
    expected |= {f"train_masks/{stem}_mask.gif": gif for stem, _, gif in make_items()}
    assert files_below(out) == expected
    untouched = [(out / part / n).stat().st_mtime_ns == was.st_mtime_ns for n, was in kept.items()]
    assert sum(untouched) == after % 48  # all but the half-written one were kept


def test_what_a_stopped_run_with_other_cars_left_is_not_mixed_in(pair, tmp_path: Path) -> None:
    partial = tmp_path / "out" / ".train.partial"
    partial.mkdir(parents=True)
    (partial / "0123456789ab_01.jpg").write_bytes(b"another archive")
    (partial / f"{A}.jpg").write_bytes(b"half")
    out = extract_pair(pair, tmp_path / "out", progress=False)
    assert len(files_below(out)) == 96
    content = {stem: jpeg for stem, jpeg, _ in make_items()}
    assert (out / "train" / f"{A}.jpg").read_bytes() == content[A]


@pytest.mark.parametrize("change", ["other file", "shorter", "missing", "a file"])
def test_a_target_that_holds_something_else_is_not_touched(pair, tmp_path, change: str) -> None:
    out = extract_pair(pair, tmp_path / "out", progress=False)
    if change == "other file":
        (out / "train" / "notes.txt").write_text("mine")
    elif change == "shorter":
        (out / "train" / f"{A}.jpg").write_bytes(b"edited")
    elif change == "missing":
        (out / "train" / f"{A}.jpg").unlink()
    else:
        shutil.rmtree(out / "train")
        (out / "train").write_text("mine")
    before = files_below(out)
    with pytest.raises(CourseError, match="move this folder away"):
        extract_pair(pair, out, progress=False)
    assert files_below(out) == before


# --- a target that cannot be written -------------------------------------------------------------


@contextlib.contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may write anywhere: give that up for a moment, so that permissions count."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_read_only_target(tiny_pair: MadePair) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder = Path(name)
        pair = shutil.copytree(tiny_pair.folder, folder / "pair")
        (folder / "kept.txt").write_text("mine")
        before = files_below(folder)
        folder.chmod(0o555)
        with as_ordinary_user(), pytest.raises(CourseError, match="Permission denied"):
            extract_pair(open_source(pair), folder / "out", progress=False)
        folder.chmod(0o755)
        assert files_below(folder) == before


def test_a_target_below_a_file(pair: ArchivePair, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CourseError, match="a folder that can be written to"):
        extract_pair(pair, tmp_path / "file" / "out", progress=False)
    assert (tmp_path / "file").read_text() == "mine"


def test_too_little_disk_is_said_before_anything_is_written(pair, tmp_path, monkeypatch) -> None:
    needed = 96 * 4096  # every made-up file fits into one block of a disk
    asked = []

    def usage(folder: Path) -> object:
        asked.append(Path(folder))
        return shutil._ntuple_diskusage(10**9, 10**9 - needed + 1, needed - 1)

    monkeypatch.setattr(sources.shutil, "disk_usage", usage)
    with pytest.raises(CourseError, match="MB of free disk"):
        extract_pair(pair, tmp_path / "not" / "there", progress=False)
    assert asked == [tmp_path]
    assert not (tmp_path / "not").exists()


# A file may not grow beyond 1 kB in that process: the write itself fails, as on a full disk.
FULL = """
import resource, sys
from pathlib import Path
from unet_helpers import sources
from unet_helpers.environment import CourseError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    sources.extract_pair(sources.open_source(sys.argv[1]), Path(sys.argv[2]), progress=False)
except CourseError as error:
    print(error)
    sys.exit(2)
"""


def test_a_write_that_fails_leaves_nothing_half_written(pair, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "train_images").mkdir(parents=True)
    (out / "train_images" / "kept.txt").write_text("mine")
    command = [sys.executable, "-c", FULL, str(pair.photos.parent), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(course_root())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "")
    assert "enough room to write" in done.stdout
    assert files_below(out) == {"train_images/kept.txt": b"mine"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB in memory; only root can make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)]
    try:
        made = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        made = False
    if not made:
        pytest.skip("no small disk: mounting a tmpfs is not allowed here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_full(tmp_path: Path, small_disk: Path, monkeypatch) -> None:
    made = make_archive_pair(tmp_path / "big", cars=1, height=256, width=384)
    pair = open_source(made.folder)
    with pytest.raises(CourseError, match="free disk"):
        extract_pair(pair, small_disk / "out", progress=False)
    assert list(small_disk.iterdir()) == []
    # Something else fills the disk after the check: the real ENOSPC comes from the write.
    monkeypatch.setattr(sources, "check_free_disk", lambda folder, needed: None)
    with pytest.raises(CourseError, match="No space left"):
        extract_pair(pair, small_disk / "out", progress=False)
    assert files_below(small_disk) == {}


def test_progress_is_shown_and_can_be_turned_off(pair, tmp_path: Path, monkeypatch) -> None:
    for progress in (True, False):
        screen = io.StringIO()
        monkeypatch.setattr(sys, "stderr", screen)
        extract_pair(pair, tmp_path / f"out{progress}", progress=progress)
        assert ("unpacking train_masks" in screen.getvalue()) is progress
