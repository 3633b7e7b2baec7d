"""Every page in a real browser: how it looks in both languages and widths, and that everyone can use it.

The pictures in `golden/` are compared with a tolerance: two machines with the same fonts draw the same
shapes, but another version of the browser may smooth their edges a little differently. So a pixel differs
when one of its colours is off by more than 48 of 255, and of a page at most 0.6 % of the pixels may: a word
that is missing or has moved is more than that. JACKFIELD_GOLDEN=update draws the pictures anew.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import axe_core_python
import pytest
import support
from PIL import Image, ImageChops
from playwright.sync_api import Page
from stage import Open

FONTS = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
)
GOLDEN = Path(__file__).with_name("golden")
AXE = Path(axe_core_python.__file__).with_name("axe.min.js").read_text()
PAGES = {
    "clients": ("clients", "[role=option]"),
    "client": ("clients/1", ".message"),
    "absent": ("clients/lift", ".facts dd"),
    "automation": ("automation", ".rows li"),
    "rooms": ("rooms", ".cards li"),
    "room": ("rooms/ops", ".post"),
    "access": ("access", ".rows li"),
    "traffic": ("traffic", ".figures dd"),
    "log": ("audit", "[role=option]"),
    "settings": ("settings", ".facts.wide dd"),
}
LOOKS = {
    "desktop-en": {"language": "en", "width": 1280, "height": 800},
    "desktop-zh": {"language": "zh", "width": 1280, "height": 800},
    "phone-en": {"language": "en", "width": 390, "height": 844, "dark": True},
    "phone-zh": {"language": "zh", "width": 390, "height": 844, "dark": True},
}
MOST_DIFFERENT = 0.006
DIFFERENT = 48
QUIET = """() => {
  const app = globalThis.jackfield;
  app.history.tick = () => {};
  app.roster.tick = () => {};
  const wave = (height, step) => Array.from({length: 300}, (_, at) =>
    Math.round(height * (1 + 0.6 * Math.sin(at / step) + 0.3 * Math.sin(at / 3.1))));
  Object.assign(app.history.lines, {
    in: wave(2400, 23), out: wave(700, 31), messagesIn: wave(90, 19), messagesOut: wave(30, 27),
    clients: Array.from({length: 300}, (_, at) => 6 + Math.floor(at / 70)),
  });
  for (const id of [1, 3, 5]) {
    const row = app.roster.rows.get(id);
    if (row) { row.rates = {in: 800 / id, out: 120 * id, messages: 4}; app.roster.active.add(id); }
  }
  app.page.second?.();
  app.page.update();
}"""


def settle(page: Page, selector: str) -> None:
    """Everything is there, and nothing changes by itself any more."""
    page.wait_for_selector(selector)
    page.wait_for_selector(".state[data-state=live]")
    page.wait_for_function("() => document.fonts.status === 'loaded' && globalThis.jackfield.roster.ready")
    page.evaluate(QUIET)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def need_fonts() -> None:
    """The pictures were drawn with these: DejaVu, and Noto for Chinese."""
    if missing := [font for font in FONTS if not Path(font).exists()]:
        support.lacking(f"the fonts of the pictures are not installed: {', '.join(missing)}")


def compare(name: str, picture: bytes, wrong: Path) -> None:
    golden = GOLDEN / f"{name}.png"
    found = Image.open(io.BytesIO(picture)).convert("RGB")
    if os.environ.get("JACKFIELD_GOLDEN") == "update":
        GOLDEN.mkdir(exist_ok=True)
        found.quantize(128, dither=Image.Dither.NONE).save(golden, optimize=True)
        return
    expected = Image.open(golden).convert("RGB")
    assert found.size == expected.size, name
    difference = ImageChops.difference(found, expected).point(lambda value: 255 if value > DIFFERENT else 0)
    different = sum(1 for pixel in difference.convert("L").getdata() if pixel)
    share = different / (found.width * found.height)
    if share > MOST_DIFFERENT:
        found.save(wrong / f"{name}.png")
        pytest.fail(f"{name} looks different ({share:.2%} of its pixels): see {wrong / name}.png")


RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def judge(page: Page, rules: list[str] = RULES) -> list[str]:
    """What the accessibility rules (WCAG 2.2 A and AA, best practice) find wrong with a page."""
    page.evaluate(AXE)
    found = page.evaluate("rules => axe.run(document, {runOnly: rules})", rules)["violations"]
    return [f"{rule['id']}: {node['html'][:160]}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_looks_as_it_should_and_is_accessible(open_page: Open, look: str, tmp_path: Path) -> None:
    need_fonts()
    page = open_page(**LOOKS[look])
    for name, (path, selector) in PAGES.items():
        page.evaluate("path => location.hash = '#/' + path", path)
        page.wait_for_function("path => globalThis.jackfield.shown === path", arg=path)
        settle(page, selector)
        compare(f"{name}-{look}", page.screenshot(animations="disabled", caret="hide"), tmp_path)
        if look == "desktop-en":
            assert judge(page) == [], name
        elif look == "phone-zh":  # what differs there: colours on dark, sizes, and what is hidden
            assert judge(page, ["wcag2aa", "wcag22aa"]) == [], name


@pytest.mark.parametrize("look", ["desktop-en", "phone-zh"])
def test_the_login_page_looks_as_it_should(open_page: Open, look: str, tmp_path: Path) -> None:
    need_fonts()
    page = open_page(**LOOKS[look])
    page.context.clear_cookies()
    page.goto(page.url.partition("#")[0] + "login")
    page.wait_for_selector("#code")
    page.fill("#code", "nonsense")
    page.keyboard.press("Enter")
    page.wait_for_selector("p.bad")
    compare(f"login-{look}", page.screenshot(animations="disabled", caret="hide"), tmp_path)
    assert judge(page) == []


def test_dialogs_are_accessible(open_page: Open, tmp_path: Path) -> None:
    page = open_page(path="clients/1")
    page.wait_for_selector(".message")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    assert judge(page) == []
    page.keyboard.press("Escape")
    for button in ("Rename", "Tags", "Reply rule", "Export", "Disconnect"):
        page.get_by_role("button", name=button, exact=True).click()
        page.wait_for_selector("dialog[open]")
        assert judge(page) == [], button
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
