"""Native clients, the hub's side: handshake, sessions, presence, streams, messages that wait."""

from .follower import Follower
from .part import Native
from .session import NativeSession

__all__ = ["Follower", "Native", "NativeSession"]
