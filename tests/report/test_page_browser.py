"""The page in a real headless browser: it loads, links, sorts, opens and prints, on every screen."""

from __future__ import annotations

import pytest

from harness.paper.model import PAPER, SMOKE
from tests.report.browser import Browser, find_browser
from tests.report.pages import make_page
from tests.report.stores import whole
from tests.store.making import make_failed, make_spec

pytestmark = pytest.mark.skipif(find_browser() is None, reason="there is no Chromium on the PATH")

TABLE = "table-1-verdicts"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of a store in which Table 3 is not run, with a failed run in it."""
    records = [record for record in whole(PAPER, seeds=(0, 42)) if record.spec.dataset != "visa"]
    records.append(make_failed(make_spec(category="toothbrush")))
    return make_page(tmp_path_factory.mktemp("page") / "a report, #1.html", records, PAPER).as_uri()


@pytest.fixture
def page(browser, address):
    browser.scripts(allowed=True)
    browser.resize(1280, 900)
    browser.media()
    browser.open("about:blank")
    browser.open(address)
    return browser


def column(page, table, number):
    """The texts of one column, from the top."""
    return page.evaluate(
        f"[...document.querySelectorAll('#{table} tbody tr')].map(row => row.cells[{number}].textContent.trim())"
    )


def click(page, table, number):
    page.evaluate(f"document.querySelectorAll('#{table} thead th')[{number}].querySelector('button').click()")


def test_it_loads_from_disk_without_an_error_and_asks_for_nothing(page, address):
    assert page.errors == []
    assert [request for request in page.requests if not request.startswith("data:")] == [address]
    shown = page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert shown
    assert page.evaluate("document.images.length") == 10


def test_every_link_leads_to_something_visible(page):
    blind = page.evaluate(
        """(async () => {
          const links = [...new Set([...document.querySelectorAll('a')].map(link => link.getAttribute('href')))];
          const blind = [];
          for (const link of links) {
            location.hash = link;
            await new Promise(done => setTimeout(done, 5));
            const target = document.getElementById(link.slice(1));
            if (!target || !target.getBoundingClientRect().height) blind.push(link);
          }
          return links.length < 50 ? ['too few'] : blind;
        })()"""
    )
    assert blind == []


def test_a_link_to_a_run_opens_its_details(page):
    identifier = page.evaluate("document.querySelector('#runs-all tbody a').getAttribute('href').slice(1)")
    assert page.evaluate(f"document.getElementById('{identifier}').open") is False
    page.evaluate("document.querySelector('#runs-all tbody a').click(); new Promise(done => setTimeout(done, 100))")
    assert page.evaluate(f"document.getElementById('{identifier}').open") is True
    top = page.evaluate(f"document.getElementById('{identifier}').getBoundingClientRect().top")
    assert 0 <= top < 900


def test_a_column_of_numbers_sorts_up_down_and_back(page):
    published = page.evaluate(f"[...document.querySelectorAll('#{TABLE} thead th')].map(h => h.innerText)").index(
        "Published"
    )
    before = column(page, TABLE, published)
    numbers = sorted(float(text) for text in before if text != "–")
    click(page, TABLE, published)
    up = column(page, TABLE, published)
    assert [float(text) for text in up if text != "–"] == numbers
    assert up.index("–") == len(numbers), "what has no value stays last"
    head = f"document.querySelectorAll('#{TABLE} thead th')[{published}].getAttribute('aria-sort')"
    assert page.evaluate(head) == "ascending"
    click(page, TABLE, published)
    down = column(page, TABLE, published)
    assert [float(text) for text in down if text != "–"] == numbers[::-1]
    assert down.index("–") == len(numbers)
    assert page.evaluate(head) == "descending"
    click(page, TABLE, published)
    assert column(page, TABLE, published) == before
    assert page.evaluate(head) is None


def test_a_column_of_words_sorts_and_the_mean_stays_at_the_foot(page):
    table = "table-4-paper"
    assert column(page, table, 0) == ["01", "02", "03", "Mean"]
    click(page, table, 0)
    click(page, table, 0)
    assert column(page, table, 0) == ["03", "02", "01", "Mean"]


def test_sorting_works_in_every_table(page):
    untouched = page.evaluate(
        """[...document.querySelectorAll('table.sortable')].filter(table => {
          const heads = [...table.tHead.rows[0].cells];
          if (table.tBodies[0].rows.length < 2) return heads.some(head => head.querySelector('button'));
          const rows = table.tBodies[0].rows.length;
          heads.forEach(head => { head.querySelector('button').click(); head.querySelector('button').click(); });
          return table.tBodies[0].rows.length !== rows
            || heads.filter(head => head.getAttribute('aria-sort')).length !== 1;
        }).map(table => table.id)"""
    )
    assert untouched == []
    assert page.errors == []


def test_the_keyboard_reaches_the_content_and_sorts(page):
    page.press("Tab", 9)
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    page.press("Enter", 13)
    page.evaluate("document.querySelector('#runs-all thead th:nth-child(5) button').focus()")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.press("Enter", 13)
    assert (
        page.evaluate("document.querySelector('#runs-all thead th:nth-child(5)').getAttribute('aria-sort')")
        == "ascending"
    )


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_only_tables_scroll_sideways_never_the_page(page, width):
    page.resize(width, 900)
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """[...document.querySelectorAll('main p, main li, main h2, main h3, main dd, main img, main pre, .scroll')]
             .filter(part => {
               const box = part.getBoundingClientRect();
               return box.width && box.right > innerWidth + 1;
             })
             .map(part => part.outerHTML.slice(0, 80))"""
    )
    assert outside == []


def test_the_verdict_tables_fit_a_laptops_screen(page):
    for number in range(1, 7):
        box = f"document.getElementById('table-{number}-verdicts').parentElement"
        assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 0, number


def test_dark_is_dark_and_paper_is_white(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.media(prefers_color_scheme="dark")
    assert page.evaluate(ground) == "rgb(20, 24, 28)"
    page.media(kind="print", prefers_color_scheme="dark")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"


def test_it_prints_with_the_folded_tables_open_and_folds_them_again(page):
    page.evaluate(
        """window.opened = 0;
        addEventListener('beforeprint', () => { opened = document.querySelectorAll('details[open]').length; })"""
    )
    assert page.pdf().startswith(b"%PDF-")
    assert page.evaluate("opened") >= 6
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0


def test_without_scripts_everything_is_still_there(page, address):
    page.scripts(allowed=False)
    page.open("about:blank")
    page.open(address)
    assert page.evaluate("document.querySelectorAll('th button').length") == 0
    assert page.evaluate(f"document.querySelectorAll('#{TABLE} tbody tr').length") == 20
    assert column(page, "table-4-paper", 0) == ["01", "02", "03", "Mean"]


def test_tables_and_figures_have_names_for_a_screen_reader(page):
    nodes = [node for node in page.accessibility() if not node.get("ignored")]
    by_role: dict[str, list[str]] = {}
    for node in nodes:
        by_role.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert all(by_role["table"]), "a table without a name"
    assert all(by_role["image"]), "an image without a name"
    assert all(by_role["link"])
    assert all(by_role["button"])
    assert {"main", "navigation", "banner"} <= set(by_role)


def test_synthetic_is_in_sight_on_every_screenful(browser, tmp_path):
    browser.scripts(allowed=True)
    browser.media()
    browser.resize(390, 800)
    browser.open(make_page(tmp_path / "report.html", whole(SMOKE), SMOKE).as_uri())
    assert browser.errors == []
    for place in ("0", "document.documentElement.scrollHeight / 2", "document.documentElement.scrollHeight"):
        browser.evaluate(f"scrollTo(0, {place})")
        box = browser.evaluate("(b => [b.top, b.bottom])(document.querySelector('.banner').getBoundingClientRect())")
        assert box[0] == 0
        assert box[1] > 20
