"""`python -m core <command>`: draw, fetch, run, train, score. Only the command that is called gets imported."""

import sys
from importlib import import_module

import typer

from core.errors import FacetError

COMMANDS = {  # command: (its module in core.commands, its line in the help)
    "faces": ("faces", "Draw faces: a sheet of people, one person through an attribute, one person in many looks."),
    "run": ("run", "Run a system without the browser: numbers or a photo in, pictures out."),
    "generate": ("generate", "Generate a data set: new people, many pictures of each."),
    "train": ("train", "Train a network from its recipe."),
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
    """Run one command; a FacetError is printed without a traceback."""
    try:
        application(arguments[0] if arguments else None)(arguments, prog_name="python -m core")
    except FacetError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
