"""Submissions: written, cut and continued, checked, and sent to a stand-in for Kaggle."""

from __future__ import annotations

import csv
import gzip
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from kaggle_server import BASIC, KEY, SUBMITTED, TOKEN, USERNAME, KaggleServer

from unet_helpers import submission
from unet_helpers.environment import CourseError
from unet_helpers.gzip_rows import whole_rows
from unet_helpers.rle import rle_decode
from unet_helpers.submission import check_submission, read_names, write_submission

SHAPE = (12, 18)
NAMES = [f"00087a6bd4dc_{angle:02d}.jpg" for angle in range(1, 11)]


def mask_of(name):
    """A mask that anybody can make again from the name."""
    rng = np.random.default_rng(int(name[13:15]))
    return (rng.random(SHAPE) < 0.4).astype(np.uint8)


def predict(names, asked=None):
    for name in names:
        if asked is not None:
            asked.append(name)
        yield name, mask_of(name)


def write(to, names=NAMES, by=predict, **how):
    return write_submission(by, names, to, **{"shape": SHAPE, "progress": False, **how})


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("whole") / "submission.csv.gz")


# --- writing


def test_pandas_reads_every_mask_back_in_the_order_of_the_names(whole):
    table = pd.read_csv(whole, keep_default_na=False)
    assert list(table.columns) == ["img", "rle_mask"] and list(table.img) == NAMES
    for name, rle in zip(table.img, table.rle_mask, strict=True):
        assert np.array_equal(rle_decode(rle, SHAPE), mask_of(name))
    assert hidden(whole.parent) == []


def test_an_empty_mask_is_an_empty_field(tmp_path):
    path = write(tmp_path / "s.csv.gz", NAMES[:1], lambda names: [(names[0], np.zeros(SHAPE, int))])
    assert gzip.decompress(path.read_bytes()) == f"img,rle_mask\n{NAMES[0]},\n".encode()
    assert check_submission(path, NAMES[:1], shape=SHAPE, progress=False) == 1


@pytest.mark.parametrize("finished", [0, 1, 4, 9, 10])
def test_after_an_interruption_only_what_is_missing_is_asked_for(tmp_path, whole, finished):
    class PulledPlug(Exception):  # noqa: N818 - what happened, said plainly
        pass

    def until_the_plug_is_pulled(names):
        for number, pair in enumerate(predict(names)):
            if number == finished:
                raise PulledPlug
            yield pair
        raise PulledPlug

    to, asked = tmp_path / "submission.csv.gz", []
    with pytest.raises(PulledPlug):
        write(to, by=until_the_plug_is_pulled)
    assert not to.exists() and len(hidden(tmp_path)) == 1
    write(to, by=lambda names: predict(names, asked))
    assert asked == NAMES[finished:]
    assert gzip.decompress(to.read_bytes()) == gzip.decompress(whole.read_bytes())
    assert hidden(tmp_path) == []


SLOW = """
import sys, time
sys.path[:0] = ["tests"]
from test_submission import predict, write
def slowly(names):
    for name, mask in predict(names):
        print(name, flush=True)
        yield name, mask
        time.sleep(60 if name.endswith("_06.jpg") else 0)
write(sys.argv[1], by=slowly)
"""


def test_a_kill_in_mid_write_loses_no_finished_row(tmp_path, whole):
    """A real process, SIGKILL: nothing is closed, nothing is flushed by anybody."""
    to, root = tmp_path / "submission.csv.gz", Path(__file__).resolve().parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(to)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    try:
        named = [process.stdout.readline().strip() for _ in range(6)]
        (partial,) = tmp_path.glob(".*.partial")
        deadline = time.monotonic() + 60
        while len(list(whole_rows(partial))) < 6 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    finally:
        process.kill()
    assert named == NAMES[:6] and not to.exists()
    asked = []
    write(to, by=lambda names: predict(names, asked))
    assert asked == NAMES[6:]
    assert gzip.decompress(to.read_bytes()) == gzip.decompress(whole.read_bytes())


def test_cut_at_any_byte_the_rest_is_written_and_the_text_is_the_same(tmp_path, whole):
    """The partial file of every length, as a crash at any moment might leave it."""

    def stop(names):
        yield from list(predict(names))[:7]
        raise KeyboardInterrupt

    to = tmp_path / "submission.csv.gz"
    with pytest.raises(KeyboardInterrupt):
        write(to, by=stop)
    (partial,) = tmp_path.glob(".*.partial")
    data, text = partial.read_bytes(), gzip.decompress(whole.read_bytes())
    for length in range(0, len(data) + 1, 7):
        asked = []
        partial.write_bytes(data[:length])
        write(to, by=lambda names, asked=asked: predict(names, asked))
        assert gzip.decompress(to.read_bytes()) == text
        assert asked == NAMES[len(NAMES) - len(asked) :]
        assert len(asked) <= 10 - 7 if length == len(data) else len(asked) <= 10


def test_a_kill_while_the_finished_rows_are_copied_loses_none_of_them(tmp_path, whole):
    def stop(names):
        yield from list(predict(names))[:7]
        raise KeyboardInterrupt

    to, asked = tmp_path / "submission.csv.gz", []
    with pytest.raises(KeyboardInterrupt):
        write(to, by=stop)
    (partial,) = tmp_path.glob(".*.partial")
    partial.rename(partial.with_suffix(".cut"))
    partial.write_bytes(b"")  # the copy had just begun
    write(to, by=lambda names: predict(names, asked))
    assert asked == NAMES[7:]
    assert gzip.decompress(to.read_bytes()) == gzip.decompress(whole.read_bytes())
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("change", [{"made_by": "other"}, {"names": NAMES[::-1]}])
def test_rows_of_other_weights_or_another_order_are_never_mixed_in(tmp_path, change):
    def stop(names):
        yield from list(predict(names))[:3]
        raise KeyboardInterrupt

    to, asked = tmp_path / "submission.csv.gz", []
    with pytest.raises(KeyboardInterrupt):
        write(to, by=stop)
    write(to, by=lambda names: predict(names, asked), **change)
    assert len(asked) == len(NAMES)


def stopped_after(finished):
    def stop(names):
        yield from list(predict(names))[:finished]
        raise KeyboardInterrupt

    return stop


def test_rows_of_an_earlier_call_are_mentioned(tmp_path, capsys):
    """Whoever gives no made_by and has trained since would not want them."""
    to = tmp_path / "submission.csv.gz"
    with pytest.raises(KeyboardInterrupt):
        write(to, by=stopped_after(3), progress=True)
    assert "earlier call" not in capsys.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        write(to, by=stopped_after(2))
    assert capsys.readouterr().out == ""  # progress=False asks for silence
    write(to, progress=True)
    said = capsys.readouterr().out
    assert "going on after 5 rows of an earlier call" in said and "unfinished" not in said


def test_what_calls_with_other_options_have_left_is_mentioned_and_stays(tmp_path, capsys):
    to = tmp_path / "submission[1].csv.gz"  # brackets mean something to glob
    for other in ("one", "another"):
        with pytest.raises(KeyboardInterrupt):
            write(to, by=stopped_after(2), made_by=other)
    first, second = sorted(tmp_path.glob(".*"))
    second = second.rename(second.with_suffix(".cut"))  # killed while its rows were copied
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "unrelated.csv.gz", by=stopped_after(2))
    write(to, progress=True)
    said = capsys.readouterr().out
    assert f"unfinished rows in {first}, {second}; delete" in said and "unrelated" not in said
    assert first.exists() and second.exists()
    for other in ("one", "another"):  # and nothing of their own is called another's
        asked = []
        write(to, by=lambda names, asked=asked: predict(names, asked), made_by=other)
        assert asked == NAMES[2:]
    write(to, progress=True)
    assert "unfinished" not in capsys.readouterr().out


def test_two_processes_do_not_write_the_same_file(tmp_path):
    def another_comes(names):
        (lock,) = tmp_path.glob(".*.lock")
        with pytest.raises(CourseError, match="another one at work"):
            write(tmp_path / "submission.csv.gz")
        assert lock.exists()
        yield from predict(names)

    write(tmp_path / "submission.csv.gz", by=another_comes)
    FileLock(tmp_path / "free.lock").acquire(timeout=0)


def test_an_earlier_submission_stays_until_the_new_one_is_whole(tmp_path, whole):
    to = tmp_path / "submission.csv.gz"
    to.write_bytes(b"the one from before")

    def stop(names):
        yield from list(predict(names))[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(to, by=stop)
    assert to.read_bytes() == b"the one from before"
    assert gzip.decompress(write(to).read_bytes()) == gzip.decompress(whole.read_bytes())


@pytest.mark.parametrize(
    ("by", "says"),
    [
        (lambda names: predict(names[:-1]), "found the end in place of 00087a6bd4dc_10.jpg"),
        (lambda names: predict([*names, "x_01.jpg".rjust(19, "0")]), "in place of the end"),
        (lambda names: predict(names[::-1]), "found 00087a6bd4dc_10.jpg in place of"),
        (
            lambda names: ((n, mask_of(n)[:6]) for n in names),
            r"mask of .*_01.jpg.*12×18.*\(6, 18\)",
        ),
        (lambda names: ((n, mask_of(n) * 0.7) for n in names), r"probability > 0\.5"),
        (lambda names: map(mask_of, names), "ndarray in place of .name, mask.*yield name, mask"),
        (lambda names: [np.zeros((2, 18))], "ndarray in place of"),
        (lambda names: [(n, mask_of(n), 1) for n in names], "tuple in place of"),
        (lambda names: [(mask_of(n), n) for n in names], "tuple in place of"),
        (lambda names: [None for n in names], "NoneType in place of"),
        (lambda names: None, r"10 names, in their order; found NoneType None"),
        (lambda names: [], "found the end in place of 00087a6bd4dc_01.jpg"),
    ],
)
def test_wrong_masks_are_refused(tmp_path, by, says):
    with pytest.raises(CourseError, match=says):
        write(tmp_path / "submission.csv.gz", by=by)
    assert not (tmp_path / "submission.csv.gz").exists()


@pytest.mark.parametrize("names", [[], [NAMES[0]] * 2, ["a,b.jpg"], ["a\n.jpg"], [""]])
def test_wrong_names_are_refused_before_anything_is_predicted(tmp_path, names):
    with pytest.raises(CourseError):
        write(tmp_path / "submission.csv.gz", names, by=lambda names: pytest.fail("asked"))
    assert list(tmp_path.iterdir()) == []


def refuse(names):
    pytest.fail("asked for masks")


@pytest.mark.parametrize(
    ("name", "way_out"),
    [("s.csv", "s.csv.gz"), ("s.gz", "s.csv.gz"), ("s", "s.csv.gz"), ("s.zip", "s.zip.csv.gz")],
)
def test_gzip_is_not_written_under_another_ending(tmp_path, name, way_out):
    with pytest.raises(CourseError, match=rf"ends in \.csv\.gz; .*write to {way_out}\.$"):
        write(tmp_path / name, by=refuse)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_the_file_is_found_before_anything_is_predicted(tmp_path):
    (tmp_path / "s.csv.gz").mkdir()
    with pytest.raises(CourseError, match=r"found a folder.*s\.csv\.gz.submission\.csv\.gz"):
        write(tmp_path / "s.csv.gz", by=refuse)
    assert hidden(tmp_path) == []


def test_a_photo_s_whole_shape_is_refused(tmp_path):
    with pytest.raises(CourseError, match=r"photo\.shape\[:2\]"):
        write(tmp_path / "s.csv.gz", by=refuse, shape=(*SHAPE, 3))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path, monkeypatch):
    real_open = Path.open

    def full(self, mode="r", *more, **options):
        place = Path("/dev/full") if self.suffix == ".partial" and "w" in mode else self
        return real_open(place, mode, *more, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(CourseError, match="free some space"):
        write(tmp_path / "submission.csv.gz")


# --- checking


def packed(tmp_path, *rows, header="img,rle_mask"):
    path = tmp_path / "s.csv.gz"
    path.write_bytes(gzip.compress("\n".join([header, *rows, ""]).encode()))
    return path


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["a.jpg,1 1", "b.jpg,1 1"], r"no row for c.jpg \(1 missing\)"),
        (["a.jpg,1 1", "b.jpg,1 1", "c.jpg,1 1", "d.jpg,1 1"], "a row for d.jpg"),
        (["a.jpg,1 1", "b.jpg,1 1", "a.jpg,1 1"], "'a.jpg' twice"),
        (["a.jpg,1 1", "b.jpg,9 2 3 4", "c.jpg,1 1"], r"row 3 \(b.jpg\).*ascending"),
        (["a.jpg,1 1", "b.jpg,3 4 6 2", "c.jpg,1 1"], r"row 3 \(b.jpg\).*overlap"),
        (["a.jpg,1 1", "b.jpg,210 8", "c.jpg,1 1"], r"216 pixels of 12×18"),
        (["a.jpg,1 1", "b.jpg,3", "c.jpg,1 1"], r"a length for every start"),
        (["a.jpg,1 1", "b.jpg", "c.jpg,1 1"], r"row 3: \"b.jpg\""),
        (["a.jpg,1 1", "b.jpg,1_0 1", "c.jpg,1 1"], r"row 3 \(b.jpg\).*whole numbers"),
        (["a.jpg,1 1", '"b.jpg,1 1', "c.jpg,1 1"], "the name '\"b.jpg'"),
        (["a.jpg,1 1", 'b.jpg,"1 1', "c.jpg,1 1"], r"row 3 \(b.jpg\).*whole numbers"),
        ([], "rows for some photos; found none.*write the submission again"),
    ],
)
def test_what_is_wrong_with_a_submission_is_said_with_its_row(tmp_path, rows, says):
    path = packed(tmp_path, *rows)
    with pytest.raises(CourseError, match=says):
        check_submission(path, ["a.jpg", "b.jpg", "c.jpg"], shape=SHAPE, progress=False)


def test_other_headers_other_files_and_halves_of_files(tmp_path, whole):
    def check(path):
        return check_submission(path, shape=SHAPE, progress=False)

    with pytest.raises(CourseError, match=r'the first line "id,mask"'):
        check(packed(tmp_path, "a.jpg,1 1", header="id,mask"))
    with pytest.raises(CourseError, match="no such file"):
        check(tmp_path / "none.csv.gz")
    half = tmp_path / "half.csv.gz"
    half.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(CourseError, match="a part of one"):
        check(half)
    half.write_bytes(b"\xff\xfe\x00 no text")
    with pytest.raises(CourseError):
        check(half)
    plain = tmp_path / "plain.csv"
    plain.write_bytes(gzip.decompress(whole.read_bytes()).replace(b"\n", b"\r\n"))
    assert check(plain) == check(whole) == 10


def test_fields_in_quotes_are_read_as_csv_readers_do(tmp_path):
    names, masks = NAMES[:3], [mask_of(NAMES[0]), np.zeros(SHAPE, np.uint8), mask_of(NAMES[2])]
    rows = {"img": names, "rle_mask": [submission.rle_encode(mask) for mask in masks]}
    path = tmp_path / "s.csv"
    pd.DataFrame(rows).to_csv(path, index=False, quoting=csv.QUOTE_ALL)
    assert path.read_text().startswith(f'"img","rle_mask"\n"{names[0]}","')
    assert check_submission(path, names, shape=SHAPE, progress=False) == 3
    assert read_names(path) == names


def test_a_bad_sample_names_its_own_way_out(tmp_path):
    """Nobody who reads Kaggle's file has called write_submission."""
    packed_by_kaggle = tmp_path / "sample_submission.csv.zip"
    with zipfile.ZipFile(packed_by_kaggle, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sample_submission.csv", "img,rle_mask\na.jpg,1 1\n" * 50)
    half = tmp_path / "half.csv.gz"
    half.write_bytes(gzip.compress(bytes(range(32, 127)) * 9)[:40])
    samples = [
        packed_by_kaggle,
        half,
        packed(tmp_path, "a.jpg,1 1", header="id,mask"),
    ]
    for number, rows in enumerate(["", "a.jpg\n", "a.jpg,1 1\na.jpg,1 1\n"]):
        samples.append(tmp_path / f"{number}.csv")
        samples[-1].write_text(f"img,rle_mask\n{rows}")
    for sample in samples:
        with pytest.raises(CourseError, match=r"unzip Kaggle's sample_submission\.csv\.zip"):
            read_names(sample)


@pytest.mark.real
def test_the_real_sample_gives_the_order_of_a_submission(real_carvana, tmp_path):
    """All 100,064 names, in the sample's order, with its own mask of one pixel."""
    sample = real_carvana / "sample_submission.csv.gz"
    names = read_names(sample)
    assert len(names) == 100_064 and names[0] == "0004d4463b50_01.jpg"
    assert check_submission(sample, names, progress=False) == 100_064
    few = names[:200]
    dot = np.zeros((1280, 1918), np.uint8)
    dot[0, 0] = 1
    path = write_submission(
        lambda rest: ((name, dot) for name in rest), few, tmp_path / "s.csv.gz", progress=False
    )
    with gzip.open(sample, "rt") as wanted, gzip.open(path, "rt") as found:
        assert [next(wanted) for _ in range(201)] == found.readlines()
    with pytest.raises(CourseError, match=r"100,064 photos; found no row for .*\(99,864 missing\)"):
        check_submission(path, names, progress=False)


# --- sending

DRIVER = """
import sys, time
time.sleep = lambda seconds: None
from unet_helpers.environment import CourseError
from unet_helpers.submission import submit
try:
    names = sys.argv[2:] or None
    print("answer:", submit(sys.argv[1], "a first try", names, shape=(12, 18)))
except CourseError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
"""
KEYS = {"KAGGLE_USERNAME": USERNAME, "KAGGLE_KEY": KEY}


@pytest.fixture
def server():
    with KaggleServer({}) as running:
        yield running


@pytest.fixture
def send(server, whole, tmp_path):
    """Run the real client in a fresh process."""

    def run(path=whole, names=NAMES, **variables):
        (tmp_path / "home").mkdir(exist_ok=True)
        return subprocess.run(
            [sys.executable, "-c", DRIVER, str(path), *names],
            env=server.environment(tmp_path / "home", **variables),
            capture_output=True, text=True, encoding="utf-8", timeout=200,
        )  # fmt: skip

    return run


def assert_said(done, *pieces):
    assert done.returncode == 2 and "Traceback" not in done.stderr
    for piece in pieces:
        assert piece in done.stderr


@pytest.mark.parametrize("variables", [KEYS, {"KAGGLE_API_TOKEN": TOKEN}], ids=["key", "token"])
def test_a_submission_arrives_byte_for_byte_with_its_line_of_text(send, server, whole, variables):
    done = send(**variables)
    assert done.returncode == 0, done.stderr
    assert f"answer: {SUBMITTED} (10 photos)" in done.stdout
    assert server.uploaded == whole.read_bytes()
    (handed_in,) = server.submitted
    assert handed_in["competitionName"] == "carvana-image-masking-challenge"
    assert handed_in["submissionDescription"] == "a first try"
    calls = [
        call for call in server.calls if call.path in ("StartSubmissionUpload", "CreateSubmission")
    ]
    assert [call.path for call in calls] == ["StartSubmissionUpload", "CreateSubmission"]
    wanted = BASIC if variables is KEYS else f"Bearer {TOKEN}"
    assert {call.authorization for call in calls} == {wanted}


def test_a_faulty_submission_is_not_sent(send, server, tmp_path):
    assert_said(send(packed(tmp_path, "a.jpg,9 2 3 4"), **KEYS), "row 2 (a.jpg)", "ascending")
    assert server.calls == []


def test_a_part_of_the_test_set_is_not_sent_unless_its_names_are_given(send, server):
    assert_said(send(names=(), **KEYS), "100,064 photos; found 10", "names=read_names(")
    assert server.calls == []


def test_without_credentials_the_page_to_upload_by_hand_is_named(send, server):
    page = "https://www.kaggle.com/competitions/carvana-image-masking-challenge/"
    assert_said(send(), "Kaggle credentials: expected", page, '"Late Submission"')
    assert server.calls == []


@pytest.mark.parametrize("status", [401, 403, 500])
def test_what_kaggle_refuses(send, server, status):
    server.api_status, server.api_message = status, "You must accept this competition's rules"
    words = {401: '"Generate New Token"', 403: '"I Understand and Accept"', 500: "run this again"}
    done = send(**KEYS)
    assert_said(done, str(status), words[status])
    assert not server.submitted and KEY not in done.stderr + done.stdout


@pytest.mark.parametrize("status", [500, 503])
def test_an_upload_that_fails_is_no_submission(send, server, whole, status):
    server.upload_status = status
    assert_said(send(**KEYS), "Could not submit", "nothing has to be predicted again")
    assert not server.submitted and whole.exists()


def test_no_network_at_all(server, whole, tmp_path):
    environment = server.environment(tmp_path, **KEYS)
    environment["HTTP_PROXY"] = environment["http_proxy"] = "http://127.0.0.1:9"
    command = [sys.executable, "-c", DRIVER, str(whole), *NAMES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert_said(done, "check the network", "nothing has to be predicted again")


def test_the_module_hands_on_what_it_is_built_from():
    assert submission.rle_decode is rle_decode
