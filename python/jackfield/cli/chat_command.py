"""`jackfield chat` as a command: its options and its help. What it does is in `chat.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import Control, InsecureToken, Join, JoinToken, chosen_control


def chat(
    context: typer.Context,
    room: Annotated[str, typer.Argument(metavar="ROOM", help="The room's name.", show_default=False)],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What to be called; your user name if free.")
    ] = None,
    last: Annotated[
        int | None,
        typer.Option("--last", "-n", min=0, max=200, metavar="N", help="Show the last N messages first."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="With a pipe as input: go on after its end, until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each event as a JSON object on a line.")
    ] = False,
    create: Annotated[
        bool, typer.Option("--create", help="Make the room if there is none; it is kept on disk.")
    ] = False,
    control: Control = None,
    address: Join = None,
    token: JoinToken = None,
    insecure_token: InsecureToken = False,
) -> None:
    """Chat in a room of the hub.

    Each line is said to everyone. Tab completes names and commands, the arrows bring back what you
    said; a mark stands before what is new since you were here last. Ctrl-D leaves.
    /msg NAME TEXT, /who, /topic, /history, /search and more: see /help.

    An operator of the hub chats by its control socket. Everyone else comes with --join and the hub's
    address or an invitation, as a native client that may take part and nothing more.

    With a pipe as input each line is said, and what others say is printed; it ends once everything
    that was said is on the hub's disk.

    \b
    Examples:
      jackfield chat lobby
      jackfield chat ops --name desk
      jackfield chat ops --create
      echo 'backup done' | jackfield chat ops
      jackfield chat ops --follow < /dev/null | grep alarm
      jackfield chat lobby --join tcp://127.0.0.1:7000 --name ann
      jackfield chat ops --join 'tls://hub.example:7443?pin=sha256:5f...&invitation=jf_...'
    """
    from .chat import chat as command

    command(
        room, name=name, last=last, follow=follow, as_json=as_json, address=address, token=token,
        insecure_token=insecure_token, create=create, control=chosen_control(context, control),
    )  # fmt: skip
