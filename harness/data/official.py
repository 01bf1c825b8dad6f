"""The folder layouts of the official archives: MVTec AD, VisA and BTAD."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from harness.data.found import GOOD, Found, by_path, scan_tree
from harness.data.split import ANOMALOUS, NORMAL, Sample
from harness.errors import DataError

VISA_SPLIT = "split_csv/1cls.csv"
"""The one-class split that ships inside VisA's archive."""
_VISA_COLUMNS = ["object", "split", "label", "image", "mask"]


def find_mvtec(root: Path, category: str) -> Found:
    """MVTec AD: `train/good`, `test/good`, `test/<defect>`, `ground_truth/<defect>/<stem>_mask.png`."""
    return scan_tree(root, category, good=("good",), masks=("ground_truth",))


def find_btad(root: Path, category: str) -> Found:
    """BTAD: `train/ok`, `test/ok`, `test/ko`, `ground_truth/ko/<stem>`.

    Categories mix .bmp and .png, and a mask's extension need not be its image's.
    """
    return scan_tree(root, category, good=("ok",), masks=("ground_truth",))


def find_visa(root: Path, category: str) -> Found:
    """VisA: the rows of `split_csv/1cls.csv` whose object is `category`; the images stay where they are.

    Raises:
        DataError: the csv cannot be read, a row has an unknown split or label, leaves the root, trains on a
            defective image, or names an image twice.
    """
    train: list[Sample] = []
    test: list[Sample] = []
    seen: set[str] = set()
    for line, row in _visa_rows(root):
        if row["object"] != category:
            continue
        sample = _visa_sample(row, line)
        if sample.path in seen:
            raise DataError(f"{VISA_SPLIT}, line {line}: {sample.path} appears twice; restore the official file")
        seen.add(sample.path)
        (train if row["split"] == "train" else test).append(sample)
    return Found(root, by_path(train), by_path(test), expected=f"rows of {VISA_SPLIT} with object {category}")


def _visa_rows(root: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with (root / VISA_SPLIT).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            if reader.fieldnames != _VISA_COLUMNS:
                raise DataError(f"{VISA_SPLIT}: its header is not {','.join(_VISA_COLUMNS)}; restore the official file")
            return [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"{VISA_SPLIT}: cannot be read ({error.strerror}); restore it from VisA's archive") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{VISA_SPLIT}: is no csv file ({error}); restore it from VisA's archive") from error


def _visa_sample(row: dict[str, str], line: int) -> Sample:
    where = f"{VISA_SPLIT}, line {line}"
    if row["split"] not in {"train", "test"} or row["label"] not in {"normal", "anomaly"}:
        raise DataError(
            f"{where}: split {row['split']!r} or label {row['label']!r} is unknown; restore the official file"
        )
    image = _inside(row["image"], where)
    if row["label"] == "normal":
        return Sample(path=image, label=NORMAL, defect=GOOD)
    if row["split"] == "train":
        raise DataError(f"{where}: {image} is defective and trains; use the one-class split of VisA's archive")
    mask = _inside(row["mask"], where) if row["mask"] else None
    return Sample(path=image, label=ANOMALOUS, defect="anomaly", mask=mask)


def _inside(name: str, where: str) -> str:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise DataError(f"{where}: the path {name!r} does not lie inside the dataset; restore the official file")
    return str(path)
