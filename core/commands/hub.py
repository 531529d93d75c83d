"""`python -m core fetch`, `import`, `list` and `verify`: checkpoints on the command line."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from core import hub
from core.errors import CheckpointError
from core.hub import manifest
from core.hub.manifest import Row


def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Names of checkpoints; see `list`.")] = None,
    yes: Annotated[bool, typer.Option("--yes-i-agree", help="Agree to the displayed terms.")] = False,
) -> None:
    """Download checkpoints into the Hub's cache and verify size and SHA-256; replaces damaged copies."""
    if not names:
        open_ones = " ".join(row.name for row in hub.rows() if row.origin == "hub")
        raise CheckpointError("The command fetch needs the name of a checkpoint.",
                              f"For example:  python -m core fetch {open_ones}")
    for row in [hub.row(name) for name in names]:       # validates all names first
        agree = yes or _agreed(row)
        path = hub.fetch(row.name, agree=agree)
        print(f"{row.name}  verified  {path}{hub.first_pin(row)}")


def _agreed(row: Row) -> bool:
    """Print the licence before a download; ask for agreement if the terminal is interactive."""
    if hub.place(row) is not None:
        return False
    print(f"{row.name}: {row.about}\nlicence: {row.licence}", file=sys.stderr)
    if not row.agreement or not sys.stdin.isatty():
        return False
    return typer.confirm(f"{row.agreement}\nDo you agree?", default=False, err=True)


def import_(
    name: Annotated[str, typer.Argument(help="Name of a checkpoint that can't be fetched; see `list`.")],
    file: Annotated[Path, typer.Argument(help="The file as its authors publish it.")],
) -> None:
    """Take a published file that you hold, such as BagNet-17's: its hash and every weight are verified."""
    print(f"{name}  imported  {hub.import_file(name, file)}")


def list_() -> None:
    """List the checkpoints: location, size and licence."""
    for row in map(hub.row, [row.name for row in hub.rows()]):
        kind = f"{row.network} {row.preset}" if row.network else "plain file"
        print(f"{row.name:<20} {_where(row):<8} {_size(row):>9}  {row.licence:<26} {kind}\n    {row.about}")


def _where(row: Row) -> str:
    path = hub.place(row)
    if path is None:
        waits = {"trained": "to train", "imported": "to import"}
        return "on Hub" if row.repo else waits.get(row.origin, "missing")
    return "here" if path == row.shipped else "cached"


def _size(row: Row) -> str:
    path = hub.place(row)
    size = path.stat().st_size if path else row.bytes or row.rounded_bytes
    return "?" if size is None else f"{size / 1e6:.1f} MB"


def verify() -> None:
    """Verify size and SHA-256 of all checkpoints here, those pinned at a fetch included; load all shipped ones."""
    problems = 0
    for written in hub.rows():
        row = hub.row(written.name)
        verdict = _verdict(row)
        problems += verdict not in ("ok", "not fetched", "not trained", "not imported")
        pinned = " (pinned at the first fetch)" if verdict == "ok" and row.sha256 != written.sha256 else ""
        print(f"{row.name:<20} {verdict}{pinned}")
    known = {row.shipped.name for row in hub.rows()}
    for stray in sorted({path.name for path in manifest.CHECKPOINTS.glob("*.safetensors")} - known):
        problems += 1
        print(f"{stray:<20} has no row in the manifest\n  remove it, or save it again by its recipe")
    if problems:
        raise typer.Exit(1)


def _verdict(row: Row) -> str:
    if row.origin != "shipped" and hub.place(row) is None:
        return "not fetched" if row.repo else f"not {row.origin}"
    try:
        hub.check(hub.file(row.name), row)
        if row.network and row.origin == "shipped":
            hub.load(row.name, "cpu")
    except CheckpointError as error:
        return str(error)
    return "ok"
