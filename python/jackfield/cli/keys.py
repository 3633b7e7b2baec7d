"""A terminal whose keys come one by one: the mode of conversations.

The kernel neither edits nor shows what is typed, at any moment until the end: a Ctrl-D that arrives while
it collects lines is no key any more, and an erasing key is lost. Ctrl-C and Ctrl-Z stay signals.
Source: termios(3).
"""

from __future__ import annotations

import contextlib
import termios
from collections.abc import Iterator


def set_mode(fd: int) -> None:
    """Keys one by one on the terminal `fd`. Raises `termios.error` where it is none, or is gone."""
    mode = termios.tcgetattr(fd)
    mode[0] &= ~(termios.ICRNL | termios.INLCR | termios.IXON)
    mode[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSADRAIN, mode)


@contextlib.contextmanager
def one_by_one(fd: int) -> Iterator[None]:
    """Keys one by one within; afterwards the mode is what it was, also where the terminal has gone."""
    before = termios.tcgetattr(fd)
    set_mode(fd)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
