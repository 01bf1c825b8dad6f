"""The datasets the harness knows: titles, licences, archives, and how many images each category officially has.

Pure data. A dataset named here is checked against its official counts; `dataset=folder` has no entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from harness.data.mini.counts import COUNTS


@dataclass(frozen=True)
class Counts:
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


MVTEC = DatasetInfo(
    name="mvtec",
    title="MVTec AD",
    layout="mvtec",
    licence="CC BY-NC-SA 4.0",
    licence_url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
    homepage="https://www.mvtec.com/company/research/datasets/mvtec-ad",
    citation=(
        "P. Bergmann, M. Fauser, D. Sattlegger, C. Steger: MVTec AD, a comprehensive real-world dataset for "
        "unsupervised anomaly detection. CVPR 2019, doi:10.1109/CVPR.2019.00982"
    ),
    archive=Archive(
        url=(
            "https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/download/"
            "420938113-1629960298/mvtec_anomaly_detection.tar.xz"
        ),
        sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
        size=5_264_982_680,
    ),
    categories=MappingProxyType(
        {
            "bottle": Counts(209, 20, 63),
            "cable": Counts(224, 58, 92),
            "capsule": Counts(219, 23, 109),
            "carpet": Counts(280, 28, 89),
            "grid": Counts(264, 21, 57),
            "hazelnut": Counts(391, 40, 70),
            "leather": Counts(245, 32, 92),
            "metal_nut": Counts(220, 22, 93),
            "pill": Counts(267, 26, 141),
            "screw": Counts(320, 41, 119),
            "tile": Counts(230, 33, 84),
            "toothbrush": Counts(60, 12, 30),
            "transistor": Counts(213, 60, 40),
            "wood": Counts(247, 19, 60),
            "zipper": Counts(240, 32, 119),
        }
    ),
)

VISA = DatasetInfo(
    name="visa",
    title="VisA",
    layout="visa",
    # anomalib's documentation says CC BY-NC-SA 4.0; the publisher's own licence file says CC BY 4.0.
    licence="CC BY 4.0",
    licence_url="https://creativecommons.org/licenses/by/4.0/",
    homepage="https://github.com/amazon-science/spot-diff",
    citation=(
        "Y. Zou, J. Jeong, L. Pemula, D. Zhang, O. Dabeer: SPot-the-Difference self-supervised pre-training for "
        "anomaly detection and segmentation. ECCV 2022, arXiv:2207.14315"
    ),
    archive=Archive(
        url="https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com/VisA_20220922.tar",
        sha256="2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",
        size=1_929_840_640,
    ),
    # The one-class split of split_csv/1cls.csv: nine tenths of the normal images train.
    categories=MappingProxyType(
        {
            "candle": Counts(900, 100, 100),
            "capsules": Counts(542, 60, 100),
            "cashew": Counts(450, 50, 100),
            "chewinggum": Counts(453, 50, 100),
            "fryum": Counts(450, 50, 100),
            "macaroni1": Counts(900, 100, 100),
            "macaroni2": Counts(900, 100, 100),
            "pcb1": Counts(904, 100, 100),
            "pcb2": Counts(901, 100, 100),
            "pcb3": Counts(905, 101, 100),
            "pcb4": Counts(904, 101, 100),
            "pipe_fryum": Counts(450, 50, 100),
        }
    ),
)

BTAD = DatasetInfo(
    name="btad",
    title="BTAD",
    layout="btad",
    # anomalib's documentation says CC BY-NC-SA 4.0; the publisher's own readme says CC BY-SA 4.0.
    licence="CC BY-SA 4.0",
    licence_url="https://creativecommons.org/licenses/by-sa/4.0/",
    homepage="https://avires.dimi.uniud.it/papers/btad/",
    citation=(
        "P. Mishra, R. Verk, D. Fornasier, C. Piciarelli, G. L. Foresti: VT-ADL, a vision transformer network for "
        "image anomaly detection and localization. ISIE 2021, arXiv:2104.10036"
    ),
    archive=Archive(
        url="https://avires.dimi.uniud.it/papers/btad/btad.zip",
        sha256="461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",
        size=1_229_193_337,
        folder="BTech_Dataset_transformed",
    ),
    categories=MappingProxyType(
        {
            "01": Counts(400, 21, 49),
            "02": Counts(399, 30, 200),
            "03": Counts(1000, 400, 41),
        }
    ),
)


def _drawn(model: DatasetInfo) -> DatasetInfo:
    """The mini benchmark's stand-in for a dataset: its layout, its categories of the paper, drawn images."""
    name = f"mini_{model.name}"
    return DatasetInfo(
        name=name,
        title=f"mini {model.title} (drawn)",
        layout=model.layout,
        licence="Apache-2.0",
        licence_url="https://www.apache.org/licenses/LICENSE-2.0",
        homepage="",
        citation="Drawn by this harness (harness/data/mini); it stands in for no published dataset.",
        archive=None,
        categories=MappingProxyType({category: Counts(*counts) for category, counts in COUNTS[name].items()}),
    )


PUBLISHED = (MVTEC, VISA, BTAD)
CATALOG: Mapping[str, DatasetInfo] = MappingProxyType(
    {info.name: info for info in (*PUBLISHED, *(_drawn(info) for info in PUBLISHED))}
)
"""By name. A dataset that is not here is taken as it is found, without official counts."""
