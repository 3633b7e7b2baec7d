"""How the end of a handler is told, whoever ran it."""

from __future__ import annotations

import logging

from jackfield._errors import ChannelLost, EndOfStream

_log = logging.getLogger("jackfield")


def tell_end(channel: object, error: BaseException) -> None:
    """Log why a handler came to its end before its channel did."""
    if isinstance(error, ChannelLost | EndOfStream):
        # The peer's doing, and every day's business: one line, no traceback.
        _log.info("%s", error)
    else:
        _log.error("the handler of %r raised; that channel was aborted", channel, exc_info=error)
