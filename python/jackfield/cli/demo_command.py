"""What `jackfield demo` takes, and its help; `demo` does it.

Like `app` this is loaded for help and completion, so nothing heavy is imported.
"""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import Json


def demo(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A lesson's name or number.", show_default=False),
    ] = None,
    source: Annotated[bool, typer.Option("--source", help="Print the code that the lesson runs.")] = False,
    lang: Annotated[
        str | None, typer.Option("--lang", metavar="en|zh", help="The language, instead of LANG's.")
    ] = None,
    pause: Annotated[
        bool, typer.Option("--pause/--no-pause", help="On a terminal: wait for Enter after each step.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Teach how sockets behave: each lesson runs, and explains.

    Without NAME the lessons are listed. Each one uses addresses of this machine alone, needs no
    privilege, and checks that what it says did happen; otherwise it fails with exit code 1.
    On a terminal q leaves a lesson.

    \b
    Examples:
      jackfield demo
      jackfield demo sticky-packets
      jackfield demo sticky-packets --lang zh
      jackfield demo half-close --source
      jackfield demo connect-failures --json
    """
    from .demo import demo as command
    from .demo import lessons

    if name is None:
        lessons(lang, as_json=as_json)
    else:
        command(name, lang, source=source, pause=pause, as_json=as_json)
