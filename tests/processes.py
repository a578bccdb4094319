"""Runs a function in several processes that have joined each other over gloo, on loopback.

The processes are forked, so nothing has to be imported again; what they return comes back in a
file each.
"""

from __future__ import annotations

import os
import random
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
import torch.multiprocessing

from unet_helpers.distributed import World, joined


def free_port() -> int:
    """A port of this machine that nobody uses, and that nobody is likely to take meanwhile.

    Systems give their outgoing connections ports from 32768 on, and tests that run beside this one
    look among others.
    """
    first = 20_000 + 1000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for port in random.SystemRandom().sample(range(first, first + 1000), 1000):
        with socket.socket() as found, suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no free port from {first} to {first + 999}")


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun would set for one of several processes on this machine."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
        "UNET_COURSE_JOIN_SECONDS": "60",
    }


def _run(rank: int, work: Callable, size: int, port: int, folder: Path) -> None:
    os.environ.update(environment(rank, size, port))
    torch.set_num_threads(1)
    try:
        with joined(torch.device("cpu")) as world:
            answer = work(world)
    except BaseException as error:
        answer = error if isinstance(error, Exception) else RuntimeError(repr(error))
        answer.add_note(traceback.format_exc())
    torch.save(answer, folder / f"{rank}.pt")
    os._exit(0)  # pytest's own ending belongs to the parent


def together(work: Callable[[World], object], size: int, folder: Path) -> list:
    """What work(world) returns in each of `size` processes; an exception that it raised, as such.

    folder: a place for the answers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.multiprocessing.start_processes(
        _run, (work, size, free_port(), folder), nprocs=size, start_method="fork"
    )
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


def no_errors(answers: list) -> list:
    """The answers; raises the first exception among them."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
