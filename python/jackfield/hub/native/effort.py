"""How much a native client may ask of the hub's loop: so many messages a second, dense ones as several.

Pure: bytes in, numbers out. `NativeSession.count` keeps the account.
"""

from __future__ import annotations

from typing import Final

BURST: Final = 1000  # usual messages of one client at once, and
RATE: Final = 200.0  # per second after that; beyond it they are refused, and
PATIENCE: Final = 1000  # refusals later the connection ends
DENSE: Final = 256  # values of JSON that take as long to read as a usual message takes to be answered


def dense(payload: bytes) -> int:
    """As how many messages more it counts, from its bytes alone.

    64 KiB of `[],[],` take milliseconds to read, and so they are counted before they are read; in a text
    the same signs count, too, and a long one counts as a few.
    """
    return sum(map(payload.count, (b",", b"[", b"{"))) // DENSE
