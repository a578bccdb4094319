"""ThresholdExplorer: what the threshold does to the mask and to Dice, IoU, precision and recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from unet_helpers.environment import CourseError
from unet_helpers.pictures import EXTRA_COLOUR, MISSED_COLOUR
from unet_helpers.plotting import BLUE, GREEN, ORANGE, RED
from unet_helpers.widgets.base import CourseWidget, Drawing, chooser, control, row
from unet_helpers.widgets.drawing import Colour, beside, fit, paint, pale
from unet_helpers.widgets.inputs import a_mask, a_photo, a_probability, as_many, several, titles_for
from unet_helpers.widgets.overlay import DIFFERENCES, where_they_differ

GRID = np.linspace(0, 1, 101)
LINES = {
    "Dice": (BLUE, "-"),
    "IoU": (ORANGE, "--"),
    "precision": (GREEN, "-."),
    "recall": (RED, ":"),
}
DPI = 80


class ThresholdScores:
    """Dice, IoU, precision and recall of one image at any threshold, without counting all pixels.

    probability: float32 (H, W) in 0 to 1, mask: uint8 (H, W) of 0 and 1. A pixel is car above the
    threshold, as in ``metrics.predict_classes``. With nothing to divide by, a score is 1.
    """

    def __init__(self, probability: np.ndarray, mask: np.ndarray) -> None:
        inside = mask > 0
        self.inside, self.outside = np.sort(probability[inside]), np.sort(probability[~inside])

    def __call__(self, threshold: float | np.ndarray) -> dict[str, np.ndarray]:
        """Name -> score, float64 of threshold's shape."""
        at = np.asarray(threshold, np.float32)
        # All that lies to the right of the threshold in a sorted list is above it.
        tp = len(self.inside) - np.searchsorted(self.inside, at, side="right")
        fp = len(self.outside) - np.searchsorted(self.outside, at, side="right")
        fn = len(self.inside) - tp
        return {
            "Dice": _ratio(2 * tp, 2 * tp + fp + fn),
            "IoU": _ratio(tp, tp + fp + fn),
            "precision": _ratio(tp, tp + fp),
            "recall": _ratio(tp, tp + fn),
        }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole == 0, 1.0, part / np.maximum(whole, 1))


class Chart:
    """The four curves of an image, drawn once; the threshold's line is laid over them each time.

    The scores of a good network lie close to 1 over most of the way, so the axis begins just below
    what they are there, and not at 0. What falls below at the ends leaves the picture.
    """

    def __init__(self, scores: ThresholdScores, width: int, height: int) -> None:
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        canvas = FigureCanvasAgg(figure)
        axis = figure.add_axes((0.1, 0.16, 0.86, 0.8))
        curves = scores(GRID)
        for name, (colour, line) in LINES.items():
            axis.plot(GRID, curves[name], line, color=colour, label=name)
        lowest = min(curves[name][5:-5].min() for name in LINES)  # from 0.05 to 0.95
        bottom = np.floor(10 * lowest) / 10 if lowest < 1 else 0.9
        axis.set(xlabel="threshold", xlim=(0, 1), ylim=(bottom, 1 + 0.03 * (1 - bottom)))
        axis.grid(color="#E5E5E5")
        axis.legend(loc="lower center", ncols=2)
        canvas.draw()
        self.picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
        self._place = axis.transData.transform
        self._area = axis.get_window_extent()

    def at(self, threshold: float, scores: dict[str, np.ndarray]) -> np.ndarray:
        """The curves with a line at the threshold and a dot on each curve."""
        picture, height = self.picture.copy(), self.picture.shape[0]
        x = self.column(threshold)
        top, bottom = height - round(self._area.y1), height - round(self._area.y0)
        picture[top:bottom, x] = (0, 0, 0)
        for name, (colour, _) in LINES.items():
            y = height - 1 - round(self._place((0, float(scores[name])))[1])
            _dot(picture, x, min(y, bottom), _rgb(colour))
        return picture

    def column(self, threshold: float) -> int:
        """The column of pixels in which the threshold's line stands."""
        return min(round(self._place((threshold, 0))[0]), self.picture.shape[1] - 1)


def _rgb(colour: str) -> Colour:
    return tuple(int(colour[start : start + 2], 16) for start in (1, 3, 5))


def _dot(picture: np.ndarray, x: int, y: int, colour: Colour, radius: int = 4) -> None:
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    picture[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = colour


class ThresholdExplorer(CourseWidget):
    """Move the threshold: the mask, and its place on the curves, move with it.

    photos: RGB uint8 (H, W, 3) each; masks: uint8 (H, W) of 0 and 1 each; probabilities: float
    (H, W) in 0 to 1 each, as ``inference.predict_probability`` gives them; titles: one a photo.
    threshold: at the start. first: number of the photo shown first. width: of the photo and of the
    chart, each, in pixels.
    """

    def __init__(
        self,
        photos: Any,
        masks: Any,
        probabilities: Any,
        titles: Sequence[str] | None = None,
        *,
        threshold: float = 0.5,
        first: int = 0,
        width: int = 480,
    ) -> None:
        super().__init__("threshold-explorer")
        self.width = width
        self.photos, self.masks, self.probabilities, names = [], [], [], []
        self._seen: dict[int, tuple] = {}
        self._means: np.ndarray | None = None
        try:
            self.photos = several(photos, "photos", 3)
            self.masks = as_many(masks, self.photos, "masks") or several([], "masks", 2)
            self.probabilities = as_many(probabilities, self.photos, "probabilities") or several(
                [], "probabilities", 2
            )
            names = titles_for(titles, self.photos)
        except CourseError as error:
            self.problem = error
        self.photo = chooser("photo", "Photo", names, first)
        self.threshold = control(
            widgets.FloatSlider, "threshold", "Threshold", "a pixel is car above it",
            value=threshold, min=0.0, max=1.0, step=0.01,
        )  # fmt: skip
        self.start(row(self.photo, self.threshold))

    def _get(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, ThresholdScores]:
        """Photo, mask, probability and scores of one photo, checked, worked out once."""
        if number not in self._seen:
            photo = a_photo(self.photos[number])
            mask = a_mask(self.masks[number], photo)
            probability = a_probability(self.probabilities[number], photo)
            self._seen[number] = photo, mask, probability, ThresholdScores(probability, mask)
        return self._seen[number]

    def draw(self) -> Drawing:
        number, threshold = self.photo.value, self.threshold.value
        photo, mask, probability, scores = self._get(number)
        predicted = (probability > np.float32(threshold)).astype(np.uint8)
        labels = where_they_differ(mask, predicted, np.array([False, True]))
        labels = fit(labels, self.width, exact=True)
        left = paint(pale(fit(photo, self.width)), labels, (MISSED_COLOUR, EXTRA_COLOUR), 1.0)
        chart = self._chart(number, scores, left.shape[0])
        found = {name: value.item() for name, value in scores(threshold).items()}
        right = chart.at(threshold, found)
        figures = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
        curve = scores(GRID)["Dice"]
        caption = (
            f"{self.photo.label} at threshold {threshold:.2f}: {figures}; "
            f"best Dice {curve.max():.4f} at {GRID[curve.argmax()]:.2f}"
        )
        if len(self.photos) > 1:
            caption += self._mean(threshold)
        alt = f"Where mask and prediction differ, and four scores over the threshold. {caption}."
        return Drawing(beside([left, right]), caption, alt, DIFFERENCES)

    def _chart(self, number: int, scores: ThresholdScores, height: int) -> Chart:
        if getattr(self, "_drawn", (None,))[0] != number:
            self._drawn = number, Chart(scores, self.width, height)
        return self._drawn[1]

    def _mean(self, threshold: float) -> str:
        """Mean Dice over all photos, here and at its best, where all of them can be read."""
        try:
            every = [self._get(number)[3] for number in range(len(self.photos))]
        except Exception:  # said where the photo in question is chosen
            return ""
        if self._means is None:
            self._means = np.mean([scores(GRID)["Dice"] for scores in every], axis=0)
        mean = np.mean([scores(threshold)["Dice"] for scores in every])
        return (
            f"; mean Dice of all {len(every)} photos {mean:.4f}, best {self._means.max():.4f} at "
            f"{GRID[self._means.argmax()]:.2f}"
        )
