"""How a person joins what the hub listens on: the commands, and what the hub prints at its start. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from jackfield import Address

from .plan import ListenerPlan
from .security.access import CERTIFICATE, PLAIN, TOKEN, is_local


def how_to_join(
    bound: Address,
    framing: str,
    ending: str,
    program: str = "jackfield",
    *,
    access: str = PLAIN,
    native: str = "off",
    pin: str = "",
    control_option: str = "",
) -> str:
    """The command that joins a listener from this machine: `nc` where it can, else socat, else jackfield.

    Where a token is asked for it comes with an invitation that is made for it. `native` is as in
    `ListenerPlan`, `pin` the fingerprint of the listener's certificate.
    """
    if access == TOKEN:
        named = shlex.quote(str(bound.without_options()) if bound.port is None else str(bound.port))
        return f'{program} join "$({program} invite --listener {named}{control_option})"'
    if native == "only":
        joined = _reachable(bound).without_options()
        if bound.scheme == "tls" and pin:
            joined = joined.with_options(pin=pin)
        if access == CERTIFICATE:
            joined = joined.with_options(cert="FILE", key="FILE")
        return f"{program} {shlex.join(['join', str(joined)])}"
    if framing not in ("none", "line", "line:crlf"):
        joined = bound.without_options().with_options(framing=framing)
        return f"{program} {shlex.join(['connect', str(_reachable(joined))])}"
    crlf = ["-C"] if framing == "line:crlf" or ending == "crlf" else []
    match bound.scheme:
        case "tcp":
            return shlex.join(["nc", *crlf, *_host_port(bound)])
        case "tls":
            shown = ["-cert", "FILE", "-key", "FILE"] if access == CERTIFICATE else []
            return shlex.join(
                ["openssl", "s_client", "-quiet", "-connect", _reachable(bound).endpoint, *shown]
            )
        case "udp":
            return shlex.join(["nc", "-u", *crlf, *_host_port(bound)])
        case "unix" if bound.is_abstract:
            return shlex.join(["socat", "-", f"ABSTRACT-CONNECT:{_abstract(bound)}"])
        case "unix":
            return shlex.join(["nc", "-U", *crlf, bound.path or ""])
        case "unix+dgram" if bound.is_abstract:
            return shlex.join(
                ["socat", "-", f"ABSTRACT-CLIENT:{_abstract(bound)},type=2,bind=jackfield-$$"]
            ).replace("'", '"')
        case "unix+dgram":
            return shlex.join(["nc", "-uU", *crlf, bound.path or ""])
        case _:
            kind = (
                f"ABSTRACT-CONNECT:{_abstract(bound)}" if bound.is_abstract else f"UNIX-CONNECT:{bound.path}"
            )
            return shlex.join(["socat", "-", f"{kind},type=5"])


def _abstract(bound: Address) -> str:
    return (bound.path or "").removeprefix("@")


def _reachable(bound: Address) -> Address:
    if bound.port is not None and bound.host in (None, "0.0.0.0", "::"):
        return (
            type(bound).parse(f"{bound.scheme}://127.0.0.1:{bound.port}").with_options(**dict(bound.options))
        )
    return bound


def _host_port(bound: Address) -> Sequence[str]:
    reachable = _reachable(bound)
    return [reachable.host or "127.0.0.1", str(reachable.port)]


def banner(
    bound: Sequence[tuple[Address, ListenerPlan]],
    *,
    control_option: str,
    program: str = "jackfield",
    colour: bool = False,
    pins: Mapping[Address, str] | None = None,
    operators: Sequence[Address] = (),
) -> list[str]:
    """What the hub prints at its start: where it listens, how to join, how to pick a client.

    `program` is how a shell starts this command line; `pins` has the fingerprints of the certificates of
    planned addresses; `operators` come to those.
    """

    def bold(text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if colour else text

    shown = [(str(address.without_options()), plan) for address, plan in bound]
    theirs = [str(address.without_options()) for address in operators]
    wide = max(map(len, (*(text for text, _ in shown), *theirs)), default=0)
    lines = ["Listening; join from another terminal:"] if shown else []
    for (text, plan), (address, _) in zip(shown, bound, strict=True):
        joining = how_to_join(
            address,
            plan.framing,
            plan.ending,
            program,
            access=plan.access.mode,
            native=plan.native,
            pin=(pins or {}).get(plan.address, ""),
            control_option=control_option,
        )
        lines.append(f"  {text:<{wide}}   {bold(joining)}")
    exposed = [plan.access.allow for address, plan in bound if plan.access.is_open and not is_local(address)]
    if exposed:
        who = "whoever reaches it" if None in exposed else "whoever is in its allow="
        lines.append(f"  (an address above is reachable from other machines, and {who} can join)")
    if theirs:
        lines.append("Operators elsewhere come with an invitation:")
    for text, address in zip(theirs, operators, strict=True):
        named = text if address.port is None else address.port
        inviting = f"{program} invite --role operator --listener {named}{control_option}"
        lines.append(f"  {text:<{wide}}   " + bold(f'{program} clients --hub "$({inviting})"'))
    lines.append("See who is there, pick one by its id or name, talk to it:")
    lines.append("  " + bold(f"{program} clients{control_option}"))
    lines.append("  " + bold(f"{program} talk 1{control_option}"))
    lines.append("Ctrl-C ends the hub.")
    return lines
