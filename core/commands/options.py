"""Options shared by several commands."""

from pathlib import Path
from typing import Annotated

from typer import Option

Out = Annotated[Path, Option(help="Output folder, created if missing.")]
Device = Annotated[str | None, Option(help="cpu, cuda, cuda:1 or mps; default: the fastest.", show_default=False)]
Offline = Annotated[bool, Option("--offline", help="Never use the network.")]
Checkpoint = Annotated[str, Option(help="tiny (shipped) or base (published, download first).")]
