"""Recipe of the Latent-to-Latent mapper: one network that edits all attributes of a face at once.

Khodadadeh et al., *Latent to Latent*, WACV 2022, section 3: generator, regressor and recogniser are frozen; requests
change one or several attributes of the current ones, so the others are asked to stay. Losses: `attribute_loss` of the
edited picture; 1 - cosine of both pictures' face vectors; neighbourhood, the squared change of w; cycle, the squared
error of the edit there and back. The last two are in standard deviations of w. The paper's identity map loss
|M(w, a_w) - w| is zero here by construction (`core.models.latent_to_latent`), so it has no term.

Presets `+pairs` add a fifth term that the paper does not have: for drawn faces, the mean change of the latent against
that of the renderer's own edit, through the encoder. They are checkpoints of their own.

Time: on one AVX2 core, in float32, 100,000 latents take an hour, once; a step of 16 takes one second. Memory: 2 GB.
Data: latents of the generator, a third of them drawn faces through the encoder. For the published StyleGAN2:

    python -m core fetch stylegan2-ffhq
    python -m core train directions --preset ffhq --judge FILE --ship checkpoints
    python -m core train mapper --preset ffhq --judge FILE --ship checkpoints

where FILE has the layout of `core.models.judge` and was trained on photographs; put it into checkpoints/ as
judge-photos.safetensors, and the system can use it, too. From Python any regressor serves that answers as a judge does:
`MapperRecipe(preset, Frozen(generator, regressor, embedder, frame="ffhq"), …)`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core import data
from core.faces import NAMES
from core.models import build
from core.models.judge import units_of
from core.models.latent_to_latent import complete
from core.training.edit_requests import ROLL, attribute_loss, sample, weights_of
from core.training.embedder import scaled
from core.training.face_latents import BATCH, Frozen, LatentSet, latent_set
from core.training.latents import blocks
from core.training.loop import Recipe, drawn_sets
from core.training.optim import adamw
from core.training.pairs import ideal_pairs


@dataclass(frozen=True)
class Preset:
    """network: preset of `latent-to-latent`. generator, encoder, judge, embedder: checkpoints, or files of `train`.

    frame: of the generator's pictures, see `core.training.face_latents`. latents: to learn from. people × looks drawn
    faces to invert. several: share of requests that change two to `most` attributes. asked: weight of an asked
    attribute beside one that is to stay. attribute, identity, neighbourhood, cycle, pair: weights of the losses.
    paired: drawn people with ideal pairs, for `pair`.
    """

    network: str
    seed: int
    generator: str = "stylegan2-tiny"
    encoder: str | None = "attributes-encoder-tiny"
    judge: str = "judge-tiny"
    embedder: str = "embedder-tiny"
    frame: str = "aligned"
    latents: int = 100_000
    people: int = 6000
    looks: int = 6
    batch: int = 16
    rate: float = 2e-3
    several: float = 0.5
    most: int = 4
    asked: float = 20.0
    attribute: float = 1.0
    identity: float = 0.5
    neighbourhood: float = 0.02
    cycle: float = 1.0
    pair: float = 0.0
    paired: int = 0
    name: str = "attributes-tiny"


TINY = Preset("tiny", seed=31)
FFHQ = Preset("ffhq", seed=31, generator="stylegan2-ffhq", encoder=None, judge="judge-photos", embedder="hsface-300k",
              frame="ffhq", name="attributes-ffhq")
PRESETS = {
    "tiny": TINY,
    "tiny+pairs": replace(TINY, pair=1.0, paired=600, name="attributes-pairs-tiny"),
    "ffhq": FFHQ,
}
CALIBRATED = 20_000  # latents that say where w lies
CHECKED = 256       # latents for validation
SHOWN = ("smile", "age", "glasses", "yaw", "blond_hair")      # rows of the sheet
COLUMNS = 8         # faces of the sheet


@dataclass(frozen=True)
class PairLatents:
    """Drawn faces before and after one edit: latents (N, styles, style), scores before, and units asked for (N, 35)."""

    before: Tensor
    after: Tensor
    scores: Tensor
    wanted: Tensor


class MapperRecipe(Recipe):
    """One network, "mapper", averaged; everything else is frozen."""

    averaged, saved = ("mapper",), ("mapper", "latent-to-latent")

    def __init__(self, preset: Preset, frozen: Frozen, latents: LatentSet, held_out: LatentSet,
                 pairs: PairLatents | None = None) -> None:
        """pairs: needed where `preset.pair` is not 0."""
        torch.manual_seed(preset.seed)
        self.preset, self.frozen, self.batch = preset, frozen, preset.batch
        self.latents, self.held_out, self.pairs = latents, held_out, pairs
        mapper = build("latent-to-latent", preset.network)
        mapper.calibrate(latents.w[:CALIBRATED].float())
        self.networks = {"mapper": mapper}
        self.optimizers = {"loss": adamw([mapper], preset.rate, decay=0.0)}
        paired = f", and ideal pairs of {preset.paired} drawn people" if preset.pair else ""
        self.about = (f"Latent-to-Latent: edits 35 attributes of a face of {Path(preset.generator).name}; "
                      f"{len(latents)} latents{paired}, seed {preset.seed}.")

    def batches(self, start: int, shard: tuple[int, int], device) -> Iterator[dict]:
        step = start * shard[1] + shard[0]
        while True:
            draw = torch.Generator().manual_seed(data.look_seed("requests", step, 0, self.preset.seed))
            rows = torch.randint(len(self.latents), (self.batch,), generator=draw)
            batch = request_batch(self.latents, rows, self.preset, draw)
            if self.pairs is not None:
                chosen = torch.randint(len(self.pairs.before), (4 * self.batch,), generator=draw)
                batch |= {f"pair_{name}": getattr(self.pairs, name)[chosen].float()
                          for name in ("before", "after", "scores", "wanted")}
            yield {name: value.to(device) for name, value in batch.items()} if device is not None else batch
            step += shard[1]

    def updates(self, networks, batch, progress):
        mapper, chosen = networks["mapper"], self.preset
        w, units, wanted, asked = (batch[name] for name in ("w", "units", "wanted", "asked"))
        edited = mapper(w, wanted, units)
        with torch.autocast(w.device.type, enabled=False):
            scores, vectors = self.frozen.see(self.frozen.draw(edited.float()))
        back = mapper(edited, units, wanted)
        deviation = self.networks["mapper"].deviation
        terms = {"attribute": attribute_loss(scores, wanted, weights_of(asked, chosen.asked)),
                 "identity": 1 - torch.cosine_similarity(vectors, batch["vectors"]).mean(),
                 "neighbourhood": ((edited - w) / deviation).square().mean(),
                 "cycle": ((back - w) / deviation).square().mean()}
        if self.pairs is not None:
            terms["pair"] = self.pair_loss(mapper, batch, deviation)
        loss = sum(getattr(chosen, name) * term for name, term in terms.items())
        yield "loss", loss, {name: term.detach() for name, term in terms.items()}

    @staticmethod
    def pair_loss(mapper, batch: dict, deviation: Tensor) -> Tensor:
        """How far the mean change of the latent is from that of the ideal pair, in standard deviations of w."""
        before = batch["pair_before"]
        edited = mapper(before, batch["pair_wanted"], units_of(batch["pair_scores"]))
        return ((edited - batch["pair_after"]).mean(1) / deviation).abs().mean()

    @torch.no_grad()
    def check(self, networks):
        """Of held-out latents with a request each: the loss of what was asked and of what was to stay, and identity."""
        batch = self.checked()
        edited = networks["mapper"](batch["w"], batch["wanted"], batch["units"])
        found = [self.frozen.see(self.frozen.draw(part)) for part in edited.split(BATCH)]
        scores, vectors = (torch.cat(column) for column in zip(*found, strict=True))
        kept = weights_of(batch["asked"], 0.0)
        return {"asked": float(attribute_loss(scores, batch["wanted"], batch["asked"].float())),
                "kept": float(attribute_loss(scores, batch["wanted"], kept)),
                "identity": float(torch.cosine_similarity(vectors, batch["vectors"]).mean())}

    def checked(self) -> dict[str, Tensor]:
        """The held-out latents with one fixed request each, on the generator's device."""
        draw = torch.Generator().manual_seed(self.preset.seed)
        found = request_batch(self.held_out, torch.arange(len(self.held_out)), self.preset, draw)
        return {name: value.to(self.frozen.device) for name, value in found.items()}

    def sheet(self, networks):
        """Held-out faces, then each of them with one attribute of SHOWN turned to its opposite."""
        from core.images import grid, to_pil

        few = LatentSet(*(part[:COLUMNS].to(self.frozen.device)
                          for part in (self.held_out.w, self.held_out.scores, self.held_out.vectors)))
        w, units = few.w.float(), units_of(few.scores)
        made = [self.frozen.draw(w)]
        for name in SHOWN:
            asked = torch.tensor([other == name for other in NAMES], device=w.device).expand_as(units)
            wanted = complete(torch.where(asked, (units < 0.5).float(), units), asked)
            made.append(self.frozen.draw(networks["mapper"](w, wanted, units)))
        return grid(to_pil(torch.cat(made)), columns=len(w))


def request_batch(latents: LatentSet, rows: Tensor, preset: Preset, draw: torch.Generator) -> dict[str, Tensor]:
    """These latents with a request each: "w", "vectors", "units", "wanted" and "asked"."""
    units = units_of(latents.scores[rows])
    wanted, asked = sample(units, preset.several, preset.most, draw)
    return {"w": latents.w[rows].float(), "vectors": latents.vectors[rows].float(), "units": units, "wanted": wanted,
            "asked": asked}


def pair_latents(frozen: Frozen, people: int, workers: int | None = None) -> PairLatents:
    """Ideal pairs of training people through the encoder, all attributes but roll."""
    names = tuple(name for at, name in enumerate(NAMES) if at != ROLL)
    columns = [NAMES.index(name) for name in names]
    found = {"before": [], "after": [], "scores": [], "wanted": []}
    for person in ideal_pairs(people, "train", names, workers=workers):
        w, scores = _inverted(frozen, person.pictures)
        units = units_of(scores[:1]).repeat(len(names), 1)
        asked = torch.zeros_like(units, dtype=torch.bool)
        asked[range(len(names)), columns] = True
        truth = scaled(torch.from_numpy(person.truth[1:])) / 2 + 0.5
        wanted = complete(torch.where(asked, truth, units), asked)
        for name, value in (("before", w[:1].repeat(len(names), 1, 1)), ("after", w[1:]),
                            ("scores", scores[:1].repeat(len(names), 1)), ("wanted", wanted)):
            found[name].append(value)
    return PairLatents(*(torch.cat(found[name]) for name in ("before", "after", "scores", "wanted")))


@torch.inference_mode()
def _inverted(frozen: Frozen, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
    """Latents and scores of the reconstructions of pictures (N, S, S, 3) uint8, on the CPU."""
    from core.images import from_uint8

    found = []
    for rows in blocks(len(pictures), BATCH):
        w = frozen.invert(from_uint8(pictures[rows]).to(frozen.device))
        found.append((w.cpu(), frozen.see(frozen.draw(w))[0].cpu()))
    return tuple(torch.cat(column) for column in zip(*found, strict=True))


def recipe(preset: str, **asked) -> MapperRecipe:
    """The recipe of a preset; missing faces are drawn, missing latents computed. Needs the checkpoints it names."""
    chosen = replace(PRESETS[preset], **asked)
    frozen = Frozen.load(chosen)
    latents, held_out = latents_for(chosen, frozen)
    return MapperRecipe(chosen, frozen, latents, held_out, pair_latents(frozen, chosen.paired) if chosen.pair else None)


def latents_for(chosen, frozen: Frozen) -> tuple[LatentSet, LatentSet]:
    """Latents of a preset to learn from, and others of validation people for checks."""
    drawn = held_out = None
    if frozen.encoder is not None:
        size = frozen.generator.config.size
        drawn, held_out = drawn_sets(chosen, (150, 8), size=size, version=4)
    return (latent_set(frozen, chosen.latents, 1, drawn),
            latent_set(frozen, min(CHECKED, chosen.latents), 2, held_out, block=CHECKED))
