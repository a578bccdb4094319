"""Plausible wrong answers to the exercises of notebook 12, and words that the message must hold."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict


def differing(first, second, seed=False, keys=None, order=sorted):
    keys = {*first, *second} if keys is None else keys(first, second)
    return order(k for k in keys if first.get(k) != second.get(k) and (seed or k != "seed"))


def by_rate(runs, chosen_by="held_dice", answer="dice", diverged="out", pick=max, mean=True):
    """fair_dice with its faults chosen."""
    rates = defaultdict(list)
    for run in runs:
        rates[run["settings"]["learning_rate"]].append(run)
    lost = {rate for rate, some in rates.items() if any("diverged" in run for run in some)}
    if diverged == "out":
        rates = {rate: some for rate, some in rates.items() if rate not in lost}
    kept = {rate: [run for run in some if "dice" in run] for rate, some in rates.items()}
    best = pick(kept, key=lambda rate: statistics.fmean(run[chosen_by] for run in kept[rate]))
    if answer == "rate":
        return best
    values = [run[answer] for run in kept[best]]
    return statistics.fmean(values) if mean else values[-1]


def parsimonious(records, reach="error of the best", whole=True, least="parameters"):
    """simplest with its faults chosen."""
    dices, sizes = defaultdict(list), {}
    for record in records:
        dices[record["variant"]].append(record.get("dice"))
        sizes[record["variant"]] = record["parameters"]
    if whole:
        dices = {name: some for name, some in dices.items() if None not in some}
    else:
        dices = {name: [d for d in some if d is not None] for name, some in dices.items()}
        dices = {name: some for name, some in dices.items() if some}
    means = {name: statistics.fmean(some) for name, some in dices.items()}
    best = max(means, key=means.get)

    def error(name):
        values = dices[name]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return deviation / math.sqrt(len(values)) if reach.startswith("error") else deviation

    def room(name):
        if reach.endswith("both"):
            return math.hypot(error(best), error(name))
        return error(best if reach.endswith("best") else name)

    good = [name for name in means if means[name] >= means[best] - room(name)]
    return min(good if least == "parameters" else means, key=sizes.get)


WRONG = {
    "12.1": [
        (lambda a, b: differing(a, b, seed=True), "seed differs on purpose"),
        (lambda a, b: differing(a, b, keys=lambda a, b: a), "only the second one has a norm"),
        (lambda a, b: differing(a, b, keys=lambda a, b: b), "only the first one has a norm"),
        (lambda a, b: differing(a, b, order=lambda k: sorted(k, reverse=True)), "sorted, please"),
        (lambda a, b: [k for k in a if a[k] == b.get(k)], "nothing but the seed"),
        (lambda a, b: [], "you do not name it"),
        (lambda a, b: set(differing(a, b)), "list or a tuple"),
    ],
    "12.2": [
        (lambda k: math.floor(math.log2(k)) + 1, "two"),
        (lambda k: k, "halves what agrees"),
        (lambda k: 3, "2.50 would still agree"),
        (lambda k: math.ceil(math.log2(k)) + 1, "exactly one would agree"),
        (lambda k: math.log2(k) + 1, "whole number"),
        (lambda k: 20, "five are enough"),
    ],
    "12.3": [
        (lambda runs: by_rate(runs, chosen_by="dice"), "best on the test cars"),
        (lambda runs: by_rate(runs, answer="held_dice"), "photos held back; they only choose"),
        (lambda runs: by_rate(runs, answer="rate"), "is the learning rate"),
        (lambda runs: by_rate(runs, mean=False), "that is one seed"),
        (lambda runs: by_rate(runs, diverged="kept"), "one of two trainings diverged"),
        (lambda runs: statistics.fmean(run["dice"] for run in runs), "you return 0.825"),
    ],
    "12.4": [
        (lambda records: parsimonious(records, least="all"), "fewest parameters, but"),
        (lambda records: parsimonious(records, reach="deviation of the best"), "mean of 0.918"),
        (lambda records: parsimonious(records, whole=False), "some diverged"),
        (lambda records: parsimonious(records, reach="error of each"), "no smaller one as good"),
        (lambda records: parsimonious(records, reach="error of both"), "spread of the best"),
        (lambda records: "huge" if records[0]["variant"] == "huge" else "a", "best by its mean"),
        (lambda records: 900, "the variants are huge, large, small, tiny"),
    ],
}  # fmt: skip
GIVEN: dict = {}
