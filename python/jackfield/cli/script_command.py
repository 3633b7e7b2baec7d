"""`jackfield script` as commands: their options and their help. What they do is in `replies.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .groups import listing
from .parameters import Control, Json, chosen_control

script = listing(
    "script",
    """Let Python functions of yours see and answer what clients say. Without a command: list.

\b
Examples:
  jackfield script add hooks.py
  jackfield script
  jackfield script rm hooks.py
""",
)


@script.command(no_args_is_help=True)
def add(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A Python file.", show_default=False)],
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Have the hub call the functions of FILE, until `script rm`.

    \b
      def on_message(client, message):      message: bytes. What is returned is answered:
          if message.startswith(b"time"):   bytes as they are, text with the line ending
              return "noon"                 of the client's listener, None is no answer.
      def on_join(client): ...              client: id, name, protocol, peer,
      def on_leave(client, reason): ...     send(data), kick()

    Each file runs in a thread of its own, with the rights of the hub, and is loaded anew when it
    changes; one that cannot be loaded leaves the functions from before in use. What it prints,
    and what it raises, is in the hub's log. `serve --script FILE` has it from the start.

    \b
    Example:
      jackfield script add hooks.py
    """
    from .replies import add_script as command

    command(file, as_json=as_json, control=chosen_control(context, control))


@script.command("ls")
def list_(context: typer.Context, as_json: Json = False, control: Control = None) -> None:
    """List the scripts: hooks, calls and failures.

    \b
    Example:
      jackfield script ls
    """
    from .replies import list_scripts as command

    command(as_json=as_json, control=chosen_control(context, control))


@script.command("rm", no_args_is_help=True)
def remove(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The script's path or file name.", show_default=False)
    ],
    as_json: Json = False,
    control: Control = None,
) -> None:
    """End a script.

    \b
    Example:
      jackfield script rm hooks.py
    """
    from .replies import remove_script as command

    command(file, as_json=as_json, control=chosen_control(context, control))
