"""checkpoints/manifest.json: a row per checkpoint.

A published row whose revision or SHA-256 is null is open: the first fetch pins both, see `core.hub.pins`.
"""

import json
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from core.errors import CheckpointError
from core.hub.files import locked, replacing, sha256
from core.hub.pins import pin, read_pins

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
USUAL = {"model", "diffusion_pytorch_model", "pytorch_lora_weights", "vocab", "merges"}  # names of many files


@dataclass(frozen=True)
class Row:
    """One checkpoint: where it is, what it must be, what may be done with it."""

    name: str
    file: str                       # in checkpoints/, or inside the repository on the Hub
    network: str | None = None      # None: a plain file, not weights of ours
    preset: str | None = None
    origin: str = "shipped"         # "shipped" with the project, on the "hub", or "trained" or "imported" by its user
    repo: str | None = None         # on the Hub
    revision: str | None = None     # commit on the Hub; None: open
    wrapper_key: str | None = None  # the key of a pickle under which the weights lie
    sha256: str | None = None       # None: open
    bytes: int | None = None        # exact size; None if unknown
    rounded_bytes: int | None = None    # for display, where the exact size is unknown
    licence: str = "Apache-2.0"
    recipe: str | None = None       # the command or paper that made it
    about: str = ""
    agreement: str | None = None    # the terms that must be agreed to before it is fetched

    @property
    def is_open(self) -> bool:
        """Whether the manifest, and this machine, accept any revision or any bytes for a published file."""
        return self.repo is not None and (self.revision is None or self.sha256 is None)

    @property
    def is_pickle(self) -> bool:
        """Whether the file is a network's torch pickle, to be converted before use."""
        return self.network is not None and Path(self.file).suffix in {".pth", ".pt", ".bin"}

    @property
    def shipped(self) -> Path:
        """Where the file lies, or would lie, in the project's own folder; by the row's name if its own says nothing."""
        path = Path(self.file)
        return CHECKPOINTS / (f"{self.name}{path.suffix}" if path.stem in USUAL else path.name)

    @property
    def mend(self) -> str:
        """The command that brings the file back."""
        if self.origin == "trained":
            return f"Train it, or put your own there:  {self.recipe}"
        if self.origin == "imported":
            return f"Get {self.file} from its authors, then:  python -m core import {self.name} FILE"
        if self.repo is None:
            return f"Bring it back:  git restore -- checkpoints/{Path(self.file).name}"
        return f"Fetch it again:  python -m core fetch {self.name}"


def rows(folder: Path | None = None) -> list[Row]:
    """Every row of the manifest, in its order. Raises CheckpointError when it can't be read."""
    path = (folder or CHECKPOINTS) / "manifest.json"
    try:
        return [Row(**row) for row in json.loads(path.read_text("utf-8-sig"))["checkpoints"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is missing or damaged.",
                              "Bring it back:  git restore -- checkpoints/manifest.json") from error


def known(*names: str) -> bool:
    """Whether the manifest has all of these names."""
    return {*names} <= {row.name for row in rows()}


def row(name: str) -> Row:
    """The row called `name`, with what the first fetch pinned. Raises CheckpointError that lists the known names."""
    there = {row.name: row for row in rows()}
    if name in there:
        return pinned(there[name])
    near = get_close_matches(name, there, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise CheckpointError(f"There is no checkpoint called {name!r}.",
                          f"{hint}Choose from: {', '.join(there) or 'none'}.")


def pinned(row: Row) -> Row:
    """The row with revision, hash and size from the lock file, where the manifest leaves them open.

    A pin of another file, or one that the manifest contradicts, does not count.
    """
    found = read_pins().get(row.name) if row.is_open else None
    if found is None or (found["repo"], found["file"]) != (row.repo, row.file):
        return row
    if row.sha256 not in (None, found["sha256"]) or row.revision not in (None, found["revision"]):
        return row
    return replace(row, revision=row.revision or found["revision"], sha256=found["sha256"],
                   bytes=row.bytes or found["bytes"])


def pin_first(row: Row, revision: str | None, path: Path) -> Row:
    """Pin the first copy of an open row's file; returns the row so pinned. revision: None for a file put by hand."""
    pin(row.name, {"repo": row.repo, "file": row.file, "revision": revision, "sha256": sha256(path),
                   "bytes": path.stat().st_size})
    return pinned(row)


def put(row: Row, folder: Path) -> None:
    """Add a row to the manifest of `folder`, or replace the one of that name in its place. Safe between processes."""
    path = folder / "manifest.json"
    with locked(path):
        old = rows(folder) if path.exists() else []
        new = [row if other.name == row.name else other for other in old]
        new += [] if row in new else [row]
        with replacing(path) as part:
            part.write_text(json.dumps({"checkpoints": [_plain(row) for row in new]}, indent=1, ensure_ascii=False)
                            + "\n", "utf-8")


def enter(path: Path, name: str, recipe: str, about: str) -> Path:
    """Add a plain file that was just written, no network of ours, to the manifest of its folder; returns its path."""
    put(Row(name=name, file=path.name, sha256=sha256(path), bytes=path.stat().st_size, recipe=recipe, about=about),
        path.parent)
    return path


def _plain(row: Row) -> dict[str, Any]:
    return {key: value for key, value in asdict(row).items() if value or key not in ("agreement", "rounded_bytes")}
