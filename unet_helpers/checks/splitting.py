"""Checks for notebook 02: leaks, a split by car, whole cars, and a balanced deal."""

from __future__ import annotations

from typing import Any

import numpy as np

from unet_helpers.checks.answers import call, require, sequence, shown, whole
from unet_helpers.checks.register import exercise

A, B, C = "00087a6bd4dc", "02159e548029", "0795e132d090"


@exercise(
    "02.1",
    "The same photo is never in both lists, but the same car may be. Compare cars.",
    "parse_stem(stem)[0] is the car of a stem.",
    "Make the set of the cars of each list; & gives what two sets share, sorted() a list.",
)
def leaking_cars(leaking_cars: Any) -> None:
    """leaking_cars(train, held_back): the sorted cars that have photos in both lists of stems."""

    def found(train: list[str], held_back: list[str]) -> list[str]:
        cars = call(leaking_cars, train, held_back)
        require(isinstance(cars, list | tuple), f"a sorted list is wanted, not {shown(cars)}.")
        return sequence(cars, "the result")

    result = found([f"{A}_01", f"{B}_07"], [f"{A}_02", f"{C}_07"])
    why = "photo 01 is trained on and photo 02 held back: other photos, but one car."
    require(result, f"you find no leak, and there is one: of {A}, {why}")
    photos = [part for part in result if str(part).startswith(f"{A}_")]
    require(not photos, f"cars are wanted, the part before the _; you return {shown(result)}.")
    require(result == [A], f"only {A} is on both sides; you return {shown(result)}.")
    result = found([f"{A}_01"], [f"{B}_01"])
    require(not result, f"the same angle, but two cars: no leak; you return {shown(result)}.")
    result = found([f"{C}_01", f"{A}_01", f"{A}_02"], [f"{A}_03", f"{C}_04"])
    require(len(result) == len(set(result)), f"name every car once: {shown(result)}.")
    require(sorted(result) == [A, C], f"{A} and {C} leak; you return {shown(result)}.")
    require(result == [A, C], f"the cars are right but not sorted: {shown(result)}.")


@exercise(
    "02.2",
    "Deal cars, not photos: draw wants the names of the cars, every car once.",
    "draw({parse_stem(stem)[0] for stem in stems}, val, test, seed) gives a heap to every car.",
    "Then every stem gets its car's: {stem: heaps[parse_stem(stem)[0]] for stem in stems}.",
)
def deal_by_car(deal_by_car: Any) -> None:
    """deal_by_car(stems, val, test, seed): stem -> "train", "val" or "test", whole cars each."""
    stems = [f"{car:012x}_{angle:02d}" for car in range(9) for angle in (1, 5, 16)]

    def dealt(order: list[str], seed: int) -> dict[str, str]:
        split = call(deal_by_car, list(order), 2, 3, seed)
        kind = f"a dictionary is wanted, stem to heap, not {shown(split)}."
        require(isinstance(split, dict), kind)
        return split

    split = dealt(stems, 1)
    cars = {stem[:12] for stem in stems}
    require(set(split) != cars, "the keys are cars; every photo needs a heap, so take the stems.")
    complete = sorted(map(str, split)) == sorted(stems)
    require(complete, f"every stem needs a heap: {len(stems)} are given, {len(split)} come back.")
    strange = set(map(str, split.values())) - {"train", "val", "test"}
    require(not strange, f"the heaps are train, val and test; there is also {shown(strange)}.")
    for car in sorted(cars):
        heaps = {split[stem] for stem in stems if stem.startswith(car)}
        torn = f"car {car} has photos in {' and '.join(sorted(heaps))}: you deal photos. Deal cars."
        require(len(heaps) == 1, torn)
    sizes = {name: list(split.values()).count(name) // 3 for name in ("train", "val", "test")}
    exchanged = sizes == {"train": 4, "val": 3, "test": 2}
    require(not exchanged, "val and test are exchanged: 2 cars for val and 3 for test were asked.")
    wanted = sizes == {"train": 4, "val": 2, "test": 3}
    require(wanted, f"of 9 cars, 4, 2 and 3 are wanted; you deal {list(sizes.values())}.")
    require(split == dealt(stems[::-1], 1), "the order in which the stems arrive changes the deal.")
    require(split == dealt(stems, 1), "dealt twice with one seed, and it comes out differently.")
    others = [dealt(stems, seed) for seed in (2, 3, 4, 5)]
    require(any(split != other for other in others), "another seed should deal anew: use seed.")


@exercise(
    "02.3",
    "How many cars make nearly 50 photos, if every car has 16?",
    "Three cars are 48 photos, four are 64. Which is nearer to 50?",
    "All photos are 318 · 16. Two sets are held back, of 48 photos each.",
)
def photos_left(left: Any) -> None:
    """left: the photos to train on, of 318 cars with 16 each, about 50 held back twice."""
    value = whole(left, "left")
    require(
        value != 4988, "4988 is what dealing single photos gives; 50 is no whole number of cars."
    )
    require(value != 318 * 16 - 48, "that holds back one set; validation and test are two.")
    require(value != 312, "312 is the number of cars; photos are asked for.")
    require(
        value % 16 == 0, f"{value} photos are {value / 16:g} cars: only whole cars may be left."
    )
    require(value != 318 * 16 - 2 * 64, "4 cars would be 64 photos, further from 50 than 3 cars.")
    held = 318 * 16 - value
    why = f"{value} left means {held} held back. Two sets of 3 cars each were asked for"
    require(value == 318 * 16 - 96, f"{why}.")


@exercise(
    "02.4",
    "Many deals are possible, and a computer can look at many. Which of them is the best?",
    "draw(shares, val, 0, seed) deals the cars; try some hundred seeds, and keep the best deal.",
    "Best: the smallest sum of the difference of the means and the difference of np.std.",
)
def balanced_deal(balanced: Any) -> str:
    """balanced(shares, val): `val` cars whose mean and spread of shares are those of all cars."""
    worst = 0.0
    for made_up in (1, 2):
        values = np.random.default_rng(made_up).uniform(0.12, 0.32, 24)
        shares = {f"{n * 7919 + made_up:012x}": float(v) for n, v in enumerate(values)}
        given = call(balanced, dict(shares), 4)
        given = sorted(given) if isinstance(given, set | frozenset) else given
        cars = sequence(given, "the result")
        unknown = [car for car in cars if car not in shares]
        require(not unknown, f"{shown(unknown[:1])} is none of the cars, the keys of shares.")
        require(len(set(cars)) == len(cars), "a car is in it twice.")
        require(len(cars) == 4, f"4 cars were asked for, and {len(cars)} come back.")
        again = call(balanced, dict(shares), 4)
        same = sorted(again) == sorted(cars)
        require(same, "asked twice, it gives two different answers: set a seed of your own.")
        chosen = np.array([shares[car] for car in cars])
        off, spread = abs(chosen.mean() - values.mean()), chosen.std() / values.std()
        far = f"your cars fill {chosen.mean():.1%} of their photos, all cars {values.mean():.1%}"
        require(off <= 0.01, f"{far}: more than one point apart.")
        why = f"their spread is {chosen.std():.3f}, that of all cars {values.std():.3f}"
        alike = f"the mean fits, but your cars are too much alike: {why}."
        require(spread >= 0.8, alike)
        require(spread <= 1.2, f"the mean fits, but your cars are all extreme: {why}.")
        worst = max(worst, off)
    return f"The means differ by {100 * worst:.2f} points at most."
