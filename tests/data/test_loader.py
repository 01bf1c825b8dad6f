"""Batches and masks against anomalib's datasets, PreProcessor and torchvision, bit for bit."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import CenterCrop, Normalize
from torchvision.transforms.v2.functional import to_dtype
from torchvision.tv_tensors import Mask

from harness.data import loader
from harness.data.datamodule import build_transform
from harness.data.layouts import resolve_split
from harness.data.loader import SplitSource, center_crop, labels, load_masks, normalise, shrink
from harness.data.pixels import shrink_mask
from harness.data.split import ANOMALOUS, NORMAL, Sample, Split
from harness.errors import DataError
from harness.execution.passes import image_bytes
from tests.data.small import as_stored, load_all, preprocessing, request, save, save_header
from tests.drawing import draw_btad_category, draw_mvtec_category, draw_visa_category

PROTOCOLS = {
    "crop": preprocessing(),
    "no crop, bicubic": preprocessing(center_crop=None, interpolation="bicubic"),
    "no antialias": preprocessing(antialias=False, batch_size=3),
    "neither square": preprocessing(resize=(48, 80), center_crop=(40, 56), batch_size=100),
    "enlarged": preprocessing(resize=(120, 110), center_crop=(104, 104), batch_size=1),
    "crop beyond the image": preprocessing(resize=(40, 40), center_crop=(56, 56)),
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A root that no test changes."""
    root = tmp_path_factory.mktemp("drawn")
    draw_mvtec_category(root / "bottle")
    return root


def ours(split, proto):
    source = SplitSource(split, proto)
    return torch.cat(load_all(source, "train")), torch.cat(load_all(source, "test"))


def anomalibs(split, part, proto):
    """Images and masks as anomalib's MVTecADDataset, collate and PreProcessor make them, in the split's order."""
    from anomalib.data.datasets.image.mvtecad import MVTecADDataset
    from anomalib.pre_processing import PreProcessor

    transform = build_transform(proto)
    dataset = MVTecADDataset(split.root, split.category, augmentations=transform.transforms[0], split=part)
    index = {path: i for i, path in enumerate(dataset.samples.image_path)}
    samples = split.train if part == "train" else split.test
    batches = []
    for start in range(0, len(samples), proto.batch_size):
        some = samples[start : start + proto.batch_size]
        batch = dataset.collate_fn([dataset[index[str(split.root / sample.path)]] for sample in some])
        PreProcessor(transform).on_test_batch_start(None, None, batch, 0)
        batches.append(batch)
    return torch.cat([b.image for b in batches]), torch.cat([b.gt_mask for b in batches]).numpy()


def check_anomalibs(split, proto):
    train, test = ours(split, proto)
    assert torch.equal(train, anomalibs(split, "train", proto)[0])
    images, expected = anomalibs(split, "test", proto)
    assert torch.equal(test, images)
    assert type(test) is torch.Tensor
    assert (test.dtype, test.shape) == (torch.float32, (len(split.test), 3, *proto.input_size))
    masks = load_masks(split, proto)
    assert (masks.dtype, masks.shape) == (np.uint8, (len(split.test), *proto.input_size))
    assert np.array_equal(masks, expected.astype(np.uint8))
    assert masks.any(axis=(1, 2)).tolist() == labels(split).astype(bool).tolist()


@pytest.mark.parametrize("proto", PROTOCOLS.values(), ids=PROTOCOLS)
def test_images_and_masks_are_anomalibs_bit_for_bit(drawn, proto):
    split = resolve_split(request(drawn), "bottle")
    check_anomalibs(split, proto)
    assert (labels(split).dtype, labels(split).tolist()) == (np.int64, [ANOMALOUS] * 6 + [NORMAL] * 4)


@pytest.mark.real
def test_the_real_bottle_is_anomalibs_bit_for_bit(real_mvtec):
    proto = preprocessing(resize=(256, 256), center_crop=(224, 224), batch_size=6)
    check_anomalibs(resolve_split(request(real_mvtec, name="mvtec", limit=6), "bottle"), proto)


@pytest.mark.real
def test_all_masks_of_the_real_bottle_are_anomalibs(real_mvtec):
    from anomalib.data.utils import read_mask

    proto = preprocessing(resize=(256, 256), center_crop=(224, 224))
    split = resolve_split(request(real_mvtec, name="mvtec"), "bottle")
    for sample, mask in zip(split.test, load_masks(split, proto), strict=True):
        if sample.mask:
            whole = read_mask(split.root / sample.mask, as_tensor=True)
            assert np.array_equal(torchvisions(whole, proto).numpy(), mask)


@pytest.mark.parametrize("layout", ["visa", "btad"])
def test_other_layouts_and_images_that_are_not_square(tmp_path, layout):
    if layout == "visa":
        draw_visa_category(tmp_path, "c")
    else:
        draw_btad_category(tmp_path / "c", mask_suffix=".bmp")
    split = resolve_split(request(tmp_path, layout), "c")
    proto = as_stored(72, 96)
    train, test = ours(split, proto)
    assert train.shape == (6, 3, 72, 96)
    for image, mask, sample in zip(test, load_masks(split, proto), split.test, strict=True):
        stored = np.array(Image.open(tmp_path / sample.path))
        assert np.abs(image.permute(1, 2, 0).numpy() * 255 - stored).max() < 1e-4
        plain = np.array(Image.open(tmp_path / sample.mask)) > 0 if sample.mask else np.zeros((72, 96), bool)
        assert np.array_equal(mask, plain)


def test_the_number_of_threads_changes_no_bit(drawn):
    split = resolve_split(request(drawn), "bottle")
    before = torch.get_num_threads()
    try:
        for proto in PROTOCOLS.values():
            torch.set_num_threads(1)
            alone = ours(split, proto)
            torch.set_num_threads(3)
            assert all(map(torch.equal, ours(split, proto), alone))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("proto", PROTOCOLS.values(), ids=PROTOCOLS)
def test_pixels_are_the_batches_before_normalisation(drawn, proto):
    split = resolve_split(request(drawn), "bottle")
    source = SplitSource(split, proto)
    pixels = source.pixels(split.test[::3])
    assert (pixels.dtype, pixels.shape) == (np.uint8, (4, *proto.input_size, 3))
    std, mean = (torch.tensor(values)[:, None, None] for values in (proto.std, proto.mean))
    plain = (torch.cat(load_all(source, "test"))[::3] * std + mean).permute(0, 2, 3, 1).numpy()
    assert np.abs(pixels - plain.clip(0, 1) * 255).max() < 0.51
    assert source.pixels([]).shape == (0, *proto.input_size, 3)


def test_batches_have_the_protocols_size_and_the_last_may_be_smaller(drawn):
    source = SplitSource(resolve_split(request(drawn), "bottle"), preprocessing(batch_size=5))
    assert (source.n_train, source.n_test) == (12, 10)
    assert [len(batch) for batch in load_all(source, "train")] == [5, 5, 2]
    assert [len(batch) for batch in load_all(source, "test")] == [5, 5]
    assert all(batch.is_contiguous() for batch in load_all(source, "train"))


# Files that cannot be read


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda png: png[: len(png) // 2], "cannot be decoded (image file is truncated"),
        (lambda _: b"", "cannot be decoded (not an image"),
        (lambda _: b"just a text", "cannot be decoded (not an image"),
        (lambda png: png[:60] + bytes(40) + png[100:], "cannot be decoded ("),
        (None, "no such file"),
    ],
)
@pytest.mark.parametrize("name", ["train/good/005.png", "test/blot/003.png", "ground_truth/blot/003_mask.png"])
def test_a_bad_file_is_an_error_that_names_it_relative_to_the_root(drawn_mvtec, damage, reason, name):
    path = drawn_mvtec / "bottle" / name
    split = resolve_split(request(drawn_mvtec), "bottle")
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    source = SplitSource(split, preprocessing(batch_size=2))
    part = name.split("/")[0]
    bad = {"train": 2, "test": 1}.get(part)
    for number in set(range(source.n_batches(part))) - {bad} if bad else ():
        assert len(source.load_batch(part, number)) == 2, "only its own batch has the error"
    with pytest.raises(DataError) as caught:
        source.load_batch(part, bad) if bad else load_masks(split, preprocessing())
    assert str(caught.value).startswith(f"bottle/{name}: {reason}")
    assert str(drawn_mvtec) not in str(caught.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_absurdly_large_image_is_refused_before_it_is_decoded(drawn_mvtec, monkeypatch):
    from harness.data import pixels

    split = resolve_split(request(drawn_mvtec), "bottle")
    save_header(drawn_mvtec / "bottle/train/good/000.png", 12_000, 12_000)
    monkeypatch.setattr(pixels, "_decoded", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"^bottle/train/good/000\.png: larger than 89 megapixels"):
        SplitSource(split, preprocessing()).load_batch("train", 0)


def test_an_empty_mask_is_zeros_and_a_category_may_have_no_masks(drawn_mvtec):
    split = resolve_split(request(drawn_mvtec), "bottle")
    save(drawn_mvtec / split.test[0].mask, size=(96, 96), value=0, mode="L")
    masks = load_masks(split, preprocessing())
    assert not masks[0].any()
    assert masks[1].any()
    (drawn_mvtec / "bottle/ground_truth").rename(drawn_mvtec / "gone")
    split = resolve_split(request(drawn_mvtec), "bottle")
    assert not split.has_masks
    assert len(ours(split, preprocessing())[1]) == 10


# Resize, crop and normalisation, step by step


def torchvisions(image, proto):
    """By anomalib's transform without the normalisation."""
    for transform in build_transform(proto).transforms[:-1]:
        image = transform(image)
    return image


def sizes(rng, low, high):
    return tuple(int(side) for side in rng.integers(low, high, 2))


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [3, 1])
def test_resize_and_crop_are_torchvisions_bit_for_bit(interpolation, antialias, channels):
    rng = np.random.default_rng(0)
    for case in range(15):
        resize = sizes(rng, 1, 150)
        crop = None if case % 3 == 0 else sizes(rng, 1, 170)
        proto = preprocessing(resize=resize, center_crop=crop, interpolation=interpolation, antialias=antialias)
        height, width = resize if case % 10 == 9 else sizes(rng, 1, 300)
        pixels = rng.integers(0, 256, (height, width, channels), np.uint8)
        found = shrink(pixels, proto)
        assert (found.dtype, found.shape) == (torch.float32, (channels if antialias else 3, *proto.input_size))
        rgb = torch.as_tensor(np.broadcast_to(pixels, (height, width, 3)).copy()).permute(2, 0, 1)
        expected = torchvisions(to_dtype(rgb, torch.float32, scale=True), proto)
        assert torch.equal(found.expand(3, -1, -1), expected), (pixels.shape, proto)


@pytest.mark.parametrize("shape", [(900, 900, 3), (257, 1023, 1), (700, 72, 3), (72, 500, 1), (513, 60, 3)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_large_image_is_resized_a_part_at_a_time_to_the_same_bits(monkeypatch, shape, interpolation):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    proto = preprocessing(interpolation=interpolation)
    expected = shrink(pixels, proto)
    monkeypatch.setattr(loader, "LARGE_PIXELS", 0)
    assert torch.equal(shrink(pixels, proto), expected)


def test_every_small_crop_is_torchvisions():
    image = torch.arange(1.0, 31).reshape(1, 5, 6)
    for height in range(1, 10):
        for width in range(1, 10):
            found = center_crop(image, (height, width))
            assert torch.equal(found, CenterCrop([height, width])(image)), (height, width)


def test_masks_are_torchvisions():
    rng = np.random.default_rng(2)
    for case in range(30):
        proto = preprocessing(resize=sizes(rng, 1, 120), center_crop=None if case % 3 == 0 else sizes(rng, 1, 140))
        mask = rng.random(sizes(rng, 1, 300)) < 0.3
        found = shrink_mask(mask, proto)
        assert found.dtype == bool
        assert np.array_equal(found, torchvisions(Mask(mask, dtype=torch.uint8), proto).numpy())


@pytest.mark.parametrize("channels", [3, 1])
def test_normalisation_is_torchvisions_bit_for_bit(channels):
    proto = preprocessing(mean=(0.485, 0.1, 0.9), std=(0.229, 3, 0.01))
    image = torch.rand(channels, 70, 90).permute(0, 2, 1)[:, 3:60, 5:50]
    out = torch.empty(2, 3, 57, 45)
    normalise(image, proto, out=out[1])
    expected = Normalize(mean=list(proto.mean), std=list(proto.std))(image.expand(3, -1, -1))
    assert torch.equal(out[1], expected)


# What it costs


def test_what_images_take_follows_from_their_headers(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "plain.png")
    Image.new("P", (40, 20)).save(tmp_path / "palette.png")
    Image.new("RGB", (10, 10)).save(tmp_path / "photograph.jpg")
    (tmp_path / "damaged.png").write_bytes(b"no image")
    names = ("plain.png", "photograph.jpg", "palette.png", "damaged.png")
    samples = tuple(Sample(name, NORMAL, "good") for name in names)
    split = Split("folder", "part", tmp_path, samples[:2], samples[2:], has_masks=False)
    assert image_bytes(split) == (15 * 800, 8 * 1200, 15 * 100)


def test_nothing_that_takes_seconds_is_imported_to_resolve_a_split_or_to_decode(project):
    code = (
        "import sys, harness.data.layouts, harness.data.fingerprint;"
        "heavy = {'torchvision', 'anomalib', 'lightning', 'timm', 'pandas', 'cv2'};"
        "print(sorted((heavy | {'torch'}) & set(sys.modules)));"
        "import harness.data.loader;"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n[]\n"
