"""Turntable: one car from its sixteen angles, with mask, prediction and Dice of every angle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np

from unet_helpers.environment import CourseError
from unet_helpers.metrics import dice
from unet_helpers.pictures import EXTRA_COLOUR, MASK_COLOUR, MISSED_COLOUR
from unet_helpers.widgets.base import CourseWidget, Drawing, choice, chooser, control, row
from unet_helpers.widgets.drawing import above, dot_chart, fit, outline, paint, pale
from unet_helpers.widgets.inputs import CAR, a_mask, a_photo, a_prediction, several
from unet_helpers.widgets.overlay import DIFFERENCES, compare, where_they_differ

CHOSEN = np.array([False, True])
MODES = ("photo", "mask", "prediction", "differences")


class Turntable(CourseWidget):
    """A car on the turntable: move the slider, and it turns.

    cars: names of cars, or one name. look_up(stem): asked for "<car>_<NN>", gives photo RGB uint8
    (H, W, 3) and mask uint8 (H, W), and, if there is one, the prediction, class indices or
    probabilities (H, W). It is asked once for each photo; what it gave is kept. dices: Dice by
    stem, where it has been worked out before (at another size, perhaps); otherwise it is that of
    the arrays. angles: their numbers. mode: "photo", "mask", "prediction" or "differences", shown
    first (None: the last of them that there is data for). first: the angle shown first. width: of
    the picture, in pixels.

    The chart below the car has a dot for each angle: its Dice, or without predictions the share of
    the photo that is car.
    """

    def __init__(
        self,
        cars: Sequence[str] | str,
        look_up: Callable[[str], Sequence[Any]],
        *,
        dices: Mapping[str, float] | None = None,
        angles: Sequence[int] = range(1, 17),
        mode: str | None = None,
        first: int = 1,
        width: int = 480,
    ) -> None:
        super().__init__("turntable")
        self.look_up, self.dices, self.width = look_up, dict(dices or {}), width
        self.angles = list(angles)
        self._seen: dict[str, tuple] = {}
        self._figures: dict[str, float] = {}
        names = []
        try:
            cars = [cars] if isinstance(cars, str) else cars
            names = [str(car) for car in several(cars, "cars", 0)]
            several(self.angles, "angles", 0)
        except CourseError as error:
            self.problem = error
        modes = MODES if names and self._has_prediction(names[0]) else MODES[:2]
        self.car = chooser("car", "Car", names)
        stops = self.angles or [first]
        self.angle = control(
            widgets.SelectionSlider, "angle", "Angle", "the stops of the turntable, 22.5° apart",
            options=stops, value=first if first in stops else stops[0],
        )  # fmt: skip
        self.mode = choice("mode", "Show", modes, mode if mode in modes else modes[-1])
        self.start(row(self.car, self.angle), self.mode)

    def _get(self, car: str, angle: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Photo, mask and prediction (or None), checked, asked for once."""
        stem = f"{car}_{angle:02d}"
        if stem not in self._seen:
            found = self.look_up(stem)
            if not isinstance(found, tuple | list) or not 2 <= len(found) <= 3:
                raise CourseError(
                    "what look_up gives",
                    expected="photo and mask, or photo, mask and prediction",
                    found=type(found).__name__,
                    mend='return (photo, mask) for a stem such as "00087a6bd4dc_01"',
                )
            photo = a_photo(found[0])
            mask = a_mask(found[1], photo, CAR, f"the mask of {stem}")
            predicted = a_prediction(found[2], photo) if len(found) == 3 else None
            self._seen[stem] = photo, mask, predicted
        return self._seen[stem]

    def _has_prediction(self, car: str) -> bool:
        for angle in self.angles:
            try:
                return self._get(car, angle)[2] is not None
            except Exception:  # said where this angle is chosen
                continue
        return False

    def _figure(self, car: str, angle: int) -> float:
        """Dice of one photo, or without a prediction its share of car pixels."""
        stem = f"{car}_{angle:02d}"
        if stem not in self._figures:
            _, mask, predicted = self._get(car, angle)
            if predicted is None:
                figure = (mask > 0).mean()
            else:
                known = self.dices.get(stem)
                figure = dice(compare(predicted, mask)).item() if known is None else known
            self._figures[stem] = float(figure)
        return self._figures[stem]

    def figures(self) -> dict[int, float]:
        """Angle -> its figure, for the car that is chosen, without angles that cannot be read."""
        found = {}
        for angle in self.angles:
            try:
                found[angle] = self._figure(self.car.label, angle)
            except Exception:  # said where this angle is chosen
                continue
        return found

    def draw(self) -> Drawing:
        car, angle, mode = self.car.label, self.angle.value, self.mode.value
        photo, mask, predicted = self._get(car, angle)
        figure, legend = self._figure(car, angle), ()
        if predicted is None and mode in MODES[2:]:
            raise CourseError(f"the prediction of {car}_{angle:02d}", found="none",
                              mend="show the mask, or let look_up return a prediction")  # fmt: skip
        picture = fit(photo, self.width)
        if mode == "differences":
            labels = where_they_differ(mask, predicted, CHOSEN)
            labels, legend = fit(labels, self.width, exact=True), DIFFERENCES
            picture = paint(pale(picture), labels, (MISSED_COLOUR, EXTRA_COLOUR), 1.0)
        elif mode != "photo":
            labels = fit(mask if mode == "mask" else predicted, self.width, exact=True)
            picture = paint(picture, labels, (MASK_COLOUR,), 0.35)
            picture = paint(picture, outline(labels), (MASK_COLOUR,), 1.0)
        known = self.figures()
        has_dice = predicted is not None
        title = "Dice by angle" if has_dice else "share of the photo that is car, by angle"
        chart = dot_chart(known, self.angles, angle, title, self.width)
        caption = f"{car}, angle {angle}: " + _words(figure, known, has_dice)
        shows = "without a mask" if mode == "photo" else f"with its {mode}"
        alt = f"Car {car} from angle {angle}, {shows}, and a chart of the {title}. {caption}."
        return Drawing(above([picture, chart]), caption, alt, legend)


def _words(figure: float, known: Mapping[int, float], has_dice: bool) -> str:
    if not has_dice:
        return f"{figure:.1%} of the photo is car"
    mean = np.mean(list(known.values()))
    hardest = min(known, key=known.get)
    return f"Dice {figure:.4f} (mean of the turn {mean:.4f}, lowest at angle {hardest})"
