"""The bars of attributes: edits of test people by Latent-to-Latent, InterFaceGAN, GANSpace and the renderer.

Each test person is drawn, inverted, and edited: every attribute to its opposite value, by every method, from the same
latent. `judge-check-tiny` and `embedder-check-tiny`, which steered nothing, read all pictures as the visitor sees them.
The renderer's own edit of the same person, the ideal pair, is the ceiling and a row of its own.

Success: only where the request changes what the judge sees, the mean of both directions: a yes/no attribute must change
its answer, a measure must come more than half of the way. Leakage from t to c: mean change of the score of c, in
standard deviations over the test people, minus the ideal pair's; tied attributes (`core.faces.TIED`) are left out. At
equal success: eight attributes, on some of the people; the strength is solved for each face so that the judged change
of the target is 1, 2 and 3 standard deviations, and methods are compared where they reached it. Identity: cosine of
face vectors before and after. Locality: mean change outside the ideal pair's difference.

InterFaceGAN is scored plain and with conditional manipulation, where all other attributes are frozen.
"""

import math
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from core import data, hub, metrics
from core.engine.result import last
from core.faces import ATTRIBUTES, NAMES
from core.images import from_uint8
from core.models.judge import YES_NO
from core.scoring import EMBEDDERS, JUDGES, PICTURES, QUICK, Bar, bar, picture_bars, reported
from core.scoring.edits import OURS, VARIANTS, Editor, Edits, Table, Variant, collect, columns, others_of, paths
from core.systems.attributes import SYSTEM
from core.systems.attributes.methods import edited
from core.systems.attributes.networks import Networks
from core.systems.attributes.pipeline import Attributes
from core.systems.attributes.request import Invert
from core.systems.attributes.wanted import wanted_of
from core.training.face_latents import Frozen

COMPARED = ("age", "bald", "beard", "smile", "gender", "glasses", "pitch", "yaw")      # those of the paper
FULL = (500, 100, 40)                       # test people; at equal success; of refined inversions
SHORT, FEW = (60, 30, 20), (6, 3, 2)        # the same with `short` and with `quick`
LEVELS = (1.0, 2.0, 3.0)                    # standard deviations of the target
STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
MOVED = 0.1         # units: a measure that is asked to change by less counts as not asked


@dataclass(frozen=True)
class Equal:
    """At equal success: (T, L, F) for T attributes, L levels and F faces; nan where the level was not reached."""

    leakage: Tensor
    identity: Tensor


def scored(quick: bool = False, short: bool = False) -> dict:
    """{"bars": […], "leakage": {"names": 35 names, "rows": (35, 35), None for tied pairs}}.

    short: 60 people instead of 500. quick: six.

    Raises CheckpointError when a checkpoint is missing.
    """
    people, equal, refined = FEW if quick else SHORT if short else FULL
    networks = Networks(SYSTEM.choose())
    encoder = networks.encoder      # raises before anything is drawn
    check = Frozen(networks.frozen.generator, hub.load(JUDGES[1]), hub.load(EMBEDDERS[1]), encoder,
                   networks.choice.frame)
    editor = Editor(networks, check)
    found = collect(editor, people)
    rows = leakage(found, found.tables[OURS])
    solved = {variant.name: at_equal_success(editor, found, variant, equal) for variant in VARIANTS}
    pictures = from_uint8(np.stack(found.pictures))
    test = (QUICK[0], 2) if quick else PICTURES
    real = data.drawn_set("test", *test, size=networks.size, version=4, mixture="ordinary")
    return {"bars": [*success_bars(found), *error_bars(found), *equal_bars(found, solved, equal),
                     *identity_bars(found), *map_bars(editor, found), *inversion_bars(editor, found, refined),
                     *picture_bars(pictures, real, check.judge)],
            "leakage": {"names": NAMES, "rows": [[None if math.isnan(value) else round(value, 4) for value in row]
                                                 for row in rows.tolist()]}}


# --------------------------------------------------------------------------------------------------------- success

def success_bars(found: Edits) -> list[Bar]:
    """Balanced success of our method against its goals, of the others and of the ideal pair without."""
    ours = success(found, found.tables[OURS])
    compared = {name: ours[name] for name in COMPARED if name in ours}
    worst, least = (min(each, key=each.get) if each else "none" for each in (ours, compared))
    bars = [bar("success, mean", _mean(ours.values()), ">= 0.90"),
            bar(f"success, worst ({worst})", ours.get(worst, math.nan), ">= 0.70"),
            bar(f"success, worst of the compared ({least})", compared.get(least, math.nan), ">= 0.95")]
    tables = {name: table for name, table in found.tables.items() if name != OURS} | {"the ideal pair": found.ideal}
    bars += [reported(f"success of {name}, mean", _mean(success(found, table).values()))
             for name, table in tables.items()]
    return bars + [reported(f"success, {name}", value) for name, value in ours.items()]


def success(found: Edits, table: Table) -> dict[str, float]:
    """Balanced success of each attribute whose requests change something, in [0, 1]."""
    after, goals = table.stacked("scores"), torch.stack(found.goals)            # (P, A, 35), (P, A)
    before = found.before(table, "scores")
    values = {name: _success(before[:, at], after[:, row, at], goals[:, row], YES_NO[at])
              for row, (name, at) in enumerate(zip(found.names, columns(found.names), strict=True))}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def _success(before: Tensor, after: Tensor, goal: Tensor, yes_no: bool) -> float:
    """The mean of both directions over people (P,); nan where nothing was asked."""
    if yes_no:
        start, right, upward = before > 0, (after > 0) == (goal > 0.5), goal > 0.5
        asked = start != upward
    else:
        asked, upward = (goal - before).abs() > MOVED, goal > before
        right = (after - goal).abs() < (goal - before).abs() / 2
    sides = [right[asked & side].double().mean() for side in (upward, ~upward) if (asked & side).any()]
    return float(torch.stack(sides).mean()) if sides else math.nan


def error_bars(found: Edits) -> list[Bar]:
    """Errors of age and yaw against what was asked, of our method and of the ideal pair."""
    errors = {name: [_error(found, table, name) for table in (found.tables[OURS], found.ideal)]
              for name in ("age", "yaw") if name in found.names}
    bars = []
    if "age" in errors:
        ours, ideal = errors["age"]
        bars += [reported("age error of the ideal pair, years", ideal),
                 bar("age error above the ideal pair's, years", ours - ideal, "<= 4")]
    if "yaw" in errors:
        ours, ideal = errors["yaw"]
        bars += [reported("yaw error of the ideal pair, degrees", ideal), bar("yaw error, degrees", ours, "<= 4")]
    return bars


def _error(found: Edits, table: Table, name: str) -> float:
    """Mean error of a measure, in its own unit."""
    row, at = found.names.index(name), NAMES.index(name)
    off = table.stacked("scores")[:, row, at] - torch.stack(found.goals)[:, row]
    return float(off.abs().mean()) * (ATTRIBUTES[name].high - ATTRIBUTES[name].low)


# --------------------------------------------------------------------------------------------------------- leakage

def leakage(found: Edits, table: Table) -> Tensor:
    """(35, 35) standard deviations from changed to other attributes, the ideal pair's taken off; nan where left out."""
    rows = torch.full((len(NAMES), len(NAMES)), math.nan)
    moved, ideal = _moved(found, table), _moved(found, found.ideal)             # (P, A, 35)
    for row, name in enumerate(found.names):
        for at in others_of(name):
            rows[NAMES.index(name), at] = moved[:, row, at].mean() - ideal[:, row, at].mean()
    return rows


def _moved(found: Edits, table: Table) -> Tensor:
    """Changes of all scores without sign, in standard deviations: (P, A, 35)."""
    before = found.before(table, "scores")
    return (table.stacked("scores") - before[:, None]).abs() / spread(found)


def spread(found: Edits) -> Tensor:
    """Standard deviations of the scores over the drawn test people, (35,)."""
    return torch.stack([face.drawn_scores for face in found.faces]).std(0).clamp(min=1e-3)


def at_equal_success(editor: Editor, found: Edits, variant: Variant, people: int) -> Equal:
    """Leakage and identity where the target has moved by LEVELS, for the first people and the COMPARED attributes."""
    names = [name for name in COMPARED if name in found.names]
    shape, deviation = (len(names), len(LEVELS), min(people, len(found.faces))), spread(found)
    leaked, alike = torch.full(shape, math.nan), torch.full(shape, math.nan)
    for number, face in enumerate(found.faces[:people]):
        for target, name in enumerate(names):
            goal = float(found.goals[number][found.names.index(name)])
            scores, vectors = paths(editor, face, variant, name, goal, STRENGTHS)
            moved = (scores - face.scores) / deviation                          # (K, 35)
            at = NAMES.index(name)
            up = 1.0 if goal > float(face.current[0, at]) else -1.0
            others = moved[:, list(others_of(name))].abs().mean(1)
            levels = solve(up * moved[:, at], torch.stack([others, vectors @ face.vector], 1))
            leaked[target, :, number], alike[target, :, number] = levels.T
    print(f"solved strengths of {variant.name}", file=sys.stderr, flush=True)
    return Equal(leaked, alike)


def solve(moved: Tensor, values: Tensor) -> Tensor:
    """Values (K, V) along a path, linearly between its points, where it first reaches LEVELS: (L, V), nan if never.

    moved: (K,), how far the target has come at each point. The path begins at no change, no leakage, and itself.
    """
    moved = torch.cat([moved.new_zeros(1), moved])
    values = torch.cat([values.new_tensor([[0.0, 1.0]]), values])
    rows = []
    for level in LEVELS:
        there = (moved >= level).nonzero()[:, 0]
        if not len(there):
            rows.append(torch.full_like(values[0], math.nan))
            continue
        after = int(there[0])
        share = (level - moved[after - 1]) / (moved[after] - moved[after - 1])
        rows.append(torch.lerp(values[after - 1], values[after], share))
    return torch.stack(rows)


def equal_bars(found: Edits, solved: dict[str, Equal], people: int) -> list[Bar]:
    """Our leakage and identity at equal success beside every other method's and the ideal pair's."""
    ours = solved[OURS]
    names = [name for name in COMPARED if name in found.names]
    bars, wins = [], np.ones(len(names), bool)
    for name, other in solved.items():
        if name == OURS:
            continue
        both = ours.leakage.isfinite() & other.leakage.isfinite()
        ratio = float(ours.leakage[both].mean() / other.leakage[both].mean()) if both.any() else math.nan
        bars.append(bar(f"leakage at equal success, of {name}'s", ratio, "<= 0.75"))
        wins &= np.array([bool(each.any()) and float((ours.identity - other.identity)[row][each].mean()) > 0
                          for row, each in enumerate(both)])
    rows = [found.names.index(name) for name in names]
    ideal = _moved(found, found.ideal)[:people]
    floor = torch.stack([ideal[:, row, list(others_of(name))].mean(1) for row, name in zip(rows, names, strict=True)])
    alike = torch.stack([face.drawn_vector for face in found.faces])[:, None]
    alike = (found.ideal.stacked("vectors") * alike).sum(-1)[:people, rows].T   # (T, F)
    above = (ours.leakage - floor[:, None])[ours.leakage.isfinite()]
    here = ours.identity.isfinite()
    kept = float(ours.identity[here].mean() / alike[:, None].expand_as(here)[here].mean()) if here.any() else math.nan
    bars += [bar("leakage at equal success above the ideal pair's", float(above.mean()), "<= 0.15"),
             bar(f"attributes of {len(names)} with more identity than every other method", float(wins.sum()), ">= 7"),
             bar("identity at equal success, of the ideal pair's", kept, ">= 0.85")]
    bars += [reported(f"{name}: reached {level:g} standard deviations", float(
        equal.leakage[:, row].isfinite().double().mean())) for name, equal in solved.items()
        for row, level in enumerate(LEVELS)]
    return bars + [reported(f"{name}: leakage at equal success", float(equal.leakage.nanmean()))
                   for name, equal in solved.items()]


# -------------------------------------------------------------------------------------------------------- identity

def identity_bars(found: Edits) -> list[Bar]:
    """Of whole edits: cosine, TAR at FMR 0.01, mean leakage and change elsewhere, by method; nothing to reach."""
    bars = []
    for name, table in (*found.tables.items(), ("the ideal pair", found.ideal)):
        before = found.before(table, "vector")
        vectors = table.stacked("vectors")                                      # (P, A, 512)
        alike = torch.einsum("pad,qd->paq", vectors, before)
        own = torch.eye(len(before), dtype=torch.bool)[:, None].expand_as(alike)
        bars += [reported(f"{name}: identity, cosine", float(alike[own].mean())),
                 reported(f"{name}: TAR at FMR 0.01", 1 - metrics.fnmr_at_fmr(alike[own], alike[~own])),
                 reported(f"{name}: change outside the ideal difference, of 255",
                          float(table.stacked("outside").mean()))]
        if table is not found.ideal:
            bars.append(reported(f"{name}: leakage of whole edits", float(leakage(found, table).nanmean())))
    return bars


def map_bars(editor: Editor, found: Edits) -> list[Bar]:
    """Nothing asked: whether the latent is exactly the same, and the largest change of the picture, of 255."""
    same, most = True, 0
    for face in found.faces:
        nothing = wanted_of(face.current, {}, ())
        with torch.no_grad():
            w = edited("latent-to-latent", editor.networks.editors, face.w, nothing)
        same &= torch.equal(w, face.w)
        picture = editor.pictures([w], [0.0])[0].astype(int)
        most = max(most, int(np.abs(picture - face.picture).max()))
    return [bar("nothing asked: the latent is the same", float(same), ">= 1"),
            bar("nothing asked: largest change, of 255", float(most), "<= 1")]


def inversion_bars(editor: Editor, found: Edits, refined: int) -> list[Bar]:
    """Identity kept by the encoder, and by refining as the app does."""
    coarse = [float(face.vector @ face.drawn_vector) for face in found.faces]
    return [bar("inversion: identity, by the encoder", _mean(coarse), ">= 0.80"),
            bar("inversion: identity, refined", _mean(refined_similarities(editor, refined)), ">= 0.88")]


def refined_similarities(editor: Editor, people: int) -> list[float]:
    """Cosines before and after inversion of drawn examples, refined by the default number of steps."""
    from PIL import Image

    found = []
    with tempfile.TemporaryDirectory() as folder:
        system = Attributes(folder)
        for number in range(people):
            result = last(system.run(Invert(person=number)))
            pictures = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in result.images])
            vectors = editor.see(pictures)[1]
            found.append(float(vectors[0] @ vectors[-1]))
            print(f"refined {number + 1} of {people}", file=sys.stderr, flush=True)
    return found


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return fmean(values) if values else math.nan
