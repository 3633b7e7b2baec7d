"""What a full queue does with the next message: chosen by name, documented here, counted in statistics."""

from __future__ import annotations

from enum import StrEnum


class WhenFull(StrEnum):
    """What happens to a message that finds its queue above the high-water mark.

    Every message lost to a policy is counted in ``statistics().dropped_messages``: loss is never silent.
    """

    WAIT = "wait"
    """The sender waits until the queue has fallen to half of the high-water mark (back-pressure)."""

    REJECT = "reject"
    """The send raises ``QueueFull`` and queues nothing."""

    DROP_OLDEST = "drop_oldest"
    """The oldest messages that have not begun to leave make room for the new one."""

    DROP_NEWEST = "drop_newest"
    """The new message is discarded; what is queued stays."""

    DISCONNECT = "disconnect"
    """The channel is aborted: a peer that cannot keep up is worse than none."""
