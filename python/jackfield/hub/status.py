"""The hub in figures, as `jackfield status` shows them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .forgetting import Forgetting
from .handshakes import Handshakes
from .health import Health, descriptors, resident_bytes
from .rooms.rooms import Rooms
from .roster import timestamp, version
from .security.access import networks_text
from .security.certificate import pin_of
from .web_door import WebDoor

if TYPE_CHECKING:
    from .server import Hub


def status(hub: Hub) -> dict[str, Any]:
    """What operators are told of the hub."""
    state, limits = hub.state, hub.settings.limits
    used, most = descriptors()
    health, handshakes = hub.part(Health), hub.part(Handshakes)
    rooms, web = hub.part(Rooms), hub.part(WebDoor)
    forgetting = hub.part(Forgetting)
    if handshakes is not None:
        handshakes.look()
    return {
        "pid": os.getpid(),
        "version": version(),
        "since": timestamp(hub.started),
        "clients": len(hub),
        "joined": hub.joined,
        "refused": hub.refused + hub.turned_away(),
        "handshakes_failed": 0 if handshakes is None else handshakes.failed(),
        "handshake_causes": {} if handshakes is None else dict(handshakes.causes),
        "max_clients": hub.admission.max_clients,
        "queue_limit": limits.queue,
        "message_limit": limits.max_message,
        "state": str(state.path) if state.path is not None else None,
        "state_problem": state.problem or hub.store.problem,
        "config": str(hub.settings.config) if hub.settings.config is not None else None,
        "memory": resident_bytes(),
        "descriptors": used,
        "descriptors_limit": most,
        "lag": round(health.lag, 4) if health is not None else None,
        "rates": health.rates if health is not None else {},
        "dropped": hub.group.dropped_messages,
        "parts": [type(part).__name__.lower() for part in hub.parts.attached()],
        "security": hub.security.figures(),
        "forget_after": hub.settings.forget_after,
        "forgotten": 0 if forgetting is None else forgetting.forgotten,
        "web_handshakes": {} if web is None else web.figures(),
        "rooms": {} if rooms is None else rooms.keeping.figures(rooms),
        "web": web.url if web is not None else "",
        "operators": [
            {
                "address": str(listener.address.without_options()),
                "access": plan.access.mode,
                "pin": pin_of(plan),
                "allow": networks_text(plan.access.allow),
                "operators": listener.statistics().clients,
            }
            for listener, plan in hub.security.listeners
        ],
        "listeners": [
            {
                "address": str(listener.address.without_options()),
                "framing": plan.framing,
                "ending": plan.ending,
                "access": plan.access.mode,
                "native": plan.native,
                "pin": pin_of(plan),
                "allow": networks_text(plan.access.allow),
                "clients": listener.statistics().clients,
                "refused": listener.statistics().refused,
                "handshakes_failed": listener.statistics().handshakes_failed,
                "dropped_by_kernel": listener.statistics().dropped_by_kernel,
            }
            for listener, plan in hub.listeners
        ],
    }
