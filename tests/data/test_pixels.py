import numpy as np
import pytest
from PIL import Image

from harness.data.files import decoding
from harness.data.mini import write
from harness.data.mini.counts import COUNTS
from harness.data.pixels import read_mask, read_pixels
from harness.errors import DataError
from tests.data.small import grey_ramp, save


def outcome(function, *arguments):
    """What a function returns, or the line of its DataError."""
    try:
        return function(*arguments)
    except DataError as error:
        return str(error)


def plainly(root, name):
    """Pillow's pixels, or its error, without any decoder of our own."""
    with decoding(name), Image.open(root / name) as image:
        return np.array(image.convert("RGB"))


def same(one, other):
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and one == other
    return np.array_equal(np.broadcast_to(one, (*one.shape[:2], 3)), other)


def written(image, path, **options):
    image.save(path, **options)
    return path.name


TURNED = Image.Exif()
TURNED[0x0112] = 6
RGB = np.dstack([grey_ramp(), grey_ramp()[::-1], 255 - grey_ramp()])
IMAGES = {
    "rgb.png": (Image.fromarray(RGB), {}),
    "grey.png": (Image.fromarray(grey_ramp()), {}),
    "rgb with a transparent colour.png": (Image.fromarray(RGB), {"transparency": (3, 250, 252)}),
    "grey with a transparent value.png": (Image.fromarray(grey_ramp()), {"transparency": 3}),
    "rgba.png": (Image.fromarray(RGB).convert("RGBA"), {}),
    "la.png": (Image.fromarray(grey_ramp()).convert("LA"), {}),
    "bilevel.png": (Image.fromarray(grey_ramp() > 90), {}),
    "palette.png": (Image.fromarray(RGB).quantize(9), {}),
    "deep.png": (Image.fromarray(grey_ramp().astype(np.uint16) * 200), {}),
    "deep.tif": (Image.fromarray(grey_ramp().astype(np.uint16) * 2), {}),
    "grey.jpg": (Image.fromarray(grey_ramp()), {}),
    "rgb.jpg": (Image.fromarray(RGB), {"quality": 90}),
    "turned.jpg": (Image.fromarray(RGB), {"exif": TURNED}),
    "cmyk.jpg": (Image.fromarray(RGB).convert("CMYK"), {}),
    "grey.bmp": (Image.fromarray(grey_ramp()), {}),
    "rgb.bmp": (Image.fromarray(RGB), {}),
    "grey.pgm": (Image.fromarray(grey_ramp()), {}),
    "rgb.tiff": (Image.fromarray(RGB), {}),
    "rgb.webp": (Image.fromarray(RGB), {}),
    "animated.png": (Image.fromarray(RGB), {"save_all": True, "append_images": [Image.fromarray(RGB[::-1].copy())]}),
}


@pytest.mark.parametrize("name", IMAGES)
def test_every_kind_of_image_is_pillows(tmp_path, name):
    image, options = IMAGES[name]
    written(image, tmp_path / name, **options)
    found = read_pixels(tmp_path, name)
    assert found.dtype == np.uint8
    assert found.flags.writeable
    assert (
        found.shape[2] == (1 if image.mode == "L" and not options else 3) or name == "grey with a transparent value.png"
    )
    assert same(found, plainly(tmp_path, name))
    mask = read_mask(tmp_path, name)
    assert mask.dtype == bool
    assert np.array_equal(mask, np.array(Image.open(tmp_path / name).convert("L")) > 0)


def test_a_file_named_otherwise_than_it_is(tmp_path):
    for name, kind in (("a.png", "JPEG"), ("b.jpg", "PNG"), ("c.bmp", "PNG")):
        written(Image.fromarray(RGB), tmp_path / name, format=kind)
        assert same(read_pixels(tmp_path, name), plainly(tmp_path, name))


def test_plain_pngs_do_not_go_through_pillow(tmp_path, monkeypatch):
    save(tmp_path / "rgb.png", value=7)
    save(tmp_path / "grey.png", value=9, mode="L")
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("Pillow decoded"))
    assert (read_pixels(tmp_path, "rgb.png") == np.full((6, 8, 3), 7)).all()
    assert (read_pixels(tmp_path, "grey.png") == np.full((6, 8, 1), 9)).all()


def test_a_damaged_file_ends_as_with_pillow(tmp_path):
    rng = np.random.default_rng(0)
    refused = 0
    for kind in ("rgb.png", "grey.png"):
        image, _ = IMAGES[kind]
        whole = (tmp_path / written(image, tmp_path / kind)).read_bytes()
        for _ in range(150):
            damaged = bytearray(whole)
            if rng.integers(2):
                damaged[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
            else:
                del damaged[rng.integers(len(whole)) :]
            (tmp_path / "damaged.png").write_bytes(damaged)
            expected = outcome(plainly, tmp_path, "damaged.png")
            found = outcome(read_pixels, tmp_path, "damaged.png")
            # A header that says millions of pixels is refused by us, before Pillow finds that they are not there.
            assert same(found, expected) or "larger than 89 megapixels" in found
            refused += isinstance(found, str)
    assert 150 < refused < 300


def test_the_drawn_benchmark_is_pillows(tmp_path, monkeypatch):
    whole = write.plan_category
    monkeypatch.setattr(write, "plan_category", lambda dataset, category: whole(dataset, category)[-2:])
    for dataset in COUNTS:
        write.write_dataset(dataset, tmp_path / dataset)
    names = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.suffix.lower() in {".png", ".jpg", ".bmp"}]
    assert len(names) >= 18
    for name in names:
        assert same(read_pixels(tmp_path, name), plainly(tmp_path, name))
        assert np.array_equal(read_mask(tmp_path, name), np.array(Image.open(tmp_path / name).convert("L")) > 0)
