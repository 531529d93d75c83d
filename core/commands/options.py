"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

from typer import Option

Out = Annotated[Path, Option(help="Folder for the pictures, made if missing.")]
Device = Annotated[str | None, Option(help="cpu, cuda, cuda:1, mps; the best there is by default.", show_default=False)]
Offline = Annotated[bool, Option("--offline", help="Never touch the network.")]
Checkpoint = Annotated[str, Option(help="tiny, which ships; base, the published one, fetched first.")]
