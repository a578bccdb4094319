"""Several processes that train one network: how they meet, what they exchange, how a run ends.

`torchrun` starts the processes and tells each of them, in its environment, which one it is (RANK of
WORLD_SIZE, LOCAL_RANK on its machine) and where all meet (MASTER_ADDR, MASTER_PORT). They talk over
NCCL where each has an NVIDIA GPU, over gloo otherwise.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from .environment import CourseError, pick_device

JOIN_SECONDS = 120  # to find the others; UNET_COURSE_JOIN_SECONDS in the environment changes it
REPORT_SECONDS = 30  # for the first process of a machine to say what is wrong
MEND_AFTER_LOSS = (
    "look for the message of the process that ended first (killed from outside, it left none); "
    "last.pt in the folder of the run holds it as it was after its last finished epoch: start the "
    "same command with --resume, with as many processes as you like"
)


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them: rank 0 … size - 1.

    Its methods are calls that every process makes, in the same order; alone, they do nothing.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes files."""
        return self.rank == 0

    def __str__(self) -> str:
        """For the line that says what a run computes on; nothing where there is one process."""
        return f"{self.size} processes, " if self.size > 1 else ""

    def gather(self, value: Any) -> list:
        """The values of all processes, in the order of their ranks; in every process."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def any(self, flag: bool) -> bool:
        """Whether it is so in one process at least."""
        return any(self.gather(flag))

    def from_first(self, make: Callable[[], Any]) -> Any:
        """What `make` returns in the first process, for all of them; only there it is called.

        A CourseError that it raises there is raised everywhere: nobody is left waiting.
        """
        if self.size == 1:
            return make()
        box: list = [None, None]
        if self.first:
            try:
                box[0] = make()
            except CourseError as error:
                box[1] = error
        dist.broadcast_object_list(box, src=0)
        if box[1] is not None:
            raise box[1]
        return box[0]

    @torch.no_grad()
    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Give every process the mean over all processes, in place; whole numbers stay."""
        for tensor in tensors if self.size > 1 else ():
            if tensor.is_floating_point():
                dist.all_reduce(tensor)
                tensor /= self.size


ALONE = World()


def current_world() -> World:
    """The processes that have joined; ALONE where there is one process only."""
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return World(dist.get_rank(), dist.get_world_size(), local)


def started_processes() -> int:
    """How many processes torchrun (or somebody in its place) started together; 1 without it."""
    return _number("WORLD_SIZE", 1)


@contextmanager
def once() -> Iterator[None]:
    """For checks that come out alike in all processes of a machine: its first one reports.

    torchrun ends all of them when one has ended. So the others wait for that: the first one might
    be slower, and be ended before it has spoken. Whoever is still there then reports as well.
    """
    try:
        yield
    except CourseError:
        if started_processes() > 1 and _number("LOCAL_RANK", 0) > 0:
            time.sleep(REPORT_SECONDS)
        raise


def per_process(batch_size: int, size: int) -> int:
    """Photos of a batch that each of `size` processes takes; CourseError if that is no number."""
    if batch_size % size:
        below, above = batch_size - batch_size % size, batch_size + size - batch_size % size
        choice = f"batch_size={below} or {above}" if below else f"batch_size={above}"
        fits = [n for n in range(1, batch_size + 1) if batch_size % n == 0]
        near = [n for n in fits if n < size][-1:] + [n for n in fits if n > size][:1]
        processes = f"{' or '.join(map(str, near))} process{'' if near == [1] else 'es'}"
        raise CourseError(
            f"batch_size={batch_size}",
            expected=f"a number that {size} processes can share equally",
            found=f"{batch_size} / {size} = {batch_size / size:.2f} photos for each",
            mend=f"set {choice}, or start {processes}",
        )
    return batch_size // size


def own_device(name: str) -> torch.device:
    """The device of this process: its own GPU where there are GPUs, else the CPU.

    name: as for `pick_device`. CourseError where a machine runs more processes than it has GPUs.
    """
    if started_processes() == 1:
        return pick_device(name)
    device = pick_device(name)
    if device.type == "mps":
        if name != "auto":
            mend = "use device=cpu, or start it without torchrun"
            raise CourseError(
                f"device={name}", expected="cpu or cuda", found="several processes", mend=mend
            )
        return torch.device("cpu")
    if device.type != "cuda":
        return device
    local, count = _number("LOCAL_RANK", 0), torch.cuda.device_count()
    if local >= count:
        raise CourseError(
            f"process {local} of this machine",
            expected="a GPU for each process",
            found=f"{count} of them for {_number('LOCAL_WORLD_SIZE', local + 1)} processes",
            mend=f"start torchrun with --nproc-per-node {count}, or set device=cpu",
        )
    return torch.device("cuda", local)


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """Join the other processes for the time of a block; alone, there is nothing to join.

    Raises CourseError when they cannot be reached within JOIN_SECONDS, when they no longer answer,
    and in a process that is told to end (torchrun tells all of them when one has ended).
    """
    if started_processes() == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    _meet("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    before = signal.signal(signal.SIGTERM, _told_to_end)
    try:
        with _explained_loss():
            yield current_world()
    finally:
        signal.signal(signal.SIGTERM, before)
        dist.destroy_process_group()


def _meet(backend: str) -> None:
    place = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
    seconds = _number("UNET_COURSE_JOIN_SECONDS", JOIN_SECONDS)
    try:
        # The store's own timeout bounds the wait for the meeting point; what is exchanged later
        # may take as long as the slowest process needs to save a checkpoint.
        store, rank, size = next(dist.rendezvous("env://", timeout=timedelta(seconds=seconds)))
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    except (ValueError, RuntimeError, OSError) as problem:  # torch has an error of its own for each
        raise CourseError(
            f"the meeting point {place}",
            expected=f"{os.environ.get('WORLD_SIZE')} processes that find each other there within "
            f"{seconds} s",
            found=str(problem).strip().splitlines()[0][:200] or type(problem).__name__,
            mend="check that the first host runs, that the address and port are its own and open "
            "to the others, and that every host was started with the same options; where one comes "
            "later, set UNET_COURSE_JOIN_SECONDS to more; on one machine use torchrun --standalone",
        ) from problem


def _told_to_end(number: int, frame: object) -> None:
    raise CourseError(
        "this process",
        expected="to train to the end",
        found="that it was told to stop (SIGTERM), as torchrun does when another process has ended",
        mend=MEND_AFTER_LOSS,
    )


@contextmanager
def _explained_loss() -> Iterator[None]:
    """Turn an error of the network, as it follows the death of a process, into a clear word.

    It may have other causes (NCCL that does not work, a time-out), so what was said is kept.
    """
    try:
        yield
    except RuntimeError as problem:  # also what torch.distributed's own errors derive from
        # Its first sentence, without the place in torch's own source where it was noticed.
        said = re.sub(r"^\[\S+\]\s*", "", str(problem).strip().splitlines()[0])
        said = said.partition(". ")[0][:120]
        if not (isinstance(problem, dist.DistError) or re.search("gloo|nccl", str(problem), re.I)):
            raise
        raise CourseError(
            f"process {os.environ.get('RANK')} of {os.environ.get('WORLD_SIZE')}",
            expected="an answer from every other process",
            found=f"that the exchange broke off ({said}); usually another process has ended",
            mend=MEND_AFTER_LOSS,
        ) from problem


def _number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    try:
        return int(text)
    except ValueError:
        raise CourseError(
            name, expected="a whole number", found=repr(text), mend="start it with torchrun"
        ) from None
