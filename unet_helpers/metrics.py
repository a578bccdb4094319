"""How good a mask is, built in notebook 05: pixels counted per image, scores taken at the end.

A score is taken per image and then averaged over images, so neither the batch size nor the size of
a car changes its weight. A class that is neither in the mask nor predicted scores 1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import torch

from unet_helpers.environment import CourseError
from unet_helpers.losses import check_classes

__all__ = [
    "Counts",
    "Scores",
    "SegmentationMetrics",
    "accuracy",
    "confusion_matrix",
    "count_pixels",
    "counts_from_confusion",
    "dice",
    "iou",
    "mean_over_classes",
    "pool",
    "predict_classes",
]


@dataclass(frozen=True)
class Counts:
    """Pixels per image and class, each int64 (B, C) on the CPU; C is 1 (the car) for two classes.

    tp: in the mask and predicted; fp: only predicted; fn: only in the mask; tn: in neither.
    """

    tp: torch.Tensor
    fp: torch.Tensor
    fn: torch.Tensor
    tn: torch.Tensor


@dataclass(frozen=True)
class Scores:
    """Scores of a set of images, all in 0 to 1, at the resolution they were counted at.

    Each score of an image is the mean over its classes. dice_p10 is the tenth percentile: nine
    images in ten are better. per_image has one row per image, in the order seen: stem, dice, iou,
    accuracy. counts: what the scores were taken of, (images, C), for any other score.
    """

    dice_mean: float
    dice_p10: float
    iou_mean: float
    accuracy: float
    images: int
    per_class_dice: list[float]
    per_class_iou: list[float]
    per_image: list[dict[str, str | float]]
    counts: Counts | None = field(default=None, compare=False, repr=False)

    @property
    def dice_foreground(self) -> float:
        """The mean Dice without the background; for two classes it is dice_mean."""
        return mean_over_classes(torch.tensor(self.per_class_dice), background=False).item()

    @property
    def iou_foreground(self) -> float:
        """The mean IoU without the background; for two classes it is iou_mean."""
        return mean_over_classes(torch.tensor(self.per_class_iou), background=False).item()

    def __str__(self) -> str:
        return (
            f"Dice {self.dice_mean:.4f} (tenth percentile {self.dice_p10:.4f}), "
            f"IoU {self.iou_mean:.4f}, accuracy {self.accuracy:.4f}, "
            f"{self.images} image{'' if self.images == 1 else 's'}"
        )


def predict_classes(logits: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """Turn logits (B, C, H, W) into class indices, uint8 (B, H, W).

    One channel: 1 where the probability is above `threshold` (0 to 1), else 0. More: the class
    with the largest logit; the threshold plays no part.
    """
    if logits.shape[1] == 1:
        return (torch.sigmoid(logits[:, 0].float()) > threshold).to(torch.uint8)  # (B, H, W)
    return logits.argmax(dim=1).to(torch.uint8)  # (B, H, W)


def count_pixels(
    predicted: torch.Tensor,
    mask: torch.Tensor,
    num_classes: int = 2,
    ignore_index: int | None = None,
) -> Counts:
    """Compare class indices (B, H, W) with the mask (B, H, W), image by image.

    Two classes are counted once, for class 1 (C = 1); more are counted each (C = num_classes),
    background included. Pixels whose mask is `ignore_index` are not counted. CourseError for
    unequal shapes or a class index outside 0 … num_classes - 1.
    """
    _check_both(predicted, mask, num_classes, ignore_index)
    counted = torch.ones_like(mask, dtype=torch.bool)  # (B, H, W)
    if ignore_index is not None:
        counted = mask != ignore_index
    pixels = counted.sum(dim=(1, 2))  # (B,)
    columns = []
    for index in [1] if num_classes == 2 else range(num_classes):
        found, true = (predicted == index) & counted, (mask == index) & counted
        tp = (found & true).sum(dim=(1, 2))  # (B,)
        fp = found.sum(dim=(1, 2)) - tp
        fn = true.sum(dim=(1, 2)) - tp
        columns.append(torch.stack([tp, fp, fn, pixels - tp - fp - fn]))  # (4, B)
    return Counts(*torch.stack(columns, dim=2).cpu())  # four times (B, C)


def _check_both(
    predicted: torch.Tensor, mask: torch.Tensor, num_classes: int, ignore_index: int | None
) -> None:
    if predicted.ndim != 3 or predicted.shape != mask.shape:
        raise CourseError(
            "prediction and mask",
            expected="class indices (B, H, W), both of one shape",
            found=f"{tuple(predicted.shape)} and {tuple(mask.shape)}",
            mend="pass predict_classes(logits) and the mask at the same size",
        )
    check_classes(predicted, num_classes, what="prediction")
    check_classes(mask, num_classes, ignore_index)


def dice(counts: Counts) -> torch.Tensor:
    """Dice 2 tp / (2 tp + fp + fn) per image and class, float64 (B, C); empty-vs-empty is 1."""
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def iou(counts: Counts) -> torch.Tensor:
    """IoU tp / (tp + fp + fn) per image and class, float64 (B, C); empty-vs-empty is 1."""
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def accuracy(counts: Counts) -> torch.Tensor:
    """Share of the pixels of an image that have the right class, float64 (B,)."""
    pixels = (counts.tp + counts.fp + counts.fn + counts.tn)[:, 0]  # (B,), equal for all classes
    right = counts.tp.sum(dim=1)  # (B,)
    if counts.tp.shape[1] == 1:
        right = right + counts.tn[:, 0]
    return _ratio(right, pixels)


def pool(counts: Counts) -> Counts:
    """The counts of all images together, as of one large one: (1, C).

    dice(pool(counts)) and iou(pool(counts)) are scores of the whole set, in which an image weighs
    by its pixels. The "mean IoU" of Pascal VOC and Cityscapes is the mean of the latter over the
    classes (Everingham et al. 2015, "The Pascal visual object classes challenge", section 4.3).
    """
    parts = (getattr(counts, part.name).sum(dim=0, keepdim=True) for part in fields(Counts))
    return Counts(*parts)


def mean_over_classes(values: torch.Tensor, background: bool = True) -> torch.Tensor:
    """The mean over the last axis, the classes: (…, C) to (…). background: whether class 0 counts.

    A single class is the car (see Counts), and counts in any case.
    """
    first = 0 if background or values.shape[-1] == 1 else 1
    return values[..., first:].mean(dim=-1)


def confusion_matrix(
    predicted: torch.Tensor,
    mask: torch.Tensor,
    num_classes: int,
    ignore_index: int | None = None,
) -> torch.Tensor:
    """How often each true class (row) was called which class (column): int64 (B, C, C) on the CPU.

    predicted and mask: class indices (B, H, W). One matrix an image; .sum(dim=0) is that of the
    set. Pixels whose mask is `ignore_index` are left out. CourseError as in count_pixels.
    """
    _check_both(predicted, mask, num_classes, ignore_index)
    counted = mask != (-1 if ignore_index is None else ignore_index)  # (B, H, W)
    image = torch.arange(len(mask), device=mask.device).view(-1, 1, 1).expand_as(mask)
    place = (image * num_classes + mask.long()) * num_classes + predicted.long()  # (B, H, W)
    cells = torch.bincount(place[counted], minlength=len(mask) * num_classes**2)
    return cells.view(len(mask), num_classes, num_classes).cpu()


def counts_from_confusion(matrix: torch.Tensor) -> Counts:
    """The counts of every class from confusion matrices (B, C, C), rows true: each (B, C)."""
    tp = matrix.diagonal(dim1=1, dim2=2)  # (B, C)
    fp, fn = matrix.sum(dim=1) - tp, matrix.sum(dim=2) - tp
    return Counts(tp, fp, fn, matrix.sum(dim=(1, 2))[:, None] - tp - fp - fn)


def _ratio(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    return torch.where(whole == 0, 1.0, part.double() / whole.double().clamp(min=1))


class SegmentationMetrics:
    """Collect counts batch by batch, and score all images together at the end.

    The result does not depend on how the images were cut into batches.
    """

    def __init__(self, num_classes: int = 2, ignore_index: int | None = None) -> None:
        if not 2 <= num_classes <= 256:
            raise CourseError(
                "num_classes",
                expected="2 or more (car and background are two classes), at most 256",
                found=str(num_classes),
                mend="a model with one output channel has num_classes=2",
            )
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.reset()

    def reset(self) -> None:
        """Forget every image seen so far."""
        self._counts: list[Counts] = []
        self._stems: list[str] = []

    def update(
        self, predicted: torch.Tensor, mask: torch.Tensor, stems: Sequence[str] | None = None
    ) -> None:
        """Count a batch: class indices and mask, both (B, H, W), and the images' B stems, if known.

        Without stems the images are called image_0000, image_0001, … CourseError as in
        count_pixels, and for another number of stems than images.
        """
        counts = count_pixels(predicted, mask, self.num_classes, self.ignore_index)
        if stems is None:
            seen = len(self._stems)
            stems = [f"image_{seen + i:04d}" for i in range(len(mask))]
        if len(stems) != len(mask):
            raise CourseError(
                "stems",
                expected=f"{len(mask)}, one per image",
                found=str(len(stems)),
                mend="pass the stems of this batch as the loader gives them",
            )
        self._counts.append(counts)
        self._stems.extend(stems)

    def compute(self) -> Scores:
        """Score all images seen since the last reset; CourseError if there were none."""
        if not self._stems:
            raise CourseError(
                "scores",
                expected="at least one image",
                found="none",
                mend="check that the split holds images, and call update before compute",
            )
        counts = _joined(self._counts)
        class_dice, class_iou = dice(counts), iou(counts)  # (images, C) each
        rows = {
            "dice": class_dice.mean(dim=1),
            "iou": class_iou.mean(dim=1),
            "accuracy": accuracy(counts),
        }  # (images,) each
        return Scores(
            dice_mean=rows["dice"].mean().item(),
            dice_p10=rows["dice"].quantile(0.1).item(),
            iou_mean=rows["iou"].mean().item(),
            accuracy=rows["accuracy"].mean().item(),
            images=len(self._stems),
            per_class_dice=class_dice.mean(dim=0).tolist(),
            per_class_iou=class_iou.mean(dim=0).tolist(),
            per_image=[
                {"stem": stem, **{name: column[i].item() for name, column in rows.items()}}
                for i, stem in enumerate(self._stems)
            ],
            counts=counts,
        )

    @classmethod
    def from_turns(cls, parts: Sequence[SegmentationMetrics]) -> SegmentationMetrics:
        """Put together what several processes counted, each of which took every n-th image.

        The images come back in their order, so the scores are those of one process.
        """
        merged = cls(parts[0].num_classes, parts[0].ignore_index)
        stems = [(turn, part) for part, m in enumerate(parts) for turn in range(len(m._stems))]
        order = sorted(range(len(stems)), key=stems.__getitem__)
        counts = _joined([c for part in parts for c in part._counts])
        merged._counts = [Counts(*(getattr(counts, f.name)[order] for f in fields(Counts)))]
        merged._stems = [parts[part]._stems[turn] for turn, part in sorted(stems)]
        return merged


def _joined(counts: Sequence[Counts]) -> Counts:
    names = [field.name for field in fields(Counts)]
    return Counts(*(torch.cat([getattr(c, name) for c in counts]) for name in names))
