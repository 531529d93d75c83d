"""Steering, the part of the pipeline `vectors` that moves vectors until their faces have the pose and quality asked."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from core.checks import number, whole
from core.engine import choices
from core.engine.result import Result
from core.errors import SettingsError
from core.sampling import seeds_from, settle_seed, vary
from core.systems.vectors import SYSTEM, numbers
from core.systems.vectors.choices import Choice
from core.systems.vectors.request import MAX_COUNT, MAX_SIGMA, MAX_STEPS, MAX_YAW, Source

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from core.systems.vectors.attrop import Reached, Reader, Targets


class Steering:
    """Part of `core.systems.vectors.pipeline.Vectors`, which has the networks and the files."""

    choice: Choice

    def steer(self, sources: Sequence[Source], yaw: float | None = None, quality: float | None = None, limit: int = 40,
              seed: int | None = None, sigma: float = 0.0, similarity: float | None = None,
              seeds: Sequence[int] | None = None) -> Iterator[Result]:
        """Turn faces and clear them up, by AttrOP (Vec2Face, section 3.3): one result a step, all faces in each.

        yaw: degrees, positive towards the right of the picture. quality: at least this, from 0 to
        `choice.quality.most`, as the reader of this choice counts. One of the two may be None.
        limit: steps at most; a face that is as asked moves no further. similarity: the least cosine to its source; None
        takes that of this choice.
        sigma, seed: steer a variation of each source rather than the source itself. seeds: one for each, instead of
        `seed` and those after it; new people have their own. What can't be reached comes back as near as it got, and
        says what it misses. Raises SettingsError, and CheckpointError when the readers are
        not on this machine.
        """
        targets = wanted(yaw, quality, similarity, self.choice)
        count = whole(len(sources), "number of faces", 1, MAX_COUNT)
        seeds = seeds_from(seed, count) if seeds is None else [settle_seed(each) for each in seeds]
        sigma, limit = number(sigma, "sigma", 0.0, MAX_SIGMA), whole(limit, "limit", 0, MAX_STEPS)
        choices.require(self.choice, extra=True)
        return self._steer(list(sources), seeds, sigma, targets, limit)

    def _steer(self, sources: list[Source], seeds: list[int], sigma: float, targets: "Targets",
               limit: int) -> Iterator[Result]:
        """Pictures step by step; only those that got better are written anew."""
        folder, paths, settings = self._new_folder(), [""] * len(sources), [{}] * len(sources)
        for reached in self._search(sources, seeds, sigma, targets, limit):
            for row in (row for row, found in enumerate(reached.found) if found == reached.iteration):
                settings[row] = self._steered(sources[row], seeds[row], sigma, targets, reached, row, len(sources))
                paths[row], = self._save(self._shown(reached, row), [settings[row]], folder)
            scores = {name: tuple(getattr(reached, name).tolist()) for name in ("similarity", "yaw", "quality")}
            notes = tuple(missed_of(each["seed"], each["missed"]) for each in settings if each["missed"])
            yield Result(tuple(paths), seeds=tuple(seeds), settings=tuple(settings), scores=scores, total=len(sources),
                         step=reached.iteration, steps=reached.limit, vectors=reached.vectors.cpu().numpy(),
                         notes=notes)

    def _search(self, sources: list[Source], seeds: list[int], sigma: float, targets: "Targets",
                limit: int) -> "Iterator[Reached]":
        """AttrOP with the networks of this pipeline."""
        import torch

        from core.systems.vectors.attrop import attrop

        likeness = torch.from_numpy(np.stack([source.vector for source in sources]))              # (N, 512)
        start = torch.stack([vary(row, sigma, seed) for row, seed in zip(likeness, seeds, strict=True)])
        return attrop(self.generator, self.embedder, *self._readers, start.to(self.device), targets,
                      likeness=likeness.to(self.device), limit=limit)

    def _shown(self, reached: "Reached", row: int) -> list[Any]:
        from core import images

        return images.to_pil(reached.images[row:row + 1])

    def _steered(self, source: Source, seed: int, sigma: float, targets: "Targets", reached: "Reached", row: int,
                 count: int) -> dict[str, Any]:
        """All that made one picture. Its `vector` is the one it was drawn from, so it can be drawn again at once."""
        arrived = Source("vector", reached.vectors[row].cpu().numpy(), label=source.label)
        person = {} if source.person is None else {"origin_person": source.person}
        return {**self._settings(arrived, seed, 0.0, float(reached.similarity[row]), count),
                "origin": source.kind, **person, "origin_sigma": sigma, "origin_vector": numbers.packed(source.vector),
                "similarity_target": targets.similarity,
                "yaw": round(float(reached.yaw[row]), 2), "yaw_target": targets.yaw,
                "quality": round(float(reached.quality[row]), 4), "quality_target": targets.quality,
                "missed": list(reached.missed[row]), "iterations": reached.found[row], "limit": reached.limit,
                **self._judged_by}

    def quality_of(self, pictures: "Sequence[Image.Image]") -> list[float]:
        """How good the reader of this choice finds each 112 × 112 picture, in its own unit. Raises CheckpointError."""
        import torch

        from core import images

        quality = quality_reader(self.choice, self.device)     # out here: steering takes gradients through it later
        with torch.inference_mode():
            return quality(images.to_tensor(pictures).to(self.device)).tolist()

    @cached_property
    def _readers(self) -> "tuple[Reader, Reader]":
        """What reads yaw and quality off pictures, gradients and all."""
        return readers(self.choice, self.device)

    @cached_property
    def _judged_by(self) -> dict[str, str]:
        names = self.choice.files(extra=True)
        return {"judge": ", ".join(names), "judge_sha256": ", ".join(map(choices.sha256, names))}


def missed_of(seed: int, missed: Sequence[str]) -> str:
    """The targets that a steered face misses, as a sentence."""
    return f"The face of seed {seed} is as near as it got, and misses the asked {' and '.join(missed)}."


def readers(choice: Choice, device: Any) -> "tuple[Reader, Reader]":
    """Yaw and quality as the networks of a choice read them. Raises CheckpointError; nothing is fetched."""
    from core import hub
    from core.systems.vectors.attrop import head_yaw, judged

    choices.require(choice, extra=True)
    if choice.yaw_reader == choice.quality_reader:
        return judged(hub.load(choice.yaw_reader, device))
    return head_yaw(hub.load(choice.yaw_reader, device)), quality_reader(choice, device)


def quality_reader(choice: Choice, device: Any) -> "Reader":
    """Quality alone; its network must be on this machine."""
    from core import hub
    from core.systems.vectors.attrop import feature_norm, judged

    network = hub.load(choice.quality_reader, device)
    return judged(network)[1] if choice.yaw_reader == choice.quality_reader else feature_norm(network)


def wanted(yaw: float | None, quality: float | None, similarity: float | None, choice: Choice) -> "Targets":
    """What was asked, checked, as the readers of a choice count. Raises SettingsError, also when nothing was asked."""
    from core.systems.vectors.attrop import Targets

    unit = choice.quality
    if yaw is None and quality is None:
        raise SettingsError("There is nothing to steer towards.", "Choose a yaw, a quality, or both.")
    similarity = number(choice.similarity if similarity is None else similarity, "similarity", -1.0, 1.0)
    return Targets(yaw=None if yaw is None else number(yaw, "yaw", -MAX_YAW, MAX_YAW),
                   quality=None if quality is None else number(quality, "quality", 0.0, unit.most),
                   similarity=similarity, yaw_tolerance=choice.turned, quality_tolerance=unit.tolerance,
                   quality_weight=unit.weight,
                   pull_to=None if choice.beyond is None else similarity + choice.beyond)


def turned_by(vectors: "Tensor", yaw: float, limit: int) -> "Tensor":
    """Faces (N, 512) of the checkpoints that ship, steered to a yaw in so many steps at most: their pictures in 8 bits,
    (N, 3, 112, 112) in [-1, 1], as near as each got.
    """
    from core import hub, images
    from core.systems.vectors.attrop import attrop

    choice = SYSTEM.choose()
    generator, embedder = (hub.load(name) for name in (choice.generator, choice.embedder))
    device = next(generator.parameters()).device
    targets = wanted(yaw, None, None, choice)
    *_, reached = attrop(generator, embedder, *readers(choice, device), vectors.to(device), targets, limit=limit)
    return images.from_uint8(images.to_uint8(reached.images.cpu()))
