"""Where to connect, and with what: an address, or an invitation, which is one with a token. Pure.

tls://hub.example:7000?pin=sha256:HEX&invitation=jf_...
"""

from __future__ import annotations

from dataclasses import dataclass

from jackfield import Address, InvalidAddress, portable

STREAMS = {"tcp", "tls", "unix"}
PACKETS = {"unix+seqpacket"}
WEB = {"ws", "wss"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hub is, and what it wants to see."""

    address: Address
    """Without the token."""
    token: str | None = None

    @property
    def is_stream(self) -> bool:
        """Whether messages need a length before them."""
        return self.address.scheme in STREAMS

    @property
    def key(self) -> str:
        """What credentials for it are kept under."""
        return f"{self.address.scheme}://{self.address.endpoint}"


def read_place(text: Address | str) -> Place:
    """Read an address or an invitation. Raises ``InvalidAddress``."""
    address = Address.parse(text) if isinstance(text, str) else text
    if address.scheme not in STREAMS | PACKETS | WEB:
        known = ", ".join(sorted(STREAMS | PACKETS | WEB))
        raise InvalidAddress(
            str(address), 0, "no hub can be joined over this transport", f"use one of {known}"
        )
    token = address.option("invitation") or address.option("token")
    return Place(address.with_options(invitation=None, token=None, framing=None), token)


def check_secrecy(place: Place) -> None:
    """Raise ``InvalidAddress`` where everyone on the way could read a token."""
    if portable.is_readable(place.address.scheme, place.address.host):
        raise InvalidAddress(
            place.key,
            0,
            f"it {portable.READABLE}",
            "write tls://, or say that the token may be read: insecure_token, --insecure-token",
        )
