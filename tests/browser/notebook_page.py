"""A notebook in JupyterLab as a person meets it: its cells, its widgets, what stays behind.

Nothing in here waits for a time: every wait is for something to be seen, with a limit that a busy
machine does not reach.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lab_server import Lab
from PIL import Image
from playwright.sync_api import ConsoleMessage, Locator, Page, TimeoutError, expect

LIMIT = 240_000  # milliseconds
IDLE = "Python 3 (ipykernel) | Idle"
# The last is what a page without a kernel goes on saying.
LOST = re.compile(
    r"(model|widget) not found|error (displaying|creating|rendering) widget|loading widget", re.I
)
# Errors of the console that are not the course's: a pattern, and the reason.
KNOWN = {
    r"^uncaught: Cannot read properties of null \(reading 'kernel'\) .*@jupyter-widgets/jupyterlab":
        "ipywidgets looks for the kernel of every notebook that is opened; a notebook of one line "
        "that is opened without a kernel raises it as well",
}  # fmt: skip

# What lies outside the window has no innerText: JupyterLab leaves it unrendered.
# A cell that failed: the same kind of output as a warning, but with a traceback. Cells that wait
# behind it lose their star and get no number.
PROMPTS = "const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')]"
FAILED = """const failed = [...document.querySelectorAll(
    '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]')]
  .filter(one => one.textContent.includes('Traceback (most recent call last)'))"""
WAITING_OR_FAILED = f"""() => {{
  {PROMPTS}; {FAILED};
  return prompts.at(-1).textContent.includes('*') || failed.length > 0;
}}"""
RUN_OR_FAILED = f"""() => {{
  {PROMPTS}; {FAILED};
  if (failed.length) return 'failed: ' + failed.at(-1).textContent;
  if (!prompts.length || prompts.some(one => one.textContent.includes('*'))) return false;
  const left = prompts.findIndex(one => !/\\[\\d+\\]/.test(one.textContent));
  return left < 0 ? 'run' : `failed: code cell ${{left + 1}} of ${{prompts.length}} never ran`;
}}"""
CONTENT = """async img =>
  [...new Uint8Array(await (await fetch(img.src)).arrayBuffer())]"""
LOADED = "img => img.complete && img.naturalWidth > 0"
WIDTHS = """() => [...document.querySelectorAll('.jp-OutputArea-output img')]
  .filter(one => one.checkVisibility()).map(one => one.naturalWidth)"""
VISIBLE_TEXT = """() => [...document.querySelectorAll('.jp-Notebook .jp-OutputArea-output')]
  .filter(one => one.checkVisibility()).map(one => one.textContent).join('\\n')"""


class NotebookPage:
    """One notebook of the course, open in a window of its own.

    name: such as "03_load_and_augment.ipynb". errors: what the console has complained of.
    """

    def __init__(self, page: Page, lab: Lab, name: str, screenshots: Path) -> None:
        self.page, self.lab, self.name, self.screenshots = page, lab, name, screenshots
        self.errors: list[str] = []
        page.set_default_timeout(LIMIT)
        expect.set_options(timeout=LIMIT)
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self._keep(f"uncaught: {error} {error.stack}"))
        page.goto(lab.address(f"tree/notebooks/{name}"))
        expect(page.locator(".jp-Notebook .jp-Cell").first).to_be_visible()

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._keep(f"{message.text} ({message.location['url']})")

    def _keep(self, error: str) -> None:
        if not any(re.search(known, error, re.DOTALL) for known in KNOWN):
            self.errors.append(error)

    def run_all(self) -> None:
        """Choose "Run All Cells" in the menu, once there is a kernel."""
        self.wait_for_kernel()
        for name in ("Run", "Run All Cells"):
            self.page.get_by_role("menuitem", name=name, exact=True).click()
        # The stored notebook has its numbers already; from here on they are those of this run.
        self.page.wait_for_function(WAITING_OR_FAILED)

    def wait_for_kernel(self, there: bool = True) -> None:
        """Wait for an idle kernel, or until it is settled that there is none."""
        # The toolbar's sign says "idle" before there is a kernel; the line at the bottom does not.
        line = IDLE if there else "No Kernel | Unknown"
        expect(self.page.get_by_text(line, exact=True)).to_be_visible()

    def wait_until_run(self) -> None:
        """Wait until every cell has run; AssertionError with what a cell said when it failed."""
        seen = self.page.wait_for_function(RUN_OR_FAILED).json_value()
        assert seen == "run", seen

    def widget(self, name: str, number: int = 0) -> WidgetOnPage:
        """A live widget, such as "mask-overlay"; number: which of them, from the top."""
        return WidgetOnPage(self.page.locator(f".unet-widget.unet-{name}").nth(number))

    def text(self) -> str:
        """What can be read in the outputs."""
        return self.page.evaluate(VISIBLE_TEXT)

    def lost_widgets(self) -> list[str]:
        """Lines in which JupyterLab says that it cannot show a widget."""
        return [line for line in self.text().splitlines() if LOST.search(line)]

    def save(self) -> None:
        """Save the notebook, if anything is new in it, and wait until the file is written."""
        dirty = self.page.locator(".jp-mod-dirty")
        if dirty.count():
            with self.page.expect_response(
                lambda r: r.request.method == "PUT" and "ipynb" in r.url
            ):
                self.page.keyboard.press("ControlOrMeta+s")
        expect(dirty).to_have_count(0)

    def widths_of_pictures(self, at_least: int) -> list[int]:
        """The width in pixels of every picture that the outputs show.

        Waits until there are so many, but not for long.
        """
        with suppress(TimeoutError):
            self.page.wait_for_function(
                f"count => ({WIDTHS})().length >= count", arg=at_least, timeout=60_000
            )
        return self.page.evaluate(WIDTHS)

    def close(self) -> None:
        """Close the window; what was not saved is given up."""
        self.page.context.close()

    def screenshot(self, title: str) -> None:
        """Keep what the window shows now, for people."""
        self.screenshots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self.screenshots / f"{self.name[:2]}_{title}.png")


@dataclass
class WidgetOnPage:
    """One of the course's widgets, live."""

    root: Locator

    @property
    def picture(self) -> Locator:
        return self.root.locator("img.unet-picture")

    @property
    def caption(self) -> Locator:
        return self.root.locator(".unet-caption")

    @property
    def message(self) -> Locator:
        return self.root.locator(".unet-message")

    def control(self, name: str) -> Locator:
        return self.root.locator(f".unet-control-{name}")

    def handle(self, name: str) -> Locator:
        """What one takes hold of on a slider."""
        return self.control(name).locator(".noUi-handle")

    def pixels(self) -> np.ndarray:
        """The picture as it is seen on the page, RGB uint8 (H, W, 3)."""
        self.picture.scroll_into_view_if_needed()
        self.root.page.wait_for_function(LOADED, arg=self.picture.element_handle())
        return np.asarray(Image.open(io.BytesIO(self.picture.screenshot())).convert("RGB"))

    def drawn(self) -> np.ndarray:
        """The picture as the kernel has drawn it, RGB uint8 (H, W, 3)."""
        content = self.picture.evaluate(CONTENT)
        return np.asarray(Image.open(io.BytesIO(bytes(content))).convert("RGB"))

    @contextmanager
    def changes(self, words: Locator) -> Iterator[None]:
        """Hold that what happens inside changes the pixels of the picture and the text of words."""
        expect(self.root.page.get_by_text(IDLE, exact=True)).to_be_visible()  # no earlier move
        text, before = words.inner_text(), self.pixels()
        file = self.picture.get_attribute("src")
        yield
        expect(words).not_to_have_text(text)
        expect(self.picture).not_to_have_attribute("src", file)
        after = self.pixels()
        same_size = after.shape == before.shape
        assert not same_size or (after != before).any(axis=2).mean() > 0.001

    def readout(self, name: str) -> Locator:
        """The number beside a slider."""
        return self.control(name).locator(".widget-readout")

    def slide(self, name: str, share: float) -> None:
        """Drag a slider with the mouse to a share of its way, 0 to 1."""
        handle, way = self.handle(name), self.control(name).locator(".noUi-base")
        handle.scroll_into_view_if_needed()
        box = way.bounding_box()
        handle.hover()
        mouse = self.root.page.mouse
        mouse.down()
        mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        mouse.up()

    def choose(self, name: str, number: int) -> None:
        """Choose an entry of a drop-down list by its number, from 0."""
        self.control(name).locator("select").select_option(index=number)

    def press(self, name: str, text: str | None = None) -> None:
        """Press a button; text: which one, where the control has several."""
        control = self.control(name)
        buttons = control.locator("button")
        (buttons.filter(has_text=text) if text else control).first.click()
