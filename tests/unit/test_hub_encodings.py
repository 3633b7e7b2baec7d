"""Text in other encodings than UTF-8, as it goes out and as it is shown."""

from __future__ import annotations

import encodings
import pkgutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.hub.display import show_bytes
from jackfield.hub.encodings import UTF8, find_encoding
from jackfield.hub.text import TextError, unescape


@pytest.mark.parametrize(
    ("name", "text", "data"),
    [
        ("gbk", "温度 21", b"\xce\xc2\xb6\xc8 21"),
        ("GB18030", "温", b"\xce\xc2"),
        ("big5", "溫", b"\xb7\xc5"),
        ("shift_jis", "温", b"\x89\xb7"),
        ("latin-1", "ä°", b"\xe4\xb0"),
        ("utf-16-le", "hi", b"h\0i\0"),
        ("utf8", "温\udcff", b"\xe6\xb8\xa9\xff"),  # a byte that was no text stays what it was
    ],
)
def test_text_and_its_bytes(name: str, text: str, data: bytes) -> None:
    encoding = find_encoding(name)
    assert encoding.encode(text) == data
    assert encoding.decode(data) == text


def test_a_character_that_it_does_not_have() -> None:
    with pytest.raises(
        TextError, match=r"'温' \(U\+6E29 CJK UNIFIED IDEOGRAPH-6E29\) at position 5 .* iso8859-1"
    ):
        find_encoding("latin-1").encode("warm 温")
    with pytest.raises(TextError, match=r"'\\\\xff' \(U\+DCFF\) at position 1 does not exist in gbk"):
        find_encoding("gbk").encode("a\udcff")


@pytest.mark.parametrize(
    "name", ["klingon", "", "rot13", "base64", "hex", "zlib", "unicode_escape", "../etc", "a" * 5000, "a\0b"]
)
def test_what_is_no_encoding(name: str) -> None:
    with pytest.raises(TextError, match="unknown encoding"):
        find_encoding(name)


def test_line_endings() -> None:
    assert find_encoding("gbk").ending("crlf") == b"\r\n"
    assert find_encoding("utf-16-be").ending("crlf") == b"\0\r\0\n"
    assert find_encoding("utf-16-be").ending("none") == b""
    assert find_encoding("gbk").extends_ascii
    assert not find_encoding("utf-16-le").extends_ascii
    assert not find_encoding("utf-7").extends_ascii or find_encoding("utf-7").encode("+") == b"+"


def test_escapes_are_characters_of_the_encoding() -> None:
    gbk = find_encoding("gbk")
    assert unescape(r"温\u6e29\xff\n", encode=gbk.encode) == b"\xce\xc2\xce\xc2\xff\n"
    assert unescape(r"a\n\x00", encode=find_encoding("utf-16-le").encode) == b"a\0\n\0\0"
    with pytest.raises(TextError, match="does not exist in gbk"):
        unescape(r"\U0001f600", encode=gbk.encode)


def test_what_is_shown_steers_no_terminal() -> None:
    assert find_encoding("gbk").show(b"\xce\xc2\x1b[31m\xff\n", keep="\n") == "温\\e[31m\\xff\n"
    assert find_encoding("utf-16-le").show("a\u202eb".encode("utf-16-le")) == "a\\u202eb"
    assert find_encoding("utf-7").show(b"+AAAAGw-") == "\\0\\e"


@given(st.binary(max_size=200))
def test_utf8_is_what_it_always_was(data: bytes) -> None:
    assert UTF8.show(data) == show_bytes(data)


@given(st.binary(max_size=60))
@pytest.mark.parametrize("name", sorted(module.name for module in pkgutil.iter_modules(encodings.__path__)))
def test_no_bytes_raise_in_any_encoding(name: str, data: bytes) -> None:
    try:
        encoding = find_encoding(name)
    except TextError:
        return
    shown = encoding.show(data)
    assert "\x1b" not in shown
    assert "\n" not in shown
