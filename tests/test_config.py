"""Settings: every shipped file loads, and every mistake is named with its key and a way out."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from unet_helpers.config import TrainConfig, load_config, save_config
from unet_helpers.environment import CourseError, course_root

GRID = course_root() / "configs" / "ablations.yaml"
# That one is no run but a grid of runs: test_ablation.py reads it.
CONFIGS = sorted(set((course_root() / "configs").glob("*.yaml")) - {GRID})


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "run.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configs_load_and_are_named_after_their_file(path):
    config = load_config(path)
    assert config.name == path.stem
    assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) <= set(TrainConfig.model_fields)


def test_both_configs_of_the_course_are_there():
    assert {"studio", "carvana"} <= {path.stem for path in CONFIGS}


def test_defaults_are_a_valid_config():
    config = TrainConfig()
    assert TrainConfig(**config.model_dump()) == config
    assert config.features == (16, 32, 64, 128)


def test_overrides_are_read_as_yaml_and_the_last_one_wins(write):
    config = load_config(
        write("epochs: 3\nlearning_rate: 1e-4\n"),
        ["epochs=5", "features=[8, 16]", "clip_norm=off", "patience=null", "epochs=6", "seed=1"],
    )
    assert (config.epochs, config.features, config.clip_norm) == (6, (8, 16), None)
    assert (config.patience, config.seed, config.learning_rate) == (None, 1, 1e-4)


@pytest.mark.parametrize("text", ["3e-3", "3E-3", "0.003", "+3e-3", ".003"])
def test_a_number_without_decimal_point_is_a_number(write, text):
    # YAML 1.1 reads 3e-3 as text; nobody who writes it means text.
    assert load_config(write("epochs: 1"), [f"learning_rate={text}"]).learning_rate == 0.003


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("epohcs=4", "write epochs"),
        ("learningrate=1", "write learning_rate"),
        ("zzzz=1", "use one of name, height"),
        ("epochs=0", "1; found 0"),
        ("epochs=4.5", "found 4.5"),
        ("epochs=ten", "found 'ten'"),
        ("epochs=true", "found True"),
        ("skips=1", "found 1"),
        ("learning_rate=fast", "found 'fast'"),
        ("learning_rate=.nan", "found nan"),
        ("learning_rate=-0.1", "found -0.1"),
        ("warmup=0.95", "0.9; found 0.95"),
        ("ema_decay=1", "found 1"),
        ("clip_norm=0", "found 0"),
        ("loss=mse", "'bce_dice'"),
        ("augment=wild", "'gentle'"),
        ("norm=group", "'batch'"),
        ("workers=many", "'auto' or"),
        ("height=8", "found 8"),
        ("features=[]", "found ()"),
        ("features=[16, 0]", "found 0"),
        ("features=[1,2,3,4,5,6,7,8]", "at least 256"),
        ("loss=ce_dice", "out_channels=1"),
        ("out_channels=3", "loss=bce_dice, out_channels=3"),
        ("name=../elsewhere", "dashes"),
        ("seed=-1", "found -1"),
    ],
)
def test_an_impossible_override_is_refused_by_name(write, override, named):
    path = write("epochs: 2")
    with pytest.raises(CourseError) as caught:
        load_config(path, [override])
    message = str(caught.value)
    assert named in message
    assert override in message and override.split("=")[0] in message.split("expected")[0]
    assert "What to do" in message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("epochs: 2\nwdith: 96\n", "wdith: expected a known key; found an unknown one"),
        ("epochs: 2\nepochs: 3\n", "the key epochs stands there twice in line 2"),
        ("epochs: [1\n", "line"),
        ("", "an empty file"),
        ("- epochs\n", "a list"),
        ("just words\n", "a str"),
        (b"\xff\xfe\x00", "run.yaml"),
        ("1: 2\n", "unknown"),
    ],
)
def test_a_bad_file_is_refused_by_name(write, text, named):
    path = write(text)
    with pytest.raises(CourseError) as caught:
        load_config(path)
    assert named in str(caught.value) and str(path) in str(caught.value)


def test_all_mistakes_are_named_at_once(write):
    with pytest.raises(CourseError) as caught:
        load_config(write("epochs: 0\nlearnig_rate: 1\nloss: mse\n"))
    assert all(key in str(caught.value) for key in ("epochs", "learning_rate", "loss"))


def test_a_missing_file_names_the_ones_beside_it(write, tmp_path):
    write("epochs: 2")
    with pytest.raises(CourseError, match=r"no such file.*run\.yaml"):
        load_config(tmp_path / "rnu.yaml")
    with pytest.raises(CourseError, match="a folder"):
        load_config(tmp_path)


@pytest.mark.parametrize("override", ["epochs", "=3", "epochs:3"])
def test_an_override_without_key_or_equals_sign(write, override):
    with pytest.raises(CourseError, match="key=value"):
        load_config(write("epochs: 2"), [override])


def test_in_code_a_typo_is_refused_too():
    with pytest.raises(ValidationError, match="learnig_rate"):
        TrainConfig(learnig_rate=0.1)


@given(
    st.builds(
        TrainConfig,
        name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
        height=st.integers(16, 2000),
        learning_rate=st.floats(1e-12, 10),
        features=st.lists(st.integers(1, 512), min_size=1, max_size=4).map(tuple),
        clip_norm=st.none() | st.floats(1e-6, 100),
        ema_decay=st.none() | st.floats(0.01, 0.9999),
        workers=st.just("auto") | st.integers(0, 8),
        seed=st.integers(0, 2**32 - 1),
    )
)
def test_saving_and_loading_gives_an_equal_config(tmp_path_factory, config):
    path = tmp_path_factory.getbasetemp() / "round.yaml"
    save_config(config, path)
    assert load_config(path) == config


def test_more_parts_than_photos_in_a_batch_are_refused(write):
    with pytest.raises(CourseError, match="accumulate=9, batch_size=8"):
        load_config(write("batch_size: 8"), ["accumulate=9"])
    assert load_config(write("batch_size: 8"), ["accumulate=8"]).accumulate == 8
