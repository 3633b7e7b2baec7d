"""Commands with commands of their own that list where none of these is named, such as `jackfield rooms`."""

from __future__ import annotations

import typer
from typer.core import TyperGroup

from .parameters import Control, Json


def listing(name: str, help: str) -> typer.Typer:
    """A group of that name; its command `ls` is what it does without one."""
    group = typer.Typer(name=name, rich_markup_mode=None)

    @group.callback(invoke_without_command=True, help=help)
    def main(context: typer.Context, as_json: Json = False, control: Control = None) -> None:
        if context.invoked_subcommand is not None:
            if as_json:
                raise typer.BadParameter(f"it goes behind {context.invoked_subcommand}", param_hint="--json")
            context.obj = control if control is not None else context.obj
            return
        assert isinstance(context.command, TyperGroup)
        listed = context.command.get_command(context, "ls")
        assert listed is not None, f"{name} has no command ls"
        words = ["--json"] if as_json else []
        words += ["--control", str(control)] if control is not None else []
        with listed.make_context("ls", words, parent=context) as its_context:
            listed.invoke(its_context)

    return group
