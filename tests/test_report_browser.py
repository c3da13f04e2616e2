"""The page in headless Chromium: wide and narrow, light and dark, by keyboard, on paper, without serious axe findings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import browser
import frames
from initbench import report

pytestmark = pytest.mark.browser
ARMS = (
    ("kaiming_normal", "none"),
    ("eye", "none"),
    ("orthogonal", "all"),
    ("normal_001", "none"),
    ("torch_default", "all"),
)
AXE = Path(os.environ.get("AXE_CORE", "node_modules/axe-core/axe.min.js"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.chromium() as tab:
        folder = frames.write_study(
            tmp_path_factory.mktemp("page") / "demo", *frames.make_study(ARMS, lrs=(0.03, 0.1, 0.3))
        )
        tab.look(1600)
        tab.open(report.build(folder, pairs=True, formats="html")["report.html"])
        yield tab


def column(page: browser.Page, head: str) -> list[str]:
    """The cells of a column of the big table, from top to bottom, without their small print."""
    script = """const table = document.querySelector("table.sortable"), heads = [...table.tHead.rows[0].cells];
    const i = heads.findIndex((h) => h.textContent.trim() === arguments[0]);
    return [...table.tBodies[0].rows].filter((r) => !r.hidden).map((r) => r.cells[i].firstChild.textContent.trim());"""
    return page.run(script, head)


def test_sorting_by_keyboard_keeps_never_last_both_ways(page: browser.Page):
    head = "table.sortable thead th:nth-child(3) button"
    seen = []
    for order in ("ascending", "descending"):
        page.press("\ue007", head)  # Enter
        page.wait(f"return document.querySelector('table.sortable th:nth-child(3)').ariaSort === '{order}'")
        seen.append(column(page, "Steps to target"))
    for cells in seen:
        assert cells[-2:] == ["never", "never"]
    values = [[float(cell) for cell in cells[:-2]] for cells in seen]
    assert values[0] == sorted(values[0])
    assert values[1] == sorted(values[1], reverse=True)
    assert page.run("return document.querySelectorAll('[aria-sort]').length") == 1
    assert page.run("return document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "descending"


def test_filtering_counts(page: browser.Page):
    script = "const b = document.querySelector('.filter input'); b.value = arguments[0]; b.dispatchEvent(new Event('input')); return document.querySelector('.filter output').textContent"
    assert page.run(script, "all never") == "1 of 5"
    assert column(page, "Setup") == ["torch_default · all"]
    assert page.run(script, "") == "5 of 5"


def test_a_long_table_shows_its_first_hundred_until_asked(page: browser.Page, tmp_path: Path):
    here = Path(page.run("return decodeURIComponent(location.pathname)"))
    text = here.read_text(encoding="utf-8")
    row = re.findall(r'<tr id="arm-0">.*?</tr>', text, re.DOTALL)[0]
    more = "".join(row.replace('"arm-0"', f'"arm-{k}"') for k in range(5, 305))
    last = text.index("</tbody>", text.index('<table class="sortable">'))
    long = tmp_path / "long.html"
    long.write_text(text[:last] + more + text[last:], encoding="utf-8")
    shown = "return [document.querySelector('.filter output').textContent, [...document.querySelectorAll('.sortable tbody tr')].filter((r) => !r.hidden).length]"
    try:
        page.open(long)
        assert page.run(shown) == ["first 100 of 305", 100]
        page.run("document.querySelector('.sortable thead button').click()")
        assert page.run(shown) == ["first 100 of 305", 100]
        script = "const b = document.querySelector('.filter input'); b.value = arguments[0]; b.dispatchEvent(new Event('input'));"
        page.run(script, "all never")
        assert page.run(shown) == ["1 of 305", 1]
        page.run(script, "")
        page.run("location.hash = 'arm-304'")
        page.wait("return !document.getElementById('arm-304').hidden")
        assert page.run(shown) == ["305 of 305", 305]
    finally:
        page.open(here)


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_runs_off_the_side_and_dark_is_dark(page: browser.Page, width: int, dark: bool):
    page.look(width, dark)
    assert page.run("return document.documentElement.scrollWidth") <= width
    ground = [
        int(part) for part in re.findall(r"\d+", page.run("return getComputedStyle(document.body).backgroundColor"))[:3]
    ]
    ink = [
        int(part)
        for part in re.findall(r"\d+", page.run("return getComputedStyle(document.querySelector('.fig text')).fill"))[
            :3
        ]
    ]
    assert (sum(ground) < 150) == dark
    assert (sum(ink) > 400) == dark


def test_nothing_was_refused_by_the_content_security_policy(page: browser.Page):
    assert [entry["message"] for entry in page.call("/se/log", {"type": "browser"})] == []


def test_hovering_an_arm_says_its_numbers_and_its_link_leads_to_its_row(page: browser.Page):
    tip = page.run("return document.querySelector('#fastest svg a title').textContent")
    assert re.search(r"#\d, .* arrived, lr ", tip)
    row = page.run("""const a = document.querySelector('#fastest svg a'); const id = (a.getAttribute('href') || a.getAttribute('xlink:href'));
    location.hash = id; return document.querySelector(':target').cells[1].textContent""")
    assert tip.startswith(row)


def test_the_numbers_of_an_arm_are_said_by_mouse_and_by_keyboard(page: browser.Page):
    shown = "return document.querySelector('.tip').hidden ? '' : document.querySelector('.tip').textContent"
    for event in ("new PointerEvent('pointerover', {bubbles: true})", "new FocusEvent('focusin', {bubbles: true})"):
        page.run(f"document.querySelector('#fastest svg a').dispatchEvent({event})")
        assert re.search(r"#1, .* arrived, lr ", page.run(shown))
        top = "return document.querySelector('.tip').getBoundingClientRect().top"
        before = page.run(top)
        page.run_async(
            "scrollBy(0, 40); const done = arguments[0]; setTimeout(() => requestAnimationFrame(() => done()), 100)"
        )
        assert re.search(r"#1, .* arrived, lr ", page.run(shown))  # it goes along: to focus a thing may scroll the page
        assert page.run(top) != before
        page.run("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
        assert page.run(shown) == ""
    tabbed = page.run(
        "return [...document.querySelectorAll('.fig a')].map((a) => [a.tabIndex, !!a.querySelector('text')])"
    )
    assert {(index == 0) == named for index, named in tabbed} == {True}


def test_a_pair_says_its_interval_by_mouse_and_by_arrow_keys(page: browser.Page):
    shown = "return document.querySelector('.tip').hidden ? '' : document.querySelector('.tip').textContent"
    first = "const cell = document.querySelector('.matrix tbody td[title]');"
    page.run(f"{first} cell.dispatchEvent(new PointerEvent('pointerover', {{bubbles: true}}))")
    by_mouse = page.run(shown)
    assert re.search(r"(is faster than|undecided).*\[.*x, .*x\]", by_mouse)
    page.run("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    assert page.run(f"{first} return cell.title") == by_mouse
    stops = "return [...document.querySelectorAll('.matrix [title]')].filter((one) => one.tabIndex === 0).length"
    assert page.run(stops) == 1
    page.run("document.querySelector('.matrix [tabindex=\"0\"]').focus()")
    walked = []
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft", "ArrowUp"):
        page.run(f"document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}}))")
        walked.append(page.run("const to = document.activeElement; return [to.parentElement.rowIndex, to.cellIndex]"))
        assert page.run(shown) == page.run("return document.activeElement.title")
    assert walked == [
        [3, 2],
        [4, 2],
        [4, 3],
        [4, 2],
        [3, 2],
    ]  # from the second column of the first row, over the diagonal
    assert page.run(stops) == 1
    page.run("document.activeElement.blur()")


def test_picked_arms_stand_side_by_side_and_out_in_figures(page: browser.Page):
    picks = "const picks = [...document.querySelectorAll('.pick')].slice(0, 2); picks.forEach((one) => one.click());"
    names = column(page, "Setup")[:2]
    page.run(picks)
    first = page.run(
        "return [...document.querySelector('.picked table').rows].map((r) => [...r.cells].map((c) => c.textContent))"
    )
    assert first[1][1:] == names
    assert first[0][0].startswith("#")
    assert page.run("return document.querySelectorAll('#fastest svg.some a.on').length") > 1
    page.run(picks)
    assert page.run(
        "return [document.querySelector('.picked').hidden, document.querySelectorAll('svg.some').length]"
    ) == [True, 0]


def test_what_is_too_wide_says_that_it_scrolls(page: browser.Page):
    page.look(420)
    boxes = "[...document.querySelectorAll('.fig, .scroll')].filter((b) => b.checkVisibility())"
    wide = "(b) => b.scrollWidth > b.clientWidth + 1"
    page.wait(f"return {boxes}.every((b) => ({wide})(b) === b.classList.contains('over'))")
    assert page.run(f"return {boxes}.some({wide})")
    page.look(1600)


def test_paper_cuts_no_table(page: browser.Page):
    page.look(738)  # Letter within Chromium's margins
    try:
        page.devtools("Emulation.setEmulatedMedia", media="print")
        right = page.run(
            "return Math.max(...[...document.querySelectorAll('table')].map((t) => t.getBoundingClientRect().right))"
        )
        assert right <= 738
    finally:
        page.devtools("Emulation.setEmulatedMedia", media="")
        page.look(1600)


def test_it_prints(page: browser.Page):
    page.look(1600)
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 20


def test_axe_finds_nothing_serious(page: browser.Page):
    if not AXE.is_file():
        pytest.skip("needs axe-core: npm install axe-core, or AXE_CORE=/path/to/axe.min.js")
    page.run("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    page.run(AXE.read_text(encoding="utf-8"))
    for width, dark in ((400, False), (1600, True)):
        page.look(width, dark)
        found = page.run_async("""const done = arguments[arguments.length - 1];
        axe.run(document).then((r) => done(r.violations.map((v) => `${v.impact} ${v.id}: ${v.nodes[0].html.slice(0, 120)}`)));""")
        assert [one for one in found if one.startswith(("serious", "critical"))] == []
