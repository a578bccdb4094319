"""Progress bars that leave nothing broken behind.

``tqdm.auto`` draws a widget in a notebook. Opened again without its kernel, the notebook says
"model not found" in its place. A bar of characters stays what it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from unet_helpers.environment import running_in_notebook


def progress_bar(
    iterable: Iterable | None = None, title: str | None = None, **options: Any
) -> tqdm:
    """A tqdm bar of characters.

    In a notebook it goes where printed lines go, since what goes to stderr looks like an error
    there. options: those of ``tqdm.tqdm``.
    """
    if running_in_notebook():
        options = {"file": sys.stdout, "ncols": 90} | options
    return tqdm(iterable, title, **options)
