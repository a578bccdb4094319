"""Plausible wrong answers to the exercises 00 to 03, and words that the message must hold.

WRONG: exercise -> list of (answer, pattern); several answers, or values, stand in a tuple.
GIVEN: what the check's cell passes on besides.
"""

from __future__ import annotations

import random

import albumentations as A
import cv2
import numpy as np
import torch
from PIL import Image

from unet_helpers.augment import MEAN, STD
from unet_helpers.sources import parse_stem
from unet_helpers.split import draw

# A car of 24 × 10 pixels and a cabin, in a photo of 20 rows and 40 columns.
MASK = np.zeros((20, 40), np.uint8)
MASK[8:18, 6:30], MASK[4:8, 10:22] = 1, 1
SHARES = np.array([0.2, 0.21, 0.25, 0.31, 0.3, 0.24, 0.2, 0.17] * 2) - np.repeat([0, 0.01], 8)


def drawn_grey() -> Image.Image:
    """A mask as Pillow gives it, 0 and 255, 192 × 288, a car with slanting edges."""
    canvas = np.zeros((192, 288), np.uint8)
    points = [(31, 150), (40, 110), (95, 100), (120, 62), (190, 60), (222, 101), (262, 112)]
    cv2.fillPoly(canvas, [np.array([*points, (266, 150), (150, 153)])], 255)
    return Image.fromarray(canvas)


GREY = drawn_grey()
GIVEN = {"00.1": (MASK,), "00.2": (MASK,), "00.3": (MASK,), "01.1": (SHARES,), "01.4": (GREY,)}
CAR = MASK.mean()


def by_image(stems, val, test, seed):
    return draw(stems, 3 * val, 3 * test, seed)


def cars_only(stems, val, test, seed):
    return draw({parse_stem(stem)[0] for stem in stems}, val, test, seed)


def always_one_seed(stems, val, test, seed):
    heaps = cars_only(stems, val, test, 1)
    return {stem: heaps[stem[:12]] for stem in stems}


def exchanged(stems, val, test, seed):
    heaps = cars_only(stems, test, val, seed)
    return {stem: heaps[stem[:12]] for stem in stems}


def most_average(shares, val):
    mean = np.mean(list(shares.values()))
    return sorted(shares, key=lambda car: abs(shares[car] - mean))[:val]


def in_place(photo, mask):
    photo //= 3
    return photo, mask


def scaled(photo):
    return torch.from_numpy(photo) / 255


mean, std = torch.tensor(MEAN), torch.tensor(STD)
flip = A.HorizontalFlip(p=0.5)
both = A.Compose([A.HorizontalFlip(p=0.5), A.Affine(rotate=(-8, 8), p=0.5)])


def only_the_photo(photo, mask):
    return flip(image=photo)["image"], mask


def one_call_each(photo, mask):
    return flip(image=photo)["image"], flip(image=photo, mask=mask)["mask"]


def linear_turn(photo, mask):
    turn = A.Affine(rotate=(-20, 20), mask_interpolation=cv2.INTER_LINEAR, p=1)
    out = turn(image=photo, mask=255 * mask)
    return out["image"], out["mask"]


def darker(photo, mask):
    return np.rint(photo * random.uniform(0.3, 1)).astype(np.uint8), mask


def far_away(photo, mask):
    shift = random.choice([0, 100])
    return np.roll(photo, shift, 1), np.where(shift, 0 * mask, mask).astype(np.uint8)


WRONG = {
    "00.1": [
        ((int(MASK.sum()),), "mask.size"),
        ((100 * CAR,), "per cent"),
        ((1 - CAR,), "share of the background"),
        ((MASK.sum() / len(MASK),), "number of rows"),
        ((MASK.sum() / 40,), "one row only"),
        ((-0.3,), "between 0 and 1"),
        ((0.5,), "count the ones"),
    ],
    "00.2": [
        ((1 - CAR, 1 - CAR), "accuracy again"),
        ((0.0, 1 - CAR), "swapped"),
        ((CAR, 0.0), "share of the car"),
        ((100 * (1 - CAR), 0), "per cent"),
        ((1 - CAR, 1.0), "share no car pixel"),
        ((0.3, 0), "mask and lazy hold the same"),
    ],
    "00.3": [
        (((0, 20, 0, 40),), "Dice 0.5.*background"),
        (((6, 30, 4, 18),), "begins with the columns"),
        (((4, 6, 18, 30),), "yours is top, left, bottom, right"),
        (((18, 4, 6, 30),), "counted downwards"),
        (((4, 18, 6, 300),), "leaves the photo"),
        (((0.2, 0.9, 0.15, 0.75),), "not shares"),
        (((4, 18, 6),), "3 values, not 4"),
    ],
    "01.1": [
        ((3,), "counted from 0"),
        ((0.31,), "The angle at which"),
        ((16,), "least car"),
        ((17,), "from 1 to 16"),
        ((7,), "elsewhere more"),
        ((4.5,), "whole number"),
    ],
    "01.2": [
        (lambda p, m: [n for n in p if n[:-4] + "_mask.gif" not in m], "mask without a photo"),
        (lambda p, m: sorted(p[len(m) :] + m[len(p) :]), "as many masks as photos"),
        (lambda p, m: sorted({n[:-4] for n in p} ^ {n[:-9] for n in m}), "the stem a_02"),
        (lambda p, m: {n for n in p if n[:-4] + "_mask.gif" not in m}, "sorted list"),
        (lambda p, m: sorted(p + m), "does have a mask"),
        (lambda p, m: [n for n in p if n[:-4] + "_mask.gif" not in m]
          + [n for n in m if n[:-9] + ".jpg" not in p], "not sorted"),
    ],
    "01.3": [
        (lambda image: np.asarray(image.convert("L")), "still holds 255: compare with > 0"),
        (lambda image: np.asarray(image), "still holds 255"),
        (lambda image: (np.asarray(image.convert("L")) > 127), "type bool"),
        (lambda image: (np.asarray(image) > 0).astype(np.uint8), "three channels"),
        (lambda image: (np.asarray(image if image.mode == "P" else image.convert("L")) > 0)
          .astype(np.uint8), "palette.*index, not its colour"),
        (lambda image: (np.asarray(image.convert("L")) > 0).astype(np.uint8), "nearer to black"),
        (lambda image: np.asarray(image.convert("L")) / 255, "0.392157|type float64"),
    ],
    "01.4": [
        ((0,), "grows by .*mostly background"),
        ((0.5,), "255 and not to 1"),
        ((250,), "shrinks"),
        ((255,), "nothing is above"),
        ((-1,), "everything is above"),
    ],
    "02.1": [
        (lambda t, h: sorted(set(t) & set(h)), "you find no leak"),
        (lambda t, h: sorted(s for s in t if s[:12] in {x[:12] for x in h}), "cars are wanted"),
        (lambda t, h: {s[:12] for s in t} & {s[:12] for s in h}, "sorted list is wanted"),
        (lambda t, h: sorted(s[:12] for s in t if s[:12] in {x[:12] for x in h}), "every car once"),
        (lambda t, h: sorted({s[:12] for s in t} | {s[:12] for s in h}), "only .* on both sides"),
        (lambda t, h: sorted({s[:12] for s in t} & {s[:12] for s in h})[::-1], "not sorted"),
    ],
    "02.2": [
        (by_image, "you deal photos. Deal cars"),
        (cars_only, "keys are cars"),
        (exchanged, "exchanged"),
        (always_one_seed, "another seed"),
        (lambda stems, val, test, seed: dict.fromkeys(stems, "train"), "4, 2 and 3"),
        (lambda stems, val, test, seed: dict.fromkeys(stems, "valid"), "'valid'"),
    ],
    "02.3": [
        ((4988,), "single photos"),
        ((318 * 16 - 48,), "two"),
        ((312,), "photos are asked"),
        ((318 * 16 - 128,), "further from 50"),
        ((5000,), "whole cars"),
        ((318 * 16,), "Two sets of 3 cars"),
    ],
    "02.4": [
        (lambda shares, val: list(shares)[:val], "apart|extreme|alike"),
        (most_average, "too much alike"),
        (lambda shares, val: sorted(shares, key=shares.get)[-val:], "more than one point apart"),
        (lambda shares, val: random.sample(list(shares), val), 
         "two different|apart|alike|extreme"),
        (lambda shares, val: list(shares), "4 cars were asked"),
        (lambda shares, val: ["car 1"] * val, "none of the cars"),
        (lambda shares, val: [*list(shares)[:2]] * 2, "twice"),
    ],
    "03.1": [
        (lambda mask, size: cv2.resize(mask, size[::-1]), "averaging has made new values"),
        (lambda mask, size: cv2.resize(mask, size, interpolation=0), "width, height"),
        (lambda mask, size: mask[::2, ::2], "not .40, 64."),
        (lambda mask, size: (cv2.resize(mask, size[::-1], interpolation=0) > 0).astype(np.uint8),
         "only \\[0, 1\\] are left"),
        (lambda mask, size: mask[: size[0], : size[1]], "only .* are left|cut, or turned"),
        (lambda mask, size: cv2.resize(mask, size[::-1], interpolation=0)[::-1], "turned"),
    ],
    "03.2": [
        (lambda photo, mask: (np.rint(0.4 * photo).astype(np.uint8), 0 * mask), "mask is empty"),
        (lambda photo, mask: (0.4 * photo, mask), "float64"),
        (in_place, "work on a copy"),
        (lambda photo, mask: (photo - 90, mask), "goes on at 255"),
        (lambda photo, mask: (np.rint(0.8 * photo).astype(np.uint8), mask), "of its brightness"),
        (lambda photo, mask: (0 * photo, mask), "darker, not black"),
        (lambda photo, mask: np.rint(0.4 * photo).astype(np.uint8), "90 values|list or a tuple"),
    ],
    "03.3": [
        (lambda photo: ((torch.from_numpy(photo) - mean) / std).permute(2, 0, 1), "255 is missing"),
        (lambda photo: scaled(photo).permute(2, 0, 1), "subtract MEAN and divide"),
        (lambda photo: (scaled(photo) - mean).permute(2, 0, 1), "division by STD is missing"),
        (lambda photo: ((scaled(photo) - std) / mean).permute(2, 0, 1), "exchanged"),
        (lambda photo: (scaled(photo) - mean) / std, "channels are still last"),
        (lambda photo: ((scaled(photo) - mean) / std).reshape(3, *photo.shape[:2]), "scrambles"),
        (lambda photo: ((scaled(photo).double() - mean) / std).permute(2, 0, 1), "float32"),
        (lambda photo: photo, "a tensor is wanted"),
        (lambda photo: (torch.from_numpy(photo) / 255 - MEAN) / STD, "tuples: torch.tensor"),
    ],
    "03.4": [
        (only_the_photo, "must move the mask, in one call"),
        (one_call_each, "must move the mask, in one call"),
        (lambda photo, mask: (photo, mask), "same photo comes out"),
        (linear_turn, "255"),
        (darker, "car has moved"),
        (far_away, "of the car was left"),
        (lambda photo, mask: both(image=photo, mask=mask), "gives a dictionary"),
        (lambda photo, mask: photo[0, 0, 0], "list or a tuple"),
    ],
}  # fmt: skip
