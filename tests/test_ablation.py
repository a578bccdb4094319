"""The grid of ablations: what it deals, what it keeps, where it goes on, what it refuses."""

from __future__ import annotations

import json
import math
import statistics
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unet_helpers import ablation
from unet_helpers.ablation import missing
from unet_helpers.checkpoint import model_from_config
from unet_helpers.environment import CourseError
from unet_helpers.records import (
    BARS,
    VERSION,
    append_record,
    bar,
    by_seed,
    by_variant,
    differences,
    interval,
    read_records,
    spread,
    verdict,
)
from unet_helpers.sources import open_source, parse_stem
from unet_helpers.split import prepare

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import ablate  # noqa: E402

SMALL = {"height": 32, "width": 48, "features": [4, 8], "epochs": 1, "batch_size": 4,
         "device": "cpu", "precision": "fp32", "workers": 0}  # fmt: skip


def grid_file(folder: Path, questions: dict, **changes) -> Path:
    path = folder / "grid.yaml"
    grid = {"base": SMALL, "cars": 1, "held": 1, "split": "car", "seeds": [1, 2],
            "questions": questions, **changes}  # fmt: skip
    path.write_text(yaml.safe_dump(grid, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    from make_pairs import make_archive_pair

    folder = tmp_path_factory.mktemp("pair")
    make_archive_pair(folder / "tiny", cars=4)
    return prepare(
        open_source(folder / "tiny"), folder / "prepared", val_cars=1, test_cars=1, progress=False
    )


def rows_of(folder: Path, questions: dict, **changes) -> list[ablation.Row]:
    return ablation.read_grid(grid_file(folder, questions, **changes))


def test_the_grid_of_the_course_asks_what_the_notebook_needs():
    rows = ablation.read_grid(ROOT / "configs" / "ablations.yaml")
    assert {row.question for row in rows} == {
        "batchnorm", "skips", "up-sampling", "loss", "augmentation", "features", "cars", "split",
    }  # fmt: skip
    for question in {row.question for row in rows}:
        here = [row for row in rows if row.question == question]
        variants = {row.variant for row in here}
        assert len(variants) >= 2 and {row.seed for row in here} == {1, 2, 3}
        assert len(here) == 3 * len(variants), "each with three seeds"
        assert len({json.dumps(row.settings()) for row in here}) == len(here), "all different"
    steps = {row.cars * 16 * row.config.epochs for row in rows if row.question == "cars"}
    assert len({-(-total // 8) for total in steps}) == 1, "the same number of steps for all"


def test_by_car_no_car_is_on_both_sides_and_by_image_nearly_every_car_is(prepared, tmp_path):
    by_car, by_image = (
        rows_of(tmp_path, {"q": {"v": {"split": split}}}, cars=2)[0] for split in ("car", "image")
    )
    (train, held), (train_i, held_i) = (ablation.deal(prepared, row) for row in (by_car, by_image))
    cars, cars_held = ({parse_stem(stem)[0] for stem in stems} for stems in (train, held))
    assert len(cars) == 2 and len(cars_held) == 1 and not cars & cars_held
    assert (len(train_i), len(held_i)) == (len(train), len(held)) == (32, 16)
    assert set(train_i) | set(held_i) == set(train) | set(held), "the same cars, dealt otherwise"
    assert {parse_stem(s)[0] for s in held_i} <= {parse_stem(s)[0] for s in train_i}
    assert not {*train, *held} & {Path(r.file).stem for r in prepared.rows if r.split == "test"}


def test_a_seed_draws_the_same_cars_for_all_variants_and_more_cars_hold_the_fewer():
    """What the notebook's differences seed by seed rest on, with as many cars as the pack has."""
    names = [f"{number:012x}" for number in range(56)]
    photos = [SimpleNamespace(file=f"{name}_01.jpg", split="train") for name in names]
    pack = SimpleNamespace(rows=photos, cars=lambda split: names if split == "train" else [])
    chosen: dict[tuple[str, int], list[set]] = {}
    for row in ablation.read_grid(ROOT / "configs" / "ablations.yaml"):
        if row.split == "car":
            train, _ = ablation.deal(pack, row)
            chosen.setdefault((row.question, row.seed), []).append(set(train))
    for (question, _), sets in chosen.items():
        if question == "cars":
            assert all(few < many for few, many in pairwise(sets))
        else:
            assert len(sets[0]) == 12 and all(other == sets[0] for other in sets)
    assert chosen["skips", 1] == chosen["loss", 1][:2] != chosen["skips", 2]


def test_a_row_gives_the_same_record_again_and_its_scores_are_those_of_its_network(
    prepared, tmp_path
):
    row = rows_of(tmp_path, {"loss": {"both": {}}})[0]
    seen = []
    first = ablation.run_row(row, prepared)
    second = ablation.run_row(row, prepared, on_epoch=lambda *both: seen.append(both))
    ((epoch, model),) = seen
    assert epoch["dice_mean"] == second["held_dice"]
    assert ablation.count_parameters(model) == second["parameters"]
    first.pop("seconds"), second.pop("seconds")
    assert first == second
    assert first["images"] == prepared.count("test") and first["photos"] == 16
    assert 0 <= first["dice_p10"] <= first["dice"] <= 1 and 0 <= first["boundary_f1"] <= 1
    assert [entry["epoch"] for entry in first["history"]] == [1]
    other = ablation.run_row(rows_of(tmp_path, {"loss": {"both": {}}})[1], prepared)
    assert other["dice"] != first["dice"], "another seed is another training"


def test_real_photos_are_scored_where_they_are_given(prepared, tmp_path):
    row = rows_of(tmp_path, {"cars": {"1": {}}})[0]
    record = ablation.run_row(row, prepared, real=prepared.root / "originals")
    assert record["real_images"] == 64 and 0 <= record["real_dice"] <= 1


def test_a_training_that_diverges_says_so_and_has_no_scores(prepared, tmp_path, monkeypatch):
    def broken(config):
        model = model_from_config(config)
        torch.nn.init.constant_(model.final_conv.bias, float("nan"))
        return model

    monkeypatch.setattr(ablation, "model_from_config", broken)
    record = ablation.run_row(rows_of(tmp_path, {"rate": {"wild": {}}})[0], prepared)
    assert "nan" in record["diverged"] and "dice" not in record
    assert record["question"] == "rate" and record["settings"]["seed"] == 1


def test_the_tool_goes_on_where_it_was_stopped(prepared, tmp_path, monkeypatch, capsys):
    ran = []

    def half(row, prepared, real=None):
        ran.append(row.key)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return {"version": VERSION, "question": row.question, "variant": row.variant,
                "seed": row.seed, "settings": row.settings(), "dice": 0.5 + row.seed / 10,
                "boundary_f1": 0.5}  # fmt: skip

    monkeypatch.setattr(ablate, "run_row", half)
    monkeypatch.setattr(ablate, "prepare", lambda *_, **__: prepared)
    grid, records = (
        grid_file(tmp_path, {"q": {"a": {}, "b": {"loss": "bce"}}}),
        tmp_path / "r.jsonl",
    )
    line = ["--grid", str(grid), "--records", str(records)]
    assert ablate.main(line) == 130 and "goes on" in capsys.readouterr().err
    assert len(read_records(records)) == 1
    assert ablate.main(line) == 0
    assert ran == [("q", "a", 1), ("q", "a", 2), ("q", "a", 2), ("q", "b", 1), ("q", "b", 2)]
    assert ablate.main(line) == 0 and len(ran) == 5, "nothing is left to do"
    mean, deviation, seeds = spread(read_records(records), "q")["a"]
    assert (mean, seeds) == (pytest.approx(0.65), 2)
    assert deviation == pytest.approx(statistics.stdev([0.6, 0.7]))
    assert "0.6500 ± 0.0707" in capsys.readouterr().out


def test_one_training_under_several_questions_is_run_once(prepared, tmp_path, monkeypatch):
    ran = []

    def counted(row, prepared, real=None):
        ran.append((row.key, real is not None))
        scores = {"dice": len(ran) / 10, "boundary_f1": 0.5} | ({"real_dice": 0.1} if real else {})
        return {"version": VERSION, "question": row.question, "variant": row.variant,
                "seed": row.seed, "settings": row.settings(), **scores}  # fmt: skip

    monkeypatch.setattr(ablate, "run_row", counted)
    monkeypatch.setattr(ablate, "prepare", lambda *_, **__: prepared)
    monkeypatch.setattr(ablate, "open_source", lambda name: name)
    monkeypatch.setattr(ablate, "extract_pair", lambda pair, folder: folder)
    grid = grid_file(
        tmp_path, {"loss": {"both": {}, "bce": {"loss": "bce"}}, "features": {"4, 8": {}}}
    )
    line = ["--grid", str(grid), "--records", str(tmp_path / "r.jsonl"), "--seeds", "1"]
    assert ablate.main(line) == 0
    assert ran == [(("loss", "both", 1), False), (("loss", "bce", 1), False)]
    found = read_records(tmp_path / "r.jsonl")
    assert [(r["question"], r["variant"], r["dice"]) for r in found] == [
        ("loss", "both", 0.1), ("loss", "bce", 0.2), ("features", "4, 8", 0.1),
    ]  # fmt: skip
    line[3] = str(tmp_path / "with_real.jsonl")  # real photos are scored the first time already
    assert ablate.main([*line, "--real", "anywhere"]) == 0
    assert ran[2:] == [(("loss", "both", 1), True), (("loss", "bce", 1), False)]
    append_record({**found[0], "question": "features", "variant": "4, 8"}, tmp_path / "old.jsonl")
    line[3] = str(tmp_path / "old.jsonl")  # a record without them does not stand for one with them
    assert ablate.main([*line, "--real", "anywhere"]) == 0
    assert ran[4:] == [(("loss", "both", 1), True), (("loss", "bce", 1), False)]


def test_no_question_and_changed_settings_are_refused(tmp_path, capsys):
    grid, records = grid_file(tmp_path, {"q": {"a": {}}}), tmp_path / "r.jsonl"
    for options, there in ((["nothing"], "there are: q"), (["--seeds", "1", "7"], "[1, 2]")):
        with pytest.raises(SystemExit):
            ablate.main(["--grid", str(grid), *options])
        assert there in capsys.readouterr().err
    row = ablation.read_grid(grid)[0]
    append_record(
        {"version": 1, "question": "q", "variant": "a", "seed": 1,
         "settings": {**row.settings(), "loss": "dice"}}, records,
    )  # fmt: skip
    assert ablate.main(["--grid", str(grid), "--records", str(records)]) == 2
    assert "loss" in capsys.readouterr().err
    assert len(read_records(records)) == 1


def a_record(variant: str = "a", seed: int = 1, question: str = "q", **values) -> dict:
    return {"version": VERSION, "question": question, "variant": variant, "seed": seed,
            "settings": {}, **values}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('{"version": 0}', "version 0"), ('{"version": 2, "question": "q"}', "version 2"),
        ('{"vers', "line 2"), ("[1]", "record"), ("7", "record"), ("", "line 2"),
        ('{"version": 1}', "settings"), ("\xff", "line 2"),
        (json.dumps(a_record(seed="1")), "seed"), (json.dumps(a_record()), "twice"),
    ],
)  # fmt: skip
def test_what_is_no_record_of_this_version_is_refused(line, word, tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(f"{json.dumps(a_record())}\n{line}\n".encode("latin-1"))
    with pytest.raises(CourseError, match=word):
        read_records(path)


def test_a_record_is_added_on_a_line_of_its_own(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(a_record()))  # without a line end, as an editor may leave it
    append_record(a_record("b"), path)
    assert [record["variant"] for record in read_records(path)] == ["a", "b"]


def test_a_setting_that_came_later_had_its_default_then(tmp_path):
    (row,) = rows_of(tmp_path, {"q": {"a": {}}}, seeds=[1])
    (other,) = rows_of(tmp_path, {"q": {"a": {"clip_norm": 0.5}}}, seeds=[1])
    before = {key: value for key, value in row.settings().items() if key != "clip_norm"}
    assert missing([row], [a_record(settings=before)]) == []
    with pytest.raises(CourseError, match="clip_norm"):
        missing([other], [a_record(settings=before)])


def test_two_processes_do_not_write_the_same_records(tmp_path, capsys):
    grid, records = grid_file(tmp_path, {"q": {"a": {}}}), tmp_path / "new" / "r.jsonl"
    records.parent.mkdir()
    with FileLock(records.with_name(".r.jsonl.lock")):
        assert ablate.main(["--grid", str(grid), "--records", str(records)]) == 2
    assert "another one at work" in capsys.readouterr().err and not records.exists()


def test_the_table_says_what_diverged_and_keeps_to_the_rows_that_are_asked_for(tmp_path, capsys):
    grid, path = grid_file(tmp_path, {"q": {"a": {}}}), tmp_path / "r.jsonl"
    for record in (a_record(dice=0.5, boundary_f1=0.1), a_record(seed=2, diverged="nan"),
                   a_record("old", dice=0.9)):  # fmt: skip
        append_record(record, path)
    assert ablate.main(["--table", "--grid", str(grid), "--records", str(path)]) == 0
    said = capsys.readouterr().out
    assert "0.5000 ± nan" in said and said.endswith("1, 1 diverged\n") and "old" not in said


# --- seeds summed up -----------------------------------------------------------------------------

FIVE = [
    a_record("a", seed, dice=value, held_dice=0.1)
    for seed, value in ((1, 0.5), (2, 0.7), (4, 0.4))
] + [a_record("b", 1, dice=0.4), a_record("b", 2, diverged="inf"), a_record("b", 4, dice=0.1),
     a_record("c", 1, diverged="nan")]  # fmt: skip


def test_a_diverged_training_counts_in_no_mean():
    assert by_seed(FIVE, "q", "b") == {1: 0.4, 4: 0.1}
    assert by_variant(FIVE, "q", "held_dice") == {"a": dict.fromkeys((1, 2, 4), 0.1), "b": {},
                                                  "c": {}}  # fmt: skip
    found = spread(iter(FIVE), "q")
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == (pytest.approx(1.6 / 3), pytest.approx(np.std([0.5, 0.7, 0.4], ddof=1)), 3)
    assert found["b"][0] == pytest.approx(0.25) and found["b"][2] == 2
    assert math.isnan(found["c"][0]) and found["c"][2] == 0


def test_differences_are_those_of_equal_seeds_that_both_have_a_score():
    assert differences(iter(FIVE), "q", "a", "b") == pytest.approx({1: 0.1, 4: 0.3})
    assert differences(FIVE, "q", "a", "c") == {}


def test_a_question_without_records_is_named_with_those_that_have_some():
    with pytest.raises(CourseError, match="one that the records answer: q"):
        by_variant(FIVE, "colour")
    with pytest.raises(CourseError, match="there are none"):
        spread([], "q")


numbers = st.lists(st.integers(-999, 999).map(lambda n: n / 1000), min_size=2, max_size=10)


@settings(deadline=None)
@given(numbers)
def test_error_bars_are_those_of_scipy(values):
    error = stats.sem(values)
    with np.errstate(invalid="ignore"):  # ten equal values have no interval to scipy
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
    wanted = (np.std(values, ddof=1), error, 0 if error == 0 else (high - low) / 2)
    assert [bar(values, kind) for kind in BARS] == pytest.approx(wanted, rel=1e-3, abs=1e-12)
    assert interval(values) == pytest.approx((np.mean(values), wanted[2]), rel=1e-3, abs=1e-12)


@settings(deadline=None)
@given(numbers)
def test_a_difference_is_clear_where_a_t_test_says_so(values):
    if np.std(values) < 1e-9:
        return
    p = stats.ttest_1samp(values, 0).pvalue
    same = len({np.sign(value) for value in values}) == 1 and values[0] != 0
    if abs(p - 0.05) > 1e-3:
        expected = "clear" if p < 0.05 else "a hint" if same else "lost in the spread"
        assert verdict(values) == expected


def test_too_few_seeds_and_unknown_bars_are_said():
    assert verdict([0.3]) == verdict([]) == "too few seeds"
    assert verdict([0.0, 0.0, 0.0]) == "lost in the spread"
    assert math.isnan(bar([0.3]))
    with pytest.raises(CourseError, match="standard error"):
        bar([1, 2], "sem")


def test_missing_records_and_files_that_are_no_grid_are_named(prepared, tmp_path):
    with pytest.raises(CourseError, match="ablate"):
        read_records(tmp_path / "none.jsonl")
    for text in ("a: 1", "[1", "", "base: {}\nseeds: [1]\nquestions: {q: {v: {colour: red}}}"):
        (tmp_path / "grid.yaml").write_text(text)
        with pytest.raises(CourseError, match=r"grid\.yaml"):
            ablation.read_grid(tmp_path / "grid.yaml")
    for changes in ({"seeds": [1, 1]}, {"seeds": []}, {"cars": 0}, {"held": "2"}, {"split": "x"}):
        with pytest.raises(CourseError, match=next(iter(changes))):
            rows_of(tmp_path, {"q": {"v": {}}}, **changes)
    with pytest.raises(CourseError, match="variant"):
        rows_of(tmp_path, {})
    twice = (ROOT / "configs" / "ablations.yaml").read_text().replace("BCE: {", "Dice: {")
    (tmp_path / "grid.yaml").write_text(twice)
    with pytest.raises(CourseError, match="Dice stands there twice"):
        ablation.read_grid(tmp_path / "grid.yaml")
    with pytest.raises(CourseError, match="cars"):
        ablation.deal(prepared, rows_of(tmp_path, {"q": {"v": {"cars": 9}}})[0])
