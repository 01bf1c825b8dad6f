"""The datasets the harness knows: titles, licences, archives, and how many images each category officially has.

Pure data. A dataset named here is checked against its official counts; `dataset=folder` has no entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from harness.data.mini.counts import COUNTS as MINI_COUNTS


class Counts(NamedTuple):
    """How many images a category has."""

    train: int
    test_normal: int
    test_anomalous: int


@dataclass(frozen=True)
class Archive:
    """The file a dataset is published as; address and checksum are the ones anomalib uses."""

    url: str
    sha256: str
    folder: str = ""
    """The folder inside the archive that holds the category folders; empty where they lie at its top."""
    size: int | None = None
    """Bytes, as its server announced them; None where nobody said."""


@dataclass(frozen=True)
class DatasetInfo:
    """What a report has to say about a dataset, and what a download and a verification need."""

    name: str
    title: str
    layout: str
    """The folder layout, one of `harness.data.layouts.LAYOUTS`."""
    licence: str
    licence_url: str
    homepage: str
    citation: str
    archive: Archive | None
    """None for a dataset that the harness draws itself."""
    categories: Mapping[str, Counts]
    """Official counts by category, in the order of the dataset's paper."""


_COUNTS: dict[str, dict[str, tuple[int, int, int]]] = {
    "mvtec": {
        "bottle": (209, 20, 63),
        "cable": (224, 58, 92),
        "capsule": (219, 23, 109),
        "carpet": (280, 28, 89),
        "grid": (264, 21, 57),
        "hazelnut": (391, 40, 70),
        "leather": (245, 32, 92),
        "metal_nut": (220, 22, 93),
        "pill": (267, 26, 141),
        "screw": (320, 41, 119),
        "tile": (230, 33, 84),
        "toothbrush": (60, 12, 30),
        "transistor": (213, 60, 40),
        "wood": (247, 19, 60),
        "zipper": (240, 32, 119),
    },
    # The one-class split of split_csv/1cls.csv: nine tenths of the normal images train.
    "visa": {
        "candle": (900, 100, 100),
        "capsules": (542, 60, 100),
        "cashew": (450, 50, 100),
        "chewinggum": (453, 50, 100),
        "fryum": (450, 50, 100),
        "macaroni1": (900, 100, 100),
        "macaroni2": (900, 100, 100),
        "pcb1": (904, 100, 100),
        "pcb2": (901, 100, 100),
        "pcb3": (905, 101, 100),
        "pcb4": (904, 101, 100),
        "pipe_fryum": (450, 50, 100),
    },
    "btad": {"01": (400, 21, 49), "02": (399, 30, 200), "03": (1000, 400, 41)},
    **MINI_COUNTS,
}

_ARCHIVES = {
    "mvtec": Archive(
        "https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/download/"
        "420938113-1629960298/mvtec_anomaly_detection.tar.xz",
        "cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
        size=5_264_982_680,
    ),
    "visa": Archive(
        "https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com/VisA_20220922.tar",
        "2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",
        size=1_929_840_640,
    ),
    "btad": Archive(
        "https://avires.dimi.uniud.it/papers/btad/btad.zip",
        "461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",
        folder="BTech_Dataset_transformed",
        size=1_229_193_337,
    ),
}

_LICENCES = {
    "CC BY-NC-SA 4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-SA 4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
}

_DRAWN = "Drawn by this harness (harness/data/mini); it stands in for no published dataset."
_ABOUT = (  # name, title, licence, homepage, citation
    (
        *("mvtec", "MVTec AD", "CC BY-NC-SA 4.0", "https://www.mvtec.com/company/research/datasets/mvtec-ad"),
        "P. Bergmann, M. Fauser, D. Sattlegger, C. Steger: MVTec AD, a comprehensive real-world dataset for "
        "unsupervised anomaly detection. CVPR 2019, doi:10.1109/CVPR.2019.00982",
    ),
    # Of the next two, anomalib's documentation says CC BY-NC-SA 4.0; this is what the publishers' own files say.
    (
        *("visa", "VisA", "CC BY 4.0", "https://github.com/amazon-science/spot-diff"),
        "Y. Zou, J. Jeong, L. Pemula, D. Zhang, O. Dabeer: SPot-the-Difference self-supervised pre-training for "
        "anomaly detection and segmentation. ECCV 2022, arXiv:2207.14315",
    ),
    (
        *("btad", "BTAD", "CC BY-SA 4.0", "https://avires.dimi.uniud.it/papers/btad/"),
        "P. Mishra, R. Verk, D. Fornasier, C. Piciarelli, G. L. Foresti: VT-ADL, a vision transformer network for "
        "image anomaly detection and localization. ISIE 2021, arXiv:2104.10036",
    ),
    ("mini_mvtec", "mini MVTec AD (drawn)", "Apache-2.0", "", _DRAWN),
    ("mini_visa", "mini VisA (drawn)", "Apache-2.0", "", _DRAWN),
    ("mini_btad", "mini BTAD (drawn)", "Apache-2.0", "", _DRAWN),
)

CATALOG: Mapping[str, DatasetInfo] = {
    name: DatasetInfo(
        name=name,
        title=title,
        layout=name.removeprefix("mini_"),
        licence=licence,
        licence_url=_LICENCES[licence],
        homepage=homepage,
        citation=citation,
        archive=_ARCHIVES.get(name),
        categories={key: Counts(*counts) for key, counts in _COUNTS[name].items()},
    )
    for name, title, licence, homepage, citation in _ABOUT
}
"""By name. A dataset that is not here is taken as it is found, without official counts."""
