"""Categories put together for a measurement, in the layout that both sides read."""

from __future__ import annotations

import pytest
from PIL import Image

from harness.bench.images import compose, drawn_source, files_of, prepare_source, real_source
from harness.config import DatasetConfig
from harness.data.layouts import resolve_split
from harness.errors import RequestError


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return drawn_source(tmp_path_factory.mktemp("drawn"), n_train=22, n_test=6, side=40)


def split_of(images):
    return resolve_split(DatasetConfig("mvtec", "mvtec", images.root), images.category)


def test_drawn_images_are_all_different_and_as_large_as_asked(drawn):
    assert (drawn.synthetic, len(drawn.train)) == (True, 22)  # one drawing has 20
    assert len(drawn.test) >= 6
    contents = [path.read_bytes() for path in (*drawn.train, *(image for _, image, _ in drawn.test))]
    assert len(set(contents)) == len(contents)
    assert {Image.open(path).size for path in drawn.train} == {(40, 40)}


def test_composed_in_the_layout_that_the_harness_reads(drawn, tmp_path):
    images = compose(drawn, tmp_path, n_train=5, n_test=6)
    split = split_of(images)
    assert (images.n_train, images.n_test) == (len(split.train), len(split.test)) == (5, 6)
    assert (split.n_test_normal, split.n_test_anomalous, split.has_masks) == (3, 3, True)
    assert not any(path.is_symlink() for path in files_of(images))
    assert len(list(files_of(images))) == 5 + 6 + 3


def test_too_few_training_images_are_repeated_without_taking_room(drawn, tmp_path):
    images = compose(drawn, tmp_path, n_train=50, n_test=2)
    train = sorted((images.root / "bottle/train/good").iterdir())
    assert len(train) == 50
    assert train[0].stat().st_ino == train[22].stat().st_ino == train[44].stat().st_ino
    assert len({path.stat().st_ino for path in train}) == 22


def test_other_file_systems_get_one_copy_of_each(drawn, tmp_path, monkeypatch):
    import os

    link = os.link

    def across(source, target):
        if "drawn" in str(source):
            raise OSError("Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", across)
    train = sorted((compose(drawn, tmp_path, n_train=44, n_test=2).root / "bottle/train/good").iterdir())
    assert len({path.stat().st_ino for path in train}) == 22
    assert train[0].stat().st_ino != drawn.train[0].stat().st_ino


def test_real_images_stay_where_they_are(drawn_mvtec, tmp_path):
    source = real_source(drawn_mvtec.parent)
    whole = compose(source, tmp_path / "a")
    assert (whole.root, whole.n_train, whole.n_test, whole.synthetic) == (drawn_mvtec.resolve(), 12, 10, False)
    part = compose(source, tmp_path / "b", n_train=3, n_test=4)
    assert split_of(part).n_test_anomalous == 2


def test_requests_that_cannot_be_met(drawn, tmp_path):
    with pytest.raises(RequestError, match="has no images in mvtec/bottle"):
        prepare_source(tmp_path, tmp_path)
    with pytest.raises(RequestError, match="at least one normal and one defective"):
        compose(drawn, tmp_path, n_test=1)
    with pytest.raises(RequestError, match="at least one normal and one defective"):
        compose(drawn, tmp_path, n_test=500)
