"""`diagnose` against notebook 13: it finds every broken program and is silent on every mended one.

The programs stand in the notebook only. Its cells with the tags bench, broken, mended and diagnosis
are run here as they are, in their order; looks and pictures, which have none of these tags, are
left out. What diagnose says of programs that are in no notebook is tested below that.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from blobs import Blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from test_notebooks import plain
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset, random_split

import unet_helpers.diagnose.network as network
from unet_helpers.checkpoint import save_checkpoint
from unet_helpers.dataset import (
    CarvanaDataset,
    eval_transform,
    find_pairs,
    make_loader,
    read_mask,
    train_transform,
)
from unet_helpers.diagnose import FirstNonFinite, diagnose, first_nonfinite, saved_bytes
from unet_helpers.diagnose.batches import check_masks, check_pairs, stems_of
from unet_helpers.diagnose.findings import Patient, mib
from unet_helpers.environment import CourseError
from unet_helpers.losses import bce_dice_loss, bce_loss, cross_entropy_dice_loss
from unet_helpers.metrics import predict_classes
from unet_helpers.model import UNET
from unet_helpers.sources import extract_pair, open_source

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "13_when_it_breaks.ipynb"
RUN = {"bench", "broken", "mended", "diagnosis"}
# The list, one name a case; the black mask has three causes.
CASES = [
    "empty masks", "prediction", "picture", "mask values", "pairs", "mask fractions",
    "useless mask", "leak", "validation", "mode", "batch of one", "non-finite", "optimizer",
    "clipping", "workers", "memory", "checkpoint",
]  # fmt: skip


def tagged_cells() -> list[tuple[set[str], str]]:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    code = [(set(c.metadata.get("tags", [])), c.source) for c in cells if c.cell_type == "code"]
    return [(tags, source) for tags, source in code if tags & RUN]


# --- the notebook's programs ---------------------------------------------------------------------

# Its programs take half a minute: once is enough, also where tests run side by side.
together = pytest.mark.xdist_group("the programs of notebook 13")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """What the notebook knows after all its programs have run, and what diagnose has printed."""
    names = {"Path": Path, "os": __import__("os"), "sys": sys, "root": ROOT}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNET_COURSE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("UNET_COURSE_DATA", "studio")
        patch.delenv("UNET_COURSE_QUICK", raising=False)
        printed = {}
        for tags, source in tagged_cells():
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(compile(source, "notebook 13", "exec"), names)
            for case in tags & set(CASES) if "diagnosis" in tags else ():
                printed[case] = printed.get(case, "") + said.getvalue()
    return names, printed


@together
@pytest.mark.parametrize("case", CASES)
def test_finds_the_broken_program_and_is_silent_on_the_mended_one(clinic, case):
    names, printed = clinic
    if case == "workers" and not names["CAN_FORK"]:
        pytest.skip("this system has no fork")
    found = [getattr(finding, "name", finding) for finding in names["sick"][case]]
    assert found == [case], printed[case]
    assert names["well"][case] == [], printed[case]
    assert f"FOUND  {case}: " in printed[case] and "cure: " in printed[case]
    assert "Nothing found. Looked at: " in printed[case]


def test_the_page_shows_workers_that_hang_where_it_says_and_mended_ones_that_do_not():
    cells = {c.id: c for c in nbformat.read(NOTEBOOK, as_version=4).cells}
    program = ast.literal_eval(cells["clinic-138"].source.partition(" = ")[2])
    hangs, mended, examined = (
        cells[name].outputs[0].text for name in ("clinic-140", "clinic-145-run", "clinic-143")
    )
    assert hangs.count("here it is") == 1 and hangs.endswith("ended\n")
    assert mended.count("here it is") == 2 and "ended" not in mended
    first = re.search(r'File "<string>", line (\d+) in __getitem__', examined)
    line = program.splitlines()[int(first[1]) - 1]
    assert line.strip().startswith("with LOG:") and f"# line {first[1]}" in line
    assert f"in line {first[1]} of the program" in cells["clinic-144"].source
    own = [said for said in examined.splitlines() if not said.startswith((" ", "FOUND", "Not "))]
    assert own == ["Timeout (0:00:02)!"]


@together
def test_a_healthy_program_gets_no_finding(clinic):
    assert clinic[0]["findings"] == []


def test_every_case_is_broken_examined_and_mended_in_the_notebook():
    for kind in ("broken", "mended", "diagnosis"):
        named = [case for tags, _ in tagged_cells() if kind in tags for case in tags & set(CASES)]
        assert list(dict.fromkeys(named)) == CASES, kind
    assert not {tag for tags, _ in tagged_cells() for tag in tags} - RUN - set(CASES)


@pytest.mark.parametrize("name", ["FirstNonFinite", "first_nonfinite"])
def test_what_the_notebook_builds_is_what_the_package_exports(name):
    sources = [
        c.source
        for c in nbformat.read(NOTEBOOK, as_version=4).cells
        if c.cell_type == "code" and "setup" not in c.metadata.get("tags", [])
    ]
    sources.append(Path(network.__file__).read_text(encoding="utf-8"))
    built = [
        plain(node)
        for source in sources
        for node in ast.parse(source).body
        if getattr(node, "name", "") == name
    ]
    assert len(built) == 2 and built[0] == built[1]


# --- other programs ------------------------------------------------------------------------------


def small() -> nn.Module:
    torch.manual_seed(0)
    return UNET(features=(4, 8))


def batch(count: int = 8, classes: int = 2, first: int = 0):
    images, masks, stems = next(iter(DataLoader(Blobs(count, first=first), count)))
    return images, masks * (classes - 1), list(stems)


def names_of(findings) -> list[str]:
    return [finding.name for finding in findings]


def quietly(loader, model=None, loss=bce_dice_loss, **given) -> list[str]:
    return names_of(diagnose(loader, model or small(), loss, quiet=True, **given))


def test_blobs_are_healthy_as_list_and_as_loader():
    assert quietly([batch()]) == quietly(DataLoader(Blobs(20), 8)) == []


def test_prints_findings_with_cures_and_what_was_left_out(capsys):
    images, masks, stems = batch()
    findings = diagnose([(images, 255 * masks, stems)], small(), bce_loss, trained=True)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 90 and str(findings[0]) in said
    words = " ".join(said.split())
    assert words.startswith("FOUND mask values: values from 0 to 255") and "cure: binarise" in words
    left = "pairs, batch of one, loss and gradient, useless mask"
    assert f"Not looked at before this is mended: {left}." in words
    assert diagnose([batch()], small(), bce_loss) == []
    assert capsys.readouterr().out.startswith("Nothing found. Looked at: mask values, pairs, ")
    assert diagnose([batch()], small(), bce_loss, quiet=True) == []
    assert capsys.readouterr().out == ""


def test_everything_given_stays_as_it_was(tiny_pair, tmp_path):
    folder = extract_pair(tiny_pair, tmp_path / "here", progress=False)
    data = CarvanaDataset(folder / "train", folder / "train_masks", train_transform(32, 48))
    train, val = make_loader(data, 8, shuffle=True), make_loader(data, 8)
    data.set_epoch(5)
    train.sampler.set_epoch(7)
    model = small().eval()
    optimizer = torch.optim.AdamW(model.parameters())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    diagnose(
        train, model, bce_dice_loss, val_loader=val, optimizer=optimizer, trained=True, quiet=True,
        step=right_step, predict=in_eval, memory=10**9,
    )  # fmt: skip
    assert torch.equal(torch.get_rng_state(), state)
    assert data.epoch == 5 and train.sampler.epoch == 7 and not model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters()) and not optimizer.state


def in_eval(model, images):
    with torch.no_grad():
        return predict_classes(model.eval()(images))


def right_step(model, optimizer, loss_fn, scaler, images, masks):
    optimizer.zero_grad()
    scaler.scale(loss_fn(model(images), masks)).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    scaler.step(optimizer)
    scaler.update()


# --- masks and pairs -----------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    classes=st.integers(2, 5),
    ignore=st.none() | st.just(6),
)
def test_masks_are_found_exactly_where_a_value_is_no_class(values, classes, ignore):
    mask = torch.tensor(values, dtype=torch.uint8).reshape(1, 1, -1)
    patient = Patient(None, None, None, [(torch.zeros(1, 3, *mask.shape[1:]), mask, [])], classes)
    patient.ignore_index = ignore
    left = {value for value in values if value != ignore}
    wanted = "mask values" if left and max(left) >= classes else None
    wanted = wanted or ("empty masks" if len(left) < 2 else None)
    assert getattr(check_masks(patient), "name", None) == wanted


def test_float_masks_of_whole_numbers_with_a_channel_axis_pass():
    images, masks, stems = batch()

    def loss(logits, mask):
        return nn.functional.binary_cross_entropy_with_logits(logits, mask)

    assert quietly([(images, masks[:, None].float(), stems)], loss=loss) == []


def test_many_classes_and_an_ignored_value():
    images, masks, stems = batch(classes=3)
    masks[:, 0] = 255
    model = UNET(features=(4, 8), out_channels=3)

    def loss(logits, mask):
        return cross_entropy_dice_loss(logits, mask, ignore_index=255)

    three = [(images, masks, stems)]
    assert quietly(three, model, loss, ignore_index=255, predict=in_eval) == []
    assert quietly(three, model, loss) == ["mask values"]


@pytest.mark.parametrize("size", [(32, 48), (128, 192)])
@pytest.mark.real
def test_real_photos_fit_their_masks_and_no_others(real_carvana, tmp_path_factory, size):
    folder = extract_pair(open_source(real_carvana), tmp_path_factory.mktemp("real"), False)
    pairs = find_pairs(folder / "train", folder / "train_masks")[::9][:24]
    data = CarvanaDataset(folder / "train", folder / "train_masks", eval_transform(*size),
                          stems=[pair.stem for pair in pairs], progress=False)  # fmt: skip
    images, masks, _ = next(iter(DataLoader(data, len(pairs))))
    for shown, found in ((masks, False), (masks.roll(1, 0), True), (masks.flip(-1), True)):
        patient = Patient(None, None, None, [(images, shown, [])])
        assert (check_pairs(patient) is not None) == found


def test_drawn_photos_fit_their_masks_whatever_their_augmentation(tiny_pair, tmp_path):
    folder = extract_pair(tiny_pair, tmp_path / "here", progress=False)
    for strength in ("none", "gentle"):
        transform = train_transform(64, 96, strength)
        data = CarvanaDataset(folder / "train", folder / "train_masks", transform, progress=False)
        images, masks, _ = next(iter(DataLoader(data, 48)))
        for shown, found in ((masks, False), (masks.roll(20, 0), True)):
            patient = Patient(None, None, None, [(images[::2], shown[::2], [])])
            assert (check_pairs(patient) is not None) == found, strength


# --- loaders -------------------------------------------------------------------------------------


class Raising(Blobs):
    def __getitem__(self, index):
        raise CourseError("12.gif", expected="a mask", found="a web page", mend="copy it again")


def test_a_data_set_that_raises_is_a_finding_with_its_own_cure():
    for workers in (0, 1):
        (finding,) = diagnose(DataLoader(Raising(9), 4, num_workers=workers), small(), bce_loss)
        assert finding.name == "batch"
        assert "web page" in finding.found and "copy it again" in str(finding)


@pytest.mark.parametrize("loader", [[], [(torch.zeros(2, 3, 32, 48), None)], 7])
def test_a_loader_that_gives_no_batches_is_a_finding(loader):
    assert quietly(loader) == ["batch"]


def test_photos_are_taken_from_the_whole_data_set():
    class Spoilt(Blobs):
        def __getitem__(self, index):
            image, mask, stem = super().__getitem__(index)
            return image, mask * (200 if index >= 500 else 1), stem

    assert quietly(DataLoader(Spoilt(1000), 4)) == ["mask values"]


def test_stems_are_followed_through_subsets(tiny_pair, tmp_path):
    folder = extract_pair(tiny_pair, tmp_path / "here", progress=False)
    data = CarvanaDataset(folder / "train", folder / "train_masks", eval_transform(32, 48))
    inner = Subset(data, range(10, 40))
    loader = DataLoader(Subset(inner, [0, 5, 29]), 2)
    assert stems_of(loader) == [data.stems[n] for n in (10, 15, 39)]
    cars = [Subset(data, range(first, first + 16)) for first in (0, 16, 32)]
    for held, found in ((cars[1], []), (random_split(data, [40, 8])[1], ["leak"])):
        left = DataLoader(cars[0] if not found else data, 8)
        assert quietly(left, val_loader=DataLoader(held, 8)) == found


def test_validation_with_an_own_loader_is_found_and_left_drawing_anew(tiny_pair, tmp_path):
    """Without set_epoch a CarvanaDataset draws anew each time; it must go on doing so."""
    folder = extract_pair(tiny_pair, tmp_path / "here", progress=False)
    both = [
        CarvanaDataset(folder / "train", folder / "train_masks", transform, progress=False)
        for transform in (train_transform(32, 48), eval_transform(32, 48))
    ]
    train = [batch()]
    assert quietly(train, val_loader=DataLoader(both[0], 8)) == ["validation"]
    assert quietly(train, val_loader=DataLoader(both[1], 8)) == []
    assert both[0].epoch == -1
    assert any(not torch.equal(both[0][0][0], both[0][0][0]) for _ in range(8))


# --- network and loss ----------------------------------------------------------------------------


def test_saved_bytes_of_two_layers_worked_out_by_hand():
    images = torch.zeros(2, 3, 8, 8)
    convolution = nn.Conv2d(3, 4, 1)
    assert saved_bytes(convolution, images) == images.nbytes  # its input
    relu = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    assert saved_bytes(relu, images) == images.nbytes + 2 * 4 * 64 * 4  # and ReLU its output
    twice = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))
    assert saved_bytes(twice, images) == saved_bytes(relu, images)  # which the next one shares


def graph_bytes(logits: torch.Tensor, model: nn.Module) -> int:
    """The same, read off the finished graph: every tensor that one of its nodes has saved."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept, nodes, seen = {}, [logits.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
        for name in dir(node):
            tensor = getattr(node, name) if name.startswith("_saved_") else None
            if torch.is_tensor(tensor):
                kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(size for place, size in kept.items() if place not in weights)


def test_saved_bytes_agree_with_autograds_graph_and_shrink_with_checkpointing():
    from torch.utils.checkpoint import checkpoint

    class Thrifty(UNET):
        def forward(self, x):
            return checkpoint(super().forward, x, use_reentrant=False)

    images = torch.zeros(4, 3, 64, 96)
    for options in ({}, {"norm": "none"}, {"up": "bilinear"}, {"skips": False}):
        model = UNET(features=(4, 8), **options)
        assert saved_bytes(model, images) == graph_bytes(model(images), model)
    assert saved_bytes(Thrifty(features=(4, 8)), images) == images.nbytes
    large = torch.zeros(40, 3, 64, 96)  # a part of a batch counts as this part
    assert saved_bytes(model, large[:4]) == saved_bytes(model, images)


def test_memory_counts_photos_and_names_the_batch_that_fits():
    model, images = small(), batch()[0]
    one = saved_bytes(model, images[:1])
    weights = 3 * sum(p.nbytes for p in model.parameters())
    assert quietly([batch()], model, memory=8 * one + weights) == []
    (finding,) = diagnose([batch()], model, bce_loss, memory=8 * one + weights - 1, quiet=True)
    assert finding.name == "memory" and "here up to 7" in finding.cure
    assert quietly([batch()], model) == []  # nothing said about memory, and no GPU


def test_mib_for_people():
    assert (mib(3 * 2**20), mib(1.5 * 2**30)) == ("3 MiB", "1.5 GiB")


def test_first_nonfinite_names_the_layer():
    class Root(nn.Module):
        def forward(self, x):
            return (x - 1).sqrt()

    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.Identity(), Root()), nn.ReLU())
    images = torch.zeros(2, 3, 8, 8)
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.zero_()
    assert first_nonfinite(model, images) == "1.1"
    assert first_nonfinite(model, images - torch.inf) == "0"
    assert first_nonfinite(model[0], images) is None
    assert not any(layer._forward_hooks for layer in model.modules())


def test_a_network_that_overflows_is_named_by_its_layer():
    model = small()
    with torch.no_grad():
        model.decoder.ups[0].weight.fill_(1e38)
    (finding,) = diagnose([batch()], model, bce_dice_loss, quiet=True)
    assert finding.name == "non-finite" and "decoder.ups.0" in finding.found


@pytest.mark.parametrize(
    ("compute", "name"),
    [(lambda x: x.log().sum(), "log"), (lambda x: (x / 0 * 0).sum(), "div"),
     (lambda x: (2 * x.exp()).sum(), None)],
)  # fmt: skip
def test_first_nonfinite_function(compute, name):
    with FirstNonFinite() as watch:
        compute(torch.tensor([0.0, 1.0]))
    assert (watch.found is None) if name is None else name in watch.found[0]


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (lambda z, m: bce_loss(z, m).detach(), "gradient"),
        (lambda z, m: ((z > 0) * z.sum() * 0).float().mean(), "gradient"),
        (lambda z, m: bce_loss(z, m).item(), "gradient"),
        (lambda z, m: bce_loss(z, m) / 0, "non-finite"),
        (lambda z, m: bce_loss(z[:, 0], m), "loss"),
        (lambda z, m: z @ m, "loss"),
        (lambda z, m: (0 * z).sum().sqrt() + bce_loss(z, m), "gradient"),  # infinite slope, times 0
        (lambda z, m: 1 - m.sum() / (1e38 * z.exp()).sum(), "non-finite"),  # a quiet 1
    ],
)
def test_losses_that_cannot_train(loss, name):
    assert quietly([batch()], loss=loss) == [name]


def test_an_infinity_that_comes_to_nothing_is_no_finding():
    """A class that may not be chosen gets a logit of minus infinity; softmax makes 0 of it."""

    def loss(logits, mask):
        third = torch.full_like(logits, -torch.inf)
        three = torch.cat([torch.zeros_like(logits), logits, third], dim=1)  # (B, 3, H, W)
        return nn.functional.cross_entropy(three, mask.long())

    assert quietly([batch()], loss=loss) == []


def test_frozen_weights_and_infinite_photos():
    model = small().requires_grad_(False)
    assert quietly([batch()], model) == ["gradient"]
    images, masks, stems = batch()
    images[3, 0, 0, 0] = torch.inf
    assert quietly([(images, masks, stems)]) == ["non-finite"]


def test_batches_of_one():
    data = TensorDataset(*batch(9)[:2])
    assert quietly(DataLoader(data, 1)) == ["batch of one"]
    assert quietly(DataLoader(data, 8)) == []  # one odd batch of many pixels
    assert quietly(DataLoader(data, 1), UNET(features=(4, 8), norm="none")) == []


def test_a_trained_network_must_beat_a_network_that_never_looks():
    model = small()
    with torch.no_grad():
        model.final_conv.weight.zero_()
        model.final_conv.bias.fill_(-5)
    assert quietly([batch()], model, trained=True) == ["useless mask"]
    assert quietly([batch()], model) == []
    with torch.no_grad():
        model.final_conv.bias.fill_(5)
    assert quietly([batch()], model, trained=True) == ["useless mask"]


# --- what a program does around it ---------------------------------------------------------------


def in_eval_mirrored(model, images):
    with torch.no_grad():
        model.eval()
        both = torch.sigmoid(model(images)) + torch.sigmoid(model(images.flip(-1))).flip(-1)
    return both / 2 > 0.5  # (B, 1, H, W)


@pytest.mark.parametrize(
    ("predict", "found"),
    [
        (in_eval, []),
        (in_eval_mirrored, []),
        (lambda m, x: in_eval(m, x).numpy(), []),
        (lambda m, x: torch.sigmoid(m.eval()(x))[:, 0], []),
        (lambda m, x: 1 - in_eval(m, x), ["prediction"]),
        (lambda m, x: torch.zeros_like(in_eval(m, x)), ["prediction"]),
        (lambda m, x: in_eval(m, x)[0], ["prediction"]),
        (lambda m, x: predict_classes(m(x)), ["mode"]),
        (lambda m, x: x.nothing, ["prediction", "mode"]),
    ],
)
def test_predictions(predict, found):
    assert quietly([batch()], predict=predict) == found


@pytest.mark.parametrize(("momentum", "found"), [(0.1, "8 of BatchNorm's averages"),
                                                 (0.0, "4 of BatchNorm's counters")])  # fmt: skip
def test_batchnorm_left_in_training_mode_is_counted_by_its_averages(momentum, found):
    layers = [layer for _ in range(4) for layer in (nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))]
    model = nn.Sequential(*layers, nn.Conv2d(3, 1, 1))  # a mean and a variance in each of four
    for layer in layers[1::2]:
        layer.momentum = momentum
    findings = diagnose(
        [batch()], model, bce_loss, predict=lambda m, x: predict_classes(m(x)), quiet=True
    )
    assert names_of(findings) == ["mode"] and f" {found}" in findings[0].found


def test_dropout_left_on_is_found_without_batchnorm():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Dropout(0.5), nn.Conv2d(8, 1, 1))
    assert quietly([batch()], model, predict=lambda m, x: predict_classes(m(x))) == ["mode"]
    assert quietly([batch()], model, predict=in_eval) == []


def without(*left_out):
    def step(model, optimizer, loss_fn, scaler, images, masks):
        optimizer.zero_grad()
        loss = loss_fn(model(images), masks)
        if "backward" not in left_out:
            scaler.scale(loss).backward()
        if "unscale" not in left_out:
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        if "step" not in left_out:
            scaler.step(optimizer)
        scaler.update()

    return step


@pytest.mark.parametrize(
    ("step", "found"),
    [(right_step, []), (without("unscale"), ["clipping"]), (without("step"), ["step"]),
     (without("backward"), ["step"])],
)  # fmt: skip
def test_steps(step, found):
    assert quietly([batch()], step=step) == found


def test_an_optimizer_may_leave_out_frozen_weights_only():
    model = small()
    model.encoder.requires_grad_(False)
    assert quietly([batch()], model, optimizer=torch.optim.SGD(model.decoder.parameters())) == [
        "optimizer"  # final_conv is missing
    ]
    some = [p for p in model.parameters() if p.requires_grad]
    assert quietly([batch()], model, optimizer=torch.optim.SGD(some)) == []


def test_a_checkpoint_is_named_without_its_folder(tmp_path):
    save_checkpoint({"model": UNET(features=(8,)).state_dict()}, tmp_path / "best.pt")
    (finding,) = diagnose([batch()], small(), bce_loss, checkpoint=tmp_path / "best.pt", quiet=True)
    assert finding.name == "checkpoint" and "best.pt" in finding.found
    assert str(tmp_path) not in str(finding) and "features is [4, 8]" in finding.cure
    assert quietly([batch()], checkpoint=tmp_path / "none.pt") == ["checkpoint"]


def test_a_model_that_takes_other_photos_is_a_finding():
    assert quietly([batch()], nn.Conv2d(5, 1, 1)) == ["network"]


def test_read_mask_is_what_the_cures_name():
    """The cures name functions of the course; a renamed one would leave them hanging."""
    import unet_helpers.augment
    import unet_helpers.decode
    import unet_helpers.inference
    import unet_helpers.losses
    import unet_helpers.metrics
    import unet_helpers.pairs
    import unet_helpers.split
    import unet_helpers.training

    package = Path(network.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in package.glob("*.py"))
    for module, name in (
        (unet_helpers.decode, "read_mask"), (unet_helpers.pairs, "find_pairs"),
        (unet_helpers.split, "prepare"), (unet_helpers.augment, "eval_transform"),
        (unet_helpers.metrics, "predict_classes"), (unet_helpers.training, "train_fn"),
        (unet_helpers.inference, "save_predictions_as_imgs"),
        (unet_helpers.losses, "bce_dice_loss"), (unet_helpers.losses, "cross_entropy_dice_loss"),
    ):  # fmt: skip
        assert name in text and callable(getattr(module, name))
    assert read_mask is unet_helpers.decode.read_mask
