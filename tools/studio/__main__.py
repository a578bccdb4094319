"""`python -m tools.studio --cars N --size WxH --seed S --out DIR`: render a pack of studio cars."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from unet_helpers.environment import CourseError

from .writer import Order, write_pack


def size(text: str) -> tuple[int, int]:
    """Parse WxH, in pixels."""
    wide, _, high = text.lower().partition("x")
    try:
        return int(wide), int(high)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected WIDTHxHEIGHT such as 288x192, found {text}"
        ) from None


def indices(text: str) -> tuple[int, ...]:
    """Parse comma-separated indices of cars."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected indices of cars such as 12,45, found {text}"
        ) from None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.studio", description=__doc__)
    parser.add_argument("--cars", type=int, default=32)
    parser.add_argument("--size", type=size, default=(480, 320), metavar="WxH")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--samples", type=int, default=4, help="light paths per pixel")
    parser.add_argument(
        "--without", type=indices, default=(), metavar="I,I",
        help="cars to pass over, counted from 0; the next ones of the seed take their places",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    order = Order(
        options.cars, *options.size, options.seed, options.samples, without=options.without
    )
    try:
        write_pack(order, options.out, options.workers)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
