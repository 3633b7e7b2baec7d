"""Making certificates: for a hub of one's own, for tests, for a few devices that know each other."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jackfield import _engine

DAY = 86400.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class MadeCertificate:
    """A certificate with its private key."""

    certificate: str
    """The certificate as PEM."""
    key: str
    """Its private key as PEM (PKCS #8, without a passphrase)."""
    fingerprint: str
    """SHA-256 of the certificate, as ``pin=`` takes it."""

    def save(self, cert: str | os.PathLike[str], key: str | os.PathLike[str]) -> None:
        """Write both files, the key readable for its owner alone; files of these names are replaced.

        Raises OSError.
        """
        _write(Path(key), self.key, 0o600)
        _write(Path(cert), self.certificate, 0o644)


def make_certificate(
    names: Iterable[str],
    *,
    subject: str | None = None,
    seconds: float = 825 * DAY,
    start: float | None = None,
    authority: bool = False,
    signer: MadeCertificate | None = None,
) -> MadeCertificate:
    """Make a certificate for host names and IP addresses, with a new key (ECDSA on P-256).

    It is valid from ``start`` (seconds since 1970; an hour ago, since clocks differ) for ``seconds``. It
    signs itself, or ``signer`` signs it, which was made with ``authority=True``. ``subject`` is its common
    name, the first of ``names`` unless said otherwise. Raises ``ValueError`` for a name that no certificate
    can have.
    """
    listed = list(names)
    begin = time.time() - 3600 if start is None else start
    made = _engine.make_certificate(
        listed,
        subject=subject or (listed[0] if listed else "jackfield"),
        not_before=int(begin),
        not_after=int(begin + seconds),
        authority=authority,
        signer=None if signer is None else (signer.certificate, signer.key),
        serial=os.urandom(16),
    )
    return MadeCertificate(*made)


def _write(path: Path, text: str, mode: int) -> None:
    """Whole or not at all, and never readable for others in between."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
