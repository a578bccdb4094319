"""The data set, its augmentation by epoch, and the loaders: albumentations as the oracle."""

from __future__ import annotations

import pickle

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from albumentations.pytorch import ToTensorV2
from make_pairs import make_items
from torch.utils.data import DataLoader

from unet_helpers.augment import STRENGTHS, BoxesBehind, Warp
from unet_helpers.dataset import (
    MEAN,
    STD,
    CarvanaDataset,
    NormalizeToTensor,
    denormalize,
    eval_transform,
    get_loaders,
    make_loader,
    set_epoch,
    train_transform,
)
from unet_helpers.environment import CourseError

HEIGHT, WIDTH = 40, 60


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """images/ and masks/ of three cars from four sides, at 64×96."""
    folder = tmp_path_factory.mktemp("pairs")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for stem, jpeg, gif in make_items(cars=3, height=64, width=96, angles=4):
        (folder / "images" / f"{stem}.jpg").write_bytes(jpeg)
        (folder / "masks" / f"{stem}_mask.gif").write_bytes(gif)
    return folder


@pytest.fixture
def dataset(folder):
    """A function that makes a data set of the folder with the given options."""

    def make(transform=None, **options):
        options = {"progress": False} | options
        return CarvanaDataset(folder / "images", folder / "masks", transform, **options)

    return make


def augmented(strength: str = "gentle") -> A.Compose:
    return train_transform(HEIGHT, WIDTH, strength)


def assert_same(one, other) -> None:
    for (image, mask, stem), (image_2, mask_2, stem_2) in zip(one, other, strict=True):
        assert torch.equal(image, image_2)
        assert torch.equal(mask, mask_2)
        assert stem == stem_2


def test_without_a_transform_it_gives_what_is_on_disk(dataset):
    data = dataset()
    photo, mask, stem = data[0]
    assert len(data) == 12
    assert (photo.shape, photo.dtype) == ((64, 96, 3), np.uint8)
    assert (mask.shape, mask.dtype) == ((64, 96), np.uint8)
    assert set(np.unique(mask)) == {0, 1}
    assert stem == data.stems[0] == sorted(data.stems)[0]
    assert dataset(size=(HEIGHT, WIDTH))[0][0].shape == (HEIGHT, WIDTH, 3)
    assert data[-1][2] == data.stems[-1]
    with pytest.raises(IndexError):
        data[12]
    assert [item[2] for item in data] == data.stems  # iterating ends


@pytest.mark.parametrize("strength", STRENGTHS)
def test_with_a_transform_it_gives_tensors(dataset, strength):
    for image, mask, _ in dataset(augmented(strength)):
        assert (image.shape, image.dtype) == ((3, HEIGHT, WIDTH), torch.float32)
        assert (mask.shape, mask.dtype) == ((HEIGHT, WIDTH), torch.uint8)
        assert set(mask.unique().tolist()) <= {0, 1}
        assert image.is_contiguous()
        assert image.min() > -2.2
        assert image.max() < 2.7


def test_last_step_is_normalize_and_to_tensor():
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    mask = rng.integers(0, 2, (20, 30), dtype=np.uint8)
    oracle = A.Compose([A.Normalize(mean=MEAN, std=STD), ToTensorV2()])(image=photo, mask=mask)
    ours = A.Compose([NormalizeToTensor()])(image=photo, mask=mask)
    torch.testing.assert_close(ours["image"], oracle["image"], atol=1e-5, rtol=1e-5)
    assert torch.equal(ours["mask"], oracle["mask"])
    np.testing.assert_array_equal(denormalize(ours["image"]), photo)
    with pytest.raises(CourseError, match="float32"):
        A.Compose([NormalizeToTensor()])(image=photo.astype(np.float32), mask=mask)


@pytest.mark.parametrize(
    "ranges",
    [
        {"rotate": (-35, 35)},
        {"rotate": (-12, 12), "scale": (0.7, 1.3), "translate_percent": (-0.1, 0.1)},
        {"shear": (-6, 6), "scale": (0.9, 1.1)},
    ],
)
def test_warp_is_albumentations_affine(ranges):
    rng = np.random.default_rng(0)
    photo = cv2.GaussianBlur(rng.integers(0, 256, (48, 72, 3), dtype=np.uint8), (5, 5), 0)
    mask = rng.integers(0, 5, (48, 72), dtype=np.uint8)
    slow = A.Affine(**ranges, border_mode=cv2.BORDER_REFLECT_101, keep_ratio=True, p=0.7)
    one, other = A.Compose([Warp(**ranges, p=0.7)], seed=3), A.Compose([slow], seed=3)
    changed = 0
    for _ in range(30):
        ours, oracle = one(image=photo, mask=mask), other(image=photo, mask=mask)
        np.testing.assert_array_equal(ours["mask"], oracle["mask"])
        # four channels may round otherwise than three
        assert np.abs(ours["image"].astype(int) - oracle["image"]).max() <= 2
        changed += not np.array_equal(ours["mask"], mask)
    assert 10 < changed < 30


def geometry(height: int, width: int, strength: str) -> list:
    """The steps that move pixels, in photo and mask."""
    steps = train_transform(height, width, strength)
    return [s for s in steps if isinstance(s, A.DualTransform) and not isinstance(s, BoxesBehind)]


def test_boxes_stand_behind_the_car():
    """The car and its mask stay as they are; the background gets boxes, in most photos."""
    steps = [s for s in train_transform(40, 60, "gentle") if isinstance(s, BoxesBehind)]
    transform = A.Compose(steps, seed=0)
    photo, mask = np.full((40, 60, 3), 255, np.uint8), np.zeros((40, 60), np.uint8)
    mask[10:30, 20:50] = 3  # any class but 0 is in front
    shares = []
    for _ in range(60):
        out = transform(image=photo, mask=mask)
        np.testing.assert_array_equal(out["mask"], mask)
        assert (out["image"][mask > 0] == 255).all()
        hidden = (out["image"] != 255).any(axis=2)
        assert len({tuple(colour) for colour in out["image"][hidden]}) <= 4
        shares.append(hidden[mask == 0].mean())
    assert 24 < sum(share > 0 for share in shares) < 48
    assert (photo == 255).all()  # the caller's own photo is not written to


@pytest.mark.parametrize("strength", ["gentle", "tutorial", "strong"])
def test_photo_and_mask_move_together(strength):
    """A photo that is its mask in white must stay its mask in white, up to the soft edge.

    The class index is 7 here: interpolation would show as an index between 0 and 7.
    """
    mask = np.zeros((80, 120), np.uint8)
    mask[20:60, 25:100] = 1
    mask[10:20, 30:50] = 1
    transform = A.Compose(geometry(80, 120, strength), seed=1)
    moved = 0
    for _ in range(40):
        out = transform(image=np.repeat(mask[..., None] * 255, 3, 2), mask=mask * 7)
        assert set(np.unique(out["mask"])) <= {0, 7}
        moved_mask = out["mask"] // 7
        white = (out["image"][..., 0] > 127).astype(np.uint8)
        edge = cv2.dilate(moved_mask, np.ones((3, 3))) - cv2.erode(moved_mask, np.ones((3, 3)))
        assert not ((white != moved_mask) & (edge == 0)).any()
        moved += not np.array_equal(moved_mask, mask)
    assert moved > 20


def test_border_is_a_reflection_in_photo_and_mask():
    """No black corners: a white photo with a full mask stays white and full."""
    photo, mask = np.full((40, 60, 3), 255, np.uint8), np.ones((40, 60), np.uint8)
    for strength in ("gentle", "tutorial", "strong"):
        transform = A.Compose(geometry(40, 60, strength), seed=0)
        for _ in range(20):
            out = transform(image=photo, mask=mask)
            assert out["image"].min() == 255
            assert out["mask"].min() == 1


def test_gentle_leaves_some_photos_as_they_are(dataset):
    data, plain = dataset(augmented("gentle")), dataset(eval_transform(HEIGHT, WIDTH))
    untouched = turned = 0
    for epoch in range(40):
        data.set_epoch(epoch)
        mask, before = data[0][1], plain[0][1]
        same = torch.equal(mask, before) or torch.equal(mask, before.flip(1))
        untouched, turned = untouched + same, turned + (not same)
    assert untouched >= 4
    assert turned >= 16


def test_no_augmentation_when_none_is_asked_for(dataset):
    first = list(dataset(train_transform(HEIGHT, WIDTH, "none")))
    assert_same(first, dataset(eval_transform(HEIGHT, WIDTH)))


def test_mirroring_and_turning_upside_down_are_drawn_apart():
    """albumentations' set_random_seed starts every step on the same numbers; ours must not."""
    data = CarvanaDataset.__new__(CarvanaDataset)
    data.transform, data.seed = A.Compose([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]), 1
    data._epoch = torch.tensor(0)
    corner = np.zeros((2, 2), np.uint8)
    corner[0, 0] = 1
    seen = set()
    for index in range(60):
        data._seed_transform(index)
        out = data.transform(image=np.zeros((2, 2, 3), np.uint8), mask=corner)
        seen.add(tuple(out["mask"].ravel().tolist()))
    assert len(seen) == 4


def test_augmentation_is_a_function_of_seed_epoch_and_index(dataset):
    one, other = dataset(augmented()), dataset(augmented())
    one.set_epoch(3), other.set_epoch(3)
    forwards = [one[i] for i in range(len(one))]
    backwards = [other[i] for i in reversed(range(len(other)))][::-1]
    assert_same(forwards, backwards)
    other.set_epoch(4)
    assert sum(torch.equal(a[0], b[0]) for a, b in zip(forwards, other, strict=True)) <= 1
    third = dataset(augmented(), seed=43)
    third.set_epoch(3)
    assert sum(torch.equal(a[0], b[0]) for a, b in zip(forwards, third, strict=True)) <= 1


def test_before_the_first_epoch_every_call_draws_anew(dataset):
    data = dataset(augmented("tutorial"))
    torch.manual_seed(5)
    first = [data[0][0] for _ in range(4)]
    assert len({image.numpy().tobytes() for image in first}) == 4


def batches(loader) -> list[tuple]:
    return [(images, masks, list(stems)) for images, masks, stems in loader]


def test_resumed_loader_goes_on_as_if_never_stopped(dataset, tmp_path):
    straight = make_loader(dataset(augmented(), cache_dir=tmp_path), 5, shuffle=True)
    epochs = [batches(straight) for _ in range(3)]
    orders = [[stem for _, _, stems in epoch for stem in stems] for epoch in epochs]
    assert all(sorted(order) == sorted(straight.dataset.stems) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert [len(stems) for _, _, stems in epochs[0]] == [5, 5, 2]
    torch.rand(7)  # what else the process drew in between must not matter
    resumed = make_loader(dataset(augmented(), cache_dir=tmp_path), 5, shuffle=True)
    set_epoch(resumed, 2)
    assert_same(batches(resumed), epochs[2])
    set_epoch(straight, 1)
    assert_same(batches(straight), epochs[1])


def test_loading_draws_nothing_from_the_global_stream(dataset):
    loader = make_loader(dataset(augmented()), 4, shuffle=True)
    torch.manual_seed(0), np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    batches(loader)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_give_what_one_process_gives(dataset, tmp_path, method):
    data = dataset(augmented(), cache_dir=tmp_path)
    alone = make_loader(data, 4, shuffle=True)
    workers = make_loader(dataset(augmented(), cache_dir=tmp_path), 4, shuffle=True, num_workers=2)
    workers.multiprocessing_context = method
    for epoch in (0, 1, 5):  # the same worker processes all along: the epoch must reach them
        set_epoch(alone, epoch), set_epoch(workers, epoch)
        assert_same(batches(workers), batches(alone))


class OnePhoto(torch.utils.data.Dataset):
    """The same photo again and again: equal augmentations would give equal tensors."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return 16

    def __getitem__(self, index):
        worker = torch.utils.data.get_worker_info()
        return self.data[0][0], worker.id


def test_two_workers_do_not_repeat_each_other(dataset):
    """Without set_epoch, in a plain DataLoader, where albumentations alone would repeat itself."""
    data = OnePhoto(dataset(augmented("tutorial")))
    loader = DataLoader(data, 2, num_workers=2, multiprocessing_context="fork")
    for _ in range(2):
        images, workers = map(torch.cat, zip(*loader, strict=True))
        assert set(workers.tolist()) == {0, 1}
        assert len({image.numpy().tobytes() for image in images}) == 16


def test_pickles(dataset, tmp_path):
    data = dataset(augmented(), cache_dir=tmp_path)
    data.set_epoch(2)
    data[1]
    assert_same([pickle.loads(pickle.dumps(data))[1]], [data[1]])


def test_cached_and_decoded_pairs_are_the_same(dataset, tmp_path):
    decoded, cached = dataset(augmented()), dataset(augmented(), cache_dir=tmp_path)
    for data in (decoded, cached):
        data.set_epoch(1)
    assert_same(list(decoded), list(cached))
    assert decoded.size == cached.size == (HEIGHT, WIDTH)


def test_decodes_at_the_size_of_a_leading_resize(dataset):
    transform = A.Compose([A.Resize(20, 30), A.Normalize(), ToTensorV2()])
    data = dataset(transform)
    assert data.size == (20, 30)
    assert data[0][0].shape == (3, 20, 30)
    assert dataset(A.Compose([A.HorizontalFlip(), ToTensorV2()])).size is None


def test_transform_without_tensors_is_refused(dataset):
    for steps in ([A.Resize(20, 30)], [A.Resize(20, 30), ToTensorV2()]):
        with pytest.raises(CourseError, match="float tensors"):
            dataset(A.Compose(steps))[0]


def test_cars_and_stems(dataset, tmp_path):
    data = dataset()
    cars = sorted({stem[:12] for stem in data.stems})
    assert {stem[:12] for stem in dataset(cars=[cars[1]]).stems} == {cars[1]}
    two = dataset(cars=2)
    assert len(two) == 8
    assert two.stems == dataset(cars=2).stems
    assert len({tuple(dataset(cars=1, seed=seed).stems) for seed in range(12)}) == 3
    assert len(dataset(cars=99)) == 12
    chosen = [data.stems[7], data.stems[2]]
    cached = dataset(stems=chosen, cache_dir=tmp_path, size=(20, 30))
    assert cached.stems == sorted(chosen)
    np.testing.assert_array_equal(cached[0][0], dataset(size=(20, 30))[2][0])
    for wrong in ({"stems": ["nobody_01"]}, {"cars": ["ffffffffffff"]}):
        with pytest.raises(CourseError, match=next(iter(wrong.values()))[0]):
            dataset(**wrong)
    with pytest.raises(CourseError, match="empty choice"):
        dataset(stems=[])


def test_cache_needs_a_size(dataset, tmp_path):
    with pytest.raises(CourseError, match="size"):
        dataset(cache_dir=tmp_path)


def test_unknown_strength():
    with pytest.raises(CourseError, match="gentle"):
        train_transform(32, 48, "wild")


def test_damaged_photo_is_named_from_a_worker(folder, tmp_path):
    import shutil

    broken = shutil.copytree(folder, tmp_path / "broken")
    victim = sorted((broken / "images").iterdir())[3]
    victim.write_bytes(victim.read_bytes()[:300])
    data = CarvanaDataset(broken / "images", broken / "masks", augmented())
    with pytest.raises(CourseError, match=victim.name):
        batches(make_loader(data, 4, num_workers=1))


def test_get_loaders(folder, tmp_path):
    where = (folder / "images", folder / "masks")
    train, val = get_loaders(
        *where, *where, 4, augmented(), eval_transform(HEIGHT, WIDTH), cache_dir=tmp_path,
        train_cars=2,
    )  # fmt: skip
    assert (len(train.dataset), len(val.dataset)) == (8, 12)
    images, masks, stems = next(iter(train))
    assert images.shape == (4, 3, HEIGHT, WIDTH)
    assert masks.shape == (4, HEIGHT, WIDTH)
    assert isinstance(stems[0], str)
    assert list(stems) != train.dataset.stems[:4]
    assert [s for *_, stems in val for s in stems] == val.dataset.stems
    assert_same(batches(val), batches(val))
