"""The address grammar: text to fields and back, without I/O.

``scheme://body?option=value&...``; tests/vectors/addresses.json settles every doubt. Rules:

- ``format_fields`` prints the one canonical text, and ``parse_fields`` of it gives equal fields;
- ``parse_fields`` raises nothing but ``InvalidAddress``, whose position is that of the fault in the text;
- percent-encoding works everywhere; bytes that are no UTF-8 are kept as surrogate escapes, as in file names;
- a host name is lower case and ASCII (IDNA); IPv6 is in brackets, its zone after ``%25`` (a bare ``%`` is
  understood); ``*`` is no host, an empty host is any address of this machine.
"""

from __future__ import annotations

import re
import unicodedata
from difflib import get_close_matches

from jackfield._address_form import (
    DIGITS,
    HEX_PAIR,
    REPEATABLE,
    SCHEMES,
    WEB_OPTION,
    Body,
    Fields,
    Pairs,
    bad_percent,
    decode,
    fault,
    percent,
    read_number,
)
from jackfield._address_host import read_host, read_host_port, read_interface, read_vsock
from jackfield._error_classes import InvalidAddress

_WEB_PORTS = {"ws": 80, "wss": 443}
_REQUIRED = {"raw": ("protocol", "raw://host?protocol=89"), "exec": ("argv", "exec:?argv=ls&argv=-l")}
_FOREIGN = {
    "ipc": "unix",
    "local": "unix",
    "unix+stream": "unix",
    "unix-stream": "unix",
    "unixgram": "unix+dgram",
    "unix-dgram": "unix+dgram",
    "unixpacket": "unix+seqpacket",
    "unix-seqpacket": "unix+seqpacket",
    "seqpacket": "unix+seqpacket",
    "tcp4": "tcp",
    "tcp6": "tcp",
    "udp4": "udp",
    "udp6": "udp",
    "ssl": "tls",
    "tcps": "tls",
    "tty": "serial",
    "file": "fifo",
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_OPTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_WEB_ENCODED = frozenset('"<>\\^`{}|')
_SOCKET_PATH_MAX = 107
_FILE_PATH_MAX = 4095


# Reading ------------------------------------------------------------------------------------------


def parse_fields(text: str) -> Fields:
    """Read an address. Raises ``InvalidAddress`` and nothing else."""
    _check_characters(text)
    match = _SCHEME.match(text)
    if match is None:
        raise _no_scheme(text)
    scheme = match[1].lower()
    if scheme not in SCHEMES:
        raise _unknown_scheme(text, match[1], match.end())
    body, start = SCHEMES[scheme], match.end()
    question = text.find("?", start)
    end = len(text) if question < 0 else question
    host: str | None = None
    port: int | None = None
    path: str | None = None
    unnamed = start == end and scheme.startswith("unix")
    if body is Body.NOTHING or unnamed:
        start += 2 if text.startswith("//", start) else 0
        if start < end:
            hint = "" if question < 0 else text[question:]
            raise fault(text, start, f"{scheme}: takes options but no name", f"write {scheme}:{hint}")
    else:
        if not text.startswith("//", start):
            raise _no_slashes(text, scheme, start)
        start += 2
        if body is Body.HOST_PORT:
            host, port = read_host_port(text, start, end, scheme)
        elif body is Body.WEB:
            return _read_web(text, start, end, scheme)
        elif body is Body.VSOCK:
            host, port = read_vsock(text, start, end)
        elif body is Body.HOST:
            host = read_host(text, start, end, scheme) if start < end else None
        elif body is Body.INTERFACE:
            host = read_interface(text, start, end) if start < end else None
        elif body is Body.DESCRIPTOR:
            path = _read_descriptor(text, start, end)
        else:
            path = _read_path(text, start, end, scheme, body)
    options = _read_options(text, end, len(text)) if question >= 0 else ()
    if scheme in _REQUIRED and all(name != _REQUIRED[scheme][0] for name, _ in options):
        name, example = _REQUIRED[scheme]
        raise fault(text, len(text), f"{scheme}: needs the option {name}", f"write for example {example}")
    return Fields(scheme, host, port, path, options)


def _read_descriptor(text: str, start: int, end: int) -> str:
    """A number, or a name that the service manager gave (sd_listen_fds_with_names(3))."""
    if text[start : start + 1].isalpha():
        for position in range(start, end):
            if not (text[position].isascii() and (text[position].isalnum() or text[position] in "_-.@")):
                raise fault(
                    text,
                    position,
                    f"{text[position]!r} does not belong into a descriptor's name",
                    "names have letters, digits and _ - . @, such as fd://web.socket",
                )
        return text[start:end]
    return str(read_number(text, start, end, "descriptor", 2**31 - 1, "fd://3"))


def _check_characters(text: str) -> None:
    if not text:
        raise fault(text, 0, "the address is empty", "write for example tcp://127.0.0.1:7000")
    for position, character in enumerate(text):
        if character.isascii() and character.isprintable() and character != " ":
            continue
        if "\udc80" <= character <= "\udcff":
            continue
        if character.isspace() or unicodedata.category(character) in ("Cc", "Cs"):
            what = "a space" if character == " " else f"the character {character!a}"
            outside = position == 0 or not text[position:].strip()
            encoded = "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))
            hint = "remove it" if outside or encoded == "%3F" else f"write {encoded} if it belongs to a name"
            raise fault(text, position, f"{what} cannot stand in an address", hint)


def _no_scheme(text: str) -> InvalidAddress:
    hint = "begin with a scheme, such as tcp://host:7000 or unix:///path"
    if DIGITS.fullmatch(text):
        hint = f"write tcp://:{text} to listen on any address, or tcp://127.0.0.1:{text}"
    elif text[0] in "/@":
        hint = f"write unix://{text}"
    elif ":" in text and "//" not in text:
        hint = f"write tcp://{text}"
    return fault(text, 0, "the scheme is missing", hint)


def _unknown_scheme(text: str, written: str, end: int) -> InvalidAddress:
    scheme, rest = written.lower(), text[end:]
    if not rest.startswith("/") and DIGITS.match(rest):
        return fault(text, 0, "the scheme is missing", f"write tcp://{text}")
    message = f"there is no scheme {written!r}"
    if scheme in ("http", "https"):
        secure = scheme == "https"
        authority = rest.lstrip("/").partition("/")[0] or "host"
        if ":" not in authority:
            authority += ":443" if secure else ":80"
        hint = f"write {'tls' if secure else 'tcp'}://{authority} for the connection below it"
    elif scheme == "inproc":
        hint = "inside one process write pair:"
    elif scheme in _FOREIGN:
        near = _FOREIGN[scheme]
        body = rest.lstrip("/")
        prefix = "/" if SCHEMES[near] in (Body.SOCKET, Body.FILE) and not body.startswith("@") else ""
        hint = f"write {near}://{prefix}{body}"
    elif near_matches := get_close_matches(scheme, SCHEMES, n=1):
        hint = f"did you mean {near_matches[0]}:{rest}"
    else:
        hint = f"the schemes are {', '.join(SCHEMES)}"
    return fault(text, 0, message, hint)


def _no_slashes(text: str, scheme: str, start: int) -> InvalidAddress:
    rest = text[start:].lstrip("/")
    file_like = SCHEMES[scheme] in (Body.SOCKET, Body.FILE, Body.QUEUE)
    prefix = "/" if file_like and not rest.startswith("@") else ""
    if DIGITS.fullmatch(rest) and SCHEMES[scheme] in (Body.HOST_PORT, Body.WEB):
        rest = f":{rest}"
    shown = rest or {Body.HOST_PORT: "host:7000", Body.SOCKET: "path"}.get(SCHEMES[scheme], "...")
    return fault(text, start, f"// is missing after {scheme}:", f"write {scheme}://{prefix}{shown}")


def _read_path(text: str, start: int, end: int, scheme: str, body: Body) -> str:
    path = decode(text, start, end)
    example = f"{scheme}:///name" if body is Body.QUEUE else f"{scheme}:///run/name"
    if not path:
        raise fault(
            text, start, f"the {'name' if body is Body.QUEUE else 'path'} is missing", f"write {example}"
        )
    abstract = body is Body.SOCKET and path.startswith("@")
    if not abstract and not path.startswith("/"):
        shown = text[start:end].removeprefix("./")
        root = "/dev/" if scheme == "serial" else "/"
        hint = f"write {scheme}://{root}{shown}" + (
            f", or {scheme}://@{shown} (no file)" if body is Body.SOCKET else ""
        )
        raise fault(text, start, "the path must be absolute", hint)
    if path == "@":
        raise fault(text, end, "the name after @ is missing", f"write {scheme}://@name")
    if abstract:
        return _limited(text, start, path, _SOCKET_PATH_MAX + 1, "name")
    if "\0" in path:
        at = text.find("%00", start)
        raise fault(text, at, "a path cannot contain the character NUL", "remove %00")
    if path.endswith("/"):
        raise fault(text, end - 1, "the path names a directory", f"write {example}")
    if body is Body.QUEUE and "/" in path[1:]:
        at = text.find("/", start + 1)
        raise fault(text, max(at, start), "a queue name has no second /", f"write {example}")
    largest = {Body.SOCKET: _SOCKET_PATH_MAX, Body.QUEUE: 256}.get(body, _FILE_PATH_MAX)
    return _limited(text, start, path, largest, "name" if body is Body.QUEUE else "path")


def _limited(text: str, start: int, path: str, largest: int, what: str) -> str:
    size = len(path.encode("utf-8", "surrogateescape"))
    if size > largest:
        message = f"the {what} is {size} bytes long, and the kernel takes {largest}"
        raise fault(text, start, message, f"choose a shorter {what}")
    return path


def _read_options(text: str, question: int, end: int) -> Pairs:
    pairs: list[tuple[str, str]] = []
    start = question + 1
    while start <= end:
        ampersand = text.find("&", start, end)
        stop = end if ampersand < 0 else ampersand
        pairs.append(_read_option(text, start, stop, pairs))
        start = stop + 1
    return tuple(pairs)


def _read_option(text: str, start: int, end: int, before: list[tuple[str, str]]) -> tuple[str, str]:
    equals = text.find("=", start, end)
    name_end = end if equals < 0 else equals
    name = decode(text, start, name_end)
    if not name:
        hint = "write name=value, or remove the sign before it"
        raise fault(text, start, "an option name is missing", hint)
    if not _OPTION_NAME.fullmatch(name):
        plain = name.removeprefix(WEB_OPTION)
        if plain != name:
            hint = f"only ws: and wss: options begin with {WEB_OPTION}; write {plain}"
        else:
            hint = "option names have letters, digits and underscores"
        raise fault(text, start, f"{name!a} is not an option name", hint)
    if name not in REPEATABLE and any(name == other for other, _ in before):
        raise fault(text, start, f"the option {name} is given twice", "keep one of them")
    return name, "" if equals < 0 else decode(text, equals + 1, end)


def _read_web(text: str, start: int, end: int, scheme: str) -> Fields:
    hash_sign = text.find("#", start)
    if hash_sign >= 0:
        raise fault(text, hash_sign, "a WebSocket address has no fragment", "remove it, or write %23")
    slash = text.find("/", start, end)
    host_end = end if slash < 0 else slash
    host, port = read_host_port(text, start, host_end, scheme, _WEB_PORTS[scheme])
    path = _web_encoded(text, host_end, end) or "/"
    own: list[str] = []
    pairs: list[tuple[str, str]] = []
    position = end + 1
    while position <= len(text):
        ampersand = text.find("&", position)
        stop = len(text) if ampersand < 0 else ampersand
        if text.startswith(WEB_OPTION, position):
            pairs.append(_read_option(text, position + len(WEB_OPTION), stop, pairs))
        else:
            own.append(_web_encoded(text, position, stop))
        position = stop + 1
    query = "&".join(own)
    return Fields(scheme, host, port, f"{path}?{query}" if query else path, tuple(pairs))


def _web_encoded(text: str, start: int, end: int) -> str:
    """The form that goes into the HTTP request, kept as written wherever that is legal."""
    out = []
    for position in range(start, end):
        character = text[position]
        if character == "%" and not HEX_PAIR.match(text, position, end):
            raise bad_percent(text, position)
        legal = character.isascii() and character not in _WEB_ENCODED
        out.append(character if legal else percent(character))
    return "".join(out)
