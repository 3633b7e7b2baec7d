"""The console over TLS: whether it is, by which certificate, and the host names that this is for.

Beyond this machine it always is. The certificate is the one that the console's address names (`cert=`,
`key=`), else the hub's own, which clients know by its fingerprint.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from jackfield import Address

from ..diagnosis.certificate import read_certificate
from ..hub.protocol import FAILED, REFUSED, RequestError
from ..hub.security.certificate import Files, ensure
from .guard import is_loopback


def wants_tls(address: Address) -> bool:
    """Whether a console at that address is served over TLS."""
    return address.scheme == "tls" or not is_loopback(address.host or "0.0.0.0")


def files_for(address: Address, state: Path | None) -> Files:
    """Where its certificate is; the hub's own is made where there is none. Raises `RequestError`."""
    cert, key = address.option("cert"), address.option("key")
    if cert is not None:
        return Files(Path(cert), Path(key or cert))
    if state is None:
        raise RequestError(
            REFUSED,
            f"{address.without_options()} needs a certificate, and a hub without state keeps none",
            hint="write tls://HOST:PORT,cert=FILE,key=FILE, or serve the web console on 127.0.0.1",
        )
    files = Files.beside(state)
    try:
        ensure(files)
    except OSError as problem:
        raise RequestError(FAILED, f"cannot make the hub's certificate {files.cert}: {problem}") from problem
    return files


def context_of(files: Files) -> tuple[ssl.SSLContext, tuple[str, ...]]:
    """What connections are opened with, and the names in the certificate. Raises `RequestError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.cert, files.key)
        begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
        first = begin + files.cert.read_text("ascii", "replace").partition(begin)[2].partition(end)[0] + end
        names = read_certificate(ssl.PEM_cert_to_DER_cert(first)).names
    except (OSError, ValueError) as problem:  # an SSLError is an OSError
        what = f"cannot serve the web console with the certificate {files.cert}: {problem}"
        hint = "cert= and key= are PEM files that belong together"
        raise RequestError(FAILED, what, hint=hint) from problem
    return context, tuple(name for name in names if "*" not in name)
