"""`clusters`: which groups a crowd of faces falls into by itself, and a face that wears one of them.

Bahng et al., *Exploring Unlabeled Faces for Novel Attribute Discovery* (XploreGAN), CVPR 2020, arXiv 1912.03085.
Pictures of a visitor are held in memory and nowhere else, except for the strips and sheets that were asked for.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from core.engine import choices, files
from core.engine.files import Files
from core.engine.readers import Reading
from core.engine.replay import Opening
from core.engine.result import Restored, Result, last
from core.errors import SettingsError
from core.images import recognisable, to_tensor
from core.metrics import cosine
from core.output import new_file
from core.sampling import seeds_from
from core.systems.clusters import SYSTEM, intake, sheets
from core.systems.clusters.crowd import Faces, faces_of, shipped_crowd
from core.systems.clusters.discovery import Discovery, describe, discover
from core.systems.clusters.request import MAX_K, PEOPLE, Discover, Grouping, Wear, restored
from core.systems.clusters.tree import as_dict, levels_in, tree_of
from core.systems.clusters.wearing import Target, Wearing

if TYPE_CHECKING:
    import numpy as np

SIZE = 128              # pixels of a face to wear a group
BATCH = 64              # faces that the judge reads at once
NAMED = 5               # files left out that are named
STRIPS = 5              # strips saved between two results
UNLABELLED = "No labels were used to find these groups."


@dataclass(frozen=True)
class Progress:
    """How far work on a crowd is. faces: at the end. left_out: names of files and why, one sentence each."""

    done: int
    total: int
    faces: Faces | None = None
    left_out: tuple[tuple[str, str], ...] = ()


class ClustersPipeline(Files):
    """The pipeline. `run` yields a `Result` as work goes on; closing the iterator stops it."""

    def __init__(self, folder: str | Path | None = None, checkpoint: str = "tiny") -> None:
        """Open the crowd of a choice, all of whose files are on this machine. Raises SettingsError, CheckpointError.

        folder: where pictures go; a temporary one, emptied as it ages, when None. checkpoint: see `core.systems`.
        """
        import torch

        from core import hub

        self.choice = SYSTEM.choose(checkpoint)
        choices.require(self.choice)
        super().__init__(folder)
        self.device = torch.device(hub.default_device())
        self.crowd, self.groups = shipped_crowd(self.choice.crowd)
        self.wearing = Wearing(self.choice, self.groups, self.device)
        self.reading = Reading(self.choice.embedder, self.choice.judge, self.device)
        self._opening = Opening(lambda: self._run(self.opening()))

    def warm(self) -> None:
        """Do once what is slow the first time: find the groups that the page opens with, wear one."""
        last(self.run(self.opening()))
        face, request = self.crowd.picture(0), Wear(space=self.groups.space, k=len(self.groups.centres))
        self.wearing.wear(face, self.target(request.checked()), 1.0, "asin")

    def opening(self) -> Discover:
        """The request of the groups that a page opens with."""
        return Discover(space=self.choice.spaces[0], k=len(self.groups.centres))

    def warm_more(self) -> None:
        """Compile the renderer of drawn faces."""
        drawn_face(0)

    # ----------------------------------------------------------------------------------------------- discovery

    def space(self, name: str) -> str:
        """The feature space called `name`, "" for the default. Raises SettingsError where this choice lacks it."""
        if name and name not in self.choice.spaces:
            offered = next(choice.name for choice in SYSTEM.choices if name in choice.spaces)
            raise SettingsError(f"space can't be {name} with the checkpoint {self.choice.name}.",
                                f"Choose the checkpoint {offered}, or a space from: {', '.join(self.choice.spaces)}.")
        return name or self.choice.spaces[0]

    def check_pictures(self, entries: list[intake.Entry], aligned: bool = False) -> Iterator[Progress]:
        """Pictures of a ZIP or folder, checked one by one; the last progress has the faces. Raises SettingsError.

        entries: see `intake.entries_in`. aligned: take the middle square of each as it is.
        """
        names, images, left_out = [], [], []
        for done, one in enumerate(intake.check_pictures(entries, aligned), 1):
            if one.face is None:
                left_out.append((one.name, one.problem))
            else:
                names.append(one.name)
                images.append(one.face)
            yield Progress(done, len(entries), left_out=tuple(left_out))
        if len(images) < 2:
            why = f" {left_out[0][0]}: {left_out[0][1]}" if left_out else ""
            raise SettingsError(f"Groups need at least two different faces, and there "
                                f"{'is one' if images else 'are none'} in these {len(entries)} files.",
                                f"Give more pictures, each with a face.{why}")
        yield Progress(len(entries), len(entries), self.judge_faces(names, images), tuple(left_out))

    def judge_faces(self, names: Sequence[str], images: "Sequence[np.ndarray]") -> Faces:
        """Aligned faces (SIZE, SIZE, 3) with what the judge sees in them."""
        import numpy as np
        import torch

        from core.models.judge import attribute_table

        _, judge = self.reading.networks
        tables = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                batch = recognisable(to_tensor([Image.fromarray(image) for image in images[start: start + BATCH]]))
                tables.append(attribute_table(judge(batch.to(self.device))).cpu())
        return faces_of(names, np.stack(images), torch.cat(tables).clone())

    def prepare(self, faces: Faces, space: str) -> Iterator[int]:
        """Compute the features of faces in a space, unless they are known; yields how many are done."""
        from core.features import network_of, space_of

        if space not in faces.vectors:
            yield from faces.extract(space_of(space), network_of(space_of(space), self.device))

    def discover(self, faces: Faces, space: str, k: int, seed: int = 0) -> Discovery:
        """The groups of faces in a space. Raises SettingsError where k is impossible.

        Of the crowd in the translator's space, with its k and seed 0, they are the groups that the translator learned,
        numbered by their sizes among its training faces.
        """
        for _ in self.prepare(faces, space):
            pass
        return faces.found.get((space, k, seed), lambda: self._discovered(faces, space, k, seed))

    def _discovered(self, faces: Faces, space: str, k: int, seed: int) -> Discovery:
        """`discover`, computed now."""
        if self.is_own(faces, space, k, seed):
            from core.clustering import Clusters

            vectors = faces.vectors[space]
            return describe(vectors, Clusters(self.groups.assign(vectors), self.groups.centres), faces.traits)
        return discover(faces.vectors_in(space), k, seed, faces.traits)

    def is_own(self, faces: Faces, space: str, k: int, seed: int) -> bool:
        """Whether these are the groups that the translator learned."""
        return faces is self.crowd and (space, k, seed) == (self.groups.space, len(self.groups.centres), 0)

    # ----------------------------------------------------------------------------------------------------- run

    def run(self, request: Grouping) -> Iterator[Result]:
        """The pictures of a Discover or a Wear as they come. Raises FacetError before the first.

        The groups that the page opens with are drawn once and kept, unless the caller chose where pictures go.
        """
        request = request.checked()
        request = replace(request, space=self.space(request.space))
        if self._temporary and isinstance(request, Discover) and request == self.opening():
            return iter(self._opening)
        return self._run(request)

    def _run(self, request: Grouping) -> Iterator[Result]:
        """`run`, drawn now."""
        entries = intake.entries_in(request.images) if request.images and request.crowd is None else []
        return (self._run_wear if isinstance(request, Wear) else self._run_discover)(request, entries)

    def _prepared(self, request: Grouping, entries: list[intake.Entry]) -> Iterator[Progress]:
        """The crowd of a request with its features; the last progress has the faces."""
        faces, progress = self.crowd if request.crowd is None else request.crowd, Progress(0, 0)
        if entries:
            for progress in self.check_pictures(entries, request.aligned):
                yield replace(progress, faces=None)
            faces = progress.faces
        for done in self.prepare(faces, request.space):
            yield Progress(len(entries) + done, len(entries) + len(faces), left_out=progress.left_out)
        steps = len(entries) + len(faces) if entries else 0
        yield Progress(steps, steps, faces, progress.left_out)

    def _run_discover(self, request: Discover, entries: list[intake.Entry]) -> Iterator[Result]:
        """A strip for each group, largest first; then the files."""
        result = Result(total=request.k)
        for progress in self._prepared(request, entries):
            result = replace(result, step=progress.done, steps=progress.total + request.k)
            yield result
        faces, before = progress.faces, progress.total
        if request.k > len(faces):
            raise SettingsError(f"k can't be {request.k} with {len(faces)} faces.",
                                f"Choose a whole number from 2 to {len(faces)}.")
        levels = {k: self.discover(faces, request.space, k, request.seed)
                  for k in levels_in(request.tree, request.k, min(MAX_K, len(faces)))}
        found = levels.get(request.k) or self.discover(faces, request.space, request.k, request.seed)
        result = replace(result, notes=(*notes_on(progress.left_out), UNLABELLED))
        folder, strips, marked = self._new_folder(), [], faces is self.crowd    # own pictures were not generated
        shares = sheets.shares(faces, found)
        for group in found.groups:
            strips.append(sheets.strip(faces, group, shares[group.number]))
            kept = self._settings(request, faces) | {
                "group": group.number, "size": group.size, "faces": len(faces), "shared": [*map(str, group.shared)],
                "sets": shares[group.number]}
            path, = files.save(strips[-1:], [kept], folder, file_name, marked)
            result = replace(result, images=(*result.images, path), seeds=(*result.seeds, request.seed),
                             settings=(*result.settings, kept), step=before + group.number + 1,
                             scores={"faces": (*result.scores.get("faces", ()), float(group.size))})
            if group.number + 1 < request.k and group.number % STRIPS == 0:
                yield result
        texts = {TABLE: sheets.table(faces, found)}
        if levels:
            texts[TREE] = json.dumps(as_dict(tree_of([*levels.values()])), indent=1)
        pages = {SHEET: sheets.stacked(strips)}
        if request.members:
            pages |= {members_file(number): sheets.members(faces, found, number) for number in range(request.k)}
        written = {}
        for name, content in texts.items():
            with new_file(folder, name) as path:
                path.write_text(content, "utf-8")
            written[name] = str(path)
        for name, page in pages.items():
            written[name], = files.save([page], [{"system": "clusters", "sheet": name}], folder,
                                        lambda kept: kept["sheet"], marked)
        yield replace(result, files=written)

    def _run_wear(self, request: Wear, entries: list[intake.Entry]) -> Iterator[Result]:
        """Faces that wear the group, one after another and by one method after another; the faces before are among the
        files.
        """
        total = len(request.methods) * (1 if request.face == "photo" else request.count)
        for progress in self._prepared(request, entries):
            result = Result(total=total, step=progress.done, steps=progress.total + total,
                            notes=notes_on(progress.left_out))
            yield result
        target, folder = self.target(replace(request, crowd=progress.faces)), self._new_folder()
        for at, (seed, person, face) in enumerate(self.wearers(request)):
            name = before_name(at)
            before, = files.save([face], [{"system": "clusters", "sheet": name}], folder, lambda kept: kept["sheet"],
                                 marked=request.face != "photo")
            result = replace(result, files={**result.files, name: before})
            for method in request.methods:
                made = self.wearing.wear(face, target, request.strength, method)
                scores = {"similarity": self.similarity(face, made),
                          "closer": self.wearing.closer([face], [made], target)[0]}
                kept = self._settings(request, progress.faces) | {
                    "seed": seed, "person": person, "at": at, "worn_by": method,
                    **{name: round(value, 4) for name, value in scores.items()}}
                path, = files.save([made], [kept], folder, file_name)
                result = replace(
                    result, images=(*result.images, path), seeds=(*result.seeds, seed), step=result.step + 1,
                    settings=(*result.settings, kept),
                    scores={name: (*result.scores.get(name, ()), value) for name, value in scores.items()})
                yield result

    # ------------------------------------------------------------------------------------------------- wearing

    def target(self, request: Wear) -> Target:
        """The group of a request, in the crowd that it holds, or the one that ships."""
        faces, space = self.crowd if request.crowd is None else request.crowd, self.space(request.space)
        found = self.discover(faces, space, request.k, request.grouping)
        if self.is_own(faces, space, request.k, request.grouping):
            return self.wearing.own_target(request.group, faces, found)
        known = self.crowd.vectors[self.groups.space] if faces is self.crowd else None
        return self.wearing.found_target(request.group, faces, found, known)

    def wearers(self, request: Wear) -> Iterator[tuple[int, int, Image.Image]]:
        """The faces of a request, SIZE × SIZE and aligned, each with its seed and the number of its drawn person."""
        seeds = seeds_from(request.seed, request.count)
        if request.face == "photo":
            yield seeds[0], request.person, self.face_in(request.photo, request.which)
            return
        for at, seed in enumerate(seeds):
            person = (request.person + at if request.face == "drawn" else seed) % PEOPLE
            yield seed, person, drawn_face(person, seed, plain=request.face == "drawn")

    def face_in(self, photo: Any, which: int = 0) -> Image.Image:
        """A face in a photo, aligned; 0 is the largest. Raises PictureError, PhotoError, SettingsError."""
        from core import photos, reading

        picture = reading.read(photo)
        return photos.align(picture, photos.face_at(picture, which, "which").points, SIZE)

    def similarity(self, face: Image.Image, made: Image.Image) -> float:
        """Cosine of the embedder between a face and what was made of it."""
        before, after = (read.vector for each in (face, made) for read in self.reading.read([each], aligned=True))
        return float(cosine(before, after))

    # ------------------------------------------------------------------------------------------------- results

    def _settings(self, request: Grouping, faces: Faces) -> dict[str, Any]:
        """All that made one picture, but for a visitor's own pictures and the names of their files."""
        asked = {name: value for name, value in request.values().items() if name not in ("images", "photo")}
        return {"system": "clusters", "action": request.action, **self.about, **asked,
                "faces_of": "drawn" if faces is self.crowd else "visitor"}

    def restored(self, path: str | Path) -> Restored | None:
        """The request that made a picture here; None for other files. Strangers write files too: all is checked.

        Raises SettingsError.
        """
        from core import images

        kept = images.settings_of(path)
        if not kept or kept.get("system") != "clusters" or "sheet" in kept:
            return None
        made_by = {choice.name for choice in SYSTEM.choices}
        name = kept.get("choice")
        return Restored(restored(kept), name if isinstance(name, str) and name in made_by else None)

    def files(self, result: Result) -> dict[str, str]:
        """What belongs to a result besides its pictures, by name: paths of "zip" and, of groups, "table" (CSV), "sheet"
        (PNG) and "tree" (JSON). The ZIP has the contact sheets of the groups, too.
        """
        names = {"table": TABLE, "sheet": SHEET, "tree": TREE}
        found = {name: result.files[file] for name, file in names.items() if file in result.files}
        packed = [*result.images, *result.files.values()]
        return {"zip": files.zipped(packed, result.settings, self._new_folder()), **found}

    @cached_property
    def _constants(self) -> dict[str, str]:
        """The part of `about` that never changes."""
        choice = self.choice
        return {"choice": choice.name, "checkpoint": choice.translator, "sha256": choices.sha256(choice.translator),
                "crowd": choice.crowd, "crowd_sha256": choices.sha256(choice.crowd), "twin": choice.twin,
                "embedder": choice.embedder, "judge": choice.judge, **files.machine(self.device)}


TABLE, SHEET, TREE = "facet-groups.csv", "facet-groups.png", "facet-tree.json"


def before_name(at: int) -> str:
    """The file of a face before it wore a group, by its place among the pictures."""
    return f"facet-before-{at}.png"


def file_name(kept: dict[str, Any]) -> str:
    """The file name of a picture with these settings."""
    if kept["action"] == "discover":
        return f"facet-{kept['space']}-k{kept['k']}-group{kept['group']:02d}.png"
    return f"facet-wear-group{kept['group']:02d}-{kept['worn_by']}-seed{kept['seed']}-{kept['at']:02d}.png"


def members_file(number: int) -> str:
    """The file name of a group's contact sheet."""
    return f"facet-members-{number:02d}.png"


def notes_on(left_out: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Sentences on files that were left out."""
    named = [f"Left out {name}: {problem}" for name, problem in left_out[:NAMED]]
    more = len(left_out) - len(named)
    return (*named, f"Left out {more} more file{'s' if more > 1 else ''}.") if more > 0 else tuple(named)


def drawn_face(person: int, look: int = 0, plain: bool = False) -> Image.Image:
    """A drawn test person, aligned, SIZE × SIZE. look: its seed. plain: always the same look, from the front."""
    from core import faces

    if plain:
        face = faces.frontal(person)
    else:
        identity = faces.person(person, split="test")
        face = faces.Face(identity, faces.look(identity, look))
    return Image.fromarray(faces.draw(face, SIZE, "aligned"))
