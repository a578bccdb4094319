"""Checks for notebook 07: the hardest car, early stopping, how many cars, and a diagnosis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from unet_helpers.checks.answers import call, require, sequence, shown, whole
from unet_helpers.checks.register import exercise

DIAGNOSES = ("overfitting", "underfitting", "good fit")


@exercise(
    "07.1",
    "by_car, from section 5, holds for every test car the list of its Dice values.",
    "np.mean(by_car[car]) is the mean of one car.",
    "min(by_car, key=...) gives the car for which the key is smallest: lambda car: its mean.",
)
def hardest_car(hardest_car: Any, per_image: Any) -> str:
    """hardest_car: the test car with the lowest mean Dice; per_image: scores.per_image."""
    if hardest_car is ...:
        sequence([hardest_car], "hardest_car")
    by_car: dict[str, list[float]] = {}
    for row in per_image:
        by_car.setdefault(row["stem"][:12], []).append(row["dice"])
    text = isinstance(hardest_car, str)
    require(text, f"hardest_car is {shown(hardest_car)}: the car's name is wanted, a string.")
    stem = len(hardest_car) > 12 and hardest_car[:12] in by_car
    require(not stem, f"{shown(hardest_car)} is a photo; its car is the part before the _.")
    require(hardest_car in by_car, f"{shown(hardest_car)} is not among the test cars.")
    means = {car: float(np.mean(values)) for car, values in by_car.items()}
    ranked, mean = sorted(means, key=means.get), means[hardest_car]
    easiest = hardest_car == ranked[-1] and means[ranked[0]] < mean
    require(not easiest, f"that is the easiest car, with a mean of {mean:.4f}.")
    worst = min(per_image, key=lambda row: row["dice"])["stem"][:12]
    lower = sum(other < mean for other in means.values())
    one = (
        f"it has the worst single photo, but {lower} car{'s have' if lower > 1 else ' has'} a lower"
    )
    require(not (hardest_car == worst and lower), f"{one} mean than its {mean:.4f}.")
    require(
        not lower, f"its mean is {mean:.4f}, and of {len(means)} cars {lower} have a lower one."
    )
    return f"Its mean Dice is {mean:.3f}; all cars have {np.mean(list(means.values())):.3f}."


@exercise(
    "07.2",
    "Remember two things while you go through the epochs: the best Dice, and how long ago it was.",
    "Better means greater: the same Dice once more is one more epoch without progress.",
    "waited = 0 if dice > best else waited + 1; when waited reaches patience, return the number of "
    "this epoch. At the end of the list, return its length.",
)
def stop_after(stop_after: Any) -> None:
    """stop_after(dices, patience): after how many epochs a training with patience stops."""
    for dices, patience, wanted, reasons in (
        ([0.5, 0.6, 0.7], 2, 3, {None: "it gets better all the time, so all 3 are trained"}),
        ([0.5, 0.7, 0.6, 0.65, 0.6], 2, 4, {
            2: "the best epoch is 2, but training goes on for two more before it stops",
            3: "epoch 3 is the first without progress; with patience 2, one more is trained",
            5: "epochs 3 and 4 were no better than the best so far, 0.7, so it stops there",
        }),
        ([0.5, 0.7, 0.6, 0.71, 0.6, 0.8], 2, 6, {
            None: "epoch 4 is better than all before, so the count starts again",
        }),
        ([0.7, 0.7, 0.9], 1, 2, {None: "the same Dice once more is no better: > and not >="}),
    ):  # fmt: skip
        found = whole(call(stop_after, list(dices), patience), "the number of epochs")
        why = reasons.get(found, reasons.get(None, "count the epochs since the best one"))
        said = f"for {dices} and patience {patience} you say {found}, and it is {wanted}"
        require(found == wanted, f"{said}: {why}.")


@exercise(
    "07.3",
    "If the width shrinks with the square root, how many times the cars does half the width take?",
    "The width goes with 1 / √cars, so the cars go with (width / wanted)².",
    "int(np.ceil(cars * (width / wanted) ** 2)); there is no such thing as half a car.",
)
def cars_needed(cars_needed: Any) -> None:
    """cars_needed(cars, width, wanted): how many cars make the interval `wanted` wide."""

    def found(cars: int, width: float, wanted: float) -> int:
        return whole(call(cars_needed, cars, width, wanted), "the number of cars")

    cars = found(8, 0.02, 0.01)
    require(
        cars != 16, "16: twice the cars do not halve the width, it shrinks with the square root."
    )
    upside_down = cars in (2, 4)
    require(
        not upside_down, f"{cars}: for a narrower interval fewer cars? Turn the fraction round."
    )
    require(cars != 6, "6: the square root is on the wrong side; the cars go with the square.")
    require(cars in (32, 33), f"half the width takes four times 8 cars, 32; you say {cars}.")
    require(cars == 32, "33: 0.02 / 0.01 is not exactly 2 for a computer; round(…, 6) before ceil.")
    same = found(8, 0.02, 0.02)
    require(same == 8, f"for the same width the same 8 cars are enough; you say {same}.")
    cars = found(10, 0.03, 0.02)
    require(cars != 22, "22: 22.5 cars are needed, and 22 are not enough. Round up.")
    require(cars == 23, f"10 cars, from 0.03 to 0.02: 22.5 are needed, so 23; you say {cars}.")


def _histories() -> Iterator[tuple[str, list[dict[str, float]]]]:
    """Twelve made-up runs: the name of what they show, and rows with train_loss and val_loss."""
    generator = np.random.default_rng(7)
    ends = {"overfitting": (0.1, 0.55), "underfitting": (0.75, 0.8), "good fit": (0.13, 0.15)}
    for number in range(12):
        name = DIAGNOSES[number % 3]
        train_end, val_end = np.array(ends[name]) * generator.uniform(0.85, 1.15)
        epochs = np.arange(1, 9 + number)
        fall = np.exp(-epochs / (1.5 if name == "underfitting" else 2.5))
        train = train_end + (1.4 - train_end) * fall
        val = val_end + (1.2 - val_end) * fall + generator.normal(0, 0.005, len(epochs))
        if name == "overfitting":  # it falls at first, and then it turns
            val = np.maximum(val, 0.35) + 0.02 * np.maximum(0, epochs - 4)
        yield (
            name,
            [
                {"epoch": int(e), "train_loss": float(t), "val_loss": float(v)}
                for e, t, v in zip(epochs, train, val, strict=True)
            ],
        )


@exercise(
    "07.4",
    "Look at the last row only: the first epochs look alike in all runs.",
    "Two numbers decide: the training loss at the end, and its distance to the validation loss.",
    "A training loss above 0.4 or so: underfitting. Otherwise a validation loss that is more than "
    "twice as high: overfitting. Otherwise: good fit.",
)
def diagnose(diagnose: Any) -> str:
    """diagnose(history): "overfitting", "underfitting" or "good fit" for rows with two losses."""
    why = {
        "overfitting": "the validation loss has parted from a low training loss",
        "underfitting": "both are high, so it has not even learned its own photos",
        "good fit": "both are low and close together",
    }
    runs, wrong = list(_histories()), []
    for name, history in runs:
        found = call(diagnose, [dict(row) for row in history])
        known = isinstance(found, str) and found in DIAGNOSES
        require(known, f"you return {shown(found)}; the three answers are {', '.join(DIAGNOSES)}.")
        if found != name:
            wrong.append((name, found, history[-1]))
    if wrong:
        name, found, last = wrong[0]
        ends = f"training {last['train_loss']:.2f}, validation {last['val_loss']:.2f}"
        count = f"{len(runs) - len(wrong)} of {len(runs)} runs are right"
        require(False, f'{count}. One that ends with {ends} is no "{found}": {why[name]}.')
    return f"All {len(runs)} runs are right."
