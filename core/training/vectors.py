"""Recipe of Vec2Face: reconstruct a face from its recognition feature (arXiv 2409.02979, section 3).

Stage A trains the whole network by pairs: the feature of a drawn face, and that face. Pixels, differences of
neighbours, smaller sizes, an encoder's features, the identity and the tokens are compared; pictures have half the size
at first. Stage B freezes the tokens and trains the image decoder against a patch discriminator, whose condition is the
picture of stage A's decoder (`sharpening`).

Time: on one busy core with bf16 units, with --precision bf16, a second has 40 pictures of half the size, then 16, and
11 in stage B. Memory: 2.5 GB. Seed: the preset's.
Data: `aligned` drawn faces, and their vectors by the embedder, kept in the cache folder.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import data, hub, metrics
from core.images import recognisable
from core.models import build
from core.models.vec2face import random_masks
from core.sampling import People, vary
from core.training import adversarial
from core.training.latents import cached_vectors
from core.training.loop import Recipe, drawn_sets
from core.training.losses import encoder_maps, laplacian, paired_terms, perceptual
from core.training.optim import adam_without_momentum, adamw
from core.training.sharpening import Critic, Sharpening, discriminator_loss, generator_loss
from core.training.start import early_start


@dataclass(frozen=True)
class Preset(Sharpening):
    """network: preset of `vec2face`. people × looks drawn faces. rate: of stage A.

    identity, tokens: weights of 1 - cosine and of the token loss. The paper uses 1 and 1; more of the first draws
    patterns for the embedder instead of faces, and more of the second makes the 49 tokens equal.
    half_images: pictures of half the size, at first; a step with them takes a third of the time.
    early: pre-training steps of the encoder, see core/training/start.py; none with `start`.
    embedder: whose vectors the pictures are drawn from.
    """

    network: str
    seed: int
    people: int = 6000
    looks: int = 6
    batch: int = 16
    rate: float = 8e-4
    identity: float = 0.3
    tokens: float = 0.1
    half_images: int = 32_000
    early: int = 6000
    embedder: str = "embedder-tiny"
    name: str = "vectors-tiny"
    people_name: str = "vectors-people-tiny"


# With the defaults the generator changed faster than the discriminator learned: the scores of real and generated
# pictures were 0.01 apart.
_SLOW = {"sharp_rate": 1e-4, "most": 0.3, "gamma": 0.02, "warmup": 110}
PRESETS = {
    "tiny":   Preset("tiny", seed=5, soft_images=84_000, **_SLOW),
    "onward": Preset("tiny", seed=15, rate=4e-4, half_images=0, soft_images=0, start="vectors-tiny", **_SLOW),
}
SIZE = 128          # pixels of the drawn faces, as other recipes have them; they are reduced to 112
CHECKED = (150, 8)  # validation people × looks
SHOWN = 8           # columns of the sheet


class Drawn(NamedTuple):
    """What a step draws. features: (N, feature, 7, 7). tokens, clean: see `core.models.vec2face.Decoded`."""

    image: Tensor
    features: Tensor
    tokens: Tensor
    clean: Tensor


class Reconstruction(nn.Module):
    """Training wrapper of the generator: one forward for the picture and both sides of the token loss."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, vectors: Tensor, half: bool = False, frozen: bool = False) -> Drawn:
        """vectors: (N, 512). half: pictures of half the size. frozen: only the image decoder gets a gradient, and no
        token is masked, as at inference.
        """
        network = self.generator
        drop, mask = (None, None) if frozen else random_masks(len(vectors), torch.default_generator)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            clean = network.tokens(vectors)
            tokens = network.decode(network.encode(clean, drop, mask), drop, mask)
            features = network.feature_map(tokens)
        decoder = network.im_decoder.half if half else network.im_decoder
        return Drawn(decoder(features), features, tokens[:, 1:], clean[:, 1:].detach())


class VectorsRecipe(Recipe):
    """Networks "generator" (kept as an average) and "discriminator", a `Critic`; embedder and encoder are frozen."""

    averaged = ("generator",)

    def __init__(self, preset: Preset, drawn: data.DrawnSet, held_out: data.DrawnSet, vectors: Tensor,
                 held_out_vectors: Tensor, device: str | None = None) -> None:
        """vectors, held_out_vectors: those of the faces of both sets by the embedder, (N, 512)."""
        torch.manual_seed(preset.seed)
        self.preset, self.drawn, self.held_out, self.batch = preset, drawn, held_out, preset.batch
        self.vectors, self.held_out_vectors = vectors, held_out_vectors
        self.embedder, self.encoder = (hub.load(name, device) for name in (preset.embedder, preset.encoder))
        generator = preset.initialised(build("vec2face", preset.network)).to(memory_format=torch.channels_last)
        critic = Critic(build("discriminator", "paired"), generator.im_decoder).to(memory_format=torch.channels_last)
        self.networks = {"generator": Reconstruction(generator), "discriminator": critic}
        self.optimizers = {
            "soft": adamw([generator], preset.rate, decay=0.02),
            "sharp": adam_without_momentum([generator.im_decoder.parameters()], preset.sharp_rate),
            "discriminator": adam_without_momentum([critic.discriminator.parameters()], preset.discriminating)}

    def begin(self):
        """Pre-train the encoder on small pictures, unless a checkpoint is given; see `early_start`."""
        if self.preset.start is not None:
            return
        small = [F.avg_pool2d(recognisable(data.rows_of(self.drawn, rows.numpy())["image"]), 4)
                 for rows in torch.arange(len(self.drawn)).split(64)]
        early_start(self.networks["generator"].generator, self.vectors, torch.cat(small), self.preset.early,
                    self.preset.seed)

    def stage(self, progress):
        return self.networks["discriminator"].stage(progress)

    def batches(self, start, shard, device):
        for batch in data.batches(self.drawn, self.batch, self.preset.seed, device, None, start, shard):
            vectors = self.vectors[batch["row"].cpu()].to(batch["image"].device)
            yield {"image": recognisable(batch["image"]), "vectors": vectors}

    def updates(self, networks, batch, progress):
        critic, vectors = self.networks["discriminator"], batch["vectors"]
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        seen = critic.count(len(image))
        if seen < self.preset.soft_images:
            terms = self.soft_terms(networks["generator"], vectors, image, half=seen < self.preset.half_images)
            yield "soft", sum(terms.values()), {name: term.detach() for name, term in terms.items()}
            return
        decoder = self.networks["generator"].generator.im_decoder
        if not int(critic.steps):
            critic.begin(decoder, progress)
        made = networks["generator"](vectors, frozen=True)
        with torch.no_grad():
            condition = critic.soft(made.features)
        yield "discriminator", *discriminator_loss(networks["discriminator"], image, made.image.detach(), condition,
                                                   self.preset.gamma, int(critic.steps) % adversarial.LAZY == 0)
        others = {"identity": self.identity(made.image, vectors)}
        yield "sharp", *generator_loss(critic, self.encoder, made.image, image, condition, decoder.conv_out.weight,
                                       self.preset, others)
        critic.steps += 1

    def soft_terms(self, generator: nn.Module, vectors: Tensor, image: Tensor, half: bool) -> dict[str, Tensor]:
        """The weighted losses of stage A by name. half: of pictures of half the size, without identity and features."""
        made = generator(vectors, half=half)
        image = F.avg_pool2d(image, 2) if half else image
        terms = paired_terms(made.image, image)
        terms |= {"tokens": self.preset.tokens * (made.tokens - made.clean).square().mean()}
        if half:
            return terms
        with torch.no_grad():
            wanted = encoder_maps(self.encoder, image)
        features = perceptual(encoder_maps(self.encoder, made.image), wanted)
        return terms | {"identity": self.identity(made.image, vectors),
                        "perceptual": self.preset.perception * features}

    def identity(self, made: Tensor, vectors: Tensor) -> Tensor:
        """The identity loss, weighted."""
        return self.preset.identity * (1 - metrics.cosine(self.embedder(made), vectors)).mean()

    def check(self, networks):
        """Of an eighth of the validation faces: L1, the cosine of the vectors, by the embedder that steers, and the
        Laplacian energy of pictures in parts of the real one.
        """
        rows = torch.arange(0, len(self.held_out), 8)
        image, made = self.shown(networks, rows)
        found = torch.cat([self.embedder(part) for part in made.clamp(-1, 1).split(32)])
        return {"l1": float((made - image).abs().mean()),
                "cos": float(metrics.cosine(found.cpu(), self.held_out_vectors[rows]).mean()),
                "sharpness": float(laplacian(made) / laplacian(image)),
                "images": int(self.networks["discriminator"].images)}

    def sheet(self, networks):
        """Rows: validation faces, their reconstructions, variations at σ = 0.5, and new people."""
        from core.images import grid, to_pil

        rows = torch.linspace(0, len(self.held_out) - 1, SHOWN).long()
        image, made = self.shown(networks, rows)
        varied = torch.stack([vary(vector, 0.5, seed) for seed, vector in enumerate(self.held_out_vectors[rows])])
        people = People.fit(self.vectors).draw(range(SHOWN))
        others = [networks["generator"].generator(each.to(made.device)) for each in (varied, people)]
        return grid(to_pil(torch.cat([image, made, *others])), columns=SHOWN)

    def finish(self, networks: dict, folder: Path, command: str) -> list[Path]:
        """Write the generator and the distribution of people; returns the paths."""
        chosen, images = self.preset, int(self.networks["discriminator"].images)
        about = (f"Vec2Face: 512 numbers to a drawn face of 112 x 112 pixels; {chosen.people} people × {chosen.looks} "
                 f"looks, {chosen.summary(images)}, seed {chosen.seed}.")
        path = hub.save(networks["generator"].generator, chosen.name, network="vec2face", preset=chosen.network,
                        recipe=command, about=about, folder=folder, bits=8)
        return [path, save_people(People.fit(self.vectors), chosen.people_name, folder, command)]

    def shown(self, networks, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Some validation faces and what the generator makes of their vectors, both (N, 3, 112, 112)."""
        generator = networks["generator"].generator
        device = generator.norm.weight.device
        image = recognisable(data.rows_of(self.held_out, rows.numpy(), device)["image"])
        made = [generator(part.to(device)) for part in self.held_out_vectors[rows].split(32)]
        return image, torch.cat(made)


def recipe(preset: str, **asked: float) -> VectorsRecipe:
    """The recipe of a preset; its faces are drawn and their vectors computed if they are not yet.

    Raises CheckpointError unless the embedder and the autoencoder are on this machine.
    """
    chosen = replace(PRESETS[preset], **asked)
    sets = drawn_sets(chosen, CHECKED, size=SIZE, version=4)
    vectors = [torch.from_numpy(np.array(cached_vectors(chosen.embedder, drawn))) for drawn in sets]
    return VectorsRecipe(chosen, *sets, *vectors)


def save_people(people: People, name: str, folder: Path, command: str) -> Path:
    """Write the distribution of people as <folder>/<name>.safetensors, with a manifest row."""
    from safetensors.torch import save_file

    from core.hub import manifest
    from core.hub.files import replacing

    path = Path(folder) / f"{name}.safetensors"
    with replacing(path) as part:
        save_file({key: value.contiguous() for key, value in people.to_dict().items()}, part)
    about = "Distribution of drawn people among face vectors: mean, components, standard deviations."
    return manifest.enter(path, name, command, about)
