"""<cache>/pins.json: the revision, SHA-256 and size of files whose manifest row leaves one of them open.

The first copy of such a file is trusted and pinned here; from then on this machine accepts no other.
"""

import json
from pathlib import Path
from typing import Any

from core.cache import cache_dir
from core.errors import CheckpointError, OutputError
from core.hub.files import locked, replacing

Pins = dict[str, dict[str, Any]]        # name of the row: {"repo", "file", "revision", "sha256", "bytes"}


def pins_path() -> Path:
    """The lock file. Raises OutputError if the cache folder can't be written to."""
    return cache_dir() / "pins.json"


def read_pins() -> Pins:
    """All pins of this machine. Raises CheckpointError for a damaged file, because no pin may be lost silently."""
    try:
        path = pins_path()
        stored = json.loads(path.read_text("utf-8-sig"))
        return {name: {key: pin[key] for key in ("repo", "file", "revision", "sha256", "bytes")}
                for name, pin in stored.items()}
    except (OutputError, FileNotFoundError):
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged.", "Delete it; the next fetch pins the files again.") from error


def pin(name: str, facts: dict[str, Any]) -> None:
    """Add or replace a pin."""
    path = pins_path()
    with locked(path):
        _write(path, read_pins() | {name: facts})


def unpin(name: str) -> bool:
    """Drop a pin, so that the next fetch asks the Hub again; returns whether there was one."""
    path = pins_path()
    with locked(path):
        pins = read_pins()
        if name not in pins:
            return False
        _write(path, {other: facts for other, facts in pins.items() if other != name})
    return True


def _write(path: Path, pins: Pins) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(pins, indent=1) + "\n", "utf-8")
