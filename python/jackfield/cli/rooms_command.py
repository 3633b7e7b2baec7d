"""`jackfield rooms` as commands: their options and their help. What they do is in `rooms.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .groups import listing
from .parameters import Control, Json, chosen_control

rooms = listing(
    "rooms",
    """Rooms in which clients chat: list, make, look after. Without a command: list.

\b
Examples:
  jackfield rooms
  jackfield rooms create ops --topic "night shift"
  jackfield rooms history ops -n 20
  jackfield chat ops
""",
)

Room = Annotated[str, typer.Argument(metavar="ROOM", help="The room's name.", show_default=False)]


@rooms.command("ls")
def list_(context: typer.Context, as_json: Json = False, control: Control = None) -> None:
    """List the rooms: members, messages, topic.

    \b
    Examples:
      jackfield rooms ls
      jackfield rooms ls --json
    """
    from .rooms import list_rooms as command

    command(as_json=as_json, control=chosen_control(context, control))


@rooms.command(no_args_is_help=True)
def create(
    context: typer.Context,
    room: Room,
    topic: Annotated[str, typer.Option("--topic", metavar="TEXT", help="What it is about.")] = "",
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="Keep nothing on disk.")] = False,
    open_: Annotated[
        bool, typer.Option("--open", help="Let plain clients such as nc in, from every listener with room=.")
    ] = False,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Make a room. It stays when everyone has left it.

    \b
    Examples:
      jackfield rooms create ops --topic 'night shift'
      jackfield rooms create game --ephemeral --open
    """
    from .rooms import create_room as command

    command(
        room, topic=topic, ephemeral=ephemeral, open_=open_, as_json=as_json,
        control=chosen_control(context, control),
    )  # fmt: skip


@rooms.command(no_args_is_help=True)
def topic(
    context: typer.Context,
    room: Room,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The new topic; '' for none.", show_default=False)
    ] = None,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Show what a room is about, or change it.

    \b
    Examples:
      jackfield rooms topic ops
      jackfield rooms topic ops 'day shift'
    """
    from .rooms import topic_of as command

    command(room, text, as_json=as_json, control=chosen_control(context, control))


@rooms.command("open", no_args_is_help=True)
def open_(
    context: typer.Context,
    room: Room,
    off: Annotated[bool, typer.Option("--off", help="Let no more plain clients in.")] = False,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Let plain clients such as nc join a room, from every listener with room=.

    \b
    Examples:
      jackfield rooms open ops
      jackfield rooms open ops --off
    """
    from .rooms import open_room as command

    command(room, off=off, as_json=as_json, control=chosen_control(context, control))


@rooms.command(no_args_is_help=True)
def members(context: typer.Context, room: Room, as_json: Json = False, control: Control = None) -> None:
    """List who is in a room.

    \b
    Example:
      jackfield rooms members lobby
    """
    from .rooms import list_members as command

    command(room, as_json=as_json, control=chosen_control(context, control))


@rooms.command(no_args_is_help=True)
def history(
    context: typer.Context,
    room: Room,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=1000, metavar="N", help="The last N messages.")
    ] = 20,
    after: Annotated[
        int | None,
        typer.Option("--after", min=0, metavar="SEQUENCE", help="Instead: all from behind that one on."),
    ] = None,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Show what was said in a room.

    \b
    Examples:
      jackfield rooms history lobby -n 50
      jackfield rooms history lobby --after 0 --json
    """
    from .rooms import show_history as command

    command(room, lines=lines, after=after, as_json=as_json, control=chosen_control(context, control))


@rooms.command(no_args_is_help=True)
def search(
    context: typer.Context,
    words: Annotated[
        list[str], typer.Argument(metavar="WORDS", help="All of these words.", show_default=False)
    ],
    room: Annotated[str, typer.Option("--room", metavar="ROOM", help="In this room alone.")] = "",
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=1000, metavar="N", help="At most N messages.")
    ] = 20,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Find what was said, the newest last.

    \b
    Examples:
      jackfield rooms search pump pressure
      jackfield rooms search --room ops alarm -n 100
    """
    from .rooms import search_rooms as command

    command(
        " ".join(words), room=room, limit=lines, as_json=as_json, control=chosen_control(context, control)
    )


@rooms.command(no_args_is_help=True)
def retention(
    context: typer.Context,
    room: Room,
    age: Annotated[
        str | None, typer.Option("--age", metavar="TIME", help="Keep messages for this long: 90d, 12h.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, metavar="N", help="Keep the newest N messages.")
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="SIZE", help="Keep so many bytes of messages: 512M, 1G.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Keep everything.")] = False,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Show how much of a room is kept, or change all of that; the oldest messages go first.

    \b
    Examples:
      jackfield rooms retention ops
      jackfield rooms retention ops --age 90d --size 1G
      jackfield rooms retention ops --all
    """
    from .rooms import retention_of as command

    command(
        room, age=age, count=count, size=size, everything=everything, as_json=as_json,
        control=chosen_control(context, control),
    )  # fmt: skip


@rooms.command(no_args_is_help=True)
def kick(
    context: typer.Context,
    room: Room,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The member.", show_default=False)],
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Put a member out of a room; it stays connected (see `jackfield kick`).

    \b
    Example:
      jackfield rooms kick lobby mallory
    """
    from .rooms import kick_member as command

    command(room, name, as_json=as_json, control=chosen_control(context, control))


@rooms.command("rm", no_args_is_help=True)
def remove(
    context: typer.Context,
    room: Annotated[
        str | None, typer.Argument(metavar="ROOM", help="The room's name.", show_default=False)
    ] = None,
    made_by: Annotated[
        str,
        typer.Option("--made-by", metavar="WHO", help="Instead: all rooms of this maker, as `ls` says it."),
    ] = "",
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Delete a room with everything that was said in it.

    \b
    Examples:
      jackfield rooms rm game
      jackfield rooms rm --made-by address:198.51.100.7
    """
    from .rooms import delete_room as command

    command(room, made_by=made_by, as_json=as_json, control=chosen_control(context, control))
