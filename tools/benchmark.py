"""Measure the course: python tools/benchmark.py NAME… [options].

Names: input, dice, memory, gpu, transfer, widgets, fullres. Options: --json, --real DIR (real
Carvana photos).

Each benchmark is a module in tools/benchmarks with a function measure(real) that returns its
figures. --json prints one object a benchmark and nothing else on standard output. Every comparison
is a ratio measured in one run, so that the speed of the machine cancels out.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the file is called by its path, from anywhere

BENCHMARKS = ("input", "dice", "memory", "gpu", "transfer", "widgets", "fullres")


def run(name: str, real: Path, as_json: bool) -> str:
    """The text to print for one benchmark; what it prints while it works goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        module = importlib.import_module(f"tools.benchmarks.{name}")
        figures = module.measure(real)
    if as_json:
        return json.dumps({"benchmark": name, **figures})
    if hasattr(module, "report"):
        return module.report(figures)
    return "\n".join([f"{name}:", *(f"  {key}: {value}" for key, value in figures.items())])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=BENCHMARKS, metavar="|".join(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="print one JSON object a benchmark")
    parser.add_argument(
        "--real", type=Path, default=ROOT.parent / "shared" / "carvana", metavar="DIR",
        help="folder of real Carvana photos: train.zip, train_masks.zip, fullres/",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    from unet_helpers.environment import CourseError

    try:
        for name in options.names:
            print(run(name, options.real, options.json), flush=True)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
