"""What the two ends of a TLS connection agreed on, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says. Its texts are the other end's, and can hold anything."""

    subject: str
    """Whom it is for, as a distinguished name: ``CN=hub.example``."""
    common_name: str
    """The name in its subject; empty without one, and where there are several."""
    issuer: str
    """Who signed it."""
    names: tuple[str, ...]
    """The host names and addresses that it is for."""
    fingerprint: str
    """SHA-256 of all of it: ``sha256:`` and 64 hexadecimal digits, as ``pin=`` takes it."""
    not_before: float
    """Seconds since 1970 from when on it is valid."""
    not_after: float
    """Seconds since 1970 until when it is valid."""


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What both ends agreed on, and who the other one is."""

    version: str
    """``TLSv1.3`` or ``TLSv1.2``."""
    cipher: str
    """The cipher suite, such as ``TLS_AES_256_GCM_SHA384``."""
    alpn: str | None
    """The application protocol; None if none was agreed on."""
    peer: Certificate | None
    """The other end's certificate; None if it has shown none."""
    certificate: bytes | None
    """The same in DER form."""


def facts_of(found: Mapping[str, Any] | None, /) -> TlsFacts | None:
    """The engine's facts as a value."""
    if found is None:
        return None
    peer = found["peer"]
    return TlsFacts(
        version=found["version"],
        cipher=found["cipher"],
        alpn=found["alpn"],
        peer=None if peer is None else certificate_of(peer),
        certificate=found["certificate"],
    )


def certificate_of(found: Mapping[str, Any]) -> Certificate:
    """The engine's facts of a certificate as a value."""
    return Certificate(**{**found, "names": tuple(found["names"])})
