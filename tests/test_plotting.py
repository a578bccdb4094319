"""The notebooks' pictures: what is drawn, what is stored with it, and that colours stay apart."""

from __future__ import annotations

import base64
import io
import os
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from PIL import Image

from unet_helpers import pictures, plotting
from unet_helpers.environment import CourseError, course_root

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import run_notebooks


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def photo_of(value: int, height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> nbformat.NotebookNode:
    """A cell that shows a figure, run in a real kernel."""
    cells = [
        nbformat.v4.new_code_cell(
            f"import sys\nsys.path.insert(0, {str(course_root())!r})\n"
            "import matplotlib.pyplot as plt\nfrom unet_helpers.plotting import show\n"
            "fig, axis = plt.subplots()\naxis.plot([1, 2])\n"
            "show(fig, 'A line\\n  that rises.')\nprint(plt.get_fignums())"
        )
    ]
    path = tmp_path_factory.mktemp("shown") / "shown.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return run_notebooks.execute(path, dict(os.environ), timeout=120)


def test_show_stores_the_sentence_as_alt_text_and_as_plain_text(shown):
    pictures_shown = [o for o in shown.cells[0].outputs if o.output_type == "display_data"]
    assert len(pictures_shown) == 1  # the figure is closed: the kernel does not draw it again
    output = pictures_shown[0]
    assert output.metadata["image/png"]["alt"] == "A line that rises."
    assert output.data["text/plain"] == "A line that rises."
    image = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
    assert image.format == "PNG" and image.width > 200
    printed = "".join(o.text for o in shown.cells[0].outputs if o.output_type == "stream")
    assert printed.strip() == "[]"


def test_show_outside_a_notebook_prints_the_sentence(capsys):
    fig, _ = plt.subplots()
    plotting.show(fig, "A line that rises.")
    assert "A line that rises." in capsys.readouterr().out
    assert plt.get_fignums() == []


def test_show_wants_a_sentence():
    with pytest.raises(CourseError, match="alt"):
        plotting.show(plt.figure(), "  ")


def test_a_picture_file_is_stored_as_it_is(monkeypatch, tmp_path):
    path, kept = tmp_path / "red.png", []
    Image.new("RGB", (3, 2), "red").save(path)
    monkeypatch.setattr(pictures, "get_ipython", lambda: "a kernel")
    monkeypatch.setattr(
        pictures, "display", lambda bundle, **options: kept.append((bundle, options))
    )
    plotting.show_picture(path, "A red\n rectangle.")
    (bundle, options), *others = kept
    assert not others and base64.b64decode(bundle["image/png"]) == path.read_bytes()
    assert bundle["text/plain"] == options["metadata"]["image/png"]["alt"] == "A red rectangle."


def test_a_picture_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    for name, found in (("a.png", "another kind of file"), ("b.png", "no such file")):
        with pytest.raises(CourseError, match=found):
            plotting.show_picture(tmp_path / name, "A picture.")
    with pytest.raises(CourseError, match="alt"):
        plotting.show_picture(tmp_path / "a.png", " ")


def test_png_is_small_repeatable_and_says_nothing_about_the_machine():
    noise = np.random.default_rng(0).integers(0, 256, (300, 450, 3), dtype=np.uint8)
    first, second = (pictures.figure_png(plotting.plot_photos([noise] * 4)) for _ in range(2))
    assert first == second
    image = Image.open(io.BytesIO(first))
    assert image.mode == "P" and not {"Software", "Date", "Creation Time"} & image.info.keys()
    # Four photos of pure noise are the worst case; 24 bits a pixel would be three times as much.
    assert len(first) < 1.1 * image.width * image.height


def test_overlay_mixes_inside_and_leaves_outside_alone():
    photo = photo_of(100, 2, 2)
    mask = np.array([[0, 1], [1, 0]], np.uint8)
    mixed = plotting.overlay(photo, mask, colour=(200, 0, 100), alpha=0.25)
    assert mixed[0, 1].tolist() == [125, 75, 100]
    assert mixed[0, 0].tolist() == [100, 100, 100]
    assert mixed.dtype == np.uint8 and photo.max() == 100


def test_overlay_refuses_another_size():
    with pytest.raises(CourseError, match=r"20×30.*10×30"):
        plotting.overlay(photo_of(0), np.zeros((10, 30), np.uint8))


def test_difference_tells_missed_from_extra():
    mask = np.array([[1, 1, 0, 0]], np.uint8)
    predicted = np.array([[1, 0, 1, 0]], np.uint8)
    row = plotting.difference(photo_of(100, 1, 4), mask, predicted)[0].tolist()
    assert row[1] == list(pictures.MISSED_COLOUR)
    assert row[2] == list(pictures.EXTRA_COLOUR)
    assert row[0] == row[3] == [177, 177, 177]


@pytest.mark.parametrize(
    "matrix",
    [
        # Viénot, Brettel and Mollon 1999, linear RGB: protanopia and deuteranopia.
        [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
        [[0.2126, 0.7152, 0.0722]] * 3,  # no colour at all
    ],
)
def test_missed_and_extra_stay_apart_without_full_colour_vision(matrix):
    seen = []
    for colour in (pictures.MISSED_COLOUR, pictures.EXTRA_COLOUR):
        linear = (np.asarray(colour) / 255) ** 2.2
        seen.append(np.clip(np.asarray(matrix) @ linear, 0, 1) ** (1 / 2.2))
    assert np.linalg.norm(seen[0] - seen[1]) > 0.3


def test_photos_come_in_rows_and_titles_must_match():
    fig = plotting.plot_photos([photo_of(9)] * 5, list("abcde"), columns=3)
    drawn = [axis for axis in fig.axes if axis.images]
    assert len(fig.axes) == 6 and len(drawn) == 5
    assert [axis.get_title() for axis in drawn] == list("abcde")
    with pytest.raises(CourseError, match="5 photos, 1 titles"):
        plotting.plot_photos([photo_of(9)] * 5, ["a"])
    with pytest.raises(CourseError, match="0 photos"):
        plotting.plot_photos([])


def test_a_class_index_mask_is_drawn_from_black_to_white():
    mask = np.array([[0, 1]], np.uint8)
    image = plotting.plot_photos([mask]).axes[0].images[0]
    assert image.get_clim() == (0, 1)


def history_rows() -> list[dict]:
    return [
        {"epoch": 1, "train_loss": 0.9, "val_loss": 0.8, "dice_mean": 0.5, "dice_p10": 0.2},
        {"epoch": 2, "train_loss": 0.4, "val_loss": "", "dice_mean": 0.9, "dice_p10": 0.7},
    ]


def test_history_draws_the_rows_numbers():
    left, right = plotting.plot_history(history_rows()).axes
    lines = {line.get_label(): line.get_ydata() for axis in (left, right) for line in axis.lines}
    assert lines["training"].tolist() == [0.9, 0.4]
    assert lines["validation"][0] == 0.8 and np.isnan(lines["validation"][1])
    assert lines["mean over images"].tolist() == [0.5, 0.9]
    assert lines["10th percentile"].tolist() == [0.2, 0.7]
    with pytest.raises(CourseError, match="history"):
        plotting.plot_history([])


def test_histogram_counts_every_image_and_marks_mean_and_tenth_percentile():
    dices = [0.5, 0.9, 0.9, 1.0]
    axis = plotting.plot_dice_histogram([{"stem": "x", "dice": d} for d in dices]).axes[0]
    assert sum(patch.get_height() for patch in axis.patches) == 4
    labels = [line.get_label() for line in axis.lines]
    assert labels == ["mean 0.825", "10th percentile 0.620"]
    assert axis.lines[0].get_xdata()[0] == pytest.approx(0.825)
    with pytest.raises(CourseError, match="Dice per image"):
        plotting.plot_dice_histogram([])


def test_angles_come_in_the_turntables_order_not_the_alphabets():
    car = "00087a6bd4dc"
    rows = [{"stem": f"{car}_{angle:02d}", "dice": angle / 16} for angle in (16, 2, 10, 1)]
    rows.append({"stem": f"{car}_02_mask", "dice": 0.5})
    groups = plotting.dice_by_angle(rows)
    assert list(groups) == [1, 2, 10, 16]
    assert groups[2] == [0.125, 0.5]
    axis = plotting.plot_dice_by_angle(rows).axes[0]
    means = axis.lines[-1]
    assert list(means.get_xdata()) == [1, 2, 10, 16]
    assert list(means.get_ydata()) == pytest.approx([1 / 16, 0.3125, 10 / 16, 1.0])


def test_worst_looks_up_only_what_it_shows_and_says_it_in_words(capsys):
    asked = []

    def look_up(stem):
        asked.append(stem)
        return photo_of(50), np.ones((20, 30), np.uint8), np.zeros((20, 30), np.uint8)

    rows = [{"stem": name, "dice": d} for name, d in (("a", 0.9), ("b", 0.1), ("c", 0.4))]
    plotting.show_worst(rows, look_up, count=2)
    assert asked == ["b", "c"]
    assert "b Dice 0.100; c Dice 0.400." in capsys.readouterr().out
