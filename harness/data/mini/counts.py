"""What the mini benchmark holds: its version, its categories, and how many images of each kind."""

from __future__ import annotations

MINI_VERSION = 1
"""Goes up whenever a byte of any file changes; a root of another version is drawn anew."""

DEFECTS: dict[str, dict[str, dict[str, int]]] = {
    "mini_mvtec": {
        "bottle": {"broken_large": 4, "broken_small": 5, "contamination": 5},
        "cable": {"bent_wire": 4, "cable_swap": 3, "cut_inner_insulation": 4, "poke_insulation": 4},
        "hazelnut": {"crack": 4, "cut": 4, "hole": 4, "print": 3},
    },
    "mini_visa": {
        "candle": {"chunk of wax missing": 3, "foreign particles": 4, "wax melted": 3, "wick burnt": 4},
        "pcb1": {"bent": 3, "melt": 3, "missing": 4, "solder bridge": 3, "scratch,melt": 2},
        "cashew": {"breakage": 3, "burnt": 4, "hole": 4, "scratch": 3},
    },
    "mini_btad": {
        "01": {"dent": 5, "missing_bolt": 4, "scratch": 5},
        "02": {"hole": 5, "scratch": 5, "stain": 6},
        "03": {"chip": 5, "crack": 5, "dirt": 4},
    },
}
"""Dataset, category, defect type: how many defective test images. VisA's types are the words of its image_anno.csv."""

_NORMAL: dict[str, tuple[int, int]] = {
    "bottle": (20, 10),
    "cable": (26, 12),
    "hazelnut": (24, 10),
    "candle": (20, 11),
    "pcb1": (21, 10),
    "cashew": (22, 10),
    "01": (18, 9),
    "02": (25, 12),
    "03": (19, 14),
}

COUNTS: dict[str, dict[str, tuple[int, int, int]]] = {
    dataset: {category: (*_NORMAL[category], sum(defects.values())) for category, defects in categories.items()}
    for dataset, categories in DEFECTS.items()
}
"""Dataset, category: how many train, normal test and defective test images."""
