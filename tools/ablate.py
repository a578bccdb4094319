"""Runs the trainings that notebook 12 speaks of: python tools/ablate.py [QUESTION …] [options].

    python tools/ablate.py                              # every row that has no record yet
    python tools/ablate.py skips loss --seeds 1         # only these questions, only this seed
    nohup python tools/ablate.py > ablate.log 2>&1 &    # in the background
    python tools/ablate.py --table                      # what the records say so far

The grid stands in configs/ablations.yaml, the records go to data/records/ablations.jsonl, one line
a training, as soon as it is done: a run that was stopped goes on with the next row. Rows of the
same settings and seed under several questions are one training, which is run once and recorded
under each. --real scores augmentations, features and numbers of cars on real photos as well.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from unet_helpers.ablation import Row, missing, read_grid, run_row, settings_of  # noqa: E402
from unet_helpers.environment import CourseError  # noqa: E402
from unet_helpers.progress import progress_bar  # noqa: E402
from unet_helpers.records import append_record, read_records, spread  # noqa: E402
from unet_helpers.sources import extract_pair, open_source  # noqa: E402
from unet_helpers.split import prepare  # noqa: E402

GRID = ROOT / "configs" / "ablations.yaml"
RECORDS = ROOT / "data" / "records" / "ablations.jsonl"
ON_REAL = ("augmentation", "cars", "features")  # questions that real photos can answer better


def run(rows: list[Row], records: Path, real: Path | None) -> None:
    """Train the rows that have no record yet; each record is written as soon as it is there."""
    with _alone(records), tempfile.TemporaryDirectory() as folder:
        made = read_records(records) if records.exists() else []
        todo = missing(rows, made)
        prepared = prepare(open_source("studio"), Path(folder) / "studio", progress=False)
        photos = None
        if real is not None:
            photos = extract_pair(open_source(real), Path(folder) / "real")
        with progress_bar(todo, unit="training") as bar:
            for row in bar:
                bar.set_description(f"{row.question}: {row.variant}, seed {row.seed}")
                twins = [other for other in rows if other.settings() == row.settings()]
                beside = photos if any(twin.question in ON_REAL for twin in twins) else None
                record = _same_training(row, made, beside) or run_row(row, prepared, real=beside)
                append_record(record, records)
                made.append(record)


def _same_training(row: Row, made: list[dict], real: Path | None) -> dict | None:
    """The record of another row with this row's settings, under this row's name; None if none."""
    for record in made:
        scored = real is None or "diverged" in record or "real_dice" in record
        if settings_of(record) == row.settings() and scored:
            return {**record, "question": row.question, "variant": row.variant}
    return None


@contextmanager
def _alone(records: Path) -> Iterator[None]:
    """No other process of this tool adds to the same records meanwhile; CourseError if one does."""
    lock = FileLock(records.with_name(f".{records.name}.lock"))
    try:
        records.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise CourseError(
            records,
            expected="one process that adds records",
            found="another one at work on this file",
            mend="wait for it (--table shows how far it is), or give --records another file",
        ) from None
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # the next one to start may hold it already
            Path(lock.lock_file).unlink()


def table(rows: list[Row], records: Path) -> str:
    """Mean and standard deviation over seeds, by question and variant, of these rows."""
    keys = {row.key for row in rows}
    found = [r for r in read_records(records) if (r["question"], r["variant"], r["seed"]) in keys]
    lines = [f"{'question':<13} {'variant':<18} {'Dice':<16} {'boundary F1':<16} seeds"]
    for question in dict.fromkeys(record["question"] for record in found):
        edges = spread(found, question, "boundary_f1")
        for variant, (mean, deviation, seeds) in spread(found, question).items():
            edge, edge_deviation, _ = edges[variant]
            same = [r for r in found if (r["question"], r["variant"]) == (question, variant)]
            lost = sum("diverged" in record for record in same)
            lines.append(
                f"{question:<13} {variant:<18} {mean:.4f} ± {deviation:.4f}  "
                f"{edge:.4f} ± {edge_deviation:.4f}  {seeds}{f', {lost} diverged' if lost else ''}"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("questions", nargs="*", help="all of the grid's unless given")
    parser.add_argument("--grid", type=Path, default=GRID)
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--seeds", type=int, nargs="+", help="only these seeds of the grid")
    parser.add_argument("--real", type=Path, help="folder with an archive pair of real photos")
    parser.add_argument("--table", action="store_true", help="print what there is, train nothing")
    options = parser.parse_args(arguments)
    try:
        rows = read_grid(options.grid)
        known = list(dict.fromkeys(row.question for row in rows))
        if unknown := [name for name in options.questions if name not in known]:
            parser.error(f"no question {', '.join(unknown)}; there are: {', '.join(known)}")
        seeds = {row.seed for row in rows}
        if unknown := [str(seed) for seed in options.seeds or () if seed not in seeds]:
            parser.error(f"no seed {', '.join(unknown)}; there are: {sorted(seeds)}")
        rows = [
            row for row in rows
            if (not options.questions or row.question in options.questions)
            and (not options.seeds or row.seed in options.seeds)
        ]  # fmt: skip
        if not options.table:
            run(rows, options.records, options.real)
        print(table(rows, options.records))
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. The same command goes on with the next training.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
