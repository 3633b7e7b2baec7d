"""`jackfield snippet` as commands: their options and their help. What they do is in `replies.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .groups import listing
from .parameters import Control, Eol, Escapes, Hex, Json, chosen_control

snippet = listing(
    "snippet",
    """Keep messages under names, and send them again. Without a command: list.

\b
Examples:
  jackfield snippet add status 'STATUS?'
  jackfield snippet
  jackfield send dev7 --snippet status
""",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the snippet.", show_default=False)]


@snippet.command(no_args_is_help=True)
def add(
    context: typer.Context,
    name: Name,
    data: Annotated[
        list[str] | None,
        typer.Argument(metavar="DATA", help="What to keep; - reads standard input.", show_default=False),
    ] = None,
    as_hex: Hex = False,
    escapes: Escapes = False,
    file: Annotated[
        str | None, typer.Option("--file", metavar="PATH", help="Keep the contents of a file, up to 1M.")
    ] = None,
    eol: Eol = None,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Keep DATA as NAME, in place of the snippet of that name.

    It lasts over restarts of the hub.

    Text goes out with the line ending of each client's listener; hex, escapes and files go out as
    they are. --eol overrides both.

    \b
    Examples:
      jackfield snippet add status 'STATUS?'
      jackfield snippet add read-all --hex '01 03 00 00 00 0a c5 cd'
      jackfield send 'dev*' --snippet status
    """
    from .replies import add_snippet as command

    command(
        name, data or [], as_hex=as_hex, escapes=escapes, file=file, eol=eol, as_json=as_json,
        control=chosen_control(context, control),
    )  # fmt: skip


@snippet.command("ls")
def list_(context: typer.Context, as_json: Json = False, control: Control = None) -> None:
    """List the snippets.

    \b
    Examples:
      jackfield snippet ls
      jackfield snippet ls --json
    """
    from .replies import list_snippets as command

    command(as_json=as_json, control=chosen_control(context, control))


@snippet.command(no_args_is_help=True)
def show(context: typer.Context, name: Name, as_json: Json = False, control: Control = None) -> None:
    """Print a snippet: its bytes in a pipe, a dump on a terminal.

    \b
    Example:
      jackfield snippet show read-all
    """
    from .replies import show_snippet as command

    command(name, as_json=as_json, control=chosen_control(context, control))


@snippet.command("rm", no_args_is_help=True)
def remove(context: typer.Context, name: Name, as_json: Json = False, control: Control = None) -> None:
    """Remove a snippet.

    \b
    Example:
      jackfield snippet rm status
    """
    from .replies import remove_snippet as command

    command(name, as_json=as_json, control=chosen_control(context, control))
