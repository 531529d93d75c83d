"""A taught person: what an adapter file holds, written, read, and laid over the denoiser.

    write(subject, path)        one safetensors file, a LoRA as diffusers' `load_lora_weights` reads it
    read(path, base="tiny")     back again, checked
    adapted(unet, subject)      a denoiser that knows the person; the one given stays as it is

The tensors in the file are the LoRA's alone, for other programs refuse a file with more. What else belongs to a person
is in the file's header: token, class word, base, settings, where the ages lie, and as base64 the token's vector, the
face vectors and a portrait.
"""

import base64
import binascii
import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core import words
from core.errors import CheckpointError, SettingsError
from core.hub.files import replacing
from core.models.unet import UNet

CLASS = "person"             # the word after the token: photo of a wzx person
FORM = "facet subject 1"     # what a header says of itself
PORTRAIT = (128, 128, 3)
LONGEST = 60                 # letters of a name
OLDEST = 120                 # years that a word can be made to mean
DOWN, UP = ".lora_A.weight", ".lora_B.weight"
WRONG = "choose a file that teaching a person here has made"
OTHER = "use it with the checkpoint that it was taught on"


@dataclass(frozen=True, eq=False)
class Subject:
    """A person, as taught on one checkpoint choice."""

    name: str                       # shown to the visitor
    token: str                      # one of words.RARE
    base: str                       # the choice it was taught on: "tiny", "sd14"
    base_sha256: str                # of that choice's denoiser; "" if unknown
    weights: Mapping[str, Tensor]   # "unet.….lora_A.weight" and "….lora_B.weight"; or whole tensors, "unet.….weight"
    spoken: Tensor | None           # (C,) what the token sounds like to the text encoder; None: as it always did
    faces: Tensor                   # (K, 512) face vectors of its pictures
    portrait: np.ndarray            # (128, 128, 3) uint8, one of its pictures
    settings: dict = field(default_factory=dict)    # of the teaching: steps, losses at the end, seed, pictures …
    ages: tuple[float, ...] | None = None           # where the six ages lie for this person, see latent.between

    def prompt(self, words_after: str = "") -> str:
        """The words that mean this person: "photo of a wzx person", and "… as old" with `words_after` = "old"."""
        said = words.SUBJECT.format(self.token)
        return f"{said} as {words_after}" if words_after else said


# ------------------------------------------------------------------------------------------------------- the file


def write(subject: Subject, path: Path | str) -> Path:
    """Write the adapter file, whole or not at all; returns its path.

    A LoRA takes a few MB, a whole denoiser as much as it has weights; tensors are kept in their own types. Raises
    CheckpointError where a number is not finite.
    """
    from safetensors.torch import save_file

    path = Path(path)
    tensors = {key: value.detach().cpu().contiguous() for key, value in subject.weights.items()}
    bad = [key for key, value in tensors.items() if not value.isfinite().all()]
    if bad:
        raise CheckpointError(f"{bad[0]} of the taught person holds numbers that are not finite",
                              "teach again with a smaller learning rate")
    with replacing(path) as part:
        save_file(tensors, part, metadata=_header(subject))
    return path


def _header(subject: Subject) -> dict[str, str]:
    facts = {"format": "pt", "facet": FORM, "name": subject.name[:LONGEST], "token": subject.token, "class": CLASS,
             "base": subject.base, "base_sha256": subject.base_sha256, "settings": json.dumps(subject.settings),
             "faces": _packed(subject.faces.detach().cpu().numpy().astype("<f2")),
             "portrait": _packed(subject.portrait.astype("u1"))}
    if subject.spoken is not None:
        facts["spoken"] = _packed(subject.spoken.detach().float().cpu().numpy().astype("<f4"))
    if subject.ages is not None:
        facts["ages"] = json.dumps(subject.ages)
    return facts


def read(path: Path | str, base: str | None = None, base_sha256: str = "") -> Subject:
    """The person in an adapter file, tensors on the CPU.

    base: the choice it must have been taught on; base_sha256: the denoiser's hash there, where it is known. Raises
    SettingsError when it was another one, CheckpointError for a file that is cut, damaged, or no adapter of ours.
    """
    from safetensors import SafetensorError, safe_open

    name = Path(path).name
    try:
        with safe_open(path, "pt") as stored:
            facts = stored.metadata() or {}
            weights = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{name} is cut off or damaged, or is no safetensors file: {error}", WRONG) from error
    if facts.get("facet") != FORM:
        raise CheckpointError(f"{name} is a safetensors file, but not of a person taught here", WRONG)
    try:
        subject = _subject(facts, weights)
    except (KeyError, ValueError, TypeError, OverflowError, RuntimeError, binascii.Error) as error:
        raise CheckpointError(f"{name} does not hold what an adapter must: {error}", WRONG) from error
    _same_base(subject, name, base, base_sha256)
    return subject


def _subject(facts: Mapping[str, str], weights: dict[str, Tensor]) -> Subject:
    """The person that a header and tensors describe. Raises ValueError or KeyError for what can't be."""
    if facts["token"] not in words.RARE:
        raise ValueError(f"its token is {facts['token'][:20]!r}, not one of {', '.join(words.RARE)}")
    _paired(weights)
    faces = _unpacked(facts["faces"], "<f2", (-1, 512)).float()
    spoken = _unpacked(facts["spoken"], "<f4", (-1,)) if "spoken" in facts else None
    for what, tensor in {**weights, "the face vectors": faces, "the token's vector": spoken}.items():
        if tensor is not None and not (tensor.is_floating_point() and tensor.isfinite().all()):
            raise ValueError(f"{what[:100]} holds numbers that are not finite")
    if not len(faces) or not faces.norm(dim=1).min() > 0:
        raise ValueError("it has no face vectors that anything could be compared with")
    settings = json.loads(facts["settings"])
    if not isinstance(settings, dict):
        raise ValueError("its settings are no table")
    portrait = _unpacked(facts["portrait"], "u1", PORTRAIT).numpy()
    return Subject(facts["name"][:LONGEST], facts["token"], facts["base"], facts["base_sha256"], weights, spoken,
                   faces, portrait, settings, _ages(facts["ages"]) if "ages" in facts else None)


def _ages(text: str) -> tuple[float, ...]:
    """Where a header says that the ages lie. Raises ValueError, TypeError for what can't be."""
    found = json.loads(text)
    if not isinstance(found, list) or len(found) != len(words.GROUPS):
        raise ValueError(f"its ages are not {len(words.GROUPS)} numbers")
    ages = tuple(float(each) for each in found)
    if not all(0 <= each <= OLDEST for each in ages):
        raise ValueError(f"its ages are not all between 0 and {OLDEST} years")
    return ages


def _paired(weights: dict[str, Tensor]) -> None:
    """Raise ValueError unless every key is the denoiser's, and every A of a LoRA has its B."""
    for key, value in weights.items():
        other = key.replace(DOWN, UP) if key.endswith(DOWN) else key.replace(UP, DOWN)
        if not key.startswith("unet.") or other not in weights:
            raise ValueError(f"{key[:100]} has no place in it, or lacks its other half")
        if key.endswith(DOWN) and (value.ndim < 2 or weights[other].ndim < 2
                                   or not len(value) == weights[other].shape[1] == weights[other][:1].numel()):
            raise ValueError(f"{key[:100]} and its other half have different ranks")


def _same_base(subject: Subject, name: str, base: str | None, base_sha256: str) -> None:
    if base is not None and subject.base != base:
        raise SettingsError(f"{name} was taught on {subject.base}, and the checkpoint in use is {base}",
                            f"choose the checkpoint {subject.base}, or teach the person again on {base}")
    if base is not None and base_sha256 and subject.base_sha256 and subject.base_sha256 != base_sha256:
        raise SettingsError(f"{name} was taught on other weights of {base} than those in use now",
                            "teach the person again")


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _unpacked(text: str, kind: str, shape: tuple[int, ...]) -> Tensor:
    found = np.frombuffer(base64.b64decode(text, validate=True), kind).reshape(shape)
    return torch.from_numpy(found.astype(found.dtype.newbyteorder("=")))      # astype copies: frombuffer is read-only


# ---------------------------------------------------------------------------------------------------- the denoiser


def adapted(unet: UNet, subject: Subject) -> UNet:
    """A denoiser that knows the person, in eval mode; weights that the person leaves alone are shared.

    The one given is only read, so threads may call this at once. Raises CheckpointError for weights that don't fit.
    """
    return merged(unet, subject.weights)


@torch.no_grad()
def merged(unet: UNet, weights: Mapping[str, Tensor]) -> UNet:
    """`adapted` by the weights alone."""
    own, changed = dict(unet.named_parameters()), {}
    for key, value in weights.items():
        target = key.replace(DOWN, ".weight")
        if key.endswith(UP):
            continue
        if target not in own:
            raise CheckpointError(f"the adapter changes {target[:100]}, which this denoiser does not have", OTHER)
        before = own[target]
        up = weights[key.replace(DOWN, UP)] if target != key else value
        if (*up.shape[:1], *value.shape[1:]) != before.shape:       # before the product, which could be made huge
            raise CheckpointError(f"the adapter's change of {target[:100]} has another shape than the weight", OTHER)
        change = (product(value, up) if target != key else value).to(before.device)
        changed[target] = (before.float() + change if target != key else change).to(before.dtype)
    return _with(unet, changed)


def product(down: Tensor, up: Tensor) -> Tensor:
    """A LoRA's change of a weight, float32: down (r, in, …) and up (out, r, 1…) -> (out, in, …)."""
    return (up.float().flatten(1) @ down.float().flatten(1)).unflatten(1, down.shape[1:])


def _with(unet: UNet, changed: Mapping[str, Tensor]) -> UNet:
    """A copy in eval mode that shares all weights but those that changed."""
    made = shared(unet)
    for key, value in changed.items():
        owner, _, name = key.rpartition(".")
        setattr(made.get_submodule(owner), name, nn.Parameter(value, requires_grad=False))
    return made.eval()


def shared(module: Any) -> Any:
    """A copy of a module whose parameters and buffers are the very same tensors: layers may be swapped in it."""
    return copy.deepcopy(module, {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())})
