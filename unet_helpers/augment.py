"""What happens to a photo and its mask between the disk and the network, in albumentations.

Photo and mask go through the same geometry: the photo with linear interpolation, the mask with
nearest, so that a class index never becomes a fraction. What a warp uncovers at the border is
filled by reflection (cv2.BORDER_REFLECT_101) in both, so the label stays right and the network
never meets black corners that no photo has. Everything stays uint8 until the last step.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from albumentations.core.transforms_interface import BasicTransform
from albumentations.core.type_definitions import Targets
from torch.utils.data import Dataset

from unet_helpers.around_the_car import BoxesBehind, ReflectionBelow, ShadowBelow, ToneApart
from unet_helpers.environment import CourseError

# Mean and spread of ImageNet's photos, RGB, for values in 0..1: what pretrained networks expect,
# and close enough to zero mean and unit spread for one that starts from nothing.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BORDER = cv2.BORDER_REFLECT_101
NO_EPOCH = -1
STRENGTHS = ("none", "gentle", "strong", "tutorial")


class Warp(A.Affine):
    """Shift, zoom, turn and shear in one warp: A.Affine, twice as fast, with the course's border.

    One warp is one interpolation, where a step for each would blur four times. OpenCV warps four
    channels faster than three, so the photo gets an empty one for the time being; and it is called
    directly, without A.Affine's checks for what photos and masks never are.
    """

    def __init__(self, p: float = 0.5, **ranges: Any) -> None:
        super().__init__(
            **ranges,
            keep_ratio=True,
            interpolation=cv2.INTER_LINEAR,
            mask_interpolation=cv2.INTER_NEAREST,
            border_mode=BORDER,
            p=p,
        )

    def apply(self, img: np.ndarray, matrix: np.ndarray, **params: Any) -> np.ndarray:
        four = cv2.cvtColor(img, cv2.COLOR_RGB2RGBA)
        return cv2.cvtColor(self._warp(four, matrix, self.interpolation), cv2.COLOR_RGBA2RGB)

    def apply_to_mask(self, mask: np.ndarray, matrix: np.ndarray, **params: Any) -> np.ndarray:
        return self._warp(mask, matrix, self.mask_interpolation)

    def _warp(self, picture: np.ndarray, matrix: np.ndarray, how: int) -> np.ndarray:
        size = picture.shape[1::-1]
        return cv2.warpAffine(picture, matrix[:2], size, flags=how, borderMode=self.border_mode)


class NormalizeToTensor(BasicTransform):
    """Last step: normalised tensors. Photo uint8 (H, W, 3) -> float32 (3, H, W), mask as it is.

    Every value v becomes (v / 255 - MEAN) / STD: the same numbers as A.Normalize and ToTensorV2,
    in a third of the time. A byte has 256 values, so a table of 256 results for each channel
    replaces the arithmetic on every pixel.
    """

    _targets = (Targets.IMAGE, Targets.MASK)

    def __init__(self, p: float = 1.0) -> None:
        super().__init__(p=p)
        values = np.arange(256)[:, None] / 255  # (256, 1)
        table = ((values - np.array(MEAN)) / np.array(STD)).astype(np.float32)  # (256, 3)
        self.tables = np.ascontiguousarray(table.T)  # (3, 256)

    @property
    def targets(self) -> dict[str, Any]:
        return {"image": self.apply, "mask": self.apply_to_mask}

    def apply(self, img: np.ndarray, **params: Any) -> torch.Tensor:
        if img.dtype != np.uint8 or img.ndim != 3 or img.shape[2] != 3:
            raise CourseError(
                "the photo given to NormalizeToTensor",
                expected="RGB uint8 (H, W, 3)",
                found=f"{img.dtype} {img.shape}",
                mend="leave normalising to this last step; read photos with read_photo",
            )
        out = np.empty((3, *img.shape[:2]), np.float32)  # (3, H, W)
        for channel, plane in enumerate(cv2.split(img)):
            cv2.LUT(plane, self.tables[channel], dst=out[channel])
        return torch.from_numpy(out)

    def apply_to_mask(self, mask: np.ndarray, **params: Any) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(mask))

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        return ()


def train_transform(height: int, width: int, strength: str = "gentle") -> A.Compose:
    """Augmentation for training: photo and mask, uint8 -> tensors of (height, width).

    "none": as eval_transform. "gentle": mirror images, small shifts, zooms and turns in seven of
    ten photos, brightness and contrast, boxes of one colour behind the car in six of ten; the
    course's choice for real photos. "strong": larger moves, and floor, light, colour, blur,
    noise and compression on top, for training on drawn cars what shall work on photographed ones.
    "tutorial": the well-known tutorial's (turn by up to 35° every time, mirror, sometimes upside
    down). Raises CourseError for any other name.
    """
    steps = {"none": [], "gentle": _gentle, "strong": _strong, "tutorial": _tutorial}
    if strength not in steps:
        raise CourseError(
            "augment",
            expected=f"one of {', '.join(STRENGTHS)}",
            found=repr(strength),
            mend="choose a strength from the list",
        )
    chosen = steps[strength]
    return _compose(height, width, chosen() if callable(chosen) else chosen)


def eval_transform(height: int, width: int) -> A.Compose:
    """For validation and test: resized to (height, width) and normalised, nothing random."""
    return _compose(height, width, [])


def _compose(height: int, width: int, steps: list) -> A.Compose:
    # CarvanaDataset decodes at the size of a leading Resize, which then has nothing left to do.
    resize = A.Resize(
        height, width, interpolation=cv2.INTER_AREA, mask_interpolation=cv2.INTER_NEAREST_EXACT
    )
    return A.Compose([resize, *steps, NormalizeToTensor()])


def _gentle() -> list:
    return [
        A.HorizontalFlip(p=0.5),
        Warp(rotate=(-5, 5), scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), p=0.7),
        A.RandomBrightnessContrast(0.15, 0.15, p=0.5),
        BoxesBehind(p=0.6),
    ]


def _strong() -> list:
    return [
        A.HorizontalFlip(p=0.5),
        Warp(
            rotate=(-12, 12),
            scale=(0.75, 1.25),
            translate_percent=(-0.1, 0.1),
            shear=(-6, 6),
            p=0.8,
        ),
        ReflectionBelow(p=0.4),
        ShadowBelow(p=0.6),
        ToneApart(p=0.7),
        A.ColorJitter(brightness=0.35, contrast=0.35, saturation=0.5, hue=0.1, p=0.8),
        A.RandomToneCurve(scale=0.2, per_channel=True, p=0.3),
        A.ToGray(p=0.1),
        A.OneOf([A.GaussianBlur(blur_limit=(3, 5)), A.MotionBlur(blur_limit=(3, 5))], p=0.25),
        A.GaussNoise(std_range=(0.01, 0.06), p=0.3),
        A.ImageCompression(quality_range=(40, 95), p=0.2),
    ]


def _tutorial() -> list:
    return [
        Warp(rotate=(-35, 35), p=1.0),
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.1),
    ]


def denormalize(image: torch.Tensor) -> np.ndarray:
    """Undo the last step for a picture: float tensor (3, H, W) -> RGB uint8 (H, W, 3)."""
    values = image.detach().float().cpu().numpy().transpose(1, 2, 0)  # (H, W, 3)
    values = (values * np.array(STD) + np.array(MEAN)) * 255
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


class AugmentedDataset(Dataset):
    """A data set whose photos and masks go through one transform, by a stream of random numbers.

    What derives from it has a list `stems`, one an item, and gives each item through `transformed`.
    After set_epoch(e), augmentation is a function of (seed, e, i). Before the first set_epoch every
    call draws anew.
    """

    stems: list[str]

    def __init__(self, transform: A.Compose | None, seed: int) -> None:
        self.transform, self.seed = transform, seed
        self._epoch = torch.tensor(NO_EPOCH).share_memory_()  # loader workers see it change
        self._draws = 0

    def __len__(self) -> int:
        return len(self.stems)

    def transformed(self, index: int, photo: np.ndarray, mask: np.ndarray) -> tuple[Any, Any, str]:
        """Item `index`: its photo and mask as the transform leaves them, and its stem.

        Raises CourseError for a transform that does not end in tensors.
        """
        stem = self.stems[index]
        if self.transform is None:
            return photo, mask, stem
        self._seed_transform(index)
        out = self.transform(image=photo, mask=mask)
        image, mask = out["image"], out["mask"]
        if not (torch.is_tensor(image) and image.is_floating_point() and torch.is_tensor(mask)):
            raise CourseError(
                f"{type(self).__name__}(transform=…)",
                expected="a transform whose last step makes float tensors",
                found=f"an image of type {type(image).__name__} ({image.dtype})",
                mend="end it with NormalizeToTensor(), or with A.Normalize and ToTensorV2",
            )
        return image, mask, stem

    @property
    def epoch(self) -> int:
        """The epoch that set_epoch chose last; -1 before the first time."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentations dataset[i] gives; in loader workers too."""
        self._epoch.fill_(epoch)

    def _seed_transform(self, index: int) -> None:
        """Give the transform the random stream of this image in this epoch.

        Left alone, albumentations gives every forked worker a copy of one stream, so that each
        of them repeats the others' augmentations.
        """
        if not isinstance(self.transform, A.BaseCompose):
            return
        epoch = self.epoch
        if epoch == NO_EPOCH:  # torch.initial_seed() differs from worker to worker
            self._draws += 1
            words = (torch.initial_seed(), self._draws, index)
        else:
            words = (self.seed, epoch, index)
        digest = hashlib.blake2b(repr(words).encode(), digest_size=16).digest()
        # One stream for all steps: set_random_seed would start every step on the same numbers,
        # and then a photo could only be turned upside down if it is mirrored as well.
        self.transform.set_random_state(
            np.random.Generator(np.random.Philox(key=np.frombuffer(digest, np.uint64))),
            random.Random(int.from_bytes(digest, "little")),
        )
