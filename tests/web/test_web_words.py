"""What the pages say: both languages say the same things, and nothing that is not in the dictionaries."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jackfield.web

STATIC = Path(jackfield.web.__file__).with_name("static")
ENGLISH, CHINESE = (
    json.loads((STATIC / "i18n" / f"{name}.json").read_text(encoding="utf-8")) for name in ("en", "zh")
)
# The beginnings of keys that are put together of what the hub says, or of a list.
PUT_TOGETHER = re.compile(
    r"(nav|state|login|clients|client|send|outcome|ending|auto|traffic|audit|settings|theme|role|access|keys|explain|rooms|kind)[.]"
)


def used() -> set[str]:
    """Every key that a module asks for by its whole name."""
    found = set()
    for path in STATIC.rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'\bt\(\s*"([^"]+)"', text))
        found |= {key for pair in re.findall(r'\bt\([\w.]+ \? "([^"]+)" : "([^"]+)"', text) for key in pair}
        found |= set(re.findall(r'shortcut\("[^"]+", "([^"]+)"', text))
    return found


def test_both_dictionaries_have_the_same_keys() -> None:
    plural = {key for key in ENGLISH if key.endswith(".one")}  # Chinese has one form
    assert set(CHINESE) - set(ENGLISH) == set()
    assert set(ENGLISH) - set(CHINESE) <= plural


def test_both_dictionaries_have_the_same_places_for_values() -> None:
    for key, words in CHINESE.items():
        assert set(re.findall(r"\{\w+\}", words)) == set(re.findall(r"\{\w+\}", ENGLISH[key])), key


def test_every_key_that_is_asked_for_is_there() -> None:
    assert used() - set(ENGLISH) == set()


def test_every_key_is_asked_for() -> None:
    unused = {
        key for key in set(ENGLISH) - used() if not key.endswith(".one") and not PUT_TOGETHER.match(key)
    }
    assert unused == set()


def test_the_chinese_is_chinese() -> None:
    plain = {key for key, words in CHINESE.items() if not re.search(r"[\u4e00-\u9fff]", words)}
    assert plain <= {
        "clients.some",
        "ending.lf",
        "ending.crlf",
        "ending.cr",
        "ending.nul",
        "client.view.json",
    }


def test_no_module_makes_html_or_code_of_text() -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|javascript:|\.srcdoc"
    )
    for path in STATIC.rglob("*.js"):
        assert not re.search(forbidden, path.read_text(encoding="utf-8")), path.name
    for path in STATIC.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\son\w+=", text), path.name
