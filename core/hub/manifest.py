"""checkpoints/manifest.json: a row per checkpoint, and what this machine noted where one leaves something open.

A published file's revision can't be known before the Hub has been asked. Such a row says null; the first fetch notes
revision, size and hash in <cache>/records/<name>.json, and from then on this machine holds the file to them.
"""

import json
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from core.cache import cache_dir
from core.errors import CheckpointError
from core.hub.files import locked, replacing, sha256

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
USUAL = {"model", "diffusion_pytorch_model", "pytorch_lora_weights", "vocab", "merges"}  # names of many files


@dataclass(frozen=True)
class Row:
    """One checkpoint: where it is, what it must be, what may be done with it."""

    name: str
    file: str                       # in checkpoints/, or inside the repository on the Hub
    network: str | None = None      # None: a plain file, not weights of ours
    preset: str | None = None
    origin: str = "shipped"         # "shipped" with the project, published on the "hub", or "trained" by its user
    repo: str | None = None         # on the Hub
    revision: str | None = None     # commit on the Hub; None until the first fetch
    wrapper_key: str | None = None  # the key of a pickle under which the weights lie
    sha256: str | None = None       # None until the first fetch
    bytes: int | None = None        # None until the first fetch
    licence: str = "Apache-2.0"
    recipe: str | None = None       # the command or paper that made it
    about: str = ""
    agreement: str | None = None    # what somebody must agree to before it is fetched

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
            return f"train it, or put your own there:  {self.recipe}"
        if self.repo is None:
            return f"bring it back:  git restore -- checkpoints/{Path(self.file).name}"
        return f"fetch it again:  python -m core fetch {self.name}"


def rows(folder: Path | None = None) -> list[Row]:
    """Every row of the manifest, in its order. Raises CheckpointError when it can't be read."""
    path = (folder or CHECKPOINTS) / "manifest.json"
    try:
        return [Row(**row) for row in json.loads(path.read_text("utf-8"))["checkpoints"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} can't be read: {error}",
                              "bring it back:  git restore -- checkpoints/manifest.json") from error


def row(name: str) -> Row:
    """The row called `name`, with what the first fetch noted. Raises CheckpointError that lists the known names."""
    known = {row.name: row for row in rows()}
    if name in known:
        return pinned(known[name])
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?  " if near else ""
    raise CheckpointError(f"there is no checkpoint called {name!r}", f"{hint}known: {', '.join(known) or 'none'}")


def pinned(row: Row) -> Row:
    """The row with revision, hash and size from its record, where the manifest leaves them open."""
    noted = _record(row)
    if not noted or row.sha256 not in (None, noted["sha256"]) or row.revision not in (None, noted["revision"]):
        return row
    return replace(row, revision=noted["revision"], sha256=noted["sha256"], bytes=row.bytes or noted["bytes"])


def note(row: Row, revision: str, path: Path) -> Row:
    """Record what a first fetch brought; returns the row so pinned."""
    facts = {"repo": row.repo, "file": row.file, "revision": revision,
             "sha256": sha256(path), "bytes": path.stat().st_size}
    with replacing(_record_path(row)) as part:
        part.write_text(json.dumps(facts, indent=1), "utf-8")
    return pinned(row)


def forget(row: Row) -> None:
    """Drop a record, so that the next fetch asks the Hub again."""
    _record_path(row).unlink(missing_ok=True)


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
    return {key: value for key, value in asdict(row).items() if key != "agreement" or value}


def _record_path(row: Row) -> Path:
    return cache_dir("records") / f"{row.name}.json"


def _record(row: Row) -> dict[str, Any] | None:
    """The record, if there is a whole one and it speaks of this row's file."""
    try:
        noted = json.loads(_record_path(row).read_text("utf-8"))
        return noted if (noted["repo"], noted["file"]) == (row.repo, row.file) and noted["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
