"""Several processes: they compute what one would, one of them writes, and no ending is a hang.

Everything runs over gloo on loopback. Most tests fork two processes (tests/processes.py); those
that need torchrun itself start it as a learner would.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial

import psutil
import pytest
import torch
import torch.distributed as dist
from blobs import Blobs, blob_config
from make_pairs import make_archive_pair
from processes import environment, free_port, no_errors, together
from test_many_classes import TwoBlobs
from torch import nn
from torch.utils.data import DataLoader

from unet_helpers import distributed
from unet_helpers.checkpoint import load_checkpoint, model_from_config
from unet_helpers.dataset import make_loader
from unet_helpers.distributed import ALONE, current_world, own_device, per_process
from unet_helpers.environment import CourseError, course_root, pick_precision
from unet_helpers.evaluation import measure
from unet_helpers.losses import bce_dice_loss, make_loss
from unet_helpers.model import UNET
from unet_helpers.run_folder import read_history
from unet_helpers.shares import shared, shares
from unet_helpers.speed import train_in_parts, wrapped
from unet_helpers.split import prepare
from unet_helpers.training import fit, train_fn

FP32 = pick_precision("cpu", "fp32")
OFF = torch.amp.GradScaler("cpu", enabled=False)
STUDIO = str(course_root() / "configs" / "studio.yaml")
TINY = ("height=32", "width=48", "features=[4, 8]", "batch_size=8", "augment=gentle", "device=cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


def without_norm(**changes):
    """BatchNorm takes its statistics over one process's photos: to be exact, a network without."""
    return blob_config(norm="none", epochs=3, ema_decay=0.9, **changes)


def model_of(config, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return model_from_config(config)


def blob_run(config, folder, world, train=20, seed=0, kind=Blobs, **options):
    """A run on blobs, 20 of them in batches of 8: the last one is short."""
    loaders = (
        shared(make_loader(kind(train), config.batch_size, shuffle=True), world),
        shared(make_loader(kind(7, first=1000), config.batch_size), world),
    )
    return fit(model_of(config, seed), *loaders, config, folder, progress=False, **options)


def without_seconds(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def assert_same_history(one, other, rel=1e-4):
    assert len(one) == len(other)
    for row, wanted in zip(without_seconds(one), without_seconds(other), strict=True):
        assert row == pytest.approx(wanted, rel=rel, abs=1e-6)


# --- they compute what one process does ----------------------------------------------------------


@pytest.mark.parametrize(("photos", "size", "parts"), [(8, 2, 1), (8, 2, 2), (7, 2, 1), (5, 4, 1)])
def test_processes_with_a_part_of_the_batch_give_the_gradient_of_one_with_all_of_it(
    tmp_path, photos, size, parts
):
    """Also where they cannot share it equally, and where one of them has nothing of its own."""
    config = without_norm()

    def step(model, batches, epoch, **options):
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        loss = epoch(batches, model, optimizer, bce_dice_loss, OFF, precision=FP32, **options)
        return loss, [p.detach().clone() for p in model.parameters()]

    def work(world):
        # Other weights at first: they must all start from the first one's.
        model = wrapped(model_of(config, world.rank), config, torch.device("cpu"), world)
        mine = shared(make_loader(Blobs(photos), 8, shuffle=True), world)
        return step(model, shares(mine, world), train_in_parts, parts=parts, world=world)

    alone = step(model_of(config), make_loader(Blobs(photos), 8, shuffle=True), train_fn)
    before = list(model_of(config).parameters())
    moved = [(b - a).abs().max() for a, b in zip(alone[1], before, strict=True)]
    assert max(moved) > 1e-2
    for loss, weights in no_errors(together(work, size, tmp_path)):
        assert loss == pytest.approx(alone[0], rel=1e-5)
        for one, other in zip(weights, alone[1], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


MANY = {"out_channels": 3, "classes": ("wall", "cat", "dog"), "class_weights": (1, 3, 9)}
MANY |= {"loss": "ce_dice", "ignore_index": 255}


class Pixels(TwoBlobs):
    """Two kinds of blobs; of every third photo, all but one row is to be ignored."""

    def __getitem__(self, index):
        image, mask, stem = super().__getitem__(index)
        if index % 3 == 0:
            mask[1:] = 255
            mask[0] = index % 2
        return image, mask, stem


@pytest.mark.parametrize(("size", "parts"), [(2, 1), (4, 2)])
def test_many_classes_with_weights_and_ignored_pixels_are_the_run_of_one(tmp_path, size, parts):
    """A share of the batch weighs as much as its pixels do, and each class is counted exactly."""

    def work(world, config, folder):
        return blob_run(config, folder, world, kind=Pixels)

    alone = work(ALONE, without_norm(**MANY), tmp_path / "one")
    config = without_norm(**MANY, accumulate=parts)
    run = partial(work, config=config, folder=tmp_path / "two")
    for history in no_errors(together(run, size, tmp_path / "a")):
        assert_same_history(history, alone)
        assert [key for key in history[0] if key.startswith("dice_")] == [
            "dice_mean", "dice_p10", "dice_wall", "dice_cat", "dice_dog",
        ]  # fmt: skip


@pytest.mark.parametrize("size", [2, 3])
def test_every_photo_is_measured_once_and_counts_once(tmp_path, size):
    """Seven photos, which neither two nor three processes share equally; and fewer than both.

    And in parts of the loader's batches.
    """
    model = model_of(blob_config(**MANY))
    options = {"loss_fn": make_loss("ce_dice", (1, 3, 9), 255), "ignore_index": 255}
    for photos in (7, 1):
        loader = make_loader(Pixels(photos), 2)
        expected = measure(loader, model, FP32, **options)

        def work(world, loader=loader):
            return measure(shared(loader, world), model, FP32, **options)

        in_parts = measure(loader, model, FP32, **options, at_a_time=1)
        in_turns = no_errors(together(work, size, tmp_path / str(photos)))
        for scores, loss in [in_parts, *in_turns]:
            assert scores == expected[0]  # per_image rows and their order included
            for part in ("tp", "fp", "fn", "tn"):
                one, other = getattr(scores.counts, part), getattr(expected[0].counts, part)
                assert torch.equal(one, other)
            assert loss == pytest.approx(expected[1], rel=1e-6)


def test_a_run_of_two_is_the_run_of_one_and_resumes_with_any_number(tmp_path, capfd):
    config = without_norm()
    straight = blob_run(config, tmp_path / "one", ALONE)

    both = no_errors(
        together(lambda world: blob_run(config, tmp_path / "two", world), 2, tmp_path / "a")
    )
    assert both[0] == both[1]  # seconds too
    assert_same_history(both[0], straight)
    assert read_history(tmp_path / "two") == both[0]
    assert load_checkpoint(tmp_path / "two" / "last.pt")["processes"] == 2
    one, two = (load_checkpoint(tmp_path / n / "last.pt") for n in ("one", "two"))
    for name, weight in one["ema"].items():
        torch.testing.assert_close(two["ema"][name], weight, rtol=1e-3, atol=1e-5)

    def stopped(world, name="three"):
        return blob_run(config, tmp_path / name, world, on_epoch=lambda row, _: row["epoch"] < 2)

    def resumed_in(name, world):
        return blob_run(config, tmp_path / name, world, seed=9, resume=True)

    capfd.readouterr()
    no_errors(together(stopped, 4, tmp_path / "b"))
    said = capfd.readouterr().out
    assert said.count("Stopped after epoch 2 of 3, as asked") == 1  # the first process says it
    resumed = resumed_in("three", ALONE)
    said = capfd.readouterr().out
    assert "after epoch 2, with 1 process where there were 4" in said
    assert "batches of 8 photos (8 for each process in place of 2)" in said
    assert "Different: nothing." in said  # without BatchNorm
    assert_same_history(resumed, straight)

    stopped(ALONE, "four")
    answers = together(lambda world: resumed_in("four", world), 2, tmp_path / "c")
    assert "with 2 processes where there was 1. The same" in capfd.readouterr().out
    for resumed in no_errors(answers):
        assert_same_history(resumed, straight)


@pytest.mark.parametrize("switch", ["activation_checkpointing", "compile"])
def test_the_switches_that_change_the_network_work_in_several_processes(
    tmp_path, monkeypatch, switch
):
    """And none has more than its part of a batch in the network, in measuring as in training."""
    # The real compiler takes most of a minute; what is tested here is what lies around it.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    alone = blob_run(without_norm(), tmp_path / "one", ALONE)
    config = without_norm(accumulate=2, **{switch: True})

    def work(world):
        sizes, forward = set(), UNET.forward

        def seen(model, images):
            sizes.add(len(images))
            return forward(model, images)

        if switch != "compile":  # a compiler would see all of this as well
            UNET.forward = seen
        return blob_run(config, tmp_path / "two", world), sizes

    for history, sizes in no_errors(together(work, 2, tmp_path / "a")):
        assert_same_history(history, alone, rel=1e-3)
        assert sizes <= {1, 2}


def test_one_process_writes_the_files(tmp_path):
    """Each is given a folder of its own, and only the first one's comes to be."""
    config = without_norm().model_copy(update={"epochs": 1})
    folders = [tmp_path / f"of_{rank}" for rank in range(2)]
    no_errors(together(lambda w: blob_run(config, folders[w.rank], w), 2, tmp_path / "a"))
    names = {path.name for path in folders[0].iterdir()}
    assert names == {"best.pt", "last.pt", "history.csv", "config.yaml", "tensorboard"}
    assert not folders[1].exists()


def test_batchnorm_s_averages_are_those_of_all_photos(tmp_path):
    """The mean of the processes' running means is the running mean of the whole batches."""
    config = blob_config(epochs=1, learning_rate=1e-9)
    blob_run(config, tmp_path / "one", ALONE, train=16)
    no_errors(
        together(lambda w: blob_run(config, tmp_path / "two", w, train=16), 2, tmp_path / "a")
    )
    one, two = (load_checkpoint(tmp_path / n / "last.pt")["model"] for n in ("one", "two"))
    first = "encoder.downs.0.layers.1.running_mean"
    assert one[first].abs().max() > 0.01
    torch.testing.assert_close(two[first], one[first], rtol=1e-3, atol=1e-4)
    assert two["encoder.downs.0.layers.1.num_batches_tracked"] == 2


def test_a_budget_of_time_ends_all_of_them_after_the_same_batch(tmp_path):
    config = without_norm()

    def agreed(world):
        seconds = 1e6 if world.rank else 0  # only the first one is over time
        return blob_run(config, tmp_path / "other", world, max_seconds=seconds)

    histories = no_errors(together(agreed, 2, tmp_path / "a"))
    assert [len(history) for history in histories] == [1, 1]
    assert load_checkpoint(tmp_path / "other" / "last.pt")["scheduler"]["last_epoch"] == 1


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "size", "pieces"),
    [
        (8, 3, ("batch_size=6 or 9", "2.67 photos", "start 2 or 4 processes.")),
        (96, 5, ("batch_size=95 or 100", "19.20 photos", "start 4 or 6 processes.")),
        (2, 4, ("batch_size=4", "0.50 photos", "start 2 processes.")),
        (1, 2, ("batch_size=2", "start 1 process.")),
    ],
)
def test_a_batch_that_cannot_be_shared(batch, size, pieces):
    with pytest.raises(CourseError) as caught:
        per_process(batch, size)
    assert all(piece in str(caught.value) for piece in pieces), caught.value
    assert per_process(8, 4) == 2


def test_loaders_that_give_all_to_everyone_are_refused(tmp_path):
    config = blob_config(epochs=1)

    def work(world):
        loader = DataLoader(Blobs(8), 4)
        return fit(model_of(config), loader, loader, config, tmp_path / "run", progress=False)

    for answer in together(work, 2, tmp_path / "a"):
        assert isinstance(answer, CourseError)
        assert "train_loader" in str(answer) and "every photo to each" in str(answer)


def test_a_mistake_of_the_first_process_reaches_all(tmp_path):
    """A folder that holds another run: only the first one looks, nobody waits for ever."""
    config = without_norm()
    blob_run(config, tmp_path / "run", ALONE)
    answers = together(lambda world: blob_run(config, tmp_path / "run", world), 2, tmp_path / "a")
    assert [type(answer) for answer in answers] == [CourseError, CourseError]
    assert all("for a new one" in str(answer) for answer in answers)


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in environment(3, 4, 1).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CourseError, match=r"2 of them for 4 processes.*--nproc-per-node 2"):
        own_device("auto")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device("auto") == torch.device("cuda", 1) == own_device("cuda")
    assert own_device("cpu") == torch.device("cpu")


def test_a_process_that_dies_is_noticed_by_the_others(tmp_path):
    config = without_norm()

    def work(world):
        def die(loss):
            if world.rank == 1:
                os._exit(0)

        return blob_run(config, tmp_path / "run", world, on_step=die)

    (tmp_path / "a").mkdir()
    torch.save(None, tmp_path / "a" / "1.pt")  # it leaves none
    message = str(together(work, 2, tmp_path / "a")[0])
    assert "process 0 of 2" in message and "usually another process has ended" in message
    assert "last.pt" in message and "--resume" in message
    assert load_checkpoint(tmp_path / "run" / "last.pt")["epoch"] == 0
    assert_same_history(
        blob_run(config, tmp_path / "run", ALONE, resume=True),
        blob_run(config, tmp_path / "other", ALONE),
    )


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (dist.DistBackendError("NCCL error in: NCCLUtils.cpp:77, invalid usage"), "invalid usage"),
        (RuntimeError("[/a/gloo/pair.cc:534] Connection closed by peer"), "(Connection closed by"),
    ],
)
def test_an_exchange_that_breaks_off_for_any_reason_says_which(monkeypatch, error, kept):
    """A set-up of NCCL that does not work need not mean that a process has ended."""
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(CourseError) as caught, distributed._explained_loss():
        raise error
    assert "found that the exchange broke off (" in str(caught.value) and kept in str(caught.value)
    with pytest.raises(RuntimeError, match="shapes"), distributed._explained_loss():
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_meeting_point_that_nobody_reaches(rank):
    """Rank 1 finds no first host, rank 0 waits for a second one: both end within seconds."""
    port = free_port()
    variables = environment(rank, 2, port) | {"UNET_COURSE_JOIN_SECONDS": "2"}
    code = (
        "import torch\nfrom unet_helpers.distributed import joined\n"
        "with joined(torch.device('cpu')): pass"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, cwd=course_root(),
        capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert f"the meeting point 127.0.0.1:{port}" in last and "within 2 s" in last
    assert "first host" in last and "torchrun --standalone" in last
    assert "set UNET_COURSE_JOIN_SECONDS to more" in last


def test_a_number_that_is_none_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(CourseError, match="WORLD_SIZE: expected a whole number; found 'many'"):
        own_device("cpu")


def test_alone_nothing_is_joined():
    assert current_world() is ALONE
    assert ALONE.gather(3) == [3] and ALONE.any(True) and not ALONE.any(False)
    assert ALONE.from_first(lambda: 5) == 5


# --- under torchrun ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torchrun")
    pair = make_archive_pair(folder / "pair", cars=3, angles=8)
    return prepare(pair, folder / "prepared", progress=False).root


def torchrun(words: list, *options: str, program=("-m", "unet_helpers")) -> subprocess.Popen:
    """torchrun -m unet_helpers train …, on loopback, as a process of its own group."""
    call = [sys.executable, "-m", "torch.distributed.run", *options, *program, *words]
    quiet = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    return subprocess.Popen(
        [str(word) for word in call], cwd=course_root(), env=os.environ | quiet,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def output_of(process: subprocess.Popen, seconds: float = 600) -> str:
    try:
        return process.communicate(timeout=seconds)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_two_hosts_meet_and_one_of_them_writes(tmp_path, prepared):
    """Two torchrun agents, as on two hosts, on loopback; and the same run in one process."""
    settings = [STUDIO, *TINY, "norm=none", "epochs=2", "--data", prepared, "--out"]
    options = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-id", "course"]
    options += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{free_port()}"]
    hosts = [
        torchrun(["train", *settings, tmp_path / "run"], *options, "--local-addr", "127.0.0.1")
        for _ in range(2)
    ]
    said = [output_of(host) for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], said
    assert "".join(said).count("best validation Dice") == 1
    assert "2 processes, cpu" in "".join(said)
    from unet_helpers import cli

    assert cli.main(["train", *map(str, settings), str(tmp_path / "alone")]) == 0
    assert_same_history(read_history(tmp_path / "run"), read_history(tmp_path / "alone"), rel=1e-3)


LATE = """
import os, sys, time
from pathlib import Path
from unet_helpers import cli, distributed

waits, sleep = Path(sys.argv.pop(1)), time.sleep

def tell(seconds):
    waits.touch()
    sleep(seconds)

if os.environ["LOCAL_RANK"] == "0":
    while not waits.exists():
        sleep(0.05)
else:
    distributed.time.sleep = tell
sys.exit(cli.main())
"""


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_said_once_and_the_first_process_may_be_late(
    tmp_path, prepared
):
    """It comes to the check when the other one has been through it."""
    words = ["train", STUDIO, *TINY, "batch_size=7", "--data", prepared, "--out", tmp_path / "run"]
    options = ["--standalone", "--nproc-per-node", "2", "--no-python"]
    late = (sys.executable, "-c", LATE, tmp_path / "waits")
    process = torchrun(words, *options, program=late)
    said = output_of(process)
    assert process.returncode == 1, said
    errors = re.findall(r"^error: .*", said, re.MULTILINE)
    assert len(errors) == 1 and "batch_size=7: expected a number that 2" in errors[0], said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_worker_ends_the_run_with_a_word_and_a_checkpoint(
    tmp_path, prepared, capsys, killed
):
    """Also that of rank 0, which writes the files."""
    out = tmp_path / "run"
    words = ["train", STUDIO, *TINY, "--data", prepared, "--out", out]
    process = torchrun([*words, "epochs=500"], "--standalone", "--nproc-per-node", "2")
    while not (out / "history.csv").exists() and process.poll() is None:
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children(recursive=True)
    ranks = {int(w.environ().get("RANK", -1)): w for w in workers}
    ranks[killed].kill()
    said = output_of(process)
    assert process.returncode == 1, said
    errors = re.findall(r"^error: .*", said, re.MULTILINE)
    assert len(errors) == 1, said  # the other process is the only one left
    assert "--resume" in errors[0] and "last.pt" in errors[0]
    assert "Signal 9 (SIGKILL)" in said  # torchrun says which one it was
    finished = load_checkpoint(out / "last.pt")["epoch"]
    assert finished >= 1
    from unet_helpers import cli

    capsys.readouterr()
    assert cli.main([*map(str, words), "--resume", f"epochs={finished + 1}"]) == 0
    said = capsys.readouterr().out
    assert "with 1 process where there were 2" in said
    assert "BatchNorm takes mean and spread over 8 photos in place of 4" in said
    assert len(read_history(out)) == finished + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("conf", "error"),
    [
        ("join_timeout=2,read_timeout=5", "RendezvousTimeoutError"),
        ("is_host=0,read_timeout=3", "RendezvousConnectionError"),  # this one is not the first host
    ],
)
def test_torchrun_gives_up_on_a_host_that_never_comes(conf, error):
    process = torchrun(
        ["train", STUDIO], "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d",
        "--rdzv-endpoint", f"localhost:{free_port()}",
        "--rdzv-conf", conf,
    )  # fmt: skip
    said = output_of(process)
    assert process.returncode == 1
    assert error in said
