"""The widgets of the notebooks in a real browser: they run, they move, they leave a picture.

Each notebook is opened and run once; the tests of one notebook share its window.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
from lab_server import Lab
from notebook_page import NotebookPage, WidgetOnPage
from PIL import Image
from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parents[2]
NAMES = {path.name[:2]: path.name for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}
NUMBERS = ("03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13")
# Long, so what follows their last widget is cut off; test_notebooks.py runs all of them.
CUT = ("09", "10", "11", "12", "13")
REOPENED_WITH_A_KERNEL = ("08",)
EPOCHS = 40  # of 06 in these tests: more than anybody would wait for

# --- what is moved, and the words that must change with the picture ------------------------------


def slide(name: str, share: float):
    return lambda widget: widget.slide(name, share)


def choose(name: str, number: int):
    return lambda widget: widget.choose(name, number)


def press(name: str, text: str | None = None):
    return lambda widget: widget.press(name, text)


CAPTION = "caption"
# Notebook -> widget, what is done, and the words: the caption, or the number beside a slider.
MOVES = {
    "03": [
        ("mask-overlay", choose("photo", 6), CAPTION),
        ("mask-overlay", slide("opacity", 0.9), "opacity"),
        ("augmentation-playground", press("again"), CAPTION),
        ("augmentation-playground", slide("turn", 0.8), CAPTION),
    ],
    "04": [
        ("shape-walker", slide("step", 0.2), CAPTION),
        ("shape-walker", slide("step", 0.9), CAPTION),
    ],
    "05": [("threshold-explorer", slide("threshold", 0.85), CAPTION)],
    "06": [("threshold-explorer", slide("threshold", 0.15), CAPTION)],
    "07": [
        ("mask-overlay", press("mode", "prediction"), CAPTION),
        ("turntable", slide("angle", 0.7), CAPTION),
        ("threshold-explorer", slide("threshold", 0.85), CAPTION),
    ],
    "08": [
        ("mask-overlay", choose("photo", 2), CAPTION),
        ("background-swap", choose("background", 3), CAPTION),
        ("background-swap", slide("feather", 0.8), CAPTION),
    ],
    "09": [
        ("mask-overlay", choose("photo", 3), CAPTION),
        ("mask-overlay", press("mode", "differences"), CAPTION),
    ],
    "10": [
        ("window-grid", slide("overlap", 0.9), CAPTION),
        ("window-grid", choose("size", 0), CAPTION),
        ("window-grid", slide("number", 0.8), CAPTION),
    ],
    "11": [("amdahl-explorer", slide("backward", 0.6), CAPTION)],
    "12": [
        ("ablation-explorer", choose("question", 1), CAPTION),
        ("ablation-explorer", press("bars", "95 %"), CAPTION),
    ],
    "13": [
        ("mask-overlay", choose("photo", 1), CAPTION),
        ("threshold-explorer", slide("threshold", 0.15), CAPTION),
    ],
}


# --- a notebook that runs ------------------------------------------------------------------------


def of(*numbers: str) -> pytest.MarkDecorator:
    """Run a test for these notebooks; run side by side, those of one notebook stay together."""
    together = [pytest.mark.xdist_group(f"notebook {number} in a browser") for number in numbers]
    params = [pytest.param(n, marks=mark) for n, mark in zip(numbers, together, strict=True)]
    return pytest.mark.parametrize("started", params, indirect=True, scope="module")


def make_training_long(path: Path) -> None:
    """Give the run in notebook 06 (a copy) so many epochs that only its button ends it."""
    notebook = nbformat.read(path, as_version=4)
    (cell,) = [cell for cell in notebook.cells if "config = TrainConfig(\n" in cell.source]
    cell.source += f"\nconfig = config.model_copy(update={{'epochs': {EPOCHS}}})"
    nbformat.write(notebook, path)


def cut_behind_the_widgets(path: Path) -> None:
    """Take what follows its last widget from a notebook (a copy)."""
    notebook = nbformat.read(path, as_version=4)
    sources = [cell.source if cell.cell_type == "code" else "" for cell in notebook.cells]
    last = max(n for n, source in enumerate(sources) if "unet_helpers.widgets import" in source)
    notebook.cells = notebook.cells[: last + 1]
    nbformat.write(notebook, path)


@pytest.fixture(scope="module")
def started(request, lab, course, new_page) -> Iterator[NotebookPage]:
    """The notebook of the number that a test names, with "Run All Cells" chosen."""
    name = NAMES[request.param]
    if request.param == "06":
        make_training_long(course / "notebooks" / name)
    if request.param in CUT:
        cut_behind_the_widgets(course / "notebooks" / name)
    page = new_page(lab, name)
    page.run_all()
    yield page
    page.close()
    lab.stop_kernels()
    # 07 and 08 would read the run that 06 has left.
    shutil.rmtree(course / "runs", ignore_errors=True)


@pytest.fixture
def running(started: NotebookPage) -> Iterator[NotebookPage]:
    """The notebook while it runs; after the test nothing may have been complained of."""
    yield started
    started.screenshot("last")
    assert started.errors == []
    assert started.lost_widgets() == []


@pytest.fixture
def notebook(running: NotebookPage) -> NotebookPage:
    """The notebook once it has run."""
    running.wait_until_run()
    return running


# --- the tests -----------------------------------------------------------------------------------


@of("06")
def test_the_stop_button_ends_the_run_after_its_epoch(running):
    curve = running.widget("live-curve")
    expect(curve.caption).to_contain_text(f"after epoch 2 of {EPOCHS}: loss ")
    with curve.changes(curve.control("stop")):
        curve.press("stop")
        expect(curve.control("stop")).to_contain_text("Stopped after epoch ")
    epoch = int(curve.control("stop").inner_text().split()[-1])
    assert 2 <= epoch < EPOCHS
    expect(curve.caption).to_contain_text(f"after epoch {epoch} of {EPOCHS}: loss ")
    running.wait_until_run()
    assert f"epoch {epoch}/{EPOCHS}: loss " in running.text()
    assert f"epoch {epoch + 1}/{EPOCHS}: loss " not in running.text()
    # On the right, where Dice is: the blue of the curve's line, well above its single dots.
    picture = curve.pixels().astype(int)
    right = picture[:, picture.shape[1] // 2 :]
    blue = np.abs(right - (0x00, 0x72, 0xB2)).max(axis=2) < 40
    assert blue.sum() > 40


@of(*NUMBERS)
def test_what_is_moved_changes_picture_and_words(notebook, request):
    number = request.node.callspec.params["started"]
    for name, move, words in MOVES[number]:
        widget = notebook.widget(name)
        notebook.screenshot(f"{name}_before")
        with widget.changes(widget.caption if words == CAPTION else widget.readout(words)):
            move(widget)
        notebook.screenshot(f"{name}_after")
        expect(widget.message).to_be_hidden()


@of("05")
def test_a_slider_moves_with_the_keys(notebook):
    widget = notebook.widget("threshold-explorer")
    widget.handle("threshold").focus()
    with widget.changes(widget.caption):
        for _ in range(5):
            widget.handle("threshold").press("ArrowLeft")


@of("09")
def test_a_class_is_switched_off_and_on(notebook):
    overlay = notebook.widget("mask-overlay")
    overlay.press("mode", "prediction")
    expect(overlay.root).to_contain_text("wheel")
    before = overlay.drawn()
    box = overlay.control("class-3").locator("input")
    file = overlay.picture.get_attribute("src")
    box.uncheck()
    expect(overlay.picture).not_to_have_attribute("src", file)
    assert (overlay.drawn() != before).any(axis=2).mean() > 0.001
    file = overlay.picture.get_attribute("src")
    box.check()
    expect(overlay.picture).not_to_have_attribute("src", file)
    np.testing.assert_array_equal(overlay.drawn(), before)


@of("08")
def test_own_background_is_shown_and_what_is_no_picture_is_named(notebook):
    swap = notebook.widget("background-swap")
    upload(swap, "own-background", "violet.png", a_png((150, 100), (190, 20, 220)))
    expect(swap.caption).to_contain_text("before “own picture”")
    corner = swap.pixels()[4:12, 4:12].reshape(-1, 3)
    np.testing.assert_allclose(corner, [(190, 20, 220)] * len(corner), atol=4)

    upload(swap, "own-background", "notes.png", b"This is not a picture.")
    expect(swap.message).to_contain_text("notes.png: expected a picture")
    expect(swap.picture).to_be_visible()
    with swap.changes(swap.caption):
        swap.choose("background", 0)
    expect(swap.message).to_be_hidden()


@of("08")
def test_own_photo_is_predicted_and_can_be_chosen(notebook):
    swap = notebook.widget("background-swap")
    with swap.changes(swap.caption):
        upload(swap, "own-photo", "my car.png", a_png((240, 160), (60, 60, 60)))
        expect(swap.caption).to_contain_text("my car.png before ")
    upload(swap, "own-photo", "notes.jpg", b"Nor is this.")
    expect(swap.message).to_contain_text("notes.jpg: expected a picture")
    with swap.changes(swap.caption):
        swap.choose("photo", 1)
    expect(swap.message).to_be_hidden()


@of("08")
def test_cut_out_is_saved_with_its_transparency_and_can_be_downloaded(notebook, course):
    swap = notebook.widget("background-swap")
    swap.choose("photo", 0)
    swap.press("save-cut-out")
    saved = swap.root.locator(".unet-saved")
    expect(saved).to_contain_text("Saved runs/08_cut_out/")
    name = saved.inner_text().split()[1].removesuffix(".")
    with Image.open(course / "runs" / "08_cut_out" / Path(name).name) as picture:
        assert picture.mode == "RGBA"
        assert f"({picture.width}×{picture.height})" in saved.inner_text()
        opacity = np.asarray(picture.getchannel("A"))
    assert (opacity == 0).any() and (opacity == 255).any()
    with notebook.page.expect_download() as download:
        saved.get_by_text("Download it").click()
    content = Path(download.value.path()).read_bytes()
    assert content == (course / "runs" / "08_cut_out" / Path(name).name).read_bytes()


@of(*NUMBERS)
def test_reopened_without_a_kernel_it_shows_its_pictures(
    notebook, course, lab_without_kernels, new_page
):
    shows_its_pictures(notebook, course, lab_without_kernels, new_page)


@of(*REOPENED_WITH_A_KERNEL)
def test_reopened_with_a_new_kernel_it_shows_its_pictures(notebook, course, lab, new_page):
    shows_its_pictures(notebook, course, lab, new_page)


def shows_its_pictures(
    notebook: NotebookPage, course: Path, server: Lab, new_page: Callable
) -> None:
    """Save the notebook, open a copy of it in another window, and hold its pictures to be there."""
    kernel = server.starts_kernels
    notebook.save()
    copy = nbformat.read(course / "notebooks" / notebook.name, as_version=4).cells
    original = nbformat.read(ROOT / "notebooks" / notebook.name, as_version=4).cells
    saved, committed = alts(copy), alts(original[: len(copy)])
    assert len(saved) == len(committed), f"committed: {committed}; saved: {saved}"
    assert all(len(alt.split()) >= 3 for alt in saved)
    # Under its own name it would get the kernel that is still there for it.
    again = course / "notebooks" / f"{notebook.name[:2]}_again.ipynb"
    shutil.copy(course / "notebooks" / notebook.name, again)
    page = new_page(server, again.name)
    page.wait_for_kernel(kernel)
    widths = page.widths_of_pictures(at_least=len(saved))
    page.screenshot("reopened_with_a_new_kernel" if kernel else "reopened_without_a_kernel")
    assert len(widths) == len(saved)
    assert min(widths) > 0
    assert page.lost_widgets() == []
    # With a kernel, the console names the models that have gone; the page, here, does not.
    gone = "Error: widget model not found"
    assert [error for error in page.errors if not (kernel and error.startswith(gone))] == []
    page.close()


# --- stored pictures, and files for the uploads ---------------------------------------------------


def alts(cells: list) -> list[str]:
    """The alt texts of the pictures in these cells (JupyterLab's page does not show them)."""
    return [
        output.metadata.get("image/png", {}).get("alt", "")
        for cell in cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]


def a_png(size: tuple[int, int], colour: tuple[int, int, int]) -> bytes:
    """A PNG of one colour; size: (width, height)."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def upload(widget: WidgetOnPage, control: str, name: str, content: bytes) -> None:
    """Choose a file through one of the widget's upload buttons."""
    with widget.root.page.expect_file_chooser() as chooser:
        widget.control(control).click()
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    chooser.value.set_files(file)
