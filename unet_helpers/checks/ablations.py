"""Checks for notebook 12: what differs, luck among many comparisons, a fair choice, parsimony."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from unet_helpers.checks.answers import call, near, number, require, sequence, shown, whole
from unet_helpers.checks.register import exercise


@exercise(
    "12.1",
    "A key may stand in only one of the two: look at the keys of both together.",
    "{*first, *second} holds the keys of both, each once; first.get(key) is None where it lacks.",
    'sorted(key for key in {*first, *second} - {"seed"} if first.get(key) != second.get(key))',
)
def what_differs(what_differs: Any) -> None:
    """what_differs(first, second): sorted names of the settings that differ, but for the seed."""
    base = {"loss": "dice", "epochs": 4, "cars": 12, "seed": 1}

    def found(second: dict, first: dict = base) -> list:
        return sequence(call(what_differs, dict(first), dict(second)), "what what_differs returns")

    same = found({**base, "seed": 2})
    require("seed" not in same, "the seed differs on purpose: leave it out.")
    require(same == [], f"two trainings that differ in nothing but the seed give {shown(same)}.")
    one = found({**base, "loss": "bce"})
    require("loss" in one, "one has the loss dice, the other bce, and you do not name it.")
    require(one == ["loss"], f"only the loss differs, and you name {shown(one)}.")
    two = found({**base, "epochs": 2, "cars": 24})
    require(len(two) == 2, f"epochs and cars differ, and you name {shown(two)}.")
    require(two == ["cars", "epochs"], f"sorted, please: you return {shown(two)}.")
    for first, second in ((base, {**base, "norm": "none"}), ({**base, "norm": "none"}, base)):
        lacking = found(second, first)
        where = "first" if "norm" in first else "second"
        require(lacking == ["norm"], f"only the {where} one has a norm: that is a difference too.")


@exercise(
    "12.2",
    "All seeds agree in two ways: all above zero, or all below. Each has a chance of (1/2)^seeds.",
    "By luck, comparisons · 2 · 0.5 ** seeds of them agree in all seeds. When is that below 1?",
    "Start with one seed, and add another while comparisons * 2 * 0.5 ** seeds >= 1.",
)
def seeds_against_luck(seeds_against_luck: Any) -> str:
    """seeds_against_luck(comparisons): seeds until less than one comparison agrees by luck."""

    def found(comparisons: int) -> int:
        return whole(call(seeds_against_luck, comparisons), "the number of seeds")

    seeds = found(10)
    require(
        seeds != 4, "4: with four seeds 10 · 2 · 0.5⁴ = 1.25 still agree. Above or below zero: two."
    )
    require(seeds != 10, "10: one seed a comparison? Every seed halves what agrees by luck.")
    require(seeds >= 5, f"{seeds}: of 10, {10 * 2 * 0.5**seeds:.2f} would still agree by luck.")
    require(seeds == 5, f"{seeds}: five are enough, 10 · 2 · 0.5⁵ = 0.63 is below one already.")
    seeds = found(8)
    require(seeds != 4, "4 seeds for 8 comparisons: exactly one would agree; below one is wanted.")
    require(seeds == 5, f"8 comparisons need 5 seeds, and you say {seeds}.")
    seeds, one = found(100), found(1)
    require(seeds == 8, f"100 comparisons need 8 seeds (0.78 by luck), and you say {seeds}.")
    require(
        one == 2, f"for a single comparison 2 seeds are enough (0.5 by luck), and you say {one}."
    )
    return "Each seed more halves what luck can do."


def _runs(*rates: tuple[float, float | None, float | None]) -> list[dict]:
    """Records of learning rate, held-back Dice and test Dice; None stands for diverged."""
    return [
        {"variant": "with", "seed": seed, "settings": {"learning_rate": rate, "seed": seed}}
        | ({"diverged": "nan"} if held is None else {"held_dice": held, "dice": dice})
        for seed, (rate, held, dice) in enumerate(rates, start=1)
    ]


@exercise(
    "12.3",
    "First collect the records by learning rate: a dictionary of lists will do.",
    'Drop every rate that has a record with "diverged"; of the others, take the one with the '
    "highest mean held_dice.",
    "The held-back photos choose, the test cars only answer: return the mean dice of that rate.",
)
def fair_dice(fair_dice: Any) -> None:
    """fair_dice(runs): test Dice at the learning rate that is best on the photos held back."""

    def found(runs: list[dict]) -> float:
        return number(call(fair_dice, runs), "what fair_dice returns")

    runs = _runs((0.01, 0.8, 0.70), (0.01, 0.9, 0.80), (0.1, 0.7, 0.95), (0.1, 0.7, 0.85))
    dice = found(runs)
    require(
        not near(dice, 0.9),
        "0.9: that rate is the best on the test cars. They may not choose: that is what the photos "
        "held back are for.",
    )
    require(not near(dice, 0.85), "0.85 is the Dice on the photos held back; they only choose.")
    require(not near(dice, 0.8), "0.8: that is one seed; take the mean over the seeds of a rate.")
    require(not near(dice, 0.01), "0.01 is the learning rate; its Dice on the test cars is wanted.")
    require(near(dice, 0.75), f"rate 0.01 is the best on the photos held back, 0.75 on the test "
                              f"cars; you return {dice:g}.")  # fmt: skip
    runs += _runs((0.3, 0.99, 0.6), (0.3, None, None))
    dice = found(runs)
    require(
        not near(dice, 0.6),
        "at rate 0.3 one of two trainings diverged: it is out, however good the other one was.",
    )
    require(near(dice, 0.75), f"a rate with a diverged training must change nothing, and now you "
                              f"return {dice:g}.")  # fmt: skip
    dice = found(runs[::-1])
    require(near(dice, 0.75), "the answer depends on the order of the records: it must not.")


def _widths(**variants: tuple[int, tuple[float | None, ...]]) -> list[dict]:
    return [
        {"variant": name, "seed": seed, "parameters": parameters}
        | ({"diverged": "nan"} if dice is None else {"dice": dice})
        for name, (parameters, dices) in variants.items()
        for seed, dice in enumerate(dices, start=1)
    ]


@exercise(
    "12.4",
    "Find the best variant first, by its mean over seeds, and its standard error.",
    "Good enough is whoever's mean is at least the best mean minus that standard error.",
    "bar(values, 'standard error') of unet_helpers.records does the arithmetic; among those that "
    "are good enough, min(…, key=…) finds the one with the fewest parameters.",
)
def simplest(simplest: Any) -> None:
    """simplest(records): the variant with the fewest parameters within one standard error."""

    def found(records: list[dict]) -> str:
        name = call(simplest, records)
        known = list(dict.fromkeys(record["variant"] for record in records))
        text = isinstance(name, str) and name in known
        require(text, f"you return {shown(name)}; the variants are {', '.join(known)}.")
        return name

    # The best mean is 0.94, its deviation 0.03, its standard error 0.0173: good enough from 0.9227.
    widths = {
        "huge": (9000, (0.91, 0.94, 0.97)), "large": (900, (0.93, 0.94, 0.92)),
        "small": (90, (0.915, 0.92, 0.92)), "tiny": (9, (0.5, 0.6, 0.99)),
    }  # fmt: skip
    name = found(_widths(**widths))
    require(
        name != "huge", "the variant huge is the best by its mean; is there no smaller one as good?"
    )
    require(name != "tiny", "the variant tiny has the fewest parameters, but its mean is 0.70.")
    require(
        name != "small",
        "the variant small has a mean of 0.918, and the best mean minus one standard error is "
        "0.9227. Standard error: deviation / √seeds, with the deviation of the best.",
    )
    name = found(_widths(**widths, odd=(1, (0.95, None, None)), none=(2, (None, None, None))))
    require(
        name not in ("odd", "none"),
        f"of the trainings of the variant {name} some diverged. Only one all of whose seeds were "
        "scored can be called as good.",
    )
    require(name == "large", f"the variant large is good enough with fewer parameters; not {name}.")
    close = {"a": (2, (0.9, 0.9, 0.9)), "b": (1, (0.8, 0.9, 1.0)), "c": (3, (0.9, 0.91, 0.92))}
    best = fmean(close["c"][1])
    name = found(_widths(**close))
    require(
        name == "c",
        f"the best mean is {best:.2f}, c's, with a standard error of 0.006. You return {name}, "
        "with a mean of 0.90: it is the spread of the best that counts.",
    )
