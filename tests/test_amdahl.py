"""The widget of notebook 11, and the bars that it shares its colours with."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_helpers.plotting import TIME_PARTS, plot_time_bars
from unet_helpers.widgets import AmdahlExplorer

PARTS = {"decode": 12.0, "augment": 3.0, "forward": 5.0, "backward": 10.0}


def coloured(widget: AmdahlExplorer, part: str) -> tuple[int, int]:
    """Pixels of a part's colour in the upper and the lower bar."""
    code = TIME_PARTS[part]
    colour = [int(code[i : i + 2], 16) for i in (1, 3, 5)]
    rows = (widget.drawing.picture == colour).all(axis=2).sum(axis=1)
    return int(rows[: len(rows) // 2].max()), int(rows[len(rows) // 2 :].max())


def test_a_slider_changes_the_bar_and_the_words():
    widget = AmdahlExplorer(PARTS)
    assert "30.0 ms a photo become 30.0: 1.00 times as fast" in widget.text
    above, below = coloured(widget, "decode")
    assert above == below > 100
    widget.sliders["decode"].value = 4.0
    assert "30.0 ms a photo become 21.0: 1.43 times as fast" in widget.text
    assert "then backward, 48%" in widget.text and "2.73 times" in widget.text  # 30 / 11
    above, below = coloured(widget, "decode")
    assert below == pytest.approx(above / 4, abs=2)
    assert widget.drawing.alt.endswith(widget.text)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0.1, 100), min_size=4, max_size=4), st.sampled_from([1.0, 2.0, 8.0, 32.0])
)
def test_the_whole_is_the_sum_of_the_parts(times, factor):
    parts = dict(zip(PARTS, times, strict=True))
    widget = AmdahlExplorer(parts, chosen="forward", times=factor)
    left = sum(widget.after().values())
    share = parts["forward"] / sum(times)  # the law as Amdahl's own readers write it
    assert sum(times) / left == pytest.approx(1 / (1 - share + share / factor))
    found = re.search(r": ([\d.]+) times as fast\. ", widget.text)
    assert float(found[1]) == pytest.approx(sum(times) / left, abs=0.006)


def test_one_part_alone_has_no_limit():
    widget = AmdahlExplorer({"decode": 2.0}, chosen="decode", times=32.0)
    assert "32.00 times as fast" in widget.text and "without it" not in widget.text


@pytest.mark.parametrize(
    "parts", [{}, None, [], {"decode": -1}, {"decode": float("nan")}, {"a": "b"}, {"decode": 0}]
)
def test_what_is_no_table_of_times_is_said_in_the_widget(parts):
    widget = AmdahlExplorer(parts)
    assert "AmdahlExplorer(parts): expected names with their times" in widget.text


def test_every_slider_has_a_label():
    assert [slider.description for slider in AmdahlExplorer(PARTS).sliders.values()] == list(PARTS)


def test_bars_are_as_long_as_their_parts():
    fig = plot_time_bars({"before": PARTS, "after": {**PARTS, "decode": 1.0}})
    axis = fig.axes[0]
    widths = [patch.get_width() for patch in axis.patches]
    assert widths == [*PARTS.values(), 1.0, 3.0, 5.0, 10.0]
    assert [text.get_text().strip() for text in axis.texts] == ["30.0", "19.0"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["before", "after"]
    starts = np.array([patch.get_x() for patch in axis.patches[:4]])
    np.testing.assert_allclose(starts, np.cumsum([0, 12, 3, 5]))
