"""`jackfield token`, `invite` and `audit` as commands: their options and their help. See `tokens.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .groups import listing
from .parameters import Control, Follow, Json, Last, chosen_control

Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Whom it is for: the name that it gives.")
]
Role = Annotated[
    str, typer.Option("--role", metavar="ROLE", help="What it may do: member, operator or admin.")
]
At = Annotated[
    list[str] | None,
    typer.Option(
        "--listener", metavar="ADDRESS", help="Good there alone: an address of `status`, or its port."
    ),
]

token = listing(
    "token",
    """Give and take the right to come to the hub. Without a command: list.

\b
Examples:
  jackfield token create --name ann --role operator --expires 90d
  jackfield token
  jackfield token revoke ann
""",
)


@token.command()
def create(
    context: typer.Context,
    name: Name = None,
    role: Role = "member",
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="Good for so long: 90d, 12h (for ever).")
    ] = None,
    listener: At = None,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Make a token, which is printed once: the hub keeps a hash of it alone.

    \b
      member     takes part as a native client
      operator   works with clients: talk, send, kick, rename ...
      admin      everything: scripts, dial, reload, stop, tokens

    \b
    Examples:
      jackfield token create --name ann --role operator --expires 90d
      JACKFIELD_TOKEN=$(jackfield token create --role operator) \\
        jackfield --hub 'tls://hub:7443?pin=sha256:...' clients      (the pin is in `status`)
    """
    from .tokens import create as command

    command(
        name=name, role=role, expires=expires, listeners=listener or [], as_json=as_json,
        control=chosen_control(context, control),
    )  # fmt: skip


@token.command("ls")
def list_(context: typer.Context, as_json: Json = False, control: Control = None) -> None:
    """List tokens and invitations: whose, what they may do, whether they are good.

    \b
    Example:
      jackfield token ls
    """
    from .tokens import list_tokens as command

    command(as_json=as_json, control=chosen_control(context, control))


@token.command(no_args_is_help=True)
def revoke(
    context: typer.Context,
    token: Annotated[
        str,
        typer.Argument(
            metavar="TOKEN", help="An id of `token ls`, or a name: all of it.", show_default=False
        ),
    ],
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Make a token good for nothing; who came with it is disconnected.

    \b
    Examples:
      jackfield token revoke 3fa94c01
      jackfield token revoke ann
    """
    from .tokens import revoke as command

    command(token, as_json=as_json, control=chosen_control(context, control))


def invite(
    context: typer.Context,
    name: Name = None,
    role: Role = "member",
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="Good for so long, unless it is used before.")
    ] = "24h",
    listener: At = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host", metavar="HOST", help="The name or address that the hub is reached by from there."
        ),
    ] = None,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Invite one client: prints what it joins with, once.

    It has everything in one text: where the hub is, its certificate's pin, and an invitation, in
    whose place whoever comes first gets a token of its own. A member is sent to a listener for
    clients, one that asks for a token and has TLS before others; an operator or admin to one
    with protocol=control. --listener and --host choose another one, --json has all.

    \b
    Examples:
      jackfield invite
      jackfield join "$(jackfield invite --name camera7)"
      jackfield --hub "$(jackfield invite --role operator --expires 2h)" clients
      jackfield invite --listener 7445 --host hub.example.org
    """
    from .tokens import invite as command

    command(
        name=name, role=role, expires=expires, listeners=listener or [], host=host, as_json=as_json,
        control=chosen_control(context, control),
    )  # fmt: skip


def audit(
    context: typer.Context,
    follow: Follow = False,
    lines: Last = 20,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Show who did what, and who was let in or refused.

    The hub tells its last 1000; the file that `status` names has all of it.

    \b
    Examples:
      jackfield audit -n 100
      jackfield audit -f --json
    """
    from .tokens import audit as command

    command(follow=follow, last=lines, as_json=as_json, control=chosen_control(context, control))
