"""What TLS connections are opened with: the options of TLS, with their files read, in the engine's form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield import _engine
from jackfield._errors import InvalidOption, NotSupported
from jackfield._options import DEFAULTS, TLS_OPTIONS, Options

if TYPE_CHECKING:
    from jackfield._address import Address

_HINTS = {
    "cert": "jackfield.make_certificate() makes one",
    "key": "give the key that belongs to the certificate, in PEM form and without a passphrase",
    "ca": "give a file of certificates in PEM form",
    "server_name": "write a name such as hub.example",
}


def tls_terms(address: Address, options: Options, *, listening: bool) -> _engine.TlsTerms | None:
    """What ``address`` is opened with; None without TLS.

    The files of ``cert``, ``key`` and ``ca`` are read each time. Raises ``InvalidOption`` naming the file and
    what is wrong with it, ``NotSupported`` for options of TLS without TLS.
    """
    if address.scheme != "tls":
        for name in TLS_OPTIONS:
            if getattr(options, name) != DEFAULTS[name]:
                raise NotSupported(
                    f"{name}= means nothing to {address}: it is for tls:",
                    hint="leave it out",
                    address=address,
                )
        return None
    verify = options.verify
    if listening and options.cert is None:
        raise InvalidOption("cert", None, "a listener needs a certificate", _HINTS["cert"], address=address)
    wrong = "chain" if listening else "optional"
    if verify == wrong:
        whose = "listeners" if wrong == "optional" else "clients"
        raise InvalidOption("verify", verify, f"that is for {whose}", "leave it out", address=address)
    if verify == "optional" and options.ca is None and options.pin is None:
        hint = "name the authorities with ca=, or certificates with pin="
        raise InvalidOption("verify", verify, "there is nothing to verify by", hint, address=address)
    try:
        return _engine.TlsTerms(
            listening=listening,
            cert=_read("cert", options.cert, address),
            key=_read("key", options.key, address),
            ca=_read("ca", options.ca, address),
            pins=[bytes.fromhex(pin.removeprefix("sha256:")) for pin in options.pin or ()],
            verify=verify,
            server_name=options.server_name or address.host or "localhost",
            alpn=list(options.alpn or ()),
            only_tls13=options.tls_min == "1.3",
            handshake_timeout=options.handshake_timeout,
            handshake_rate=options.handshake_rate,
        )
    except ValueError as error:
        if len(error.args) != 2:
            raise
        name, said = error.args
        value = getattr(options, name)
        if name == "key" and value is None:
            value = options.cert
        raise InvalidOption(name, value, said, _HINTS.get(name), address=address) from None


def _read(name: str, path: str | None, address: Address) -> bytes | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        said = f"the file cannot be read: {error.strerror}"
        raise InvalidOption(
            name, path, said, "check the path and its permissions", address=address
        ) from error
