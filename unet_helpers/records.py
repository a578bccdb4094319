"""Records: many short trainings, one line each, summed up over seeds; and a long run, in YAML."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from unet_helpers.environment import CourseError
from unet_helpers.files import write_atomically

__all__ = [
    "BARS",
    "RUN_VERSION",
    "T95",
    "VERSION",
    "append_record",
    "bar",
    "by_seed",
    "by_variant",
    "differences",
    "interval",
    "key_of",
    "read_records",
    "read_run_record",
    "spread",
    "verdict",
]

VERSION = 1  # raise it when records of before are no longer comparable
KEYS = {"version": int, "question": str, "variant": str, "seed": int, "settings": dict}
RUN_VERSION = 1  # of a long run's record: raise it when keys change their name or their meaning
RUN_KEYS = ("config", "photos", "cars", "test")
BARS = ("standard deviation", "standard error", "95 % interval")
# Student's t for an interval of 95 %, by the number of values, from two on.
T95 = dict(enumerate((12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262), start=2))


def append_record(record: dict[str, Any], path: str | Path) -> None:
    """Add a record to a file, in one step: a kill leaves the old file or the new one."""
    path = Path(path)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if before and not before.endswith("\n"):  # saved by hand: two records must not share a line
        before += "\n"
    text = before + json.dumps(record) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """The records of a file, in the order in which they were made.

    Raises CourseError for a missing file, a line that is no record, a record of another version,
    and two records of one training.
    """
    path = Path(path)
    if not path.is_file():
        raise CourseError(
            path, expected="records, one a line", found="no such file",
            mend="make them with python tools/ablate.py",
        )  # fmt: skip
    records, seen = [], {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        record = _record(line, f"{path}, line {number}")
        first = seen.setdefault(key_of(record), number)
        if first != number:
            raise CourseError(
                f"{path}, line {number}",
                expected="one record of each training",
                found=f"a second one of {', '.join(map(str, key_of(record)))}, as in line {first}",
                mend="remove one of the two: both together would count twice",
            )
        records.append(record)
    return records


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
        version = record["version"]
    except (ValueError, KeyError, TypeError):
        record, version = {}, None
    if version is not None and version != VERSION:
        raise CourseError(
            where, expected=f"a record of version {VERSION}", found=f"one of version {version}",
            mend="move the file aside, and make new records with python tools/ablate.py",
        )  # fmt: skip
    if any(not isinstance(record.get(key), kind) for key, kind in KEYS.items()):
        raise CourseError(
            where,
            expected="a record with " + ", ".join(KEYS),
            found=repr(line[:60].decode("utf-8", "replace")),
            mend="remove the line; tools/ablate.py runs what is missing",
        )
    return record


def read_run_record(path: str | Path, *needed: str) -> dict[str, Any]:
    """The record of a long run, as tools/record_run.py writes it beside its history.

    needed: what the reader takes from it besides config, photos, cars and test, such as "time".
    Raises CourseError for a missing file, one that is no such record, one of another version, and
    one without what is needed.
    """
    path = Path(path)
    what = "the record of a run, version " + str(RUN_VERSION)
    mend = "get the file anew with the course, or write one with python tools/record_run.py"
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        found = "no such file" if isinstance(problem, FileNotFoundError) else f"{problem}"
        raise CourseError(path, expected=what, found=found, mend=mend) from problem
    if not isinstance(record, dict):
        raise CourseError(path, expected=what, found=f"a {type(record).__name__}", mend=mend)
    version = record.get("version")
    if type(version) is not int or version != RUN_VERSION:
        found = "one without a version" if version is None else f"one of version {version!r}"
        raise CourseError(path, expected=what, found=found, mend=mend)
    lacking = [key for key in (*RUN_KEYS, *needed) if not record.get(key)]
    if lacking:
        found = f"a record without {', '.join(lacking)}"
        raise CourseError(path, expected=what, found=found, mend=mend)
    return record


def key_of(record: dict) -> tuple[str, str, int]:
    """Question, variant and seed: what tells a training from all others of a grid."""
    return record["question"], record["variant"], record["seed"]


def by_seed(
    records: Iterable[dict], question: str, variant: str, score: str = "dice"
) -> dict[int, float]:
    """Seed -> score of one variant. Seeds that diverged or were not scored are left out."""
    return {
        record["seed"]: record[score]
        for record in records
        if (record["question"], record["variant"]) == (question, variant)
        and record.get(score) is not None
    }


def by_variant(
    records: Iterable[dict], question: str, score: str = "dice"
) -> dict[str, dict[int, float]]:
    """Variant -> its `by_seed`, in the order of the records; empty where no seed was scored.

    Raises CourseError for a question that no record asks.
    """
    records = list(records)
    asked = dict.fromkeys(record["question"] for record in records)
    if question not in asked:
        raise CourseError(
            f"the question {question!r}",
            expected=f"one that the records answer: {', '.join(asked) or 'there are none'}",
            found="no record of it",
            mend="choose one of these, or run python tools/ablate.py",
        )
    variants = dict.fromkeys(r["variant"] for r in records if r["question"] == question)
    return {variant: by_seed(records, question, variant, score) for variant in variants}


def spread(
    records: Iterable[dict], question: str, score: str = "dice"
) -> dict[str, tuple[float, float, int]]:
    """By variant: mean, standard deviation and number of the seeds' scores, in the grid's order.

    A training that diverged, and one that was not scored, counts in no mean: the number says so.
    """
    return {
        variant: (
            statistics.fmean(found.values()) if found else float("nan"),
            statistics.stdev(found.values()) if len(found) > 1 else float("nan"),
            len(found),
        )
        for variant, found in by_variant(records, question, score).items()
    }


def differences(
    records: Iterable[dict], question: str, first: str, second: str, score: str = "dice"
) -> dict[int, float]:
    """Seed -> score of the first variant minus that of the second, where both have one."""
    records = list(records)
    ones, others = (by_seed(records, question, name, score) for name in (first, second))
    return {seed: ones[seed] - others[seed] for seed in ones if seed in others}


def interval(values: Iterable[float]) -> tuple[float, float]:
    """Mean of two or more numbers, and how far their 95 % interval reaches to either side.

    By Student's t, which reckons with the few values that the spread is known from ("Student",
    "The probable error of a mean", 1908). Beyond ten values it is a little too wide.
    """
    values = list(values)
    error = statistics.stdev(values) / len(values) ** 0.5
    return statistics.fmean(values), T95[min(len(values), 10)] * error


def bar(values: Iterable[float], kind: str = "standard deviation") -> float:
    """How far an error bar reaches to either side of the mean; nan for fewer than two values.

    kind: "standard deviation" (of a single training), "standard error" (of their mean), or
    "95 % interval" (of the mean, see `interval`). CourseError for another kind.
    """
    values = list(values)
    if kind not in BARS:
        mend = "choose one of the three"
        raise CourseError("error bars", expected=", ".join(BARS), found=repr(kind), mend=mend)
    if len(values) < 2:
        return float("nan")
    deviation, (_, reach) = statistics.stdev(values), interval(values)
    return dict(zip(BARS, (deviation, deviation / len(values) ** 0.5, reach), strict=True))[kind]


def verdict(values: Iterable[float]) -> str:
    """What differences, one a seed, show: "clear", "a hint", or "lost in the spread"."""
    values = list(values)
    if len(values) < 2:
        return "too few seeds"
    mean, reach = interval(values)
    if abs(mean) > reach:
        return "clear"
    same = all(value > 0 for value in values) or all(value < 0 for value in values)
    return "a hint" if same else "lost in the spread"
