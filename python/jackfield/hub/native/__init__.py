"""Native clients, the hub's side: handshake, sessions, presence, streams, messages that wait."""

from .part import Follower, Native
from .session import NativeSession

__all__ = ["Follower", "Native", "NativeSession"]
