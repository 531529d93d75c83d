"""Edits of test people by every method and by the renderer, as the two networks that did not steer see them."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.faces import NAMES, TIED
from core.systems.attributes.drawing import turned
from core.systems.attributes.methods import edited
from core.systems.attributes.methods.l2m_gan import Given
from core.systems.attributes.networks import Networks
from core.systems.attributes.request import THERE
from core.systems.attributes.wanted import unit, value_of, wanted_of
from core.training.face_latents import Frozen
from core.training.pairs import Person, ideal_pairs

BATCH = 35
DIFFERENT = 8       # of 255: a pixel that differs so much belongs to the ideal pair's difference
GROWN = 3           # pixels by which that is grown


@dataclass(frozen=True)
class Variant:
    """A method as it is scored. conditional: all other attributes are frozen, but for tied ones. inverts: it edits the
    latent of a face instead of its picture.
    """

    name: str
    method: str
    conditional: bool = False
    inverts: bool = True


OURS = "Latent-to-Latent"
VARIANTS = (Variant(OURS, "latent-to-latent"), Variant("InterFaceGAN", "interfacegan"),
            Variant("InterFaceGAN, conditional", "interfacegan", conditional=True), Variant("GANSpace", "ganspace"))
L2M = Variant("L2M-GAN", "l2m", inverts=False)


@dataclass(frozen=True)
class Face:
    """A test person to edit: the inverted picture of the renderer.

    w: (1, styles, style). current: (1, 35) units by the steering judge. picture: (S, S, 3) uint8, drawn from w. scores:
    (35,) and vector: (512,) of that picture. drawn_scores: (35,), drawn_vector: (512,) of the renderer's own.
    """

    w: Tensor
    current: Tensor
    picture: np.ndarray
    scores: Tensor
    vector: Tensor
    drawn_scores: Tensor
    drawn_vector: Tensor


@dataclass
class Table:
    """Pictures of P people with A edits each. scores: (P, A, 35). vectors: (P, A, 512). outside: (P, A) mean change
    outside the ideal pair's difference, of 255. of_drawn: whether the renderer's own pictures were edited.
    """

    of_drawn: bool = False

    scores: list[Tensor] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)
    outside: list[Tensor] = field(default_factory=list)

    def stacked(self, name: str) -> Tensor:
        """One of the three as a tensor."""
        return torch.stack(getattr(self, name))


@dataclass
class Edits:
    """What was measured. goals: (P, A) units asked for. tables: of each variant, and of the ideal pairs."""

    names: tuple[str, ...]
    faces: list[Face] = field(default_factory=list)
    goals: list[Tensor] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    ideal: Table = field(default_factory=lambda: Table(of_drawn=True))
    pictures: list[np.ndarray] = field(default_factory=list)    # one edit of each person by the method that is scored

    def before(self, table: Table, name: str) -> Tensor:
        """The "scores" (P, 35) or "vector" (P, 512) of the pictures that the edits of a table began from."""
        return torch.stack([getattr(face, f"drawn_{name}" if table.of_drawn else name) for face in self.faces])


class Editor:
    """Edits faces in batches and reads pictures. check: the generator with judge and embedder that did not steer."""

    def __init__(self, networks: Networks, check: Frozen) -> None:
        self.networks, self.check = networks, check

    @torch.no_grad()
    def face(self, drawn: np.ndarray) -> Face:
        """The inversion of a drawn picture (S, S, 3) uint8."""
        w = self.networks.invert(drawn)
        picture = self.pictures([w], [0.0])[0]
        scores, vectors = self.see(np.stack([picture, drawn]))
        return Face(w, self.networks.see(picture).units, picture, *(part[at] for at in (0, 1)
                                                                    for part in (scores, vectors)))

    @torch.no_grad()
    def latent(self, face: Face, variant: Variant, name: str, value: float, strength: float = 1.0) -> Tensor:
        """The latent of an edit of one attribute. value: in its own unit."""
        kept = [other for other in NAMES if other != name and other not in TIED[name]] if variant.conditional else []
        wanted = wanted_of(face.current, {name: value}, kept)
        return edited(variant.method, self.networks.editors, face.w, wanted, strength)

    def given(self, picture: np.ndarray, truth: np.ndarray) -> Given:
        """A drawn picture (S, S, 3) uint8 with its true attributes (35,), as L2M-GAN takes it."""
        units = [unit(name, float(value)) for name, value in zip(NAMES, truth, strict=True)]
        return Given(self.networks.tensor(picture), torch.tensor([units], device=self.networks.device))

    def switched(self, picture: np.ndarray, truth: np.ndarray, asked: Mapping[str, bool], strength: float = 1.0,
                 references: Mapping[str, Given] | None = None) -> np.ndarray:
        """The edit of a drawn picture (S, S, 3) uint8 by L2M-GAN."""
        from core.images import to_uint8

        made = self.networks.l2m.repainted(self.given(picture, truth), asked, references or {}, strength)
        return to_uint8(made.picture)[0]

    @torch.no_grad()
    def pictures(self, latents: Sequence[Tensor], turns: Sequence[float]) -> np.ndarray:
        """Pictures (N, S, S, 3) uint8 of latents (1, styles, style), each turned by so many degrees."""
        from core.images import to_uint8

        made = [turned(picture, turn) for part, angles in zip(
                    torch.cat(list(latents)).split(BATCH), torch.tensor(turns).split(BATCH), strict=True)
                for picture, turn in zip(self.networks.frozen.draw(part).split(1), angles.tolist(), strict=True)]
        return to_uint8(torch.cat(made))

    @torch.no_grad()
    def see(self, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
        """Scores (N, 35) and unit vectors (N, 512) of pictures (N, S, S, 3) uint8, on the CPU."""
        from core.images import from_uint8

        found = [self.check.see(part.to(self.check.device)) for part in from_uint8(pictures).split(BATCH)]
        scores, vectors = (torch.cat(column).cpu() for column in zip(*found, strict=True))
        return scores, F.normalize(vectors, dim=1)


def collect(editor: Editor, people: int, names: tuple[str, ...] = NAMES, variants: Sequence[Variant] = VARIANTS,
            workers: int | None = None, one_camera: bool = False) -> Edits:
    """Edit the first test people: every named attribute to its opposite, by every variant.

    The variant that does not invert, or else the first, is the one that is scored. workers, one_camera: of
    `ideal_pairs`.
    """
    found = Edits(names, tables={variant.name: Table(of_drawn=not variant.inverts) for variant in variants})
    size = editor.networks.size
    for number, person in enumerate(ideal_pairs(people, "test", names, size, workers=workers, one_camera=one_camera)):
        _add(found, editor, person, number, variants)
        print(f"edited {number + 1} of {people} test people", file=sys.stderr, flush=True)
    return found


def _add(found: Edits, editor: Editor, person: Person, number: int, variants: Sequence[Variant]) -> None:
    """One more person."""
    face = editor.face(person.pictures[0])
    values = [float(truth[NAMES.index(name)]) for name, truth in zip(found.names, person.truth[1:], strict=True)]
    turns = [value if name == "roll" else 0.0 for name, value in zip(found.names, values, strict=True)]
    apart = ~difference(person.pictures)                                        # (A, S, S)
    scored = next((variant for variant in variants if not variant.inverts), variants[0])
    for variant in variants:
        asked = list(zip(found.names, values, strict=True))
        if variant.inverts:
            pictures = editor.pictures([editor.latent(face, variant, name, value) for name, value in asked], turns)
        else:
            pictures = np.stack([editor.switched(person.pictures[0], person.truth[0], {name: value > THERE})
                                 for name, value in asked])
        before = face.picture if variant.inverts else person.pictures[0]
        _record(found.tables[variant.name], editor, pictures, before, apart)
        if variant is scored:
            found.pictures.append(pictures[number % len(pictures)])
    _record(found.ideal, editor, person.pictures[1:], person.pictures[0], apart)
    found.faces.append(face)
    found.goals.append(torch.tensor([unit(name, value) for name, value in zip(found.names, values, strict=True)]))


def _record(table: Table, editor: Editor, pictures: np.ndarray, before: np.ndarray, apart: np.ndarray) -> None:
    scores, vectors = editor.see(pictures)
    change = np.abs(pictures.astype(np.float32) - before).mean(-1)              # (A, S, S)
    outside = (change * apart).sum((1, 2)) / np.maximum(apart.sum((1, 2)), 1)
    table.scores.append(scores)
    table.vectors.append(vectors)
    table.outside.append(torch.from_numpy(outside.astype(np.float32)))


def difference(pictures: np.ndarray) -> np.ndarray:
    """Where ideal edits differ from the first picture, grown by GROWN pixels: (1 + A, S, S, 3) -> (A, S, S) bool."""
    off = np.abs(pictures[1:].astype(np.int16) - pictures[0]).max(-1) >= DIFFERENT
    mask = torch.from_numpy(off.astype(np.float32))[:, None]
    return F.max_pool2d(mask, 2 * GROWN + 1, 1, GROWN)[:, 0].numpy() > 0


def paths(editor: Editor, face: Face, variant: Variant, name: str, goal: float,
          strengths: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Scores (K, 35) and vectors (K, 512) of one edit at growing strengths. goal: in units."""
    value = value_of(name, goal)
    latents = [editor.latent(face, variant, name, value, strength) for strength in strengths]
    return editor.see(editor.pictures(latents, [0.0] * len(latents)))


def columns(names: Sequence[str]) -> list[int]:
    """The columns of attributes in a table of scores."""
    return [NAMES.index(name) for name in names]


def others_of(name: str) -> Iterator[int]:
    """The columns that an edit of an attribute should leave alone: neither itself, nor tied, nor roll."""
    return (at for at, other in enumerate(NAMES) if other not in (name, "roll") and other not in TIED[name])
