"""The first words of a native client and the hub's answer: read, checked, admitted or refused.

Owns what may stand in a HELLO, which version both speak, who a client is (`Who`), and the keys of sessions:
the hub keeps their SHA-256 and compares it in constant time. Pure: keys and times come in.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from jackfield.portable import from_json

from ..identity import PROVEN
from ..roster import NameRefused, check_name, means_host
from ..security.gate import Admitted
from ..security.roles import MEMBER

VERSIONS: Final = (1,)
PATIENCE: Final = 10.0  # seconds from the connection to a whole HELLO
MOST_SERVICES: Final = 32
LONGEST_WORD: Final = 64  # characters of an instance, of a service, of a session's id
LONGEST_HELLO: Final = 32 * 1024  # bytes; it is read before anyone is known, and counted by nobody
LONGEST_AGENT: Final = 120
LONGEST_KEY: Final = 128  # characters of a session's key, of a token
SAID: Final = "said:"  # what begins an identity that a client merely claims, and
TOKEN: Final = "token:"  # that of a token without a name; see `identity.PROVEN` as well


class Refused(Exception):
    """The hub says no: `code` is one of the protocol's; the connection ends, unless a request asked."""

    def __init__(self, code: str, message: str, hint: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.facts = facts  # what else the client is told

    def body(self) -> dict[str, Any]:
        """As the client is told it."""
        hint = {"hint": self.hint} if self.hint else {}
        return {"code": self.code, "message": self.message, **hint, **self.facts}


@dataclass(frozen=True, slots=True)
class Earlier:
    """The session that a client wants to go on with: so many of the hub's frames it had `received`."""

    id: str
    key: str
    received: int


@dataclass(frozen=True, slots=True)
class Hello:
    """What a client says of itself; `body` is all of it, as it came."""

    versions: Sequence[int]
    name: str = ""
    token: str = ""
    instance: str = ""
    agent: str = ""
    services: tuple[str, ...] = ()
    session: Earlier | None = None
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Who:
    """Who a client is. An `identity` that was `proven` may have any number of sessions.

    `name` is what it wants to be called, where that does not follow from the identity.
    """

    identity: str = ""
    name: str = ""
    role: str = MEMBER
    token: str = ""
    proven: bool = False

    @classmethod
    def of(cls, admitted: Admitted) -> Who:
        """A name that was merely said makes an identity like what plain clients say."""
        if not admitted.identity:
            identity = f"{SAID}{admitted.name}" if admitted.name else ""
            return cls(identity, "", admitted.role, admitted.token)
        kind = "" if admitted.identity.startswith(TOKEN) else PROVEN
        return cls(f"{kind}{admitted.identity}", admitted.name, admitted.role, admitted.token, True)


def read_hello(payload: bytes | memoryview) -> Hello:
    """A client's HELLO. Raises `Refused`, and `ProtocolError` where it is no JSON."""
    if len(payload) > LONGEST_HELLO:
        raise Refused("too_big", f"a hello of {len(payload)} bytes; {LONGEST_HELLO} at most")
    body = from_json(bytes(payload))
    if body.get("type") != "hello":
        raise Refused("unknown_type", f"the first message is {_shown(body.get('type'))}, and must be a hello")
    versions = body.get("versions")
    if not isinstance(versions, list) or not all(type(each) is int for each in versions[:64]):
        raise Refused("bad_json", "a hello needs 'versions', a list of numbers")
    name = _text(body, "name", LONGEST_WORD)
    if name:
        _check_name(name)
    services = body.get("services", [])
    if not isinstance(services, list) or len(services) > MOST_SERVICES:
        raise Refused("bad_json", f"'services' must be a list of at most {MOST_SERVICES} texts")
    words = tuple(dict.fromkeys(_word(each, "a service", LONGEST_WORD) for each in services))
    instance = _text(body, "instance", LONGEST_WORD)
    if not instance or not instance.isascii() or "/" in instance:
        raise Refused("bad_json", "'instance' must be 1 to 64 characters of ASCII without /")
    return Hello(
        versions[:64],
        name,
        _text(body, "token", LONGEST_KEY),
        instance,
        _text(body, "agent", LONGEST_AGENT),
        words,
        _earlier(body.get("session")),
        body,
    )


def _earlier(value: Any) -> Earlier | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Refused("bad_session", "'session' must be an object")
    received = value.get("received")
    if type(received) is not int or not 0 <= received < 2**63:
        raise Refused("bad_session", "'session' needs 'received', a number of frames")
    return Earlier(_text(value, "id", LONGEST_WORD), _text(value, "key", LONGEST_KEY), received)


def _text(body: Mapping[str, Any], name: str, longest: int) -> str:
    value = body.get(name)
    return "" if value is None else _word(value, f"'{name}'", longest)


def _word(value: Any, what: str, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise Refused("bad_json", f"{what} must be a text of at most {longest} printable characters")
    return value


def _check_name(name: str) -> None:
    """A client must not get by its own word what is meant for a host, for an id or for all."""
    try:
        check_name(name)
    except NameRefused as problem:
        raise Refused("bad_json", str(problem), "choose another name") from None
    if means_host(name):
        raise Refused("bad_json", f"{name!r} means a host as a target", "choose another name")


def choose_version(theirs: Sequence[int], ours: Sequence[int] = VERSIONS) -> int:
    """The highest version that both speak. Raises `Refused`."""
    both = set(theirs) & set(ours)
    if not both:
        said = ", ".join(map(str, theirs[:8])) or "none"
        hint = f"this hub speaks {', '.join(map(str, ours))}"
        raise Refused("unsupported_version", f"the client speaks versions {said}", hint, versions=list(ours))
    return max(both)


def key_digest(key: str) -> bytes:
    """What the hub keeps of a session's key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def key_matches(key: str, digest: bytes) -> bool:
    """Whether that is the key, found in a time that says nothing of it."""
    return hmac.compare_digest(key_digest(key), digest)


def _shown(value: Any) -> str:
    return repr(value)[:40] if isinstance(value, str) else "no text"
