"""What lies under DATA_ROOT: the categories that a sweep would take, and a line for those that it would not."""

from __future__ import annotations

import pytest

from harness.reproduce.plan import needed_categories
from harness.reproduce.presence import ImageKind, look
from tests.drawing import draw_btad_category, draw_mvtec_category, draw_visa_category


@pytest.fixture
def data_root(tmp_path):
    draw_mvtec_category(tmp_path / "mvtec" / "bottle")
    draw_visa_category(tmp_path / "visa", "candle")
    draw_btad_category(tmp_path / "btad" / "BTech_Dataset_transformed" / "01")
    return tmp_path


def test_what_is_there_is_found_in_every_layout_with_its_first_images_kind(data_root):
    presence = look(data_root, needed_categories())
    assert presence.there == {
        ("mvtec", "bottle"): ImageKind(96 * 96 / 1e6, ".png"),
        ("visa", "candle"): ImageKind(96 * 72 / 1e6, ".jpg"),
        ("btad", "01"): ImageKind(96 * 72 / 1e6, ".bmp"),
    }
    assert set(presence.missing) == set(needed_categories()) - set(presence.there)


def test_missing_categories_are_one_line_a_dataset(data_root):
    lines = look(data_root, needed_categories()).missing_lines()
    assert [line.split(":")[0] for line in lines] == ["mvtec/cable, hazelnut", "visa/pcb1, cashew", "btad/02, 03"]
    assert all("what needs it is not run" in line and "\n" not in line for line in lines)


def test_a_missing_dataset_is_one_line_under_its_name_alone(tmp_path):
    lines = look(tmp_path, needed_categories()).missing_lines()
    assert [line.split(":")[0] for line in lines] == ["mvtec", "visa", "btad"]


def test_visa_without_its_split_is_not_there(data_root):
    (data_root / "visa" / "split_csv" / "1cls.csv").unlink()
    presence = look(data_root, [("visa", "candle")])
    assert not presence.there
    assert "split_csv/1cls.csv" in presence.missing["visa", "candle"]


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_an_image_that_cannot_be_read_is_the_runs_to_say(data_root, content):
    (data_root / "mvtec" / "bottle" / "a.png").write_bytes(content)
    assert look(data_root, [("mvtec", "bottle")]).there == {("mvtec", "bottle"): None}


def test_hidden_files_are_no_images(data_root):
    (data_root / "mvtec" / "bottle" / "._a.png").write_bytes(b"left by an archiver")
    assert look(data_root, [("mvtec", "bottle")]).there["mvtec", "bottle"] is not None
