"""The settings of one training run: checked by name, read from YAML, changed by key=value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from .environment import CourseError

Channels = Annotated[int, Field(ge=1, le=4096)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


class TrainConfig(BaseModel):
    """Everything that `fit` needs to know besides the data.

    height, width: size the photos are resized to, in pixels, at least 16. features: channels of
    the encoder's levels, from the top down. dataset: "carvana" (a prepared folder) or "pets"
    (Oxford-IIIT Pet). classes: names, the background first. class_weights: of the cross-entropy,
    one a class. ignore_index: of pixels that count nowhere, none of the classes. warmup: share of
    all steps (0 to 0.9) in which the learning rate rises. clip_norm, ema_decay, patience: None
    switches them off. batch_size: photos in a step of the optimizer, over all processes of a run
    together.

    What decides only how fast a run computes and how much memory it takes (notebook 11):
    scaled_decode (JPEGs read at a fraction of their size; torchvision reads the pets whole), cache
    (pairs kept decoded), workers, pin_memory (only where there is an NVIDIA GPU), channels_last,
    precision, compile (torch.compile), accumulate (each batch in so many parts, one after the
    other), and activation_checkpointing (feature maps computed twice in place of being kept).
    An unknown key, a wrong type or an impossible value raises pydantic's ValidationError here and
    a CourseError in `load_config`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field("studio", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    height: int = Field(128, ge=16, le=8192)
    width: int = Field(192, ge=16, le=8192)

    in_channels: Channels = 3
    out_channels: Annotated[int, Field(ge=1, le=256)] = 1  # a class index is a uint8
    dataset: Literal["carvana", "pets"] = "carvana"
    classes: tuple[Annotated[str, Field(min_length=1, max_length=50)], ...] | None = None
    features: tuple[Channels, ...] = Field((16, 32, 64, 128), min_length=1, max_length=8)
    norm: Literal["batch", "none"] = "batch"
    up: Literal["transposed", "bilinear"] = "transposed"
    skips: bool = True

    epochs: int = Field(8, ge=1)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(3e-3, gt=0, le=10, allow_inf_nan=False)
    weight_decay: float = Field(0.01, ge=0, lt=1)
    warmup: float = Field(0.1, ge=0, le=0.9)
    loss: Literal["bce_dice", "bce", "dice", "ce_dice", "ce"] = "bce_dice"
    class_weights: tuple[Weight, ...] | None = None
    ignore_index: int | None = Field(None, ge=0, le=255)
    augment: Literal["gentle", "strong", "tutorial", "none"] = "gentle"
    clip_norm: float | None = Field(1.0, gt=0, allow_inf_nan=False)
    ema_decay: float | None = Field(None, gt=0, lt=1)
    patience: int | None = Field(None, ge=1)

    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    compile: bool = False
    accumulate: int = Field(1, ge=1)
    activation_checkpointing: bool = False
    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=256)] = "auto"
    pin_memory: bool = True
    scaled_decode: bool = True
    cache: bool = True
    seed: int = Field(42, ge=0, lt=2**32)

    @field_validator("features", "classes", "class_weights", mode="before")
    @classmethod
    def _tuple_from_list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @property
    def class_count(self) -> int:
        """Number of classes, the background included: 2 for one output channel."""
        return max(2, self.out_channels)

    @property
    def class_names(self) -> tuple[str, ...]:
        """A name for every class index: `classes`, or plain ones."""
        if self.classes is not None:
            return self.classes
        rest = [f"class {index}" for index in range(1, self.class_count)]
        return ("background", *(["car"] if len(rest) == 1 else rest))

    @field_validator(
        "learning_rate", "weight_decay", "warmup", "clip_norm", "ema_decay", mode="before"
    )
    @classmethod
    def _number_from_text(cls, value: Any) -> Any:
        # YAML 1.1 reads 3e-3 as text, since it has no decimal point.
        if isinstance(value, str) and NUMBER.fullmatch(value):
            return float(value)
        return value

    @field_validator(
        "clip_norm", "ema_decay", "patience", "classes", "class_weights", "ignore_index",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _none_from_off(cls, value: Any) -> Any:
        # In YAML `off` is False and `none` is text; both mean null here.
        return None if value is False or value in ("none", "None") else value

    @model_validator(mode="after")
    def _fits_together(self) -> TrainConfig:
        if self.loss.startswith("ce") != (self.out_channels > 1):
            raise _not_together(
                self,
                ("loss", "out_channels"),
                "ce_dice or ce with out_channels of 2 or more, or another loss with out_channels=1",
            )
        for keys, expected in _class_rules(self):
            raise _not_together(self, keys, expected)
        if self.accumulate > self.batch_size:
            raise _not_together(
                self,
                ("accumulate", "batch_size"),
                "accumulate (parts of a batch) of at most batch_size (photos in a batch)",
            )
        if min(self.height, self.width) < 2 ** len(self.features):
            raise _not_together(
                self,
                ("height", "width", "features"),
                f"height and width of at least {2 ** len(self.features)}, since each of "
                f"{len(self.features)} levels halves the image",
            )
        return self


def _class_rules(config: TrainConfig) -> Iterator[tuple[Sequence[str], str]]:
    """The rules about classes that a config breaks: keys, and what is expected of them."""
    count, channels = config.class_count, config.out_channels
    many = channels > 1
    if config.classes is not None and len(set(config.classes)) != count:
        yield ("classes", "out_channels"), f"{count} names, the background first, none twice"
    if config.classes is not None and len(config.classes) != count:
        yield ("classes", "out_channels"), f"{count} names, the background first"
    if config.class_weights is not None and (not many or len(config.class_weights) != channels):
        expected = f"{channels} weights, one a class" if many else "out_channels of 2 or more"
        yield ("class_weights", "out_channels"), expected
    if config.ignore_index is not None and (not many or config.ignore_index < channels):
        yield (
            ("ignore_index", "out_channels"),
            "an index that no class has, such as 255, and out_channels of 2 or more",
        )
    if config.dataset != "pets":
        return
    if (channels, config.ignore_index is None) not in ((3, True), (2, False)):
        yield (
            ("dataset", "out_channels", "ignore_index"),
            "out_channels=3 for background, pet and border, or out_channels=2 with "
            "ignore_index=255, which leaves the border out",
        )
    if config.cache:
        yield ("dataset", "cache"), "cache=false with pets, which are read from their own files"


def _not_together(config: TrainConfig, keys: Sequence[str], expected: str) -> PydanticCustomError:
    found = ", ".join(f"{key}={getattr(config, key)}" for key in keys)
    context = {"keys": ", ".join(keys), "expected": expected, "found": found}
    return PydanticCustomError("not_together", "expected {expected}; found {found}", context)


class UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys in silence; this loader refuses them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, (key, (key_node, _)) in enumerate(zip(keys, node.value, strict=True)):
            if key in keys[:index]:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key} stands there twice", problem_mark=key_node.start_mark
                )
        return super().construct_mapping(node, deep)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Settings from a YAML file, then changed by "key=value" texts (values read as YAML).

    Raises CourseError that names the file or the text, the key, and the nearest valid key.
    """
    path = Path(path)
    settings = _read_yaml(path)
    config = _validate(settings, str(path))
    if not overrides:
        return config
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise CourseError(
                text,
                expected="key=value",
                found="no key" if equals else "no equals sign",
                mend="write for example epochs=4",
            )
        try:
            settings[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise CourseError(
                text, expected="a number, a word or a list", found=repr(value), mend="correct it"
            ) from error
    return _validate(settings, f"{path} with {' '.join(overrides)}")


def save_config(config: TrainConfig, path: str | Path) -> None:
    """Write the settings as YAML that `load_config` reads back to an equal TrainConfig."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None)
    Path(path).write_text(text, encoding="utf-8")


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        near = sorted(str(other) for other in path.parent.glob("*.y*ml"))
        raise CourseError(
            path,
            expected="a YAML file with settings",
            found="a folder" if path.is_dir() else "no such file",
            mend=f"use one of {', '.join(near)}" if near else "try configs/studio.yaml",
        )
    wanted = "lines such as epochs: 8"
    try:
        settings = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeyLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        said = getattr(error, "problem", None) or "text that is not UTF-8"
        raise CourseError(
            path, expected=wanted, found=f"{said}{line}", mend="correct the file"
        ) from error
    if not isinstance(settings, dict):
        found = "an empty file" if settings is None else f"a {type(settings).__name__}"
        raise CourseError(path, expected=wanted, found=found, mend="compare configs/studio.yaml")
    return settings


def _validate(settings: dict[str, Any], origin: str) -> TrainConfig:
    try:
        return TrainConfig.model_validate({str(key): value for key, value in settings.items()})
    except ValidationError as error:
        raise _explain(error, origin) from error


def _explain(error: ValidationError, origin: str) -> CourseError:
    """One CourseError that says all of pydantic's complaints, each with its key."""
    expected: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    mend: list[str] = []
    for item in error.errors():
        key = str(item["loc"][0]) if item["loc"] else item["ctx"]["keys"]
        wanted, found[key] = item["msg"].removeprefix("Input should be "), repr(item["input"])
        if item["type"] == "extra_forbidden":
            wanted, found[key] = "a known key", "an unknown one"
            mend.append(_nearest(key))
        elif item["type"] == "not_together":
            wanted, found[key] = item["ctx"]["expected"], item["ctx"]["found"]
        elif item["type"] == "tuple_type":
            wanted = f"a list of {'names' if key == 'classes' else 'numbers'}"
        elif item["type"] == "string_pattern_mismatch":
            wanted = "letters, digits, dots, dashes and underscores, no dot first"
        elif wanted.startswith(("greater", "less")):
            wanted = f"a value {wanted}"
        expected.setdefault(key, []).append(wanted)
    return CourseError(
        f"{origin}: {', '.join(expected)}",
        expected="; ".join(" or ".join(wanted) for wanted in expected.values()),
        found="; ".join(found.values()),
        mend="; ".join(mend) or f"correct {', '.join(expected)}",
    )


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key, TrainConfig.model_fields, n=1)
    return f"write {near[0]}" if near else f"use one of {', '.join(TrainConfig.model_fields)}"
