"""The words of `python -m core`, one module for those that belong together.

A module defines each of its commands under the command's own name (`list_` for `list`): a function with typer's
annotations, or a `typer.Typer` where the command has words of its own (`run vectors`). It is imported when one of its
commands is called, never for `--help`; even so it keeps torch and the like inside its functions.
"""
