"""`jackfield config` as commands: their options and their help. What they do is in `config.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import Json

config = typer.Typer(
    help="""Make configuration files and systemd units for `serve`.

\b
Examples:
  jackfield config init
  jackfield config check
  jackfield config systemd --to /etc/systemd/system
""",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

_File = Annotated[
    str | None,
    typer.Argument(metavar="FILE", help="Which; else the one that serve would read.", show_default=False),
]


@config.command()
def init(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="Where to; - for standard output. Else where serve looks.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a configuration with every key, all commented out.

    Each has its meaning and its default beside it.

    \b
    Examples:
      jackfield config init
      jackfield config init ./jackfield.toml
      jackfield config init - | less
    """
    from .config import init as command

    command(file, force=force, as_json=as_json)


@config.command()
def check(file: _File = None, as_json: Json = False) -> None:
    """Say what is wrong in a configuration, and at which line.

    \b
    Examples:
      jackfield config check
      jackfield config check ./jackfield.toml && jackfield reload
    """
    from .config import check as command

    command(file, as_json=as_json)


@config.command()
def systemd(
    listen: Annotated[
        list[str] | None,
        typer.Option("--listen", metavar="WHERE", help="Have systemd open the socket: 7000, /run/x.sock ..."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="DIR", help="Write the units there, not to standard output."),
    ] = None,
    user: Annotated[bool, typer.Option("--user", help="For systemctl --user.")] = False,
    as_json: Json = False,
) -> None:
    """Make systemd units that run the hub as a service.

    \b
    Examples:
      jackfield config systemd
      jackfield config systemd --to /etc/systemd/system && systemctl enable --now jackfield
      jackfield config systemd --listen 7000
    """
    from .units import systemd as command

    command(listen=listen or [], to=to, user=user, as_json=as_json)


@config.command()
def show(file: _File = None, as_json: Json = False) -> None:
    """Show every key, what it is, and where that comes from.

    \b
    Examples:
      jackfield config show
      jackfield config show ./jackfield.toml --json
    """
    from .config import show as command

    command(file, as_json=as_json)
