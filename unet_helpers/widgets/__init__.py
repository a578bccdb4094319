"""Widgets of the course: things to move in a notebook, each with a picture that stays behind.

Make one the last line of a cell, or call its ``show()``. None of them runs a network again when
only the look changes.
"""

from unet_helpers.widgets.ablations import AblationExplorer
from unet_helpers.widgets.amdahl import AmdahlExplorer
from unet_helpers.widgets.augment import AugmentationPlayground
from unet_helpers.widgets.background import BackgroundSwap
from unet_helpers.widgets.grid import WindowGrid
from unet_helpers.widgets.live import LiveCurve
from unet_helpers.widgets.overlay import MaskOverlay
from unet_helpers.widgets.threshold import ThresholdExplorer
from unet_helpers.widgets.turntable import Turntable
from unet_helpers.widgets.walker import ShapeWalker

__all__ = [
    "AblationExplorer",
    "AmdahlExplorer",
    "AugmentationPlayground",
    "BackgroundSwap",
    "LiveCurve",
    "MaskOverlay",
    "ShapeWalker",
    "ThresholdExplorer",
    "Turntable",
    "WindowGrid",
]
