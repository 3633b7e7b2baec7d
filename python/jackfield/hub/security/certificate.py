"""The hub's own certificate: made at the first start with a tls:// listener that names none; and renewing.

Owns two files beside the state, `hub.cert.pem` and `hub.key.pem` (0600). Clients know it by its fingerprint
(`pin=`), which is of the whole certificate: so it is made for as long as a hub may live, and made anew only
when the two files are removed. Then pins change, and what was given to clients has to be given again.
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jackfield

from .access import SECURE

if TYPE_CHECKING:
    from ..plan import ListenerPlan
    from ..server import Hub

DAY: Final = 86_400.0
LASTS: Final = 20 * 365 * DAY  # seconds


@dataclass(frozen=True, slots=True)
class Files:
    """Where a hub's own certificate and its key are."""

    cert: Path
    key: Path

    @classmethod
    def beside(cls, state: Path) -> Files:
        """Those of the hub with that state."""
        return cls(state.with_suffix(".cert.pem"), state.with_suffix(".key.pem"))


def with_certificate(plans: Sequence[ListenerPlan], files: Files | None) -> list[ListenerPlan]:
    """The plans, each one over TLS with a certificate. Raises ValueError where there is none to be had."""
    return [_with_certificate(plan, files) for plan in plans]


def _with_certificate(plan: ListenerPlan, files: Files | None) -> ListenerPlan:
    if plan.address.scheme not in SECURE or plan.address.option("cert") is not None:
        return plan
    if files is None:
        where = plan.address.without_options()
        raise ValueError(
            f"{where} needs a certificate, and a hub without state keeps none: write cert=, key="
        )
    return replace(plan, address=plan.address.with_options(cert=files.cert, key=files.key))


def prepare(plans: Sequence[ListenerPlan], files: Files | None) -> str:
    """Have the hub's own certificate there, if a listener wants it; its fingerprint, empty if none does.

    Raises OSError.
    """
    if files is None or not any(plan.address.option("cert") == str(files.cert) for plan in plans):
        return ""
    return ensure(files)


def ensure(files: Files) -> str:
    """Have the hub's own certificate there; its fingerprint. Raises OSError."""
    if not (files.cert.is_file() and files.key.is_file()):
        files.cert.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = dict.fromkeys(("localhost", "127.0.0.1", "::1", _own_name()))
        made = jackfield.make_certificate(list(names), subject="Jackfield hub", seconds=LASTS)
        made.save(files.cert, files.key)
    os.chmod(files.key, 0o600)
    return fingerprint(files.cert)


def fingerprint(cert: Path) -> str:
    """What clients know a certificate by, as `pin=` takes it."""
    return "sha256:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(cert.read_text("ascii"))).hexdigest()


def pin_of(plan: ListenerPlan) -> str:
    """The fingerprint of the certificate that a listener has; empty without one that can be read."""
    cert = plan.address.option("cert")
    try:
        return "" if cert is None else fingerprint(Path(cert))
    except (OSError, ValueError):
        return ""


def _own_name() -> str:
    name = socket.gethostname()
    return name if name.isascii() and name.replace("-", "").replace(".", "").isalnum() else "localhost"


def renew_certificates(hub: Hub) -> bool:
    """Read the certificates of a hub's TLS listeners anew; whether any of these has clients, who all stay."""
    clients = 0
    for listener, _ in hub.listeners:
        if listener.protocol != "tls":
            continue
        try:
            listener.reload_certificates()
        except jackfield.JackfieldError as problem:
            hub.log("certificates_not_reloaded", listener=str(listener.address), problem=str(problem))
        else:
            hub.log("certificates_reloaded", listener=str(listener.address))
        clients += listener.statistics().clients
    return clients > 0
