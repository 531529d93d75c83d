"""Trained subjects: writing and reading adapter files, and merging them into the denoiser.

    write(subject, path)        one safetensors file, a LoRA for diffusers' `load_lora_weights`
    read(path, base="tiny")     the subject, validated
    adapted(unet, subject)      a copy of the denoiser with the adapter merged

The file's tensors are those of the LoRA only, because other programs refuse additional ones. Its header holds
the rest: token, class word, base, settings, calibrated ages and, as base64, token embedding, face vectors, portrait.
"""

import base64
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
from core.hub.files import replacing, unreadable
from core.models.unet import UNet

CLASS = "person"             # the word after the token: photo of a wzx person
FORM = "facet subject 1"     # format name in the header
PORTRAIT = (128, 128, 3)
LONGEST = 60                 # characters of a name
OLDEST = 120                 # years, upper limit of calibrated ages
DOWN, UP = ".lora_A.weight", ".lora_B.weight"
WRONG = "Choose an adapter file that training a person here has written."
OTHER = "Use it with the checkpoint that it was trained on."


class _Invalid(ValueError):
    """What is wrong with an adapter, in our words; part of a sentence."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A person trained on one checkpoint choice."""

    name: str                       # shown to the visitor
    token: str                      # one of words.RARE
    base: str                       # the choice it was trained on: "tiny", "sd14"
    base_sha256: str                # of that choice's denoiser; "" if unknown
    weights: Mapping[str, Tensor]   # "unet.….lora_A.weight" and "….lora_B.weight"; or whole tensors, "unet.….weight"
    embedding: Tensor | None        # (C,) embedding of the token; None: the text encoder's own
    faces: Tensor                   # (K, 512) face vectors of its pictures
    portrait: np.ndarray            # (128, 128, 3) uint8, one of its pictures
    settings: dict = field(default_factory=dict)    # of the training: steps, final losses, seed, pictures …
    ages: tuple[float, ...] | None = None           # calibrated ages, see latent.interpolate_age_embeddings

    def prompt(self, words_after: str = "") -> str:
        """The prompt of this person: "photo of a wzx person", and "… as old" with `words_after` = "old"."""
        said = words.SUBJECT.format(self.token)
        return f"{said} as {words_after}" if words_after else said


# ------------------------------------------------------------------------------------------------------- the file


def write(subject: Subject, path: Path | str) -> Path:
    """Write the adapter file atomically; returns its path.

    A LoRA takes a few MB, a fully trained denoiser as much as its weights. Tensors keep their types. Raises
    CheckpointError for values that are not finite.
    """
    from safetensors.torch import save_file

    path = Path(path)
    tensors = {key: value.detach().cpu().contiguous() for key, value in subject.weights.items()}
    bad = [key for key, value in tensors.items() if not value.isfinite().all()]
    if bad:
        raise CheckpointError(f"{bad[0]} of the trained person has values that are not finite.",
                              "Train again with a smaller learning rate.")
    with replacing(path) as part:
        save_file(tensors, part, metadata=_header(subject))
    return path


def _header(subject: Subject) -> dict[str, str]:
    facts = {"format": "pt", "facet": FORM, "name": subject.name[:LONGEST], "token": subject.token, "class": CLASS,
             "base": subject.base, "base_sha256": subject.base_sha256, "settings": json.dumps(subject.settings),
             "faces": _packed(subject.faces.detach().cpu().numpy().astype("<f2")),
             "portrait": _packed(subject.portrait.astype("u1"))}
    if subject.embedding is not None:
        facts["spoken"] = _packed(subject.embedding.detach().float().cpu().numpy().astype("<f4"))
    if subject.ages is not None:
        facts["ages"] = json.dumps(subject.ages)
    return facts


def read(path: Path | str, base: str | None = None, base_sha256: str = "") -> Subject:
    """Read a subject from an adapter file, tensors on the CPU.

    base: the checkpoint choice it must belong to. base_sha256: hash of the denoiser, if known. Raises SettingsError for
    another base, CheckpointError for a truncated, damaged or foreign file.
    """
    from safetensors import SafetensorError, safe_open

    name = Path(path).name
    try:
        with safe_open(path, "pt") as stored:
            facts = stored.metadata() or {}
            weights = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise unreadable(path, WRONG) from error
    if facts.get("facet") != FORM:
        raise CheckpointError(f"{name} is a safetensors file, but not an adapter of Facet.", WRONG)
    try:
        subject = _subject(facts, weights)
    except _Invalid as error:
        raise CheckpointError(f"{name} is not a valid adapter: {error}.", WRONG) from error
    except (KeyError, ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise CheckpointError(f"{name} is not a valid adapter: its header is incomplete or damaged.", WRONG) from error
    _same_base(subject, name, base, base_sha256)
    return subject


def _subject(facts: Mapping[str, str], weights: dict[str, Tensor]) -> Subject:
    """The subject of a header and tensors. Raises _Invalid for invalid ones, KeyError and others for damaged ones."""
    if facts["token"] not in words.RARE:
        raise _Invalid(f"its token is {facts['token'][:20]!r}, not one of {', '.join(words.RARE)}")
    _paired(weights)
    faces = _unpacked(facts["faces"], "<f2", (-1, 512)).float()
    embedding = _unpacked(facts["spoken"], "<f4", (-1,)) if "spoken" in facts else None
    for what, tensor in {**weights, "the face vectors": faces, "the token's embedding": embedding}.items():
        if tensor is not None and not (tensor.is_floating_point() and tensor.isfinite().all()):
            raise _Invalid(f"{what[:100]} has values that are not finite")
    if not len(faces) or not faces.norm(dim=1).min() > 0:
        raise _Invalid("its face vectors are missing or zero")
    settings = json.loads(facts["settings"])
    if not isinstance(settings, dict):
        raise _Invalid("its settings are not a table")
    portrait = _unpacked(facts["portrait"], "u1", PORTRAIT).numpy()
    return Subject(facts["name"][:LONGEST], facts["token"], facts["base"], facts["base_sha256"], weights, embedding,
                   faces, portrait, settings, _ages(facts["ages"]) if "ages" in facts else None)


def _ages(text: str) -> tuple[float, ...]:
    """Calibrated ages from a header. Raises _Invalid for invalid ones."""
    found = json.loads(text)
    if not isinstance(found, list) or len(found) != len(words.GROUPS):
        raise _Invalid(f"its ages are not {len(words.GROUPS)} numbers")
    ages = tuple(float(each) for each in found)
    if not all(0 <= each <= OLDEST for each in ages):
        raise _Invalid(f"its ages are not all between 0 and {OLDEST} years")
    return ages


def _paired(weights: dict[str, Tensor]) -> None:
    """Raise _Invalid unless every key belongs to the denoiser and LoRA matrices A and B come in pairs."""
    for key, value in weights.items():
        other = key.replace(DOWN, UP) if key.endswith(DOWN) else key.replace(UP, DOWN)
        if not key.startswith("unet.") or other not in weights:
            raise _Invalid(f"{key[:100]} is unexpected, or its LoRA counterpart is missing")
        if key.endswith(DOWN) and (value.ndim < 2 or weights[other].ndim < 2
                                   or not len(value) == weights[other].shape[1] == weights[other][:1].numel()):
            raise _Invalid(f"{key[:100]} and its LoRA counterpart have different ranks")


def _same_base(subject: Subject, name: str, base: str | None, base_sha256: str) -> None:
    if base is not None and subject.base != base:
        raise SettingsError(f"{name} was trained on {subject.base}, and the checkpoint in use is {base}.",
                            f"Choose the checkpoint {subject.base}, or train the person again on {base}.")
    if base is not None and base_sha256 and subject.base_sha256 and subject.base_sha256 != base_sha256:
        raise SettingsError(f"{name} was trained on other weights of {base} than those in use.",
                            "Train the person again.")


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _unpacked(text: str, kind: str, shape: tuple[int, ...]) -> Tensor:
    found = np.frombuffer(base64.b64decode(text, validate=True), kind).reshape(shape)
    return torch.from_numpy(found.astype(found.dtype.newbyteorder("=")))      # astype copies: frombuffer is read-only


# ---------------------------------------------------------------------------------------------------- the denoiser


def adapted(unet: UNet, subject: Subject) -> UNet:
    """A copy of the denoiser with the adapter merged, in eval mode; unchanged weights are shared.

    The given denoiser is only read, so this is thread-safe. Raises CheckpointError for weights that do not fit.
    """
    return merged(unet, subject.weights)


@torch.no_grad()
def merged(unet: UNet, weights: Mapping[str, Tensor]) -> UNet:
    """`adapted`, from the weights alone."""
    own, changed = dict(unet.named_parameters()), {}
    for key, value in weights.items():
        target = key.replace(DOWN, ".weight")
        if key.endswith(UP):
            continue
        if target not in own:
            raise CheckpointError(f"The adapter changes {target[:100]}, which is not in this denoiser.", OTHER)
        before = own[target]
        up = weights[key.replace(DOWN, UP)] if target != key else value
        if (*up.shape[:1], *value.shape[1:]) != before.shape:       # checked first: the product could be huge
            raise CheckpointError(f"The adapter's {target[:100]} has another shape than the weight.", OTHER)
        if target in changed:
            raise CheckpointError(f"The adapter changes {target[:100]} twice, whole and by a LoRA.", OTHER)
        change = (product(value, up) if target != key else value).to(before.device)
        changed[target] = (before.float() + change if target != key else change).to(before.dtype)
    return _with(unet, changed)


def product(down: Tensor, up: Tensor) -> Tensor:
    """The weight change of a LoRA, float32: down (r, in, …) and up (out, r, 1…) -> (out, in, …)."""
    return (up.float().flatten(1) @ down.float().flatten(1)).unflatten(1, down.shape[1:])


def _with(unet: UNet, changed: Mapping[str, Tensor]) -> UNet:
    """A copy in eval mode with some weights replaced; all others are shared."""
    made = shared(unet)
    for key, value in changed.items():
        owner, _, name = key.rpartition(".")
        setattr(made.get_submodule(owner), name, nn.Parameter(value, requires_grad=False))
    return made.eval()


def shared(module: Any) -> Any:
    """A copy of a module that shares its parameters and buffers; layers of the copy can be replaced."""
    return copy.deepcopy(module, {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())})
