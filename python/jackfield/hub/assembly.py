"""What a hub is made of: the parts that stand beside its clients, in the order in which they see things."""

from __future__ import annotations

from .autoreply import Autoreply
from .dialling import Dialling
from .forgetting import Forgetting
from .handshakes import Handshakes
from .health import Health
from .log_directory import LogDirectory
from .metrics_server import Metrics
from .native import Native
from .part import Part
from .rooms.rooms import Rooms
from .rooms.storage import Storage
from .scripts import Scripts
from .security.remote import RemoteOperators
from .server import Settings
from .snippets import Snippets


def parts_of(settings: Settings) -> list[Part]:
    """The parts of a hub with these settings, to be given to `Hub`."""
    parts: list[Part] = [Snippets(), Autoreply(), Scripts(list(settings.scripts))]
    if settings.log_directory is not None:
        parts.append(LogDirectory(settings.log_directory, settings.log_keep))
    if settings.forget_after is not None:
        parts.append(Forgetting(settings.forget_after))
    if settings.metrics is not None:
        parts.append(Metrics(settings.metrics))
    if settings.operators:
        parts.append(RemoteOperators(settings.operators))
    return [Health(), Handshakes(), Storage(), Native(), *parts, Rooms(), Dialling(settings.dials)]
