"""Where keys and values stand in a TOML text."""

from __future__ import annotations

import tomllib

from jackfield.cli.toml_places import places

TEXT = '''# first = 1
listen = ["a", # "not = this"
  'b',  "c = 3",
]
"quoted key" = 5
  indented   =   "x"
long = """
inner = 1
"quotes" here
"""
raw = \'\'\'
also = 2
\'\'\'
inline = { x = 1, y = "2" }
dotted.name = 7
last = -3.5

[table]
inside = 1
[other."a b"]
'''


def test_keys_and_values_are_found() -> None:
    tomllib.loads(TEXT)
    found = {key: (place.line, place.column, place.values) for key, place in places(TEXT).items()}
    assert found == {
        "listen": (2, 1, [(2, 11), (3, 3), (3, 9)]),
        "quoted key": (5, 1, [(5, 16)]),
        "indented": (6, 3, [(6, 18)]),
        "long": (7, 1, [(7, 8)]),
        "raw": (11, 1, [(11, 7)]),
        "inline": (14, 1, [(14, 12), (14, 16), (14, 19), (14, 23)]),
        "dotted": (15, 1, [(15, 15)]),
        "last": (16, 1, [(16, 8)]),
        "table": (18, 2, []),
        "other": (20, 2, []),
    }


def test_nothing_in_nothing() -> None:
    assert places("") == {}
    assert places("\n# only = this\n") == {}
