"""The hub in figures, as `jackfield status` shows them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .roster import timestamp, version

if TYPE_CHECKING:
    from .server import Hub


def status(hub: Hub) -> dict[str, Any]:
    """What operators are told of the hub."""
    state, limits = hub.state, hub.settings.limits
    return {
        "pid": os.getpid(),
        "version": version(),
        "since": timestamp(hub.started),
        "clients": len(hub),
        "joined": hub.joined,
        "refused": hub.refused + hub.turned_away(),
        "max_clients": hub.admission.max_clients,
        "queue_limit": limits.queue,
        "message_limit": limits.max_message,
        "state": str(state.path) if state.path is not None else None,
        "state_problem": state.problem,
        "config": str(hub.settings.config) if hub.settings.config is not None else None,
        "listeners": [
            {
                "address": str(listener.address.without_options()),
                "framing": plan.framing,
                "ending": plan.ending,
            }
            for listener, plan in hub.listeners
        ],
    }
