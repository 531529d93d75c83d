"""The commands of `python -m core`; related commands share a module.

A module defines each command under its name (`list_` for `list`): a function with typer's annotations, or a
`typer.Typer` for commands with subcommands (`run vectors`). It is imported when one of its commands is called, not for
`--help`. Slow imports such as torch stay inside functions.
"""
