"""What people search for: words, the language of queries, snippets."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.hub.rooms.search_words import indexed_text, read_query, snippet, text_of, words_of
from jackfield.hub.rooms.sqlite_schema import MIGRATIONS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Pump, broken!", ["the", "pump", "broken"]),
        ("a_b-c.d", ["a", "b", "c", "d"]),
        ("Tür TÜR tu\u0308r Straße", ["tur", "tur", "tur", "strasse"]),
        ("水泵ok坏", ["水", "泵", "ok", "坏"]),
        ("한국 カナ", ["한", "국", "カ", "ナ"]),
        ("\x1b[31m x2", ["31m", "x2"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("query", "fts5"),
    [
        ("Pump broken", '"pump" AND "broken"'),
        ('"water pump"', '"water pump"'),
        ("pump*", '"pump" *'),
        ('pump -test -"a b"', '("pump") NOT ("test" OR "a b")'),
        ("a.b*", '"a b" *'),
        ("NEAR( OR AND body:x", '"near" AND "or" AND "and" AND "body x"'),
        ('"open', '"open"'),
        ("- * ^", ""),
    ],
)
def test_queries(query: str, fts5: str) -> None:
    assert read_query(query).fts5() == fts5


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("the pump is broken", "pump", "the [pump] is broken"),
        ("one\ntwo\t three\x1b[0m", "three", "one two [three] [0m"),
        ("Tür und Tor", "tur", "[Tür] und Tor"),
        ("主水泵坏了", "水泵", "主[水泵]坏了"),
        ("a b a b a", '"a b"', "[a b] [a b] a"),
        ("nothing", "x", "nothing"),
        ("x " * 100 + "pump" + " y" * 100, "pump", "…" + "x " * 20 + "[pump]" + " y" * 38 + "…"),
    ],
)
def test_snippets(text: str, query: str, expected: str) -> None:
    piece, marks = snippet(text, read_query(query))
    for start, end in reversed(marks):
        piece = f"{piece[:start]}[{piece[start:end]}]{piece[end:]}"
    assert piece == expected


def test_what_is_text() -> None:
    assert text_of("Tür".encode()) == "Tür"
    assert text_of(b"a\0b") is None
    assert text_of(b"\xff") is None


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=8), st.text(max_size=20))
def test_fts5_finds_what_the_query_means(texts: list[str], query: str) -> None:
    texts.append(query)
    wanted = read_query(query)
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(MIGRATIONS[0][-1])
        rows = [(at, indexed_text(text)) for at, text in enumerate(texts)]
        connection.executemany("INSERT INTO words (rowid, body) VALUES (?, ?)", rows)
        if wanted.wanted:
            found = connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (wanted.fts5(),))
            assert {row for (row,) in found} == {at for at, text in enumerate(texts) if wanted.matches(text)}
        for text in texts:
            piece, marks = snippet(text, wanted)
            assert len(piece) <= 122
            assert all(0 <= start < end <= len(piece) for start, end in marks)
    finally:
        connection.close()
