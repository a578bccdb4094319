"""Plausible wrong answers to the exercises of notebook 09, and words that the message must hold."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


def in_place(trimap):
    trimap[trimap == 2] = 0
    trimap[trimap == 3] = 2
    return trimap


def wrong_order(trimap):
    found = trimap.copy()
    found[found == 3] = 2
    found[found == 2] = 0
    return found


def union(matrix):
    return matrix.sum(0) + matrix.sum(1) - matrix.diagonal()


def converted(weight=lambda w: w[1:] - w[:1], bias=lambda b: b[1:] - b[:1]):
    """one_channel with its faults chosen: what its weights and its bias are made of."""

    def one_channel(conv):
        new = nn.Conv2d(conv.in_channels, 1, kernel_size=1)
        with torch.no_grad():
            new.weight.copy_(weight(conv.weight))
            new.bias.copy_(bias(conv.bias))
        return new

    return one_channel


def of_both(mixed):
    return converted(mixed, mixed)


def random_layer(conv):
    return nn.Conv2d(conv.in_channels, 1, kernel_size=1)


def same_layer(conv):
    with torch.no_grad():
        conv.weight[1] -= conv.weight[0]
    return random_layer(conv)


WRONG = {
    "09.1": [
        (lambda t: t - 1, "index 0 is the background"),
        (lambda t: t % 3, "index 0 is the background"),
        (lambda t: (t == 1).astype(np.uint8), "border has become background"),
        (lambda t: (t != 2).astype(np.uint8), "class of its own"),
        (wrong_order, "mind the order"),
        (in_place, "trimap itself was changed"),
        (lambda t: np.array([0, 1, 0, 2])[t], "type is int64"),
        (lambda t: np.array([0, 1, 0, 255], np.uint8)[t], "1, 0 and 2 are wanted"),
        (lambda t: t, "index 0 is the background"),
        (lambda t: t[0], "shape of the result"),
    ],
    "09.2": [
        (lambda m: m.diagonal() / m.sum(1).clamp(min=1), "recall"),
        (lambda m: m.diagonal() / m.sum(0).clamp(min=1), "precision"),
        (lambda m: 2 * m.diagonal() / (m.sum(0) + m.sum(1)).clamp(min=1), "is Dice"),
        (lambda m: m.diagonal() / (m.sum(0) + m.sum(1)).clamp(min=1), "stands twice"),
        (lambda m: m.diagonal() / m.sum(), "share of all pixels"),
        (lambda m: m.diagonal(), "divide by the union"),
        (lambda m: m.diagonal() / union(m), "counts as 1, not as nan"),
        (lambda m: m.diagonal() / union(m).clamp(min=1), "counts as 1, not as 0"),
        (lambda m: (m.diagonal() / union(m)).nanmean(), "one a class is wanted"),
    ],
    "09.3": [
        (of_both(lambda v: v[:1] - v[1:]), "exchanged"),
        (of_both(lambda v: v[1:]), "channel 1 alone"),
        (of_both(lambda v: v[1:] + v[:1]), "a sum"),
        (of_both(lambda v: (v[1:] - v[:1]) / 2), "half of the difference"),
        (of_both(lambda v: 2 * (v[1:] - v[:1])), "twice the difference"),
        (converted(bias=lambda b: 0 * b[1:]), "bias is missing"),
        (converted(bias=lambda b: b[1:]), "bias is that of channel 1"),
        (random_layer, "are random"),
        (lambda conv: conv, "its output is"),
        (lambda conv: conv.weight, "a layer is wanted"),
        (same_layer, "make a new one"),
    ],
    "09.4": [
        (lambda z: z.softmax(1)[:, 0], "probability of the background"),
        (lambda z: z.softmax(1).sum(1), "1 everywhere"),
        (lambda z: z.argmax(1) > 0, "mask already"),
        (lambda z: z.softmax(1)[:, 1:].max(1).values, "likeliest part"),
        (lambda z: z.softmax(1)[:, 1], "body alone"),
        (lambda z: z.softmax(1)[:, 1:].mean(1), "add them up"),
        (lambda z: 1 - z[:, 0].sigmoid(), "softmax over dim=1"),
        (lambda z: 1 - z[:, 0], "no probabilities"),
        (lambda z: 1 - z.softmax(0)[:, 0], "classes are dim=1"),
        (lambda z: 1 - z.softmax(1)[:, :1], "one axis too many"),
        (lambda z: z[:, 1:].softmax(1).sum(1), "1 everywhere"),
    ],
}
GIVEN: dict = {}
