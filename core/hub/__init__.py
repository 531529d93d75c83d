"""A checkpoint's name -> a checked file -> a network on a device.

    hub.load("vectors-tiny")      an eval-mode, frozen network; once per process, name and device
    hub.file("yunet")             the path of a file, found or fetched, size and SHA-256 checked
    hub.import_file(name, path)   a published file that only its holders have
    hub.rows(), hub.row(name)     what there is: the manifest, checkpoints/manifest.json; hub.known(name)
    hub.save(network, name, …)    a trained network into the folder and the manifest
    hub.opened(path, "iresnet")   the network of a file so saved, wherever it lies

A file is taken from checkpoints/, else from the Hub's cache, else downloaded with a progress bar. Every failure is a
CheckpointError: one sentence and the command that mends it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from core.cache import LRUCache, device_name
from core.errors import CheckpointError, SettingsError
from core.hub import download, manifest, weights
from core.hub.download import Progress, offline, set_offline
from core.hub.files import is_lfs_pointer, sha256, unreadable
from core.hub.manifest import Row, known, row, rows
from core.hub.pins import pins_path

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from core.hub.repository import Portable

__all__ = ["Row", "check", "default_device", "fetch", "file", "first_pin", "from_published", "import_file", "known",
           "load", "offline", "opened", "place", "portable", "row", "rows", "save", "set_device", "set_offline"]

NETWORK_BYTES = 8 << 30     # of networks that stay loaded; those in use stay besides

_chosen: str | None = None


def _bytes_of(network: "nn.Module") -> int:
    return sum(value.nbytes for value in (*network.parameters(), *network.buffers()))


_networks = LRUCache(NETWORK_BYTES, _bytes_of)      # by (name, device, dtype)


def load(name: str, device: "str | torch.device | None" = None, *, dtype: str = "float32", agree: bool = False,
         progress: Progress | None = None) -> "nn.Module":
    """The network of a checkpoint: eval mode, frozen; one object per name, device and type.

    The most recently used networks stay loaded, up to NETWORK_BYTES, and all that are in use. device: default_device()
    when None. dtype: "float32", "float16" or "bfloat16". agree, progress: as in `file`, should it have to be fetched.
    Raises CheckpointError, SettingsError for a device that is not there.
    """
    import torch

    device = default_device() if device is None else device_name(device)
    return _networks.get((name, device, dtype),
                         lambda: _loaded(row(name), agree, progress).to(device, getattr(torch, dtype)))


def _loaded(row: Row, agree: bool, progress: Progress | None) -> "nn.Module":
    if row.network is None:
        raise CheckpointError(f"{row.name} is a plain file, not a network.",
                              f"Ask for its path:  hub.file({row.name!r})")
    return weights.fit(row.network, row.preset, weights.read(_safetensors(row, agree, progress), row))


def _safetensors(row: Row, agree: bool, progress: Progress | None) -> Path:
    """The file to read tensors from: the checkpoint itself, or a pickle's twin."""
    if not row.is_pickle:
        return file(row.name, agree=agree, progress=progress)
    made = weights.converted(row)
    if made is not None:
        return made
    path = file(row.name, agree=agree, progress=progress)
    return weights.convert(path, manifest.pinned(row))


def file(name: str, *, agree: bool = False, progress: Progress | None = None) -> Path:
    """The checked file of a checkpoint, from checkpoints/, the Hub's cache or the Hub.

    agree: the person agrees to the row's `agreement`, needed once where there is one.
    progress: called with a fraction in [0, 1] and a line of text while it is fetched.
    Raises CheckpointError.
    """
    found = row(name)
    path = place(found)
    if path is None and found.origin == "imported":
        raise CheckpointError(f"{name} is not on this machine, and can't be fetched.", found.mend)
    if path is None and found.repo is None:
        raise CheckpointError(f"{found.shipped} is missing.", found.mend)
    if path is None:
        return download.download(found, agree, progress)
    check(path, found)
    return path


def place(row: Row) -> Path | None:
    """Where a row's file lies on this machine, unchecked; None when it would have to be fetched or imported."""
    if row.origin == "imported":
        return weights.imported(row)
    if row.shipped.exists():
        return row.shipped
    return download.cached(row) if row.repo else None


def check(path: Path, row: Row) -> None:
    """Raise CheckpointError unless a file is the one that its row describes."""
    mend = row.mend
    if path == row.shipped and row.repo:
        mend = f"Remove {path}, then:  python -m core fetch {row.name}"
    size = path.stat().st_size
    if row.bytes not in (None, size) and is_lfs_pointer(path):
        raise unreadable(path, mend)
    if row.bytes not in (None, size):
        raise CheckpointError(f"{path} is not the file the manifest describes: {size:,} bytes instead of "
                              f"{row.bytes:,}.", mend)
    if row.sha256 not in (None, sha256(path)):
        raise CheckpointError(f"{path} is not the file the manifest describes: expected sha256 {row.sha256[:12]}…, "
                              f"found {sha256(path)[:12]}….", mend)
    if row.is_open:
        by_hand = path == row.shipped
        if row.sha256 is None or not by_hand:       # another client fetched it, or it was put there by hand
            manifest.pin_first(row, row.revision if by_hand else download.commit(path), path)


def import_file(name: str, path: Path | str) -> Path:
    """Take a published file that its user holds, for a row of origin "imported"; returns the path of the copy.

    It must be the file of the row, by the hash in its name, and fit the network strictly. Nothing in it is executed.
    Raises CheckpointError.
    """
    found = row(name)
    if found.origin != "imported":
        raise CheckpointError(f"{name} is not imported from a file.",
                              f"Fetch it:  python -m core fetch {name}" if found.repo else "It ships with the project.")
    return weights.import_pickle(Path(path), found)


def fetch(name: str, *, agree: bool = False, progress: Progress | None = None) -> Path:
    """Like `file`, and mends: a damaged copy in the Hub's cache is fetched again, a pickle is converted at once."""
    found = row(name)
    path = place(found)
    if path is not None and path != found.shipped:
        try:
            check(path, found)
        except CheckpointError:
            download.drop(path)
    return _safetensors(found, agree, progress)


def first_pin(before: Row) -> str:
    """A sentence for the reader after the first fetch of a file whose SHA-256 the manifest leaves open; else "".

    before: the row as it was before the fetch.
    """
    if before.repo is None or before.sha256 is not None:
        return ""
    return (f" The manifest has no SHA-256 for {before.name}; this copy ({row(before.name).sha256[:12]}…) is pinned in "
            f"{pins_path()}.")


def from_published(network: str, state_dict: "dict[str, Tensor]", preset: str) -> "nn.Module":
    """A network with the weights of a published file: eval mode, frozen, float32, on the CPU; shares their memory.

    network, preset: as in core.models. state_dict: flat, with the published names. Raises CheckpointError naming the
    keys that are missing, unexpected or of another shape.
    """
    return weights.fit(network, preset, state_dict)


def opened(path: Path | str, network: str) -> "nn.Module":
    """The network of a file that `save` wrote, in no manifest: float32, eval mode, frozen, on default_device().

    network: what it must be, as in core.models; its preset is read from the file. Raises CheckpointError.
    """
    facts, state = weights.opened(Path(path))
    if facts.get("network") != network:
        raise CheckpointError(f"{path} holds {facts.get('network', 'no network of ours')}, where {network} is needed.",
                              "Name a file that `python -m core train` wrote of that network.")
    return weights.fit(network, facts.get("preset", ""), state).to(default_device())


def network_of(name: Path | str, network: str, device: "str | None" = None) -> "nn.Module":
    """The network of a checkpoint, or of a file that `save` wrote. network: as in core.models.

    Raises CheckpointError.
    """
    known = {each.name: each for each in rows()}
    if str(name) not in known and Path(name).exists():
        return opened(name, network).to(device or default_device())
    found = row(str(name))
    if found.network != network:
        fitting = ", ".join(each.name for each in known.values() if each.network == network)
        raise CheckpointError(f"{name} holds {found.network or 'no network'}, where {network} is needed.",
                              f"Choose from: {fitting}.")
    return load(found.name, device)


def save(module: "nn.Module", name: str, *, network: str, preset: str, recipe: str, about: str,
         folder: Path | str | None = None, licence: str = "Apache-2.0", bits: int = 16) -> Path:
    """Write <folder>/<name>.safetensors and its row in <folder>/manifest.json; returns the path.

    folder: checkpoints/ when None. recipe: the command that trained it. bits: of a stored weight, 16 or 8, see
    `weights.write`. CheckpointError if a weight is not finite.
    """
    folder = Path(folder or manifest.CHECKPOINTS)
    path = folder / f"{name}.safetensors"
    facts = {"name": name, "network": network, "preset": preset, "recipe": recipe, "about": about, "licence": licence}
    weights.write(module, path, facts, bits)
    manifest.put(Row(file=path.name, sha256=sha256(path), bytes=path.stat().st_size, **facts), folder)
    for key in _networks.keys():        # noqa: SIM118  a cache, not a dictionary
        if key[0] == name:
            _networks.drop(key)
    return path


def portable(name: str) -> "Portable":
    """A checkpoint of ours, ready for `push_to_hub("you/name")` or `save_pretrained(folder)`, its card with it.

    Raises CheckpointError for weights that others published: theirs is the place to point to.
    """
    from core.hub.repository import Portable

    found = row(name)
    if found.origin != "shipped":
        raise CheckpointError(f"{name} was published by others, under its own terms ({found.licence}).",
                              f"Point to it instead:  https://huggingface.co/{found.repo}")
    network = load(name, "cpu")
    portable = Portable(found.network, found.preset)
    portable.network = network
    card = manifest.CHECKPOINTS / "cards" / f"{name}.md"
    portable.card = card.read_text("utf-8") if card.exists() else None
    return portable.eval()


def set_device(name: str | None) -> None:
    """Where networks go from now on: "cpu", "cuda:1", "mps"…; None: the best there is. SettingsError if absent."""
    global _chosen
    _chosen = None if name is None else _present(name)


def _present(name: str, source: str = "") -> str:
    """The canonical name of a device of this machine. source: of the name, for the error. Raises SettingsError."""
    import torch

    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"This machine has no device called {name!r}{source}.", "Choose cpu, cuda or mps."
                            ) from error
    return device_name(name)


def default_device() -> str:
    """The device chosen by set_device or FACET_DEVICE; otherwise a GPU that runs something, otherwise the CPU.

    Raises SettingsError for an FACET_DEVICE that this machine does not have.
    """
    import torch

    if _chosen:
        return _chosen
    if chosen := os.environ.get("FACET_DEVICE"):
        return _present(chosen, " (FACET_DEVICE)")
    return device_name("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
