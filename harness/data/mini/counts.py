"""What the mini benchmark holds: its version, its categories, and every image of theirs. Needs the standard library."""

from dataclasses import dataclass

MINI_VERSION = 2
"""Goes up whenever a drawing changes; part of the default folder's name, and of the golden numbers."""

_IMAGES: dict[str, dict[str, tuple[int, int, dict[str, int]]]] = {
    "mini_mvtec": {
        "bottle": (20, 10, {"broken_large": 4, "broken_small": 5, "contamination": 5}),
        "cable": (26, 12, {"bent_wire": 4, "cable_swap": 3, "cut_inner_insulation": 4, "poke_insulation": 4}),
        "hazelnut": (24, 10, {"crack": 4, "cut": 4, "hole": 4, "print": 3}),
    },
    "mini_visa": {
        "candle": (20, 11, {"chunk of wax missing": 3, "foreign particles": 4, "wax melted": 3, "wick burnt": 4}),
        "pcb1": (21, 10, {"bent": 3, "melt": 3, "missing": 4, "solder bridge": 3, "scratch,melt": 2}),
        "cashew": (22, 10, {"breakage": 3, "burnt": 4, "hole": 4, "scratch": 3}),
    },
    "mini_btad": {
        "01": (18, 9, {"dent": 5, "missing_bolt": 4, "scratch": 5}),
        "02": (25, 12, {"hole": 5, "scratch": 5, "stain": 6}),
        "03": (19, 14, {"chip": 5, "crack": 5, "dirt": 4}),
    },
}
"""Dataset, category: how many train, normal test, and defective test images by the defect type's name.

VisA's types are the words of its image_anno.csv.
"""

DEFECTS = {dataset: {name: each[2] for name, each in own.items()} for dataset, own in _IMAGES.items()}
"""Dataset, category, defect type: how many defective test images."""

COUNTS = {
    dataset: {name: (train, normal, sum(defects.values())) for name, (train, normal, defects) in own.items()}
    for dataset, own in _IMAGES.items()
}

_BTAD_SUFFIXES = {"01": ("bmp", "png"), "02": ("png", "png"), "03": ("bmp", "bmp")}
"""Of images and of masks, as in the official archive."""


@dataclass(frozen=True)
class Drawing:
    """One image that is to be drawn; paths are relative to the dataset's root, with forward slashes."""

    dataset: str
    category: str
    part: str
    defect: str
    """`good` or the defect type; two types in one image are separated by a comma, as in VisA's image_anno.csv."""
    number: int
    path: str
    mask_path: str | None

    @property
    def defects(self) -> tuple[str, ...]:
        """The types of damage in the image, none for a normal one."""
        return () if self.mask_path is None else tuple(self.defect.split(","))


def plan_category(dataset: str, category: str) -> list[Drawing]:
    """List the images of one category: train, normal test, then defective test images by type."""
    n_train, n_normal, defects = _IMAGES[dataset][category]
    groups = [("train", "good", n_train), ("test", "good", n_normal), *(("test", *each) for each in defects.items())]
    anomalies = 0
    plans = []
    for part, defect, number in ((part, defect, i) for part, defect, n in groups for i in range(n)):
        good = defect == "good"
        if dataset == "mini_mvtec":
            path = f"{part}/{defect}/{number:03d}.png"
            mask = f"ground_truth/{defect}/{number:03d}_mask.png"
        elif dataset == "mini_visa":
            place = number if part == "test" else n_normal + number
            path = "Data/Images/" + (f"Normal/{place:04d}.JPG" if good else f"Anomaly/{anomalies:03d}.JPG")
            mask = f"Data/Masks/Anomaly/{anomalies:03d}.png"
        else:
            image_suffix, mask_suffix = _BTAD_SUFFIXES[category]
            path = f"{part}/" + (f"ok/{number:04d}" if good else f"ko/{anomalies:04d}") + f".{image_suffix}"
            mask = f"ground_truth/ko/{anomalies:04d}.{mask_suffix}"
        anomalies += not good
        mask_path = None if good else f"{category}/{mask}"
        plans.append(Drawing(dataset, category, part, defect, number, f"{category}/{path}", mask_path))
    return plans


def defect_classes(category: str) -> dict[str, int]:
    """Give the class ids, from 1, of the defect types in the masks of one of VisA's categories."""
    names = {name for kinds in DEFECTS["mini_visa"][category] for name in kinds.split(",")}
    return {name: number for number, name in enumerate(sorted(names), start=1)}
