"""The exercises' checks: one for each exercise of the notebooks, and up to three hints.

    checks.check("05.2", iou_loss)    # right, not tried yet, or the first thing that is wrong
    checks.hint("05.2")               # the first hint; the next call gives the next one

A check runs in under a second, answers every answer with one line, and never raises.
"""

from unet_helpers.checks import (
    ablations,
    classes,
    clinic,
    cutting,
    first_look,
    fullsize,
    hurrying,
    loading,
    masks,
    measuring,
    network,
    reading,
    splitting,
    training,
)
from unet_helpers.checks.register import EXERCISES, check, hint, verdict

__all__ = [
    "EXERCISES",
    "ablations",
    "check",
    "classes",
    "clinic",
    "cutting",
    "first_look",
    "fullsize",
    "hint",
    "hurrying",
    "loading",
    "masks",
    "measuring",
    "network",
    "reading",
    "splitting",
    "training",
    "verdict",
]
