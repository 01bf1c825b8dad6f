import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data.layouts import resolve_split
from harness.data.loader import SplitSource, labels, load_masks
from harness.data.split import ANOMALOUS, NORMAL, Sample, Split
from harness.errors import DataError
from tests.data.small import as_stored, grey_ramp, load_all, protocol, request, save, save_header
from tests.drawing import draw_btad_category, draw_visa_category

PROTOCOLS = {
    "crop": protocol(),
    "no crop, bicubic": protocol(center_crop=None, interpolation="bicubic"),
    "no antialias": protocol(antialias=False, batch_size=3),
    "neither square": protocol(resize=(48, 80), center_crop=(40, 56), batch_size=100),
    "enlarged": protocol(resize=(120, 110), center_crop=(104, 104), batch_size=1),
    "crop beyond the image": protocol(resize=(40, 40), center_crop=(56, 56)),
}


def anomalibs(root, category, split, proto):
    """Images and masks as anomalib's MVTecADDataset, collate and PreProcessor make them, sorted by path."""
    from anomalib.data.datasets.image.mvtecad import MVTecADDataset
    from anomalib.pre_processing import PreProcessor

    from harness.data.datamodule import build_transform

    transform = build_transform(proto)
    dataset = MVTecADDataset(root, category, augmentations=transform.transforms[0], split=split)
    batches = []
    for start in range(0, len(dataset), proto.batch_size):
        items = [dataset[i] for i in range(start, min(start + proto.batch_size, len(dataset)))]
        batch = dataset.collate_fn(items)
        PreProcessor(transform).on_test_batch_start(None, None, batch, 0)
        batches.append(batch)
    return torch.cat([b.image for b in batches]), torch.cat([b.gt_mask for b in batches]).numpy()


def ours(split, proto):
    source = SplitSource(split, proto)
    return torch.cat(load_all(source, "train")), torch.cat(load_all(source, "test"))


@pytest.mark.parametrize("proto", PROTOCOLS.values(), ids=PROTOCOLS)
def test_images_and_masks_are_anomalibs_bit_for_bit(drawn_mvtec, proto):
    split = resolve_split(request(drawn_mvtec), "bottle")
    train, test = ours(split, proto)
    assert torch.equal(train, anomalibs(drawn_mvtec, "bottle", "train", proto)[0])
    images, masks = anomalibs(drawn_mvtec, "bottle", "test", proto)
    assert torch.equal(test, images)
    assert type(test) is torch.Tensor
    assert (test.dtype, test.shape) == (torch.float32, (10, 3, *proto.input_size))
    found = load_masks(split, proto)
    assert (found.dtype, found.shape) == (np.uint8, (10, *proto.input_size))
    assert np.array_equal(found, masks.astype(np.uint8))
    assert set(np.unique(found)) == {0, 1}
    assert not found[labels(split) == NORMAL].any()
    assert all(mask.any() for mask in found[labels(split) == ANOMALOUS])


@pytest.mark.real
def test_the_real_bottle_is_anomalibs_bit_for_bit(real_mvtec):
    proto = protocol(resize=(256, 256), center_crop=(224, 224), batch_size=5)
    split = resolve_split(request(real_mvtec, name="mvtec", limit=6), "bottle")
    masks = load_masks(split, proto)
    train, test = ours(split, proto)
    from anomalib.data.datasets.image.mvtecad import MVTecADDataset
    from anomalib.pre_processing import PreProcessor

    from harness.data.datamodule import build_transform

    transform = build_transform(proto)
    for part, samples, images in (("train", split.train, train), ("test", split.test, test)):
        dataset = MVTecADDataset(real_mvtec, "bottle", augmentations=transform.transforms[0], split=part)
        index = {path: i for i, path in enumerate(dataset.samples.image_path)}
        items = [dataset[index[str(split.root / sample.path)]] for sample in samples]
        batch = dataset.collate_fn(items)
        PreProcessor(transform).on_test_batch_start(None, None, batch, 0)
        assert torch.equal(images, batch.image)
        if part == "test":
            assert np.array_equal(masks, batch.gt_mask.numpy())
            assert masks.any(axis=(1, 2)).tolist() == labels(split).astype(bool).tolist()


@pytest.mark.real
def test_all_masks_of_the_real_bottle_are_anomalibs(real_mvtec):
    from anomalib.data.utils import read_mask
    from torchvision.transforms.v2 import CenterCrop, Resize

    proto = protocol(resize=(256, 256), center_crop=(224, 224))
    split = resolve_split(request(real_mvtec, name="mvtec"), "bottle")
    masks = load_masks(split, proto)
    for sample, mask in zip(split.test, masks, strict=True):
        if sample.mask:
            whole = read_mask(split.root / sample.mask, as_tensor=True)
            assert np.array_equal(CenterCrop([224, 224])(Resize([256, 256])(whole)).numpy(), mask)


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
    for image, sample in zip(test, split.test, strict=True):
        assert same(image.permute(1, 2, 0).numpy(), np.array(Image.open(tmp_path / sample.path)))
    for mask, sample in zip(load_masks(split, proto), split.test, strict=True):
        plain = np.array(Image.open(tmp_path / sample.mask)) > 0 if sample.mask else np.zeros((72, 96), bool)
        assert np.array_equal(mask, plain)


def test_the_number_of_threads_changes_no_bit(drawn_mvtec):
    split = resolve_split(request(drawn_mvtec), "bottle")
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
def test_pixels_are_the_batches_before_normalisation(drawn_mvtec, proto):
    split = resolve_split(request(drawn_mvtec), "bottle")
    source = SplitSource(split, proto)
    samples = split.test[::3]
    pixels = source.pixels(samples)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (4, *proto.input_size, 3))
    std, mean = (torch.tensor(values)[:, None, None] for values in (proto.std, proto.mean))
    plain = (torch.cat(load_all(source, "test"))[::3] * std + mean).permute(0, 2, 3, 1).numpy()
    assert np.abs(pixels - plain.clip(0, 1) * 255).max() < 0.51
    assert source.pixels([]).shape == (0, *proto.input_size, 3)


def test_batches_have_the_protocols_size_and_the_last_may_be_smaller(drawn_mvtec):
    split = resolve_split(request(drawn_mvtec), "bottle")
    source = SplitSource(split, protocol(batch_size=5))
    assert (source.n_train, source.n_test) == (12, 10)
    assert [len(batch) for batch in load_all(source, "train")] == [5, 5, 2]
    assert [len(batch) for batch in load_all(source, "test")] == [5, 5]
    assert all(batch.is_contiguous() for batch in load_all(source, "train"))


def test_a_batch_that_is_not_there(drawn_mvtec):
    source = SplitSource(resolve_split(request(drawn_mvtec), "bottle"), protocol(batch_size=5))
    for part, number in (("train", -1), ("train", 3), ("test", 2)):
        with pytest.raises(IndexError, match=rf"^{part} has {source.n_batches(part)} batches, so no batch {number}$"):
            source.load_batch(part, number)


def test_labels_are_in_the_splits_order(drawn_mvtec):
    split = resolve_split(request(drawn_mvtec), "bottle")
    assert labels(split).tolist() == [1] * 6 + [0] * 4
    assert labels(split).dtype == np.int64


def one(tmp_path, write, proto=None):
    """The (H, W, 3) float32 pixels that one training image, written by `write(path stem)`, is loaded as."""
    path = write(tmp_path / "c/train/good/odd")
    split = Split("d", "c", tmp_path, (Sample(str(path.relative_to(tmp_path)), 0, "good"),), (), has_masks=False)
    height, width = (proto or as_stored(6, 8)).input_size
    return SplitSource(split, proto or as_stored(height, width)).load_batch("train", 0)[0].permute(1, 2, 0).numpy()


def written(image, suffix, **options):
    def write(stem):
        stem.parent.mkdir(parents=True, exist_ok=True)
        image.save(stem.with_suffix(suffix), **options)
        return stem.with_suffix(suffix)

    return write


def same(loaded, pixels):
    """Whether what was loaded, (H, W, 3) in [0, 1], is these values in [0, 255], grey (H, W) or RGB."""
    pixels = np.asarray(pixels, float)
    rgb = np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else pixels
    assert (loaded.dtype, loaded.shape) == (np.float32, rgb.shape)
    return np.abs(loaded * 255 - rgb).max() < 1e-4


def test_sixteen_bit_grey_is_clipped_not_scaled(tmp_path):
    deep = np.array([[0, 1, 254, 255], [256, 1000, 40000, 65535]] * 3, np.uint16).repeat(2, 1)
    image = Image.fromarray(deep)
    assert image.mode == "I;16"
    for suffix in (".png", ".tif"):
        assert same(one(tmp_path, written(image, suffix)), deep.clip(max=255))


def test_an_exif_rotation_is_ignored(tmp_path):
    pixels = np.dstack([grey_ramp()] * 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = one(tmp_path, written(Image.fromarray(pixels), ".jpg", quality=95, exif=exif))
    plain = one(tmp_path, written(Image.fromarray(pixels), ".jpg", quality=95))
    assert turned.shape == (6, 8, 3)
    assert np.array_equal(turned, plain)


def bottle_with(root, name, content):
    split = resolve_split(request(root), "bottle")
    (root / "bottle" / name).write_bytes(content)
    return split


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda png: png[: len(png) // 2], "truncated"),
        (lambda _: b"", "not an image"),
        (lambda _: b"just a text", "not an image"),
        (lambda png: png[:60] + bytes(40) + png[100:], "."),
    ],
)
@pytest.mark.parametrize("part", ["train", "test"])
def test_a_bad_image_is_an_error_that_names_it_relative_to_the_root(drawn_mvtec, damage, reason, part):
    name = {"train": "train/good/005.png", "test": "test/blot/003.png"}[part]
    content = (drawn_mvtec / "bottle" / name).read_bytes()
    split = bottle_with(drawn_mvtec, name, damage(content))
    source = SplitSource(split, protocol(batch_size=2))
    numbers = set(range(source.n_batches(part))) - {bad := {"train": 2, "test": 1}[part]}
    assert all(len(source.load_batch(part, number)) == 2 for number in numbers), "only its own batch has the error"
    with pytest.raises(DataError) as caught:
        source.load_batch(part, bad)
    assert str(caught.value).startswith(f"bottle/{name}: cannot be decoded (")
    assert reason in str(caught.value)
    assert str(caught.value).endswith("; replace or remove it")
    assert str(drawn_mvtec) not in str(caught.value)


def test_a_missing_image_and_one_that_became_a_folder(drawn_mvtec):
    split = resolve_split(request(drawn_mvtec), "bottle")
    path = drawn_mvtec / "bottle/train/good/003.png"
    path.unlink()
    with pytest.raises(DataError, match=r"^bottle/train/good/003\.png: no such file"):
        SplitSource(split, protocol()).load_batch("train", 0)
    path.mkdir()
    with pytest.raises(DataError, match=r"^bottle/train/good/003\.png: cannot be decoded \(Is a directory\)"):
        SplitSource(split, protocol()).load_batch("train", 0)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_absurdly_large_image_is_refused_before_it_is_decoded(drawn_mvtec, monkeypatch):
    from harness.data import pixels

    split = resolve_split(request(drawn_mvtec), "bottle")
    save_header(drawn_mvtec / "bottle/train/good/000.png", 12_000, 12_000)
    monkeypatch.setattr(pixels, "_plain_png", lambda _: pytest.fail("decoded"))
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"^bottle/train/good/000\.png: larger than 89 megapixels"):
        SplitSource(split, protocol()).load_batch("train", 0)


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_a_bad_mask_is_named(drawn_mvtec, content):
    name = "ground_truth/blot/002_mask.png"
    whole = (drawn_mvtec / "bottle" / name).read_bytes()
    split = bottle_with(drawn_mvtec, name, whole[: len(whole) - 30] if content is None else content)
    with pytest.raises(DataError, match=rf"^bottle/{name}: cannot be decoded"):
        load_masks(split, protocol())


def test_an_empty_mask_is_zeros(drawn_mvtec):
    split = resolve_split(request(drawn_mvtec), "bottle")
    save(drawn_mvtec / split.test[0].mask, size=(96, 96), value=0, mode="L")
    masks = load_masks(split, protocol())
    assert not masks[0].any()
    assert masks[1].any()


def test_any_grey_above_zero_is_defective_and_very_dark_blue_is_not(tmp_path):
    values = np.array([[0, 1, 2, 128, 255, 0, 1, 9]] * 6, np.uint8)
    blue = np.zeros((6, 8, 3), np.uint8)
    blue[..., 2] = values
    deep = values.astype(np.uint16) * 200
    for mask in (values, values > 0, blue, deep):
        image = Image.fromarray(mask)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        save(tmp_path / "t.png")
        (tmp_path / "m.png").write_bytes(buffer.getvalue())
        split = Split("d", "c", tmp_path, (), (Sample("t.png", 1, "x", "m.png"),), has_masks=True)
        expected = values > 0 if mask is not blue else (blue[..., 2] * 0.114).round() > 0
        assert np.array_equal(load_masks(split, as_stored(6, 8))[0], expected)


def test_masks_of_a_split_without_masks(drawn_mvtec):
    import shutil

    shutil.rmtree(drawn_mvtec / "bottle/ground_truth")
    split = resolve_split(request(drawn_mvtec), "bottle")
    with pytest.raises(ValueError, match="bottle has no masks"):
        load_masks(split, protocol())
    assert len(ours(split, protocol())[1]) == 10


def test_it_is_imported_without_what_takes_seconds(project):
    code = (
        "import sys, harness.data.loader;"
        "print(sorted({'torchvision', 'anomalib', 'lightning', 'timm', 'pandas', 'cv2'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
