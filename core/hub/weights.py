"""State dicts: out of pickles, into safetensors, onto networks. Strict: nothing missing, nothing left over."""

import argparse
import itertools
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from core.cache import cache_dir
from core.errors import CheckpointError
from core.hub.files import draft, replacing, sha256, unreadable
from core.hub.manifest import Row

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.overrides import TorchFunctionMode

COUNTER = "num_batches_tracked"     # of batch norms: older files lack it, and it does nothing when they are used
LARGEST_HALF = 65504.0
SCALE = ".scale"                    # after the name of a weight in 8 bits: what each of its outputs is multiplied by
PACKED = 4096                       # numbers from which a weight is worth packing into 8 bits
FILLING = {"normal_", "uniform_"}   # what every way of initialising comes down to, of torch.nn.init and of tensors

_unpickling = Lock()                # torch's list of harmless classes belongs to the whole process


def read(path: Path, row: Row) -> "dict[str, Tensor]":
    """The tensors of a safetensors file, on the CPU. Raises CheckpointError when it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise unreadable(path, row.mend) from error


def opened(path: Path) -> "tuple[dict[str, str], dict[str, Tensor]]":
    """The facts that `write` put into a file's header, none in other people's files, and its tensors, on the CPU.

    Raises CheckpointError when it is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stored:
            return stored.metadata() or {}, {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise unreadable(path, "Name the file that `python -m core train` wrote.") from error


def unpickle(path: Path, row: Row) -> "dict[str, Tensor]":
    """The tensors under `row.wrapper_key` of a torch pickle. Nothing in it gets executed: `weights_only` throughout.

    An argparse.Namespace of training options is let through and thrown away with the rest of the wrapping.
    """
    import torch

    try:
        with _unpickling, torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise unreadable(path, row.mend, "file of weights alone") from error
    return _unwrapped(content, path, row)


def _unwrapped(content: Any, path: Path, row: Row) -> "dict[str, Tensor]":
    import torch

    from core.models import NETWORKS

    if row.wrapper_key is not None:
        if not isinstance(content, dict) or row.wrapper_key not in content:
            there = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
            raise CheckpointError(f"{path.name} has no {row.wrapper_key!r} inside; it holds: {there[:200]}.", row.mend)
        content = content[row.wrapper_key]
    if row.network and isinstance(content, dict) and (parts := NETWORKS[row.network].tables):
        missing = [part for part in parts if not isinstance(content.get(part), dict)]
        if missing:
            raise CheckpointError(f"{path.name} has no table {' or '.join(missing)}.", row.mend)
        content = {f"{part}.{key}": value for part in parts for key, value in content[part].items()}
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(f"{path.name} does not hold a plain table of tensors.", row.mend)
    return without_prefix(content)


def without_prefix(state: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """The same table without the `module.` that DataParallel puts before every key."""
    if state and all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return dict(state)


def converted(row: Row) -> Path | None:
    """The safetensors twin of a pickle, if it was made before and is whole: its name ends in its own hash."""
    if row.sha256 is None:
        return None
    for path in sorted(_twins().glob(f"{row.name}-{row.sha256[:16]}-*.safetensors")):
        if sha256(path)[:16] == path.stem.rsplit("-", 1)[1]:
            return path
        path.unlink(missing_ok=True)
    return None


def convert(path: Path, row: Row) -> Path:
    """Write a pickle's tensors as safetensors into the cache, once; two processes that do so at once write the same."""
    from safetensors.torch import save_file

    tensors = {key: value.clone().contiguous() for key, value in unpickle(path, row).items()}
    with draft(_twins(), row.name) as part:
        save_file(tensors, part, metadata={"format": "pt"})
        final = _twins() / f"{row.name}-{sha256(path)[:16]}-{sha256(part)[:16]}.safetensors"
        os.replace(part, final)
    return final


def _twins() -> Path:
    return cache_dir("converted")


def imported(row: Row) -> Path | None:
    """Where a file that its user imported lies; None if there is none."""
    path = cache_dir() / "imported" / f"{row.name}.safetensors"
    return path if path.exists() else None


def import_pickle(path: Path, row: Row) -> Path:
    """Write the tensors of a published pickle as safetensors into the cache folder; returns that path.

    The row's file name ends in the first digits of its SHA-256, as torch's own files do. Raises CheckpointError.
    """
    from safetensors.torch import save_file

    wanted = re.search(r"-([0-9a-f]{8,})\.", row.file)
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.", f"Name one:  python -m core import {row.name} FILE")
    if wanted and not sha256(path).startswith(wanted[1]):
        raise CheckpointError(f"{path} is not {row.file}: its SHA-256 begins with {sha256(path)[:8]}, not {wanted[1]}.",
                              row.mend)
    tensors = {key: value.clone().contiguous() for key, value in unpickle(path, row).items()}
    fit(row.network, row.preset, tensors)
    target = cache_dir() / "imported" / f"{row.name}.safetensors"
    with replacing(target) as part:
        save_file(tensors, part, metadata={"format": "pt", "sha256": sha256(path)})
    return target


def fit(network: str, preset: str, state: "dict[str, Tensor]") -> "nn.Module":
    """Build a network on the meta device and give it its weights, in float32; in eval mode, frozen, on the CPU.

    state: a flat table with the keys of our network or of the published file; weights in 8 bits are unpacked. The
    network's UNUSED keys are left out, `num_batches_tracked` may be missing; anything else raises CheckpointError with
    the names that don't fit, and so do two keys with one name of ours.
    """
    import torch

    from core.models import NETWORKS, build

    with torch.device("meta"), _without_chance():
        module = build(network, preset)
    row, own = NETWORKS[network], module.state_dict()
    used = {key: value for key, value in unpacked(without_prefix(state)).items()
            if key not in row.unused or row.rename(key) in own}
    given = _renamed(f"{network} {preset}", used, row.rename)
    given = {key: value for key, value in given.items() if key in own or not key.endswith(COUNTER)}
    given |= {key: torch.zeros((), dtype=torch.int64) for key in own if key.endswith(COUNTER) and key not in given}
    _compare(f"{network} {preset}", own, given)
    module.load_state_dict({key: _full(value) for key, value in given.items()}, strict=True, assign=True)
    _nothing_on_meta(f"{network} {preset}", module)
    return module.eval().requires_grad_(False)


def _renamed(what: str, state: "dict[str, Tensor]", rename: Callable[[str], str]) -> "dict[str, Tensor]":
    """The same table under our names. Raises CheckpointError for two keys that get the same name."""
    keys: dict[str, str] = {}
    for key in state:
        other = keys.setdefault(rename(key), key)
        if other != key:
            raise CheckpointError(f"These weights hold {rename(key)} of {what} twice, as {other} and as {key}.",
                                  "Remove one of the two keys from the file.")
    return {name: state[key] for name, key in keys.items()}


def _without_chance() -> "TorchFunctionMode":
    """Inside, this thread's tensors are not filled with random numbers: on the meta device there is nothing to fill,
    and to find that out torch would import its compiler, a second's work.
    """
    from torch.overrides import TorchFunctionMode

    class Blank(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
            kwargs = kwargs or {}
            if getattr(function, "__name__", "") in FILLING:
                return args[0] if args else kwargs["tensor"]
            return function(*args, **kwargs)

    return Blank()


def _full(value: "Tensor") -> "Tensor":
    return value.detach().float() if value.is_floating_point() else value.detach()


def _compare(what: str, own: "dict[str, Tensor]", given: "dict[str, Tensor]") -> None:
    wrong = [f"{label} {_some(names)}" for label, names in {
        "missing": own.keys() - given.keys(),
        "unexpected": given.keys() - own.keys(),
        "of another shape": [key for key in own.keys() & given.keys() if own[key].shape != given[key].shape],
    }.items() if names]
    if wrong:
        raise CheckpointError(f"These weights are not those of {what}: {'; '.join(wrong)}.",
                              "Choose the network and preset they were made for; for a file of the manifest:  "
                              "python -m core verify")


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _nothing_on_meta(what: str, module: "nn.Module") -> None:
    left = [key for key, value in itertools.chain(module.named_parameters(), module.named_buffers()) if value.is_meta]
    if left:
        raise CheckpointError(f"{what} has no value for {_some(left)}: buffers that are not saved stay empty.",
                              "Compute them in the network's forward, or save them with it.")


def write(module: "nn.Module", path: Path, facts: dict[str, Any], bits: int = 16) -> None:
    """Save a network for shipping: parameters in half precision, buffers as they are, `facts` in the file's header.

    bits: 16, or 8 to pack large matrices and kernels, see `packed`. A parameter too large for half precision stays
    whole. Raises CheckpointError when a number is not finite.
    """
    from safetensors.torch import save_file

    learnt, tensors = {key for key, _ in module.named_parameters(remove_duplicate=False)}, {}
    for key, value in module.state_dict().items():
        tensors |= _shipped(key, value, bits if key in learnt else 32)
    metadata = {"format": "pt", **{key: value if isinstance(value, str) else json.dumps(value)
                                   for key, value in facts.items()}}
    with replacing(path) as part:
        save_file(tensors, part, metadata=metadata)


def _shipped(key: str, value: "Tensor", bits: int) -> "dict[str, Tensor]":
    """A contiguous copy of its own on the CPU (safetensors refuses shared memory), in 32, 16 or 8 bits if it fits."""
    import torch

    value = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    if not value.is_floating_point():
        return {key: value}
    if not torch.isfinite(value).all():
        raise CheckpointError(f"{key} holds numbers that are not finite, so this network is not saved.",
                              "Go back to an earlier state of the training, or train with a smaller learning rate.")
    if bits == 8 and value.ndim >= 2 and value.numel() >= PACKED:
        return packed(key, value)
    return {key: value.half() if bits < 32 and (value.abs() <= LARGEST_HALF).all() else value}


def packed(key: str, value: "Tensor") -> "dict[str, Tensor]":
    """A weight (outputs, …) in 8 bits: whole numbers from -127 to 127, and under its name with SCALE what each output
    is multiplied by, (outputs,) float32. No number moves by more than 1/254 of the largest of its output.
    """
    import torch

    scale = (value.float().flatten(1).abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    return {key: (value / _along(scale, value)).round().to(torch.int8), key + SCALE: scale}


def unpacked(state: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """The same table with 8-bit weights times their scales, in float32; other tensors as they are."""
    import torch

    weights = {key for key, value in state.items() if value.dtype == torch.int8}
    lost = [key for key in weights if not _has_scale(state, key)]
    if lost:
        raise CheckpointError(f"These weights hold {_some(lost)} in 8 bits without fitting scales.",
                              "Download the file again, or save the network anew.")
    scales = {key + SCALE for key in weights}
    return {key: value.float() * _along(state[key + SCALE], value) if key in weights else value
            for key, value in state.items() if key not in scales}


def _has_scale(state: "dict[str, Tensor]", key: str) -> bool:
    scale = state.get(key + SCALE)
    return scale is not None and scale.shape == state[key].shape[:1] and bool(scale.isfinite().all())


def _along(scale: "Tensor", value: "Tensor") -> "Tensor":
    """(outputs,) shaped to multiply (outputs, …)."""
    return scale.view(-1, *[1] * (value.ndim - 1))
