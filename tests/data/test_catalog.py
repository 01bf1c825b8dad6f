import pytest

from harness.data.catalog import BTAD, CATALOG, MVTEC, VISA
from harness.data.layouts import LAYOUTS


def sums(info):
    counts = info.categories.values()
    return (
        len(counts),
        sum(c.train for c in counts),
        sum(c.test_normal for c in counts),
        sum(c.test_anomalous for c in counts),
    )


def test_counts_sum_to_what_the_datasets_papers_state():
    assert sums(MVTEC) == (15, 3629, 467, 1258)
    assert sums(VISA) == (12, 8659, 962, 1200)
    assert 8659 + 962 == 9621
    assert sums(BTAD) == (3, 1799, 451, 290)
    assert 1799 + 451 + 290 == 2540


def test_visas_training_share_is_nine_tenths_of_each_categorys_normal_images():
    for counts in VISA.categories.values():
        assert counts.train == round(0.9 * (counts.train + counts.test_normal))


@pytest.mark.parametrize(
    ("info", "module", "dataset"),
    [(MVTEC, "mvtecad", "mvtecad"), (VISA, "visa", "visa"), (BTAD, "btech", "btech")],
)
def test_archives_and_categories_are_anomalibs(info, module, dataset):
    from importlib import import_module

    download = import_module(f"anomalib.data.datamodules.image.{module}").DOWNLOAD_INFO
    assert (info.archive.url, info.archive.sha256) == (download.url, download.hashsum)
    categories = import_module(f"anomalib.data.datasets.image.{dataset}").CATEGORIES
    assert tuple(info.categories) == tuple(categories)


def test_every_entry_is_complete():
    for name, info in CATALOG.items():
        assert info.name == name
        assert info.layout in LAYOUTS
        assert info.licence
        assert info.citation
        assert info.title


def test_the_catalog_cannot_be_changed_by_accident():
    with pytest.raises(TypeError):
        CATALOG["mvtec"] = VISA
    with pytest.raises(TypeError):
        MVTEC.categories["bottle"] = None
