"""`python -m core <command>`: draw, fetch, run, train, score. Only the command that is called gets imported."""

import sys
from importlib import import_module

import typer

from core.environment import ended_like_ctrl_c, print_anything
from core.errors import FacetError
from core.output import unwritable

COMMANDS = {  # command: (its module in core.commands, its line in the help)
    "faces": ("faces", "Draw faces: a sheet of people, one person through an attribute, one person in many looks."),
    "run": ("run", "Run a system without the browser: numbers or a photo in, pictures out."),
    "generate": ("generate", "Generate a data set: new people, many pictures of each."),
    "train": ("train", "Train a network from its recipe."),
    "teach": ("teach", "Train a person from pictures; writes an adapter file."),
    "score": ("score", "Measure a system against its bars."),
    "build": ("build", "Build a shipped data file: the sculpted `head` of the drawn faces, the `crowd` of clusters."),
    "bench": ("bench", "Measure speed and memory on this machine."),
    "fetch": ("hub", "Download a checkpoint and verify it."),
    "import": ("hub", "Take a published checkpoint that you hold as a file."),
    "list": ("hub", "List the checkpoints: location, size and licence."),
    "verify": ("hub", "Verify size and hash of every checkpoint on this machine."),
}


def _function(name: str):
    """The function, or the Typer, behind a command."""
    module = import_module(f"core.commands.{COMMANDS[name][0]}")
    return getattr(module, name, None) or getattr(module, f"{name}_")


def _later() -> None:
    """Placeholder in the help for commands that are not called."""


def application(called: str | None) -> typer.Typer:
    """The command line with `called` imported; the others only have their help line."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                      help="Facet: face synthesis demos.")
    for name, (_, line) in COMMANDS.items():
        function = _function(name) if name == called else _later
        if isinstance(function, typer.Typer):
            app.add_typer(function, name=name, help=line)
        else:
            app.command(name, help=None if name == called and function.__doc__ else line)(function)
    return app


def main(arguments: list[str]) -> None:
    """Run one command; an error of ours or of the disk is printed without a traceback."""
    print_anything()
    try:
        with ended_like_ctrl_c():
            application(arguments[0] if arguments else None)(arguments, prog_name="python -m core")
    except (FacetError, OSError) as error:
        if isinstance(error, OSError):
            if error.filename is None:
                raise
            error = unwritable(error, error.filename, "can't be opened or written")
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
