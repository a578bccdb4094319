"""LiveCurve: loss and Dice while a network trains, and a button that stops after the epoch."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import nn

from unet_helpers.environment import CourseError
from unet_helpers.plotting import BLUE, GREY, ORANGE
from unet_helpers.widgets.base import CourseWidget, Drawing, control
from unet_helpers.widgets.clicks import can_look, handle_clicks

PAUSE = 0.5  # seconds between two looks at the button, and two pictures, within an epoch
DPI = 80


class LiveCurve(CourseWidget):
    """The curves of a run that is going on: ``fit(..., on_epoch=curve, on_step=curve.step)``.

    epochs: of the whole run. steps: batches of an epoch, ``len(train_loader)``; with it the loss of
    every step is drawn as a thin line. width: of the picture, in pixels.

    The button ends the run after the epoch that is being trained; last.pt then holds it, and
    ``fit(..., resume=True)`` goes on. In a plain program nothing is drawn, and the lines that fit
    prints are what remains. Rows are kept in ``rows``; the same curve may be given to a run that
    goes on.
    """

    def __init__(self, epochs: int, steps: int | None = None, *, width: int = 720) -> None:
        super().__init__("live-curve")
        known = isinstance(epochs, int) and epochs >= 1
        self.epochs, self.steps, self.width = epochs if known else None, steps, width
        self.rows: list[dict] = []
        self.losses: list[tuple[float, float]] = []  # epochs so far, loss of one step
        self._asked = threading.Event()  # JupyterLab may call from another thread
        self._step, self._looked = 0, 0.0
        if not known:
            self.problem = CourseError("epochs", expected="a whole number above 0", found=epochs,
                                       mend="pass config.epochs")  # fmt: skip
        self.button = control(
            widgets.Button, "stop", "Stop after this epoch",
            "the epoch that is being trained is finished, measured and saved first",
            icon="stop", layout={"width": "max-content"},
        )  # fmt: skip
        self.button.on_click(self._ask)
        self._plot = _Plot(self.epochs or 1, width)
        rows = [self.button] if can_look() else []
        self.start(*rows)

    def _ask(self, button: object = None) -> None:
        self._asked.set()
        self.button.description = "Will stop after this epoch"
        self.button.disabled = True

    def step(self, loss: float) -> None:
        """To be called after each training step; draws and looks at the button twice a second."""
        self._step += 1
        if self.steps:
            self.losses.append((len(self.rows) + self._step / self.steps, float(loss)))
        now = time.monotonic()
        if now - self._looked >= PAUSE:
            self._looked = now
            handle_clicks(self.button)
            self.redraw()

    def __call__(self, row: Mapping[str, float], model: nn.Module | None = None) -> bool:
        """To be called after each epoch with its row; False once the button has been pressed."""
        epoch = int(row["epoch"])
        # A run that goes on repeats the epoch that was broken off.
        self.rows = [*(old for old in self.rows if old["epoch"] < epoch), dict(row)]
        self._step = 0
        handle_clicks(self.button)
        stop = self._asked.is_set()
        self._asked.clear()
        over = stop or epoch == self.epochs
        self.button.disabled = over
        self.button.description = (
            f"Stopped after epoch {epoch}" if stop else "Finished" if over else
            "Stop after this epoch"
        )  # fmt: skip
        self.redraw()
        self.renew_still()
        return not stop

    def draw(self) -> Drawing:
        picture = self._plot.at(self.rows, self.losses)
        caption = self._words()
        alt = f"Loss on the left and validation Dice on the right, by epoch. {caption}."
        return Drawing(picture, caption, alt)

    def _words(self) -> str:
        now = f"epoch {len(self.rows) + 1} of {self.epochs}, step {self._step}"
        running = f"; {now}" if self._step else ""
        if not self.rows:
            return f"no epoch finished yet{running}"
        last, best = self.rows[-1], max(self.rows, key=lambda row: row["dice_mean"])
        return (
            f"after epoch {last['epoch']} of {self.epochs}: loss {last['train_loss']:.4f}, "
            f"validation Dice {last['dice_mean']:.4f} (best {best['dice_mean']:.4f} in epoch "
            f"{best['epoch']}){running}"
        )


class _Plot:
    """Two axes that are drawn once; each picture only lays its lines over them."""

    def __init__(self, epochs: int, width: int) -> None:
        figure = Figure(figsize=(width / DPI, 0.36 * width / DPI), dpi=DPI)
        self.canvas = FigureCanvasAgg(figure)
        left, right = (figure.add_axes((start, 0.18, 0.42, 0.7)) for start in (0.06, 0.56))
        self.loss_axis, self._top, self._empty = left, 0.0, None
        self.each_step = left.plot([], [], color=GREY, linewidth=0.6, alpha=0.6, animated=True)[0]
        self.lines = {
            "train_loss": _line(left, GREY, "training"),
            "val_loss": _line(left, BLUE, "validation"),
            "dice_p10": _line(right, ORANGE, "tenth percentile"),
            "dice_mean": _line(right, BLUE, "mean"),
        }
        for axis, title in ((left, "loss"), (right, "validation Dice")):
            axis.set(title=title, xlabel="epoch", xlim=(0, epochs + 0.5))
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.grid(color="#E5E5E5")
            axis.legend(loc="upper right" if axis is left else "lower right")
        right.set_ylim(0, 1.02)

    def at(self, rows: list[dict], losses: list[tuple[float, float]]) -> np.ndarray:
        """The picture for these rows, and for these losses of single steps."""
        epochs = [row["epoch"] for row in rows]
        for name, line in self.lines.items():
            line.set_data(epochs, [_number(row.get(name)) for row in rows])
        self.each_step.set_data(*(zip(*losses, strict=True) if losses else ([], [])))
        seen = [_number(row.get(name)) for row in rows for name in ("train_loss", "val_loss")]
        self._make_room(max([value for value in (*seen, *(loss for _, loss in losses))
                             if np.isfinite(value)], default=1.0))  # fmt: skip
        self.canvas.restore_region(self._empty)
        for line in (self.each_step, *self.lines.values()):
            line.axes.draw_artist(line)
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()

    def _make_room(self, highest: float) -> None:
        """Draw the axes anew if the loss would not fit, or would leave half of them empty."""
        if self._empty is None or not 0.5 * self._top <= highest <= 0.95 * self._top:
            self._top = 1.1 * max(highest, 1e-3)
            self.loss_axis.set_ylim(0, self._top)
            self.canvas.draw()
            self._empty = self.canvas.copy_from_bbox(self.canvas.figure.bbox)


def _line(axis: Axes, colour: str, name: str) -> Line2D:
    return axis.plot([], [], "o-", markersize=4, color=colour, label=name, animated=True)[0]


def _number(value: object) -> float:
    return float("nan") if value in (None, "") else float(value)
