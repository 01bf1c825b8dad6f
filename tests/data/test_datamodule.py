import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import CenterCrop, Normalize, Resize

from harness.data.datamodule import build_transform
from harness.data.layouts import resolve_split
from harness.data.loader import SplitSource, labels, load_masks
from harness.errors import DataError
from tests.data.small import load_all, preprocessing, request
from tests.drawing import draw_mvtec_category, draw_visa_category


def attached(source):
    """The data module as the Engine's trainer has it: the model's PreProcessor decides about the resize."""
    from anomalib.pre_processing import PreProcessor

    pre_processor = PreProcessor(source.transform)
    module = source.datamodule()
    module.trainer = SimpleNamespace(model=SimpleNamespace(pre_processor=pre_processor))
    module.prepare_data()
    module.setup(TrainerFn.FITTING)
    return module, pre_processor


def processed(loader, pre_processor):
    batches = list(loader)
    for batch in batches:
        pre_processor.on_test_batch_start(None, None, batch, 0)
    return batches


def test_both_engines_read_a_folder_of_ones_own_alike(tmp_path):
    draw_mvtec_category(tmp_path / "c")
    exif = Image.Exif()
    exif[0x0112] = 6
    for number, path in enumerate(sorted((tmp_path / "c").glob("t*/*/*.png"))):
        pixels = np.array(Image.open(path))
        if number % 3 == 1:
            Image.fromarray(np.rot90(pixels).copy()).save(path, exif=exif)
        elif number % 3 == 2:
            Image.fromarray(pixels[..., 0].astype(np.uint16) * 9).save(path)
    for path in sorted((tmp_path / "c/ground_truth").rglob("*.png")):
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    split = resolve_split(request(tmp_path, "folder", name="folder", white_level=2300), "c")
    source = SplitSource(split, preprocessing(batch_size=3))
    module, pre_processor = attached(source)
    check_test_batches(processed(module.test_dataloader(), pre_processor), source)


@pytest.mark.parametrize("layout", ["mvtec", "visa"])
def test_the_engines_batches_are_the_sources_bit_for_bit(tmp_path, layout):
    if layout == "mvtec":
        draw_mvtec_category(tmp_path / "c")
    else:
        draw_visa_category(tmp_path, "c")
    split = resolve_split(request(tmp_path, layout), "c")
    source = SplitSource(split, preprocessing(batch_size=3))
    module, pre_processor = attached(source)
    for loader in (module.test_dataloader(), module.val_dataloader()):
        batches = processed(loader, pre_processor)
        check_test_batches(batches, source)
        assert torch.cat([b.gt_label for b in batches]).int().tolist() == labels(split).tolist()
        assert [p for b in batches for p in b.image_path] == [str(tmp_path / s.path) for s in split.test]
        assert {len(b) for b in batches[:-1]} == {3}
    train = processed(module.train_dataloader(), pre_processor)
    assert sorted(p for b in train for p in b.image_path) == [str(tmp_path / s.path) for s in split.train]
    images = {p: image for b in train for p, image in zip(b.image_path, b.image, strict=True)}
    for sample, image in zip(split.train, torch.cat(load_all(source, "train")), strict=True):
        assert torch.equal(images[str(tmp_path / sample.path)], image)


def check_test_batches(batches, source):
    assert torch.equal(torch.cat([b.image for b in batches]), torch.cat(load_all(source, "test")))
    masks = torch.cat([b.gt_mask for b in batches]).numpy()
    assert masks.any()
    assert np.array_equal(masks.astype(np.uint8), load_masks(source.split, source.preprocessing))


def test_nothing_is_drawn_from_the_training_images_into_a_test_set_without_good_ones(tmp_path):
    draw_mvtec_category(tmp_path / "c")
    shutil.rmtree(tmp_path / "c/test/good")
    module, _ = attached(SplitSource(resolve_split(request(tmp_path), "c"), preprocessing()))
    assert (len(module.train_data), len(module.val_data), len(module.test_data)) == (12, 6, 6)


def test_a_split_without_masks_is_a_classification(tmp_path):
    draw_mvtec_category(tmp_path / "c")
    shutil.rmtree(tmp_path / "c/ground_truth")
    module, pre_processor = attached(SplitSource(resolve_split(request(tmp_path), "c"), preprocessing()))
    assert module.task == "classification"
    batches = processed(module.test_dataloader(), pre_processor)
    assert all(batch.gt_mask is None for batch in batches)
    assert batches[0].image.shape[-2:] == (56, 56)


def test_a_bad_image_is_an_error_that_names_it(tmp_path):
    draw_mvtec_category(tmp_path / "c")
    split = resolve_split(request(tmp_path), "c")
    path = tmp_path / "c/test/blot/002.png"
    path.write_bytes(path.read_bytes()[:500])
    module, _ = attached(SplitSource(split, preprocessing()))
    with pytest.raises(DataError, match=r"^c/test/blot/002\.png or its mask: cannot be decoded \(.*truncated"):
        list(module.test_dataloader())


def test_every_field_of_the_protocol_arrives():
    transform = build_transform(
        preprocessing(resize=(60, 80), center_crop=(48, 64), interpolation="bicubic", antialias=False, mean=(1, 2, 3))
    )
    resize, crop, normalize = transform.transforms
    assert isinstance(resize, Resize)
    assert isinstance(crop, CenterCrop)
    assert isinstance(normalize, Normalize)
    assert (list(resize.size), resize.interpolation, resize.antialias) == ([60, 80], InterpolationMode.BICUBIC, False)
    assert list(crop.size) == [48, 64]
    assert (list(normalize.mean), list(normalize.std)) == ([1, 2, 3], [0.229, 0.224, 0.225])
    assert transform(torch.zeros(2, 3, 30, 40)).shape == (2, 3, 48, 64)


def test_it_is_the_transform_anomalibs_padim_has_by_default():
    from anomalib.models import Padim

    theirs = Padim.configure_pre_processor((256, 256)).transform
    ours = build_transform(preprocessing(resize=(256, 256), center_crop=None))
    image = torch.rand(2, 3, 90, 70)
    assert torch.equal(ours(image), theirs(image))
