"""How much a native client may ask of the hub's loop: so many messages a second, dense ones as several.

Pure: bytes in, numbers out. `NativeSession.count` keeps the account, `turns.py` shares out the time.
"""

from __future__ import annotations

import gc
from typing import Any, Final

from jackfield.portable import from_json

BURST: Final = 1000  # usual messages of one client at once, and
RATE: Final = 200.0  # per second after that; beyond it they are refused, and
PATIENCE: Final = 1000  # refusals later the connection ends
LARGE: Final = 4096  # bytes of a message whose values are many to the garbage collector
DENSE: Final = 256  # values of JSON that take as long to read as a usual message takes to be answered


def dense(payload: bytes) -> int:
    """As how many messages more it counts, from its bytes alone.

    64 KiB of `[],[],` take milliseconds to read, and so they are counted before they are read; in a text
    the same signs count, too, and a long one counts as a few.
    """
    return sum(map(payload.count, (b",", b"[", b"{"))) // DENSE


def read(payload: bytes) -> dict[str, Any]:
    """A message's object. Raises `ProtocolError`.

    The garbage collector has its turn before or behind a large one: thousands of new values would have it
    look at everything that the hub has, again and again, and none of them is garbage yet.
    """
    if len(payload) < LARGE or not gc.isenabled():
        return from_json(payload)
    gc.disable()
    try:
        return from_json(payload)
    finally:
        gc.enable()
