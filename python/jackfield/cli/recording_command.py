"""`jackfield recording` as commands: their options and their help. What they do is in `recordings.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import Json

recording = typer.Typer(
    name="recording",
    help="""Look at recordings, and make captures of them.

\b
Examples:
  jackfield record -o night.jfrec
  jackfield recording info night.jfrec
  jackfield recording show night.jfrec
  jackfield recording convert night.jfrec night.pcapng
""",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Files = Annotated[
    list[str], typer.Argument(metavar="FILE", help="Recordings, or captures of them.", show_default=False)
]
File = Annotated[
    str, typer.Argument(metavar="FILE", help="A recording, or a capture of one.", show_default=False)
]
Only = Annotated[
    str | None,
    typer.Option("--client", "-c", metavar="TARGET", help="Only these: 3 | dev1 | 'dev*' | host:port."),
]


@recording.command(no_args_is_help=True)
def show(
    files: Files,
    client: Only = None,
    as_hex: Annotated[bool, typer.Option("--hex", help="Show bytes as hex dumps.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Show long messages whole.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as the file grows, until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object per record; bytes are base64.")
    ] = False,
) -> None:
    """Print what clients said (`<`) and were told (`>`).

    \b
    Examples:
      jackfield recording show night.jfrec
      jackfield recording show night.jfrec --client 'dev*' --hex
      jackfield recording show -f night.jfrec
    """
    from .recordings import show as command

    command(files, client=client, as_hex=as_hex, full=full, follow=follow, as_json=as_json)


@recording.command(no_args_is_help=True)
def info(files: Files, as_json: Json = False) -> int:
    """Say what is in a recording, and whether it is whole.

    Exit code 1 when something is missing or damaged.

    \b
    Example:
      jackfield recording info night.jfrec
    """
    from .recordings import info as command

    return command(files, as_json=as_json)


@recording.command(no_args_is_help=True)
def convert(
    file: File,
    output: Annotated[
        str, typer.Argument(metavar="OUT", help="A new file: OUT.pcapng, or OUT.jfrec.", show_default=False)
    ],
    client: Only = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")] = False,
    as_json: Json = False,
) -> None:
    """Make a Wireshark capture of a recording, or the other way round.

    \b
    Examples:
      jackfield recording convert night.jfrec night.pcapng
      jackfield recording convert night.jfrec door.jfrec --client door
    """
    from .recordings import convert as command

    command(file, output, client=client, force=force, as_json=as_json)
