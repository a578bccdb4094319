"""What the course's widgets share: a picture, a line of text, controls, and what they leave behind.

A widget works out its picture in Python and sends it to the page as a PNG. Its *caption* says the
key figure in words and changes with the picture. What is wrong is said in the widget's own area,
and the next move of a control starts afresh.

Two outputs are stored where a widget is shown: a still picture with alt text, and the place of the
live widget. A page that shows the live widget hides the still one, and a page without a kernel
shows the still one alone; ``tools/run_notebooks.py`` keeps only the still one.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ipywidgets as widgets
import numpy as np
from IPython.display import display

from unet_helpers.environment import CourseError, running_in_notebook
from unet_helpers.widgets.drawing import Colour, png, with_caption

VIEW = "application/vnd.jupyter.widget-view+json"
# ipywidgets 8 calls the hint of every control "tooltip"; 7, which Colab has, only that of a button.
HINT = "tooltip" if "tooltip" in widgets.FloatSlider.class_trait_names() else "description_tooltip"

# Goes before the still picture. The first rule hides this very output. The second hides the still
# picture where the live widget stands below it (in JupyterLab, Colab and the classic notebook). The
# third hides JupyterLab's "model not found" in a notebook that is opened again without its kernel.
# Where :has() is unknown, no rule holds, and both the picture and the widget show.
SWITCH = """<span class="unet-still-next"></span><style>
.jp-OutputArea-child:has(.unet-still-next),
:is(.jp-OutputArea-child, .display_data, .output_area):has(.unet-still-next)
  + :is(.jp-OutputArea-child, .display_data, .output_area):has(+ * .unet-widget),
.jp-OutputArea-child:has(.unet-still-next) + .jp-OutputArea-child
  + .jp-OutputArea-child:not(:has(.unet-widget)) { display: none; }
</style>"""


@dataclass(frozen=True)
class Drawing:
    """What a widget shows: an RGB picture uint8 (H, W, 3), the caption, and a sentence about both.

    legend: colours and what they stand for.
    """

    picture: np.ndarray
    caption: str
    alt: str
    legend: Sequence[tuple[Colour, str]] = field(default_factory=tuple)


class CourseWidget(widgets.VBox):
    """A column of controls, caption, picture and message. Subclasses write :meth:`draw`.

    name: such as "mask-overlay"; the widget carries the CSS classes unet-widget and unet-<name>.
    """

    def __init__(self, name: str, **options: Any) -> None:
        self.problem: Exception | None = None
        self.drawing: Drawing | None = None
        self._held = 0
        self._still_id: str | None = None
        self.picture = _classed(widgets.Image(format="png"), "unet-picture")
        self.caption = _classed(widgets.HTML(), "unet-caption")
        self.message = _classed(widgets.HTML(layout={"display": "none"}), "unet-message")
        super().__init__(**options)
        _classed(self, "unet-widget", f"unet-{name}")
        self.children = (self.caption, self.picture, self.message)

    def draw(self) -> Drawing:
        """The picture for the controls as they stand; CourseError for what cannot be drawn."""
        raise NotImplementedError

    def start(self, *rows: widgets.Widget) -> None:
        """Put the rows of controls above the caption, redraw whenever one of them moves, draw."""
        self.children = (*rows, self.caption, self.picture, self.message)
        for control in _controls(rows):
            if not isinstance(control, widgets.FileUpload):
                control.observe(self.redraw, "value")
            if self.problem is not None:
                control.disabled = True
        self.redraw()

    @contextmanager
    def together(self, redraw: bool = True) -> Iterator[None]:
        """Change several controls and redraw once, at the end, or not at all."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if redraw:
            self.redraw()

    def redraw(self, change: object = None) -> None:
        """Draw for the controls as they stand, or say in the message why that cannot be done."""
        if self._held:
            return
        try:
            if self.problem is not None:
                raise self.problem
            drawing = self.draw()
        except Exception as error:  # a traceback in the browser's log would reach nobody
            self.drawing = None
            self.picture.layout.display = "none"
            self.caption.value = ""
            self.say(error)
            return
        self.drawing = drawing
        self.picture.value = png(drawing.picture)
        width = f"{drawing.picture.shape[1]}px"
        self.picture.layout.width, self.picture.layout.max_width = width, "100%"
        self.picture.layout.display = None
        self.caption.value = _caption(drawing)
        self.say(None)

    def say(self, what: Exception | str | None) -> None:
        """Show what is wrong in the widget's own area; None takes it away."""
        kind = "" if isinstance(what, str | CourseError) else f"{type(what).__name__}: "
        text = "" if what is None else html.escape(f"{kind}{what}")
        self.message.value = (
            f'<div role="alert" style="border-left:4px solid #D55E00; padding:2px 8px; '
            f'line-height:1.4; white-space:normal">{text}</div>'
            if text
            else ""
        )
        self.message.layout.display = None if text else "none"

    @property
    def text(self) -> str:
        """The caption in plain words, or what is wrong."""
        if self.drawing is not None:
            return self.drawing.caption
        return html.unescape(_without_tags(self.message.value))

    def still(self) -> tuple[dict, dict]:
        """The picture that stays in the notebook: a display bundle and its metadata."""
        if self.drawing is None:
            return {"text/plain": self.text}, {}
        picture = with_caption(self.drawing.picture, self.drawing.caption, self.drawing.legend)
        data = base64.b64encode(png(picture, small=True)).decode("ascii")
        alt = " ".join(self.drawing.alt.split())
        return {"image/png": data, "text/plain": alt}, {"image/png": {"alt": alt}}

    def show(self) -> None:
        """Show the widget, and leave a still picture with alt text in the notebook."""
        bundle, metadata = self.still()
        if not running_in_notebook():
            print(f"[picture: {bundle['text/plain']}]")
            return
        self._still_id = f"unet-still-{self.model_id}"
        display({"text/html": SWITCH, "text/plain": ""}, raw=True)
        display(bundle, raw=True, metadata=metadata, display_id=self._still_id)
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        display({VIEW: view, "text/plain": ""}, raw=True)

    def renew_still(self) -> None:
        """Replace the still picture by one of what is shown now."""
        if self._still_id is not None:
            bundle, metadata = self.still()
            display(bundle, raw=True, metadata=metadata, display_id=self._still_id, update=True)

    def _ipython_display_(self, **options: Any) -> None:
        self.show()


def control(kind: type, name: str, label: str, hint: str = "", **options: Any) -> widgets.Widget:
    """A labelled control of ipywidgets with the CSS class unet-control-<name>.

    kind: the class, such as widgets.FloatSlider; hint: shown when the mouse rests on it.
    """
    if hint:
        is_button = issubclass(kind, widgets.Button)
        options["tooltip" if is_button else HINT] = hint
    if not issubclass(kind, widgets.Button | widgets.FileUpload):
        options.setdefault("style", {})["description_width"] = "initial"
    return _classed(kind(description=label, **options), f"unet-control-{name}")


def chooser(name: str, label: str, titles: Sequence[str], first: int = 0) -> widgets.Dropdown:
    """A drop-down list of titles whose value is the number of the chosen one, from 0."""
    options = [(str(title), number) for number, title in enumerate(titles)]
    value = min(max(first, 0), len(options) - 1) if options else None
    return control(widgets.Dropdown, name, label, options=options, value=value)


def choice(name: str, label: str, options: Sequence[str], value: str, hint: str = "") -> Any:
    """Buttons of which one is pressed; its text is the value."""
    look = {"display": "flex", "align_items": "center", "width": "max-content"}
    return control(
        widgets.ToggleButtons, name, label, hint, options=list(options), value=value,
        style={"button_width": "auto"}, layout=look,
    )  # fmt: skip


def row(*parts: widgets.Widget) -> widgets.HBox:
    """Controls side by side, on several lines where the page is narrow."""
    return widgets.HBox(list(parts), layout={"flex_flow": "row wrap", "align_items": "center"})


def swatch(colour: Colour, label: str = "") -> str:
    """A coloured square and what it stands for, as HTML."""
    square = (
        f'<span aria-hidden="true" style="display:inline-block; width:0.9em; height:0.9em; '
        f"background:rgb{tuple(colour)}; border:1px solid #555; margin:0 4px 0 10px; "
        f'vertical-align:-0.1em"></span>'
    )
    return square + html.escape(label)


def _caption(drawing: Drawing) -> str:
    legend = "".join(swatch(colour, label) for colour, label in drawing.legend)
    text = html.escape(drawing.caption)
    style = "line-height:1.5; white-space:normal"
    return f'<div role="status" aria-live="polite" style="{style}">{text}{legend}</div>'


def _classed(widget: Any, *names: str) -> Any:
    for name in names:
        widget.add_class(name)
    return widget


def _controls(parts: Sequence[widgets.Widget]) -> Iterator[widgets.Widget]:
    for part in parts:
        if isinstance(part, widgets.Box):
            yield from _controls(part.children)
        elif hasattr(part, "disabled"):
            yield part


def _without_tags(text: str) -> str:
    while "<" in text and ">" in text:
        text = text[: text.index("<")] + text[text.index(">") + 1 :]
    return text
