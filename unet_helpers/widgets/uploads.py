"""What a learner uploads through a widget: the files, and the picture in one of them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import ipywidgets as widgets
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from unet_helpers.environment import CourseError

LONGEST = 4096  # pixels; larger pictures are shrunk
MOST = 150_000_000  # pixels; a picture that claims more is refused before it is unpacked


def on_upload(upload: widgets.FileUpload, use: Callable[[str, bytes], None]) -> None:
    """Call use(file name, contents) for every file that is uploaded.

    ipywidgets 7 gives a dictionary by name, 8 a tuple of entries.
    """

    def take(change: dict) -> None:
        files = change["new"]
        if isinstance(files, dict):
            pairs = [(name, entry["content"]) for name, entry in files.items()]
        else:
            pairs = [(entry["name"], entry["content"]) for entry in files]
        for name, content in pairs:
            use(name, bytes(content))
        # Emptied, so that the same file can be chosen a second time (7 cannot be emptied).
        if pairs and not isinstance(files, dict):
            upload.value = ()

    upload.observe(take, "value")


def picture_in(name: str, content: bytes) -> np.ndarray:
    """The picture in a file, RGB uint8 (H, W, 3), upright, transparent parts in white.

    Its longer side is at most LONGEST pixels. Raises CourseError for what is no picture, for one
    that breaks off, and for one that is too large to unpack.
    """
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if image.width * image.height > MOST:
                raise Image.DecompressionBombError(f"{image.width}×{image.height} pixels")
            image.draft("RGB", (LONGEST, LONGEST))  # a large JPEG comes out smaller at once
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except Image.DecompressionBombError as error:
        raise CourseError(
            name, expected=f"at most {MOST // 1_000_000} million pixels", found=error,
            mend="make the picture smaller first",
        ) from None  # fmt: skip
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        kind = "no picture" if isinstance(error, UnidentifiedImageError) else f"damage: {error}"
        raise CourseError(
            name, expected="a picture, such as JPEG or PNG",
            found=kind if content else "an empty file",
            mend="choose another file, or save the picture as JPEG or PNG first",
        ) from None  # fmt: skip
    upright.thumbnail((LONGEST, LONGEST))
    white = Image.new("RGBA", upright.size, "white")
    return np.asarray(Image.alpha_composite(white, upright).convert("RGB"))
