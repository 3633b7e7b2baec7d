"""What can become of a question to one client, as the control protocol and `--json` spell it."""

from __future__ import annotations

from typing import Final

ANSWERED: Final = "answered"
SENT: Final = "sent"  # and no answer was asked for
NO_MATCH: Final = "no_match"  # something else came in time
SILENT: Final = "silent"
GONE: Final = "left"
QUEUE_FULL: Final = "full"
REFUSED: Final = "refused"  # its transport or framing cannot carry the message
WELL: Final = frozenset({ANSWERED, SENT})
