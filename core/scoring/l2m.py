"""The bars of L2M-GAN: edits of test people's own pictures, beside the other methods and the renderer.

Every test person gets each attribute of the network switched, by every method; `judge-check-tiny` and
`embedder-check-tiny` read all pictures. L2M-GAN edits the drawn picture, the others its inversion, and each is compared
with what it began from. References are the pictures of other test people that have the other value. A probe is a linear
classifier of an attribute from one part of the style code, fitted on half of the people and scored on the others, by
balanced accuracy. The renderer's edits have the camera of the face before, so that only what was edited differs.
"""

from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from core import data, hub
from core.faces import NAMES
from core.features import resized
from core.images import from_uint8
from core.scoring import EMBEDDERS, JUDGES, PICTURES, QUICK, Bar, bar, picture_bars, reported
from core.scoring.attributes import leakage, success
from core.scoring.edits import L2M, VARIANTS, Editor, Edits, Table, collect
from core.systems.attributes import SYSTEM
from core.systems.attributes.networks import Networks
from core.training.face_latents import Frozen
from core.training.l2m import domains_of
from core.training.pairs import Person, ideal_pairs

FULL, SHORT, FEW = 500, 60, 6               # test people
STRENGTHS = (-0.5, 0.0, 0.5, 1.0, 1.5)
RIDGE = 1e-3        # of the probes, in parts of the squares of a feature


@dataclass(frozen=True)
class Codes:
    """Both parts of the style codes of N pictures, (N, style) each, and their attributes, (N, A) bool. offered: the
    columns of those that can be asked for.
    """

    unrelated: Tensor
    related: Tensor
    there: Tensor
    offered: tuple[int, ...]


def scored(quick: bool = False, short: bool = False) -> dict:
    """{"bars": […], "methods": see `compared`}. short: 60 people instead of 500. quick: six.

    Raises CheckpointError when one is missing.
    """
    people = FEW if quick else SHORT if short else FULL
    networks = Networks(SYSTEM.choose())
    check = Frozen(networks.frozen.generator, hub.load(JUDGES[1]), hub.load(EMBEDDERS[1]), networks.encoder,
                   networks.choice.frame)
    editor, names = Editor(networks, check), networks.l2m.offered
    found = collect(editor, people, names, (*VARIANTS, L2M), one_camera=True)
    persons = list(ideal_pairs(people, "test", names, networks.size, one_camera=True))
    real = data.drawn_set("test", *((QUICK[0], 2) if quick else PICTURES), size=networks.size, version=4,
                          mixture="ordinary")
    return {"bars": [*success_bars(found), *likeness_bars(found), *strength_bars(editor, persons),
                     *reference_bars(editor, persons), *probe_bars(codes_of(editor, persons)),
                     *picture_bars(from_uint8(np.stack(found.pictures)), real, check.judge)],
            "methods": compared(found)}


def compared(found: Edits) -> dict:
    """All methods on the same people and attributes: {"columns": names, "rows": {method: values}}.

    Balanced success, leakage beyond the ideal pair's in standard deviations, the cosine of face vectors, and the change
    outside the ideal pair's difference, of 255. The ideal pair is the last row.
    """
    rows = {name: [fmean(success(found, table).values()), float(leakage(found, table).nanmean()),
                   alike(found, table), float(table.stacked("outside").mean())]
            for name, table in (*found.tables.items(), ("Ideal pair", found.ideal))}
    return {"columns": ["success", "leakage", "identity", "change elsewhere"],
            "rows": {name: [round(value, 4) for value in row] for name, row in rows.items()}}


def alike(found: Edits, table: Table) -> float:
    """The mean cosine of face vectors before and after an edit."""
    return float((table.stacked("vectors") * found.before(table, "vector")[:, None]).sum(-1).mean())


def success_bars(found: Edits) -> list[Bar]:
    """Balanced success of L2M-GAN."""
    ours = success(found, found.tables[L2M.name])
    return [bar("success, mean", fmean(ours.values()), ">= 0.95"),
            *(reported(f"success, {name}", value) for name, value in ours.items())]


def likeness_bars(found: Edits) -> list[Bar]:
    """Change elsewhere and identity of L2M-GAN, in parts of the ideal pair's."""
    ours, ideal = found.tables[L2M.name], found.ideal
    elsewhere = [float(table.stacked("outside").mean()) for table in (ours, ideal)]
    return [bar("change outside the ideal difference, of the ideal pair's", elsewhere[0] / max(elsewhere[1], 1e-6),
                "<= 2"),
            bar("identity, of the ideal pair's", alike(found, ours) / alike(found, ideal), ">= 0.85")]


def strength_bars(editor: Editor, persons: list[Person]) -> list[Bar]:
    """The change at strength 0, and how far the attribute has come at each strength."""
    names = editor.networks.l2m.offered
    reached, off = {strength: [] for strength in STRENGTHS}, []
    for person in persons:
        before = editor.see(person.pictures[:1])[0][0]
        for row, name in enumerate(names):
            at = NAMES.index(name)
            pictures = np.stack([editor.switched(person.pictures[0], person.truth[0], {name: _goal(person, row, name)},
                                                 strength) for strength in STRENGTHS])
            moved = (editor.see(pictures)[0][:, at] - before[at]) * (1 if _goal(person, row, name) else -1)
            for strength, value in zip(STRENGTHS, moved.tolist(), strict=True):
                reached[strength].append(value)
            off.append(np.abs(pictures[STRENGTHS.index(0.0)].astype(int) - person.pictures[0]).mean())
    means = [fmean(values) for values in reached.values()]
    growing = sum(after > before for before, after in pairwise(means))
    return [reported("strength 0: change of the picture, of 255", fmean(off)),
            bar(f"steps of strength that change the score further, of {len(means) - 1}", growing,
                f">= {len(means) - 1}"),
            *(reported(f"strength {strength:g}: change of the score", mean)
              for strength, mean in zip(STRENGTHS, means, strict=True))]


def reference_bars(editor: Editor, persons: list[Person]) -> list[Bar]:
    """The share of edits by reference that have the reference's value; the reference is another person's picture."""
    names, right = editor.networks.l2m.offered, []
    for number, person in enumerate(persons):
        other = persons[(number + 1) % len(persons)]
        for row, name in enumerate(names):
            at, goal = NAMES.index(name), _goal(person, row, name)
            which = 0 if (other.truth[0, at] > 0.5) == goal else 1 + row        # as it is, or switched
            reference = editor.given(other.pictures[which], other.truth[which])
            made = editor.switched(person.pictures[0], person.truth[0], {name: goal}, 1.0, {name: reference})
            right.append(float((editor.see(made[None])[0][0, at] > 0) == goal))
    return [bar("edits by reference with the reference's value", fmean(right), ">= 0.90")]


@torch.no_grad()
def codes_of(editor: Editor, persons: list[Person]) -> Codes:
    """The style codes of all pictures of people, those of one person after another."""
    l2m = editor.networks.l2m
    pictures = torch.cat([from_uint8(person.pictures) for person in persons])
    truth = torch.from_numpy(np.concatenate([person.truth for person in persons]))
    there = truth[:, [NAMES.index(name) for name in l2m.attributes]] > 0.5
    domains = domains_of(truth, l2m.attributes)
    encoder = l2m.network.style_encoder
    device = next(encoder.parameters()).device
    parts = [encoder.split(encoder.code(resized(some.to(device), l2m.network.config.size), domain.to(device)))
             for some, domain in zip(pictures.split(64), domains.split(64), strict=True)]
    return Codes(*(torch.cat(part).cpu().double() for part in zip(*parts, strict=True)), there,
                 tuple(map(l2m.attributes.index, l2m.offered)))


def probe_bars(codes: Codes) -> list[Bar]:
    """Balanced accuracy of the probes, the mean over attributes; chance is 0.5."""
    values = {part: fmean(probed(getattr(codes, part), codes.there[:, at]) for at in codes.offered)
              for part in ("unrelated", "related")}
    return [bar("attributes read from the unrelated part of the style code", values["unrelated"], "<= 0.60"),
            bar("attributes read from the related part", values["related"], ">= 0.95")]


def probed(features: Tensor, there: Tensor) -> float:
    """Balanced accuracy, on the second half, of ridge regression on the first. features: (N, D). there: (N,) bool."""
    half = len(features) // 2
    x = torch.cat([(features - features[:half].mean(0)) / features[:half].std(0).clamp(min=1e-9),
                   torch.ones(len(features), 1, dtype=features.dtype)], 1)
    gram = x[:half].T @ x[:half]
    weights = torch.linalg.solve(gram + RIDGE * half * torch.eye(len(gram), dtype=gram.dtype),
                                 x[:half].T @ (2 * there[:half].to(x.dtype) - 1))
    right = ((x[half:] @ weights > 0) == there[half:]).double()
    return fmean(float(right[there[half:] == side].mean()) for side in (True, False))


def _goal(person: Person, row: int, name: str) -> bool:
    """Whether the attribute in this row is there after the edit."""
    return bool(person.truth[1 + row, NAMES.index(name)] > 0.5)
