"""Large words for the studio's wall, drawn with strokes of our own (no font is needed)."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

# Words of our own. The real wall changes from thin to bold strokes in mid-word; so do these.
WORDS = ("NEURAVON", "CONTOURA", "TENSORVA", "ROTUNDA", "ENCODERA", "VANTORA", "MOTORAMA",
         "MERIDIAN", "CLARAVUE", "AUTONOVA")  # fmt: skip


def _arc(cx, cy, rx, ry, start, stop) -> list[tuple[float, float]]:
    angle = np.radians(np.linspace(start, stop, 40))
    return [(cx + rx * np.cos(a), cy - ry * np.sin(a)) for a in angle]


# Glyphs in a box of height 1 (y down): (width, strokes as polylines).
GLYPHS: dict[str, tuple[float, list]] = {
    "A": (0.95, [[(0, 1), (0.475, 0), (0.95, 1)], [(0.60, 0.70), (0.82, 0.74)]]),
    "C": (0.92, [_arc(0.52, 0.5, 0.5, 0.5, 48, 312)]),
    "D": (0.82, [[(0.3, 0), (0, 0), (0, 1), (0.3, 1)], _arc(0.3, 0.5, 0.5, 0.5, 90, -90)]),
    "E": (0.62, [[(0.6, 0), (0, 0), (0, 1), (0.6, 1)], [(0, 0.5), (0.5, 0.5)]]),
    "I": (0.06, [[(0.03, 0), (0.03, 1)]]),
    "L": (0.58, [[(0, 0), (0, 1), (0.58, 1)]]),
    "M": (0.98, [[(0, 1), (0.08, 0), (0.49, 0.85), (0.90, 0), (0.98, 1)]]),
    "N": (0.80, [[(0, 1), (0, 0), (0.80, 1), (0.80, 0)]]),
    "O": (1.02, [_arc(0.51, 0.5, 0.5, 0.5, 0, 360)]),
    "R": (0.70, [[(0, 1), (0, 0), (0.38, 0)], _arc(0.38, 0.27, 0.28, 0.27, 90, -90),
                 [(0.38, 0.54), (0, 0.54)], [(0.36, 0.54), (0.70, 1)]]),
    "S": (0.64, [_arc(0.32, 0.26, 0.29, 0.26, 40, 270), _arc(0.32, 0.76, 0.31, 0.24, 90, -140)]),
    "T": (0.76, [[(0, 0), (0.76, 0)], [(0.38, 0), (0.38, 1)]]),
    "U": (0.76, [[(0, 0), (0, 0.62)], _arc(0.38, 0.62, 0.38, 0.38, 180, 360),
                 [(0.76, 0.62), (0.76, 0)]]),
    "V": (0.92, [[(0, 0), (0.46, 1), (0.92, 0)]]),
}  # fmt: skip


def word_mask(
    word: str,
    width: int,
    height: int,
    bold_from: int,
    thin: float = 0.085,
    bold: float = 0.20,
    gap: float = 0.36,
) -> np.ndarray:
    """Coverage (height, width) in 0..1 of a word that fills the box.

    Letters from index bold_from on have strokes of share bold of the height, the others thin.
    """  # fmt: skip
    scale = 3
    canvas = Image.new("L", (width * scale, height * scale), 0)
    draw = ImageDraw.Draw(canvas)
    total = sum(GLYPHS[c][0] for c in word) + gap * (len(word) - 1) + thin + bold
    tall, unit = height * scale, width * scale / total
    x = thin / 2
    for i, letter in enumerate(word):
        advance, strokes = GLYPHS[letter]
        weight = (bold if i >= bold_from else thin) * tall
        inset = weight / 2
        for stroke in strokes:
            points = [((x + px) * unit, inset + py * (tall - 2 * inset)) for px, py in stroke]
            draw.line(points, fill=255, width=max(2, round(weight)), joint="curve")
            for px, py in points[1:-1]:  # bold curves would show cracks between their segments
                draw.ellipse((px - inset, py - inset, px + inset, py + inset), fill=255)
        x += advance + gap
    small = canvas.resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255.0
