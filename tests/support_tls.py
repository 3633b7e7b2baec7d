"""Certificates for the tests, made once, and the options that use them."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jackfield


@dataclass(frozen=True)
class Certificates:
    """An authority, and what it has signed for this machine's loopback addresses."""

    directory: Path
    authority: jackfield.MadeCertificate
    server: jackfield.MadeCertificate
    client: jackfield.MadeCertificate

    @property
    def listening(self) -> dict[str, Any]:
        """The options of a listener."""
        return {"cert": f"{self.directory}/server.pem", "key": f"{self.directory}/server.key"}

    @property
    def connecting(self) -> dict[str, Any]:
        """The options of its clients."""
        return {"ca": f"{self.directory}/ca.pem"}

    @property
    def identity(self) -> dict[str, Any]:
        """The options of a client that shows a certificate."""
        return {"cert": f"{self.directory}/client.pem", "key": f"{self.directory}/client.key"}

    def save(self, name: str, made: jackfield.MadeCertificate) -> dict[str, Any]:
        """Write another certificate; gives the options for it."""
        cert, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        made.save(cert, key)
        return {"cert": str(cert), "key": str(key)}


@functools.cache
def certificates() -> Certificates:
    """They live in a directory that goes with the process."""
    home = _home()
    authority = jackfield.make_certificate([], subject="test authority", authority=True)
    server = jackfield.make_certificate(["localhost", "127.0.0.1", "::1"], signer=authority)
    client = jackfield.make_certificate(["client.example"], signer=authority)
    made = Certificates(Path(home.name), authority, server, client)
    made.save("ca", authority)
    made.save("server", server)
    made.save("client", client)
    return made


@functools.cache
def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="jf-tls-", dir="/tmp")
