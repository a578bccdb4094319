"""AblationExplorer: one question of the ablations at a time, by any score, with any error bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from unet_helpers.environment import CourseError
from unet_helpers.plotting import STYLE, draw_seeds
from unet_helpers.records import BARS, by_variant, differences, interval, verdict
from unet_helpers.widgets.base import CourseWidget, Drawing, choice, chooser, row
from unet_helpers.widgets.inputs import several

# Key of a record -> its name, and whether more is better.
SCORES = {
    "dice": ("Dice on the test cars", True),
    "boundary_f1": ("boundary F1 on the test cars", True),
    "boundary_distance": ("distance of the outlines, test cars (pixels)", False),
    "held_dice": ("Dice on the photos held back", True),
    "real_dice": ("Dice on photographed cars", True),
}
SHORT = {
    "dice": "Dice",
    "boundary_f1": "boundary F1",
    "boundary_distance": "distance",
    "held_dice": "held-back Dice",
    "real_dice": "photographed",
}
DPI = 80


class AblationExplorer(CourseWidget):
    """Choose a question, a score and an error bar: a mark for each seed, the mean, and the bar.

    records: as ``records.read_records`` gives them. question: shown first (None: the first there
    is). score: one of SCORES, bars: one of ``records.BARS``, at the start. width: of the picture,
    in pixels. The caption names the best variant, and compares it seed by seed with the next.
    """

    def __init__(
        self,
        records: Sequence[Mapping[str, Any]],
        *,
        question: str | None = None,
        score: str = "dice",
        bars: str = BARS[0],
        width: int = 720,
    ) -> None:
        super().__init__("ablation-explorer")
        self.width, self.records, questions = width, [], []
        try:
            self.records = several(records, "records", 0)
            questions = list(dict.fromkeys(record["question"] for record in self.records))
            for name, value, known in (("score", score, SHORT), ("error bars", bars, BARS)):
                if value not in known:
                    mend = "choose one of these"
                    raise CourseError(name, expected=", ".join(known), found=value, mend=mend)
        except CourseError as error:
            self.problem = error
        except (TypeError, KeyError):
            self.problem = CourseError(
                "records",
                expected="records of trainings, each with its question",
                found="something else",
                mend="pass what read_records(data/records/ablations.jsonl) gives",
            )
        first = questions.index(question) if question in questions else 0
        self.question = chooser("question", "Question", questions, first)
        names = list(SHORT.values())
        self.score = choice("score", "Score", names, SHORT.get(score, names[0]))
        self.bars = choice("bars", "Error bars", BARS, bars if bars in BARS else BARS[0])
        self.start(row(self.question), self.score, self.bars)

    def draw(self) -> Drawing:
        question, bars = self.question.label, self.bars.value
        score = next(key for key, name in SHORT.items() if name == self.score.value)
        groups = by_variant(self.records, question, score)
        if not any(groups.values()):
            raise CourseError(
                f"{SHORT[score]} of the question {question}",
                expected="at least one training with this score",
                found="none",
                mend="choose another score",
            )
        asked = len({record["seed"] for record in self.records})
        caption = f"{question}, error bars: {bars}. {self._best(question, score, groups)}"
        alt = f"{SCORES[score][0]} of every variant, a mark a seed, mean and error bar. {caption}"
        return Drawing(self._chart(groups, SCORES[score][0], bars, asked), caption, alt)

    def _chart(
        self, groups: Mapping[str, Mapping[int, float]], label: str, bars: str, asked: int
    ) -> np.ndarray:
        height = 70 + 34 * max(3, len(groups))
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(self.width / DPI, height / DPI), dpi=DPI)
            canvas = FigureCanvasAgg(figure)
            # Fixed edges: a layout that is worked out anew takes longer than all the drawing.
            axis = figure.add_axes((0.24, 46 / height, 0.73, 1 - 56 / height))
            draw_seeds(axis, groups, label, bars, asked)
            figure.legend(loc="lower left", ncols=3, fontsize=8, handletextpad=0, columnspacing=0.6)
            canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def _best(self, question: str, score: str, groups: Mapping[str, Mapping[int, float]]) -> str:
        """The best variant in words, and what sets it apart from the next."""
        means = {name: fmean(found.values()) for name, found in groups.items() if found}
        first, *others = sorted(means, key=means.get, reverse=SCORES[score][1])
        said = f"Best: {first}, {means[first]:.4f}"
        if not others:
            return f"{said}."
        said += f"; next: {others[0]}, {means[others[0]]:.4f}"
        gaps = differences(self.records, question, first, others[0], score).values()
        if len(gaps) < 2:
            return f"{said}; too few seeds to compare them."
        mean, reach = interval(gaps)
        return f"{said}; seed by seed {mean:+.4f} ± {reach:.4f} (95 % interval): {verdict(gaps)}."
