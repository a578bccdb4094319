"""BackgroundSwap: the car before another background, and saved without any."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
from PIL import ImageColor

from unet_helpers.cutout import feather, foreground, keep_largest_component, replace_background
from unet_helpers.environment import CourseError, course_root, runs_dir
from unet_helpers.inference import save_png
from unet_helpers.scenes import draw_showroom, gradient
from unet_helpers.widgets.base import CourseWidget, Drawing, chooser, control, row
from unet_helpers.widgets.drawing import fit
from unet_helpers.widgets.inputs import a_photo, a_probability, as_many, several, titles_for
from unet_helpers.widgets.uploads import on_upload, picture_in

OWN = "own picture"
# Name in the list -> what is drawn for a size (height, width), or one colour.
SCENES: dict[str, Any] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "colour": None,
    "sky": lambda size: gradient(size, (86, 150, 214), (236, 242, 246)),
    "dusk": lambda size: gradient(size, (38, 40, 92), (242, 158, 96)),
    "showroom": draw_showroom,
    OWN: None,
}
LINK_LIMIT = 6_000_000  # bytes of a PNG that is also offered as a link


class BackgroundSwap(CourseWidget):
    """A car before colours, gradients, a drawn showroom or the learner's own picture.

    photos: RGB uint8 (H, W, 3) each; probabilities: float (H, W) in 0 to 1 each, or masks of 0 and
    1; titles: one a photo. predict: takes a photo and gives its probability; with it the learner
    may upload a photo of a car, which is predicted once. background: one of SCENES, shown first.
    feather: half the width of the soft edge, in pixels of the photo, 0 for a hard edge. folder:
    where "save" writes (None: cut_outs in the folder of the runs). width: of the picture, in
    pixels; what is saved has the photo's own size.
    """

    def __init__(
        self,
        photos: Any,
        probabilities: Any,
        titles: Sequence[str] | None = None,
        *,
        predict: Callable[[np.ndarray], np.ndarray] | None = None,
        background: str = "showroom",
        first: int = 0,
        feather: float = 1.5,
        folder: str | Path | None = None,
        width: int = 480,
    ) -> None:
        super().__init__("background-swap")
        self.photos, self.probabilities, names = [], [], []
        self.width, self.predict = width, predict
        self.folder = Path(folder) if folder is not None else runs_dir() / "cut_outs"
        self._small: dict[int, tuple] = {}
        self._scenes: dict[str, np.ndarray] = {}
        self._own: np.ndarray | None = None
        self._empty: CourseError | None = None
        try:
            self.photos = several(photos, "photos", 3)
            self.probabilities = as_many(probabilities, self.photos, "probabilities") or several(
                [], "probabilities", 2
            )
            names = titles_for(titles, self.photos)
        except CourseError as error:
            self.photos, self.probabilities, names, self._empty = [], [], [], error
        self.photo = chooser("photo", "Photo", names, first)
        self._make_controls(background, feather)
        uploads = [self.own_background] + ([self.own_photo] if predict is not None else [])
        self.start(
            row(self.photo, self.background, self.colour),
            row(self.feather, self.shadow),
            row(self.clean, self.largest),
            row(*uploads, self.save_cut_out, self.save_picture),
        )
        self.children = (*self.children, self.saved)

    def _make_controls(self, background: str, radius: float) -> None:
        short = {"indent": False, "layout": {"width": "auto"}}
        self.background = control(
            widgets.Dropdown, "background", "Background", options=list(SCENES),
            value=background if background in SCENES else "showroom",
        )  # fmt: skip
        self.colour = control(widgets.ColorPicker, "colour", "Colour", value="#56b4e9")
        self.feather = control(
            widgets.FloatSlider, "feather", "Feather (pixels)",
            "how far the soft edge reaches to either side", value=radius, min=0, max=12, step=0.5,
        )  # fmt: skip
        self.shadow = control(
            widgets.FloatSlider, "shadow", "Shadow", "under the car", value=0.5, min=0, max=1,
            step=0.05,
        )  # fmt: skip
        self.clean = control(
            widgets.Checkbox, "clean", "take the studio out of the edge", value=True, **short
        )
        self.largest = control(
            widgets.Checkbox, "largest", "only the largest piece", value=True, **short
        )
        image = {"accept": "image/*", "multiple": False, "layout": {"width": "auto"}}
        self.own_background = control(
            widgets.FileUpload, "own-background", "Your background", **image
        )
        self.own_photo = control(widgets.FileUpload, "own-photo", "Your photo of a car", **image)
        wide = {"layout": {"width": "auto"}}
        self.save_cut_out = control(
            widgets.Button, "save-cut-out", "Save the cut-out",
            "a PNG whose background is transparent", icon="save", **wide,
        )  # fmt: skip
        self.save_picture = control(
            widgets.Button, "save-picture", "Save the picture", "a PNG as it is shown",
            icon="save", **wide,
        )  # fmt: skip
        self.saved = widgets.HTML()
        self.saved.add_class("unet-saved")
        on_upload(self.own_background, self._take_background)
        on_upload(self.own_photo, self._take_photo)
        self.save_cut_out.on_click(lambda _: self._save(with_background=False))
        self.save_picture.on_click(lambda _: self._save(with_background=True))
        self.colour.observe(self._choose_colour, "value")

    def _choose_colour(self, change: dict) -> None:
        with self.together(redraw=False):
            self.background.value = "colour"

    def _take_background(self, name: str, content: bytes) -> None:
        try:
            self._own = picture_in(name, content)
        except CourseError as error:
            self.say(error)
            return
        with self.together():
            self.background.value = OWN

    def _take_photo(self, name: str, content: bytes) -> None:
        try:
            photo = picture_in(name, content)
            probability = a_probability(self.predict(photo), photo)
        except Exception as error:  # the learner's own function may raise anything
            self.say(error)
            return
        titles = [title for title, _ in self.photo.options] + [name]
        self.photos.append(photo)
        self.probabilities.append(probability)
        with self.together():
            self.photo.options = [(title, number) for number, title in enumerate(titles)]
            self.photo.value = len(titles) - 1

    def arrays(self, number: int, small: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Photo and probability, checked; small: at the width of the picture."""
        if not small or number not in self._small:
            photo = a_photo(self.photos[number])
            probability = a_probability(self.probabilities[number], photo)
            if not small:
                return photo, probability
            self._small[number] = fit(photo, self.width), fit(probability, self.width)
        return self._small[number]

    def cut_out(self, number: int, small: bool = True) -> np.ndarray:
        """The car with its soft edge, RGBA uint8 (H, W, 4), for the controls as they stand."""
        photo, probability = self.arrays(number, small)
        scale = photo.shape[1] / a_photo(self.photos[number]).shape[1]
        alpha = feather(probability, self.feather.value * scale)
        if self.largest.value:
            alpha = alpha * keep_largest_component(alpha)
        car = foreground(photo, alpha) if self.clean.value else photo
        return np.dstack([car, alpha])

    def scene(self, size: tuple[int, int]) -> np.ndarray | tuple[int, int, int]:
        """The background that is chosen, as a colour or as a picture."""
        name = self.background.value
        if name == "colour":
            return ImageColor.getrgb(self.colour.value)[:3]
        if name == OWN:
            if self._own is None:
                raise CourseError(
                    "your own background", expected="a picture", found="none yet",
                    mend="press “Your background” and choose a file",
                )  # fmt: skip
            return self._own
        made = SCENES[name]
        if not callable(made):
            return made
        key = f"{name} {size}"
        if key not in self._scenes:
            self._scenes = {key: made(size)}
        return self._scenes[key]

    def composed(self, number: int, small: bool = True) -> np.ndarray:
        """The car before its new background, RGB uint8 (H, W, 3)."""
        car = self.cut_out(number, small)
        behind = self.scene(car.shape[:2])
        return replace_background(
            np.ascontiguousarray(car[..., :3]), car[..., 3], behind, shadow=self.shadow.value
        )

    def draw(self) -> Drawing:
        if self._empty is not None and not self.photos:
            raise self._empty
        number, title = self.photo.value, self.photo.label
        alpha = self.cut_out(number)[..., 3]
        picture = self.composed(number)
        car, soft = (alpha > 127).mean(), ((alpha > 0) & (alpha < 255)).mean()
        caption = (
            f"{title} before “{self.background.value}”: {car:.1%} of the photo is car, "
            f"{soft:.1%} soft edge"
        )
        return Drawing(picture, caption, f"A car before a new background. {caption}.")

    def _save(self, with_background: bool) -> None:
        """Write the PNG at the photo's own size, under a name that nothing has yet."""
        self.saved.value = ""
        try:
            if not self.photos:
                raise self._empty or CourseError("save", found="no photo")
            number = self.photo.value
            whole = self.composed if with_background else self.cut_out
            picture = whole(number, small=False)
            kind = self.background.value if with_background else "cut_out"
            path = _free_name(self.folder, f"{self.photo.label} {kind}")
            save_png(picture, path)
        except Exception as error:
            self.say(error)
            return
        self.say(None)
        size = f"{picture.shape[1]}×{picture.shape[0]}"
        text = f"Saved {html.escape(_shown(path))} ({size})."
        data = path.read_bytes()
        if len(data) <= LINK_LIMIT:
            address = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
            name = html.escape(path.name)
            # Underlined, since JupyterLab takes a link's look away in a widget.
            look = "text-decoration: underline"
            text += f' <a download="{name}" href="{address}" style="{look}">Download it</a>'
        self.saved.value = f'<div role="status">{text}</div>'


def _free_name(folder: Path, title: str) -> Path:
    stem = re.sub(r"[^\w.-]+", "_", title).strip("_.") or "car"
    names = [stem, *(f"{stem}_{number}" for number in range(2, 1000))]
    return next(path for path in (folder / f"{n}.png" for n in names) if not path.exists())


def _shown(path: Path) -> str:
    """The path from the course's folder on, if it lies in there."""
    path = path.resolve()
    return str(path.relative_to(course_root())) if path.is_relative_to(course_root()) else str(path)
