"""The page in a real headless browser: it loads, links, sorts, opens and prints, on every screen."""

from __future__ import annotations

import shutil

import pytest

from tests.papers.making import PAPER, SMOKE
from tests.report.pages import make_page
from tests.report.stores import whole
from tests.store.making import make_failed, make_spec

sync_playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").sync_playwright
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH")

TABLE = "table-1-verdicts"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # Containers seldom let a browser make its own sandbox.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of a store in which Table 3 is not run, with a failed run in it."""
    records = [record for record in whole(PAPER, seeds=(0, 42)) if record.spec.dataset != "visa"]
    records.append(make_failed(make_spec(category="toothbrush")))
    return make_page(tmp_path_factory.mktemp("page") / "a report, #1.html", records, PAPER).as_uri()


@pytest.fixture
def opened(browser):
    """Open an address in a fresh tab; returns it, what goes wrong in it, and every address that it asks for."""
    tabs = []

    def opened(address, *, width=1280, height=900, **options):
        tab = browser.new_page(viewport={"width": width, "height": height}, **options)
        tabs.append(tab)
        errors, requests = [], []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(address)
        return tab, errors, requests

    yield opened
    for tab in tabs:
        tab.close()


@pytest.fixture
def page(opened, address):
    return opened(address)[0]


def column(page, table, number):
    """The texts of one column, from the top."""
    cells = page.locator(f"#{table} tbody tr > :nth-child({number + 1})").all_text_contents()
    return [text.strip() for text in cells]


def head(page, table, number):
    return page.locator(f"#{table} thead th").nth(number)


def test_it_loads_from_disk_without_an_error_and_asks_for_nothing(opened, address):
    page, errors, requests = opened(address)
    assert page.evaluate("[...document.images].filter(image => image.complete && image.naturalWidth).length") == 10
    assert errors == []
    assert [request for request in requests if not request.startswith("data:")] == [address]


def test_every_link_leads_to_something_visible(page):
    blind = page.evaluate(
        """async () => {
          const links = [...new Set([...document.querySelectorAll('a')].map(link => link.getAttribute('href')))];
          const blind = [];
          for (const link of links) {
            location.hash = link;
            await new Promise(done => setTimeout(done, 5));
            const target = document.getElementById(link.slice(1));
            if (!target || !target.getBoundingClientRect().height) blind.push(link);
          }
          return links.length < 50 ? ['too few'] : blind;
        }"""
    )
    assert blind == []


def test_a_link_to_a_run_opens_its_details(page):
    link = page.locator("#runs-all tbody a").first
    details = page.locator(link.get_attribute("href"))
    assert details.get_attribute("open") is None
    link.click()
    page.wait_for_function("part => part.open", arg=details.element_handle())
    assert 0 <= details.bounding_box()["y"] < 900


def test_a_column_of_numbers_sorts_up_down_and_back(page):
    published = page.locator(f"#{TABLE} thead th").all_inner_texts().index("Published")
    before = column(page, TABLE, published)
    numbers = sorted(float(text) for text in before if text != "–")
    heading = head(page, TABLE, published)
    for order, expected in (("ascending", numbers), ("descending", numbers[::-1])):
        heading.locator("button").click()
        now = column(page, TABLE, published)
        assert [float(text) for text in now if text != "–"] == expected
        assert now.index("–") == len(numbers), "what has no value stays last"
        assert heading.get_attribute("aria-sort") == order
    heading.locator("button").click()
    assert column(page, TABLE, published) == before
    assert heading.get_attribute("aria-sort") is None


def test_the_keyboard_reaches_the_content_and_sorts_and_the_mean_stays_at_the_foot(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    page.keyboard.press("Enter")
    table = "table-4-paper"
    assert column(page, table, 0) == ["01", "02", "03", "Mean"]
    page.evaluate(f"document.getElementById('{table}').closest('details').open = true")
    button = head(page, table, 0).locator("button")
    button.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    button.press("Enter")
    button.press("Enter")
    assert column(page, table, 0) == ["03", "02", "01", "Mean"]


def test_sorting_works_in_every_table(opened, address):
    page, errors, _ = opened(address)
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
    assert errors == []


def test_only_tables_scroll_sideways_never_the_page(page):
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    for width in (320, 390, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        outside = page.evaluate(
            """[...document.querySelectorAll('main p, main li, main h2, main h3, main dd, main img, main pre, .scroll')]
                 .filter(part => {
                   const box = part.getBoundingClientRect();
                   return box.width && box.right > innerWidth + 1;
                 })
                 .map(part => part.outerHTML.slice(0, 80))"""
        )
        assert outside == [], width


def test_the_verdict_tables_fit_a_laptops_screen(page):
    for number in range(1, 7):
        box = page.locator(f".scroll:has(> #table-{number}-verdicts)")
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0, number


def test_dark_is_dark_and_paper_is_white(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) == "rgb(20, 24, 28)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"


def test_it_prints_with_the_folded_tables_open_and_folds_them_again(page):
    page.evaluate(
        """() => { window.opened = 0;
        addEventListener('beforeprint', () => { opened = document.querySelectorAll('details[open]').length; }) }"""
    )
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF-")
    assert page.evaluate("opened") >= 6
    assert page.locator("details[open]").count() == 0


def test_without_scripts_everything_is_still_there(opened, address):
    page, _, _ = opened(address, java_script_enabled=False)
    assert page.locator("th button").count() == 0
    assert page.locator(f"#{TABLE} tbody tr").count() == 20
    assert column(page, "table-4-paper", 0) == ["01", "02", "03", "Mean"]


def test_tables_and_figures_have_names_for_a_screen_reader(page):
    by_role: dict[str, list[str]] = {}
    for node in page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]:
        if not node.get("ignored"):
            by_role.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    for role in ("table", "image", "link", "button"):
        assert by_role[role]
        assert all(by_role[role]), f"one of role {role} without a name"
    assert {"main", "navigation", "banner"} <= set(by_role)


def test_synthetic_is_in_sight_on_every_screenful(opened, tmp_path):
    address = make_page(tmp_path / "report.html", whole(SMOKE), SMOKE).as_uri()
    page, errors, _ = opened(address, width=390, height=800)
    assert errors == []
    for place in ("0", "document.documentElement.scrollHeight / 2", "document.documentElement.scrollHeight"):
        page.evaluate(f"scrollTo(0, {place})")
        box = page.locator(".banner").bounding_box()
        assert box["y"] == 0
        assert box["height"] > 20
