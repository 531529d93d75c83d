"""`attributes`: 35 attributes of a face, edited at once by one pass of a mapper and one of the generator.

Khodadadeh et al., *Latent to Latent*, WACV 2022, beside InterFaceGAN and GANSpace on the same latents. Pictures are
drawn one at a time, so a picture is the same alone and in a strip; every picture is a PNG that holds its request.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from core import faces
from core.engine import choices, files
from core.engine.files import Files
from core.engine.replay import Opening
from core.engine.result import Restored, Result, last
from core.faces import ATTRIBUTES, NAMES
from core.metrics import cosine
from core.systems.attributes import SYSTEM, masks
from core.systems.attributes.drawing import Drawing, pasted, turned
from core.systems.attributes.measured import Measured, measure
from core.systems.attributes.methods import edited
from core.systems.attributes.methods.l2m_gan import Given
from core.systems.attributes.networks import Networks, Seen
from core.systems.attributes.request import (
    L2M,
    METHODS,
    OPENING,
    THERE,
    Edit,
    EditRequest,
    FaceRequest,
    Invert,
    MethodRequest,
    Strengths,
    Sweep,
)
from core.systems.attributes.sources import Progress, Source, Sources, end_of
from core.systems.attributes.stored import BULKY, LARGEST, file_name, packed, restored
from core.systems.attributes.switching import Switch, switch_of, taking_part
from core.systems.attributes.wanted import Wanted, given_way, value_of, wanted_of

if TYPE_CHECKING:
    from torch import Tensor

POSE = {"yaw", "pitch"}
PROGRESS = 5        # steps of refinement between two previews
SEARCHED, OF_EACH = 60, 4       # drawn people searched for references, and shown with and without an attribute


@dataclass(frozen=True)
class Shown:
    """One picture of a result. kind: "edit", "source", "ideal", "original" or "inverted". picture: (S, S, 3) uint8.

    seen: in that picture, upright. measured: against the source; None for the source itself. source: the face that was
    edited. facts: to be stored.
    """

    kind: str
    picture: np.ndarray
    seen: Seen
    measured: Measured | None
    source: Source
    facts: Mapping[str, Any]


class Attributes(Files):
    """The pipeline. `run` yields a `Result` after every picture; closing the iterator stops it."""

    def __init__(self, folder: str | Path | None = None, checkpoint: str = "tiny") -> None:
        """Load the networks of a choice, all on this machine already. Raises SettingsError, CheckpointError.

        folder: where pictures go; a temporary one, emptied as it ages, when None. checkpoint: see `core.systems`.
        """
        super().__init__(folder)
        self.choice = SYSTEM.choose(checkpoint)
        self.networks = Networks(self.choice)
        self.device, self.drawing = self.networks.device, Drawing(self.networks)
        self.sources = Sources(self.networks, self.drawing.picture)
        self._opening = Opening(lambda: self._run(self.opening()))

    def warm(self) -> None:
        """Do once what the first visitor would wait for: kernels are chosen, and the first face drawn."""
        last(self.run(self.opening()))

    def warm_more(self) -> None:
        """Compile the renderer of drawn people."""
        if self.choice.drawn:
            last(self.run(Invert(refine=0)))

    def opening(self) -> Edit:
        """The request of the pictures that a page opens with."""
        return OPENING

    # ------------------------------------------------------------------------------------------------ run

    def run(self, request: FaceRequest) -> Iterator[Result]:
        """The pictures of a request, one of `request.REQUESTS`, as they come. Raises FacetError before the first.

        Those that the page opens with are drawn once and kept, unless the caller chose where pictures go.
        """
        request = request.checked()
        is_opening = (isinstance(request, Edit) and request.values() == self.opening().values()
                      and request.frozen is None and not request.is_restored)
        if self._temporary and is_opening:
            return iter(self._opening)
        return self._run(request)

    def _run(self, request: FaceRequest) -> Iterator[Result]:
        """`run`, drawn now."""
        if request.source != "random" and request.latent is None:
            if request.inverts:
                choices.require(self.choice, extra=True)
            self.sources.picture_of(request)        # a photo without a face is refused at once
        if isinstance(request, Invert):
            return self._collected(request, 2 + bool(request.refine), self._invert(request))
        painted, drawn = self._painted(request), request.source == "example"
        if isinstance(request, Sweep):
            asked = [request.asked | {request.attribute: value} for value in request.stops]
            return self._collected(request, len(asked) * (1 + drawn), self._sweep(request, asked, painted), painted)
        methods, left_out = taking_part(request, self.networks)
        switch = switch_of(request, self.networks, self.sources) if L2M in methods else None
        both = switch is not None and len(methods) > 1 and switch.source.w is None      # inverted, and as it is
        total = len(methods) * len(request.stops) + 1 + both + drawn
        return self._collected(request, total, self._edit(request, methods, switch, painted, left_out), painted)

    def _edit(self, request: MethodRequest, methods: Sequence[str], switch: Switch | None,
              painted: np.ndarray | None, left_out: str) -> Iterator[Any]:
        """The edits of each method, then the source, then of a drawn person the ideal edit."""
        source = (yield from self.sources.find(request)) if request.inverts else switch.source
        frozen = frozen_in(request, source, painted)
        for method in methods:
            for strength in request.stops:
                yield (self._switched(switch, request.kept, strength, frozen) if method == L2M else
                       self._edited(request, source, method, request.asked, strength, frozen))
        facts = {} if source.original_seen is None else {"inversion": round(float(cosine(
            source.original_seen.vector, source.seen.vector)), 4)}
        facts |= {"left_out": left_out} if left_out else {}
        yield Shown("source", source.picture, source.seen, None, source, facts)
        if switch is not None and switch.source is not source and switch.source.w is None:
            yield Shown("original", switch.source.picture, switch.source.seen, None, switch.source, {})
        asked = ({} if switch is None else switch.values) | (request.asked if request.inverts else {})
        yield from self._ideal(source, asked, request.kept)

    def _sweep(self, request: Sweep, asked: Sequence[Mapping[str, float]],
               painted: np.ndarray | None) -> Iterator[Any]:
        """An edit for each value, then of a drawn person the ideal ones."""
        source = yield from self.sources.find(request)
        frozen = frozen_in(request, source, painted)
        for each in asked:
            yield self._edited(request, source, request.method, each, request.strength, frozen)
        for each in asked:
            yield from self._ideal(source, each, request.kept)

    def _invert(self, request: Invert) -> Iterator[Any]:
        """The picture, what the encoder makes of it, and the same refined."""
        coarse = yield from self.sources.find(replace(request, refine=0))
        original, seen = coarse.original, coarse.original_seen
        yield Shown("original", original, seen, None, coarse, {})
        yield self._inverted(coarse, 0)
        if request.refine:
            yield self._inverted((yield from self.sources.find(request)), request.refine)

    def _inverted(self, source: Source, refined: int) -> Shown:
        nothing = wanted_of(source.original_seen.units, {}, ())
        return Shown("inverted", source.picture, source.seen,
                     measure(nothing, source.original_seen, source.seen, self._spread), source, {"refined": refined})

    # ----------------------------------------------------------------------------------------------- edits

    def _edited(self, request: EditRequest, source: Source, method: str, asked: Mapping[str, float], strength: float,
                frozen: np.ndarray | None) -> Shown:
        """One mapper pass, one generator pass."""
        wanted = wanted_of(source.seen.units, asked, request.kept)
        w = self.latent_of(source, method, wanted, strength)
        turn = wanted.turn * strength
        upright, picture = self.drawing.edited(w, source, frozen, turn)
        seen = self.networks.see(upright)
        return Shown("edit", picture, seen, measure(wanted, source.seen, seen, self._spread, turn), source,
                     {"method": method, "strength": strength, "gave_way": given_way(wanted)})

    def _switched(self, switch: Switch, kept: Sequence[str], strength: float, frozen: np.ndarray | None) -> Shown:
        """One pass of L2M-GAN, and one more for each reference."""
        from core.images import to_uint8

        source, networks = switch.source, self.networks
        given, *others = (Given(networks.tensor(each.picture), each.seen.units)
                          for each in (source, *switch.references.values()))
        made = networks.l2m.repainted(given, switch.asked, dict(zip(switch.references, others, strict=True)), strength)
        picture = to_uint8(made.picture)[0]
        if frozen is not None:
            picture = pasted(picture, source.picture, masks.weights_of(frozen))
        wanted, seen = wanted_of(source.seen.units, switch.values, kept), networks.see(picture)
        same = [name for name, there in switch.asked.items() if there == networks.l2m.has(source.seen.units, name)]
        return Shown("edit", picture, seen, measure(wanted, source.seen, seen, self._spread), source,
                     {"method": L2M, "strength": strength, "angle": round(made.angle, 1), "same": same,
                      "references": {name: packed(each.picture) for name, each in switch.references.items()
                                     if len(each.picture) <= LARGEST}})

    @cached_property
    def _spread(self) -> "Tensor":
        """Standard deviations of the scores, (35,)."""
        return self.networks.editors["directions"].spread

    def latent_of(self, source: Source, method: str, wanted: Wanted, strength: float = 1.0) -> Any:
        """The edited latent, (1, rows, style); exactly the source's where nothing is asked."""
        import torch

        with torch.no_grad():
            return edited(method, self.networks.editors, source.w, wanted, strength)

    def _ideal(self, source: Source, asked: Mapping[str, float], kept: Sequence[str]) -> Iterator[Shown]:
        """The renderer's own edit of a drawn person; nothing for other faces."""
        if source.drawn is None:
            return
        face = source.drawn
        for name, value in asked.items():
            face = faces.edit(face, name, value)
        like = None if POSE & asked.keys() else source.drawn        # a turned face is aligned anew
        upright = faces.draw(face, self.networks.size, "aligned", like=like)
        wanted, seen = wanted_of(source.as_drawn.units, asked, kept), self.networks.see(upright)
        picture = self._turned(upright, wanted.turn)
        yield Shown("ideal", picture, seen, measure(wanted, source.as_drawn, seen, self._spread, wanted.turn), source,
                    {})

    def _turned(self, picture: np.ndarray, degrees: float) -> np.ndarray:
        from core.images import to_uint8

        return to_uint8(turned(self.networks.tensor(picture), degrees))[0] if degrees else picture

    # --------------------------------------------------------------------------------------- sliders, masks

    def judged(self, request: FaceRequest) -> dict[str, float]:
        """What the face of a request has now, attribute to value in its own unit: where the sliders begin.

        Raises FacetError. A face that is refined takes its time.
        """
        return values_of(self.source(request).seen)

    def source(self, request: FaceRequest) -> Source:
        """The face of a request, without progress. Raises FacetError."""
        request = request.checked()
        return end_of(self.sources.find(request)) if request.inverts else self.sources.given(request)

    def drawn_references(self, name: str) -> list[str]:
        """Drawn test people with an attribute, then as many without it: paths of PNGs. Empty for published networks."""
        if not self.choice.drawn:
            return []
        there: dict[bool, list[int]] = {True: [], False: []}
        for number in range(SEARCHED):
            there[bool(faces.truth(faces.frontal(number))[NAMES.index(name)] > THERE)].append(number)
        return [self._keep(Image.fromarray(self.sources.picture_of(Invert(person=number))[0]), f"person{number}")
                for numbers in there.values() for number in numbers[:OF_EACH]]

    def _painted(self, request: EditRequest) -> np.ndarray | None:
        """The painted mask, (S, S) bool; None without one. Raises SettingsError, PictureError."""
        if request.mask:
            return masks.read(request.mask, self.networks.size)
        if request.frozen is not None:
            masks.check_shape(request.frozen, self.networks.size)
        return request.frozen

    # --------------------------------------------------------------------------------------------- results

    def _collected(self, request: FaceRequest, total: int, stream: Iterator[Any],
                   painted: np.ndarray | None = None) -> Iterator[Result]:
        """A result after every picture of a stream, and now and then while an inversion is refined."""
        folder, passing, done = self._new_folder(), None, 0
        result = Result(total=total, steps=total + request.refine)
        for item in stream:
            if isinstance(item, Shown):
                result = self._added(result, request, item, folder, painted)
                made = len(result.images)
                yield (result := replace(result, step=result.steps if made == total else done + made))
            elif item.step % PROGRESS == 0:
                passing, done = passing or self._preview_dir(), item.step
                yield (result := replace(result, previews=_preview(item, passing), step=done + len(result.images)))

    def _added(self, result: Result, request: FaceRequest, shown: Shown, folder: Path,
               painted: np.ndarray | None) -> Result:
        """The result with one more picture."""
        measured = shown.measured
        kept = self._settings(request, shown, len(result.images), painted)
        path, = files.save([Image.fromarray(shown.picture)], [kept], folder, file_name)
        scores = {"similarity": None if measured is None else measured.similarity,
                  "reached": None if measured is None else measured.reached,
                  "leaked": None if measured is None else measured.leakage}
        notes = result.notes + tuple(note for note in _notes(shown) if note not in result.notes)
        return replace(result, images=(*result.images, path), seeds=(*result.seeds, request.seed),
                       settings=(*result.settings, kept), notes=notes, previews=(),
                       scores={name: (*result.scores.get(name, ()), value) for name, value in scores.items()})

    def _settings(self, request: FaceRequest, shown: Shown, at: int, painted: np.ndarray | None) -> dict[str, Any]:
        """All that made one picture, and what is seen in it."""
        measured = shown.measured
        found = {"asked": {}} if measured is None else {
            "asked": _rounded(measured.asked), "achieved": _rounded(measured.achieved), "leaked": measured.leaked,
            "similarity": round(measured.similarity, 4)}
        arrays = {} if painted is None else {"frozen": packed(painted)}
        if request.source == "photo":
            w, pixels = shown.source.w, shown.source.picture
            arrays |= ({"latent": packed(w[0].cpu().numpy())} if w is not None else
                       {"pixels": packed(pixels)} if len(pixels) <= LARGEST else {})
        values = {name: value for name, value in request.values().items()
                  if value is not None and request.settings()[name].kind != "file"}
        return {"system": "attributes", **self._constants, "action": request.action, "shown": shown.kind, "at": at,
                "seed": request.seed, **found, **shown.facts, "judged": _rounded(values_of(shown.seen)),
                "request": values, **arrays}

    def restored(self, path: str | Path) -> Restored | None:
        """The request that made a picture here; None for other files. The file is untrusted: all is checked.

        Raises SettingsError.
        """
        from core import images

        kept = images.settings_of(path)
        if not kept or kept.get("system") != "attributes" or "preview" in kept or "strip" in kept:
            return None
        made_by = {choice.generator: choice.name for choice in SYSTEM.choices}
        return Restored(restored(kept), made_by.get(str(kept.get("checkpoint"))))

    def files(self, result: Result) -> dict[str, str]:
        """The files of a result by name: paths of "zip", of the first "picture", and of a sweep "strip" and "film"."""
        found = {"zip": files.zipped(result.images, result.settings, self._new_folder()), "picture": result.images[0]}
        swept = result.settings[0]["action"] in (Sweep.action, Strengths.action)
        return found | ({"strip": self.strip(result), "film": self.film(result)} if swept else {})

    def strip(self, result: Result) -> str:
        """The edits of a result in a row, of a drawn person over the ideal ones: path of a PNG."""
        from core import images

        kinds = [kept["shown"] for kept in result.settings]
        edits, ideals = ([path for path, each in zip(result.images, kinds, strict=True) if each == kind]
                         for kind in ("edit", "ideal"))
        pictures = edits + ideals if len(ideals) == len(edits) else edits
        sheet = images.grid([Image.open(path) for path in pictures], columns=len(edits))
        kept = [{name: value for name, value in each.items() if name not in BULKY} for each in result.settings]
        return images.save(sheet, {"system": "attributes", "strip": kept}, self._new_folder(), "facet-strip.png")

    def film(self, result: Result) -> str:
        """The edits of a result there and back: path of a GIF."""
        edits = [path for path, kept in zip(result.images, result.settings, strict=True) if kept["shown"] == "edit"]
        return files.film(edits, self._new_folder() / "facet-sweep.gif")

    @cached_property
    def _constants(self) -> dict[str, str]:
        """The part of `about` that never changes."""
        choice = self.choice
        names = {"mapper": choice.mapper, "directions": choice.directions, "judge": choice.judge,
                 "embedder": choice.embedder}
        return {"checkpoint": choice.generator, "sha256": choices.sha256(choice.generator), **names,
                **{f"{role}_sha256": choices.sha256(name) for role, name in names.items()},
                **files.machine(self.device)}


def values_of(seen: Seen) -> dict[str, float]:
    """What is seen in a picture, attribute to value in its own unit; an aligned face has no roll."""
    found = {name: value_of(name, float(unit)) for name, unit in zip(NAMES, seen.units[0], strict=True)}
    return found | {"roll": 0.0}


def frozen_in(request: EditRequest, source: Source, painted: np.ndarray | None) -> np.ndarray | None:
    """The pixels that must stay, painted or named, (S, S) bool; None if there are none."""
    found = [] if painted is None else [painted]
    found += [masks.named(source.labels, request.frozen_regions)] if request.frozen_regions else []
    return np.logical_or.reduce(found) if found and np.any(found) else None


def _preview(progress: Progress, folder: Path) -> tuple[str, ...]:
    """The picture of a latent under way: path of a PNG."""
    kept = [{"system": "attributes", "preview": progress.step}]
    picture = Image.fromarray(progress.picture)
    return tuple(files.save([picture], kept, folder, lambda one: f"step{one['preview']:03d}.png"))


def _notes(shown: Shown) -> Iterator[str]:
    """What a visitor should know of one picture."""
    if gave_way := shown.facts.get("gave_way"):
        yield f"No face has both, so {', '.join(gave_way)} gave way to what was asked."
    if "inversion" in shown.facts:
        yield f"Similarity of the face before and after inversion: {shown.facts['inversion']:.2f}."
    if same := shown.facts.get("same"):
        yield (f"{METHODS[L2M]} knows an attribute as there or not, and {', '.join(same)} "
               f"{'is' if len(same) == 1 else 'are'} already as asked.")
    if left_out := shown.facts.get("left_out"):
        yield left_out


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3 if ATTRIBUTES[name].unit == "share" else 2) for name, value in values.items()}
