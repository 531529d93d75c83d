"""Recipe of Vec2Face: reconstruct a face from its recognition feature (arXiv 2409.02979, section 3).

Time: 1 hour on two CPU cores for recognisable people, a night to converge; `onward` took 8 minutes on an H200, at 400
pictures a second beside another run. Memory: 2.5 GB. Seed: the preset's.
Data: `aligned` drawn faces, and their vectors by the steering embedder. Loss: see `VectorsRecipe.updates`.
"""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import data, hub, metrics
from core.images import recognisable
from core.models import build
from core.models.vec2face import Decoded, random_masks
from core.sampling import People, vary
from core.training.loop import Recipe, drawn_sets
from core.training.losses import least_squares, perceptual, seen_by
from core.training.optim import adamw
from core.training.start import early_start


@dataclass(frozen=True)
class Preset:
    """network: preset of `vec2face`. people × looks drawn faces. pixel to tokens: weights of the losses, tuned
    for a small network; the paper uses 0.2 for perception and 0.1 for structure.

    adversarial: gradient of the discriminator term relative to the others (adaptive weight), from the share
    `adversarial_from` of the run on. 0 disables the discriminator.
    steered_from: share of the run from which pictures have full size and identity and perception are used. Before, they
    have half the size, and steps take a third of the time. Too early, the generator would learn adversarial patterns
    for the embedder instead of faces.
    early: pre-training steps of the encoder, see core/training/start.py.
    size: pixels of the drawn faces; they are reduced, so that sets can be shared with other recipes.
    start: checkpoint to start from. blend: share of the way from there to the trained weights that is shipped
    (Wortsman et al., *Robust fine-tuning*, CVPR 2022); at 1, pictures overfit to the steering networks.
    tokens: small, because this loss makes the 49 tokens equal, and a small decoder needs different ones.
    """

    network: str
    seed: int
    people: int = 1500
    looks: int = 12
    batch: int = 16
    rate: float = 8e-4
    discriminating: float = 8e-3    # learning rate of the discriminator at its peak; it starts when the schedule is low
    pixel: float = 5.0
    identity: float = 2.0
    perceptual: float = 1.0
    structure: float = 0.1
    tokens: float = 0.1
    adversarial: float = 0.3
    adversarial_from: float = 0.8
    steered_from: float = 0.2
    early: int = 6000
    size: int = 112
    start: str | None = None
    blend: float = 1.0
    steering: tuple[str, ...] = ("embedder-tiny-v3", "judge-tiny-v3")
    name: str = "vectors-tiny"
    people_name: str = "vectors-people-tiny"


PRESETS = {
    "tiny": Preset("tiny", seed=5),
    "onward": Preset("tiny", seed=15, rate=4e-4, discriminating=1e-3, adversarial_from=0.1, steered_from=0.0, size=128,
                     start="vectors-tiny", blend=0.6),
}
AUGMENT = data.Augment(flip=0.5)
CHECKED = (100, 8)  # validation people × looks
FITTED = 6000  # pictures for the distribution of people


class Reconstruction(nn.Module):
    """Training wrapper of the generator: one forward for the picture and both sides of the token loss."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, vectors: Tensor, drop: Tensor | None = None, mask: Tensor | None = None,
                half: bool = False) -> Decoded:
        return self.generator.tokens_and_image(vectors, drop, mask, half=half)


class VectorsRecipe(Recipe):
    """Networks "generator" (averaged) and "discriminator"; the steering embedder and judge are frozen."""

    averaged = ("generator",)

    def __init__(self, preset: Preset, drawn: data.DrawnSet, held_out: data.DrawnSet,
                 device: str | None = None) -> None:
        torch.manual_seed(preset.seed)
        self.preset, self.drawn, self.held_out, self.batch = preset, drawn, held_out, preset.batch
        self.steering = [hub.load(name, device) for name in preset.steering]
        generator = build("vec2face", preset.network)
        if preset.start is not None:
            generator.load_state_dict(hub.load(preset.start, "cpu").state_dict())
        generator = Reconstruction(generator).to(memory_format=torch.channels_last)
        discriminator = build("discriminator", "tiny").to(memory_format=torch.channels_last)
        self.networks = {"generator": generator, "discriminator": discriminator}
        self.optimizers = {
            "loss": adamw([generator], preset.rate, decay=0.02),
            "discriminator": adamw([discriminator], preset.discriminating, decay=0.0),
        }

    def begin(self):
        """Pre-train the encoder on small pictures, unless a checkpoint is given; see `early_start`."""
        if self.preset.start is not None:
            return
        vectors, small = [], []
        for rows in torch.arange(len(self.drawn)).split(64):
            image = recognisable(data.rows_of(self.drawn, rows.numpy())["image"])
            for side in (image, image.flip(3)):
                vectors.append(data.outputs(self.steering[0], side))
                small.append(F.avg_pool2d(side, 4))
        early_start(self.networks["generator"].generator, torch.cat(vectors), torch.cat(small), self.preset.early,
                    self.preset.seed)

    def batches(self, start, shard, device):
        for batch in data.batches(self.drawn, self.batch, self.preset.seed, device, AUGMENT, start, shard):
            yield batch | {"image": recognisable(batch["image"])}

    def updates(self, networks, batch, progress):
        """Losses: pixels, identity, perception, structure, tokens; near the end also a discriminator."""
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        steered = progress >= self.preset.steered_from
        vectors, wanted = self.seen(image) if steered else (self.vectors(image), [])
        drop, mask = random_masks(len(image), torch.default_generator)
        made = networks["generator"](vectors, drop, mask, half=not steered)
        image = image if steered else F.avg_pool2d(image, 2)
        terms = {
            "pixel": (made.image - image).square().mean(),
            "structure": (1 - metrics.ssim(made.image, image)).mean(),
            "tokens": (made.tokens - made.clean).square().mean(),
        }
        if steered:
            found, maps = self.seen(made.image, grad=True)
            terms |= {"identity": (1 - metrics.cosine(found, vectors)).mean(), "perceptual": perceptual(maps, wanted)}
        loss = sum(getattr(self.preset, name) * term for name, term in terms.items())
        numbers = {name: term.detach() for name, term in terms.items()}
        if not self.preset.adversarial or progress < self.preset.adversarial_from:
            yield "loss", loss, numbers
            return
        yield "discriminator", self.discriminator_loss(networks["discriminator"], image, made.image.detach()), {}
        fooled = least_squares(networks["discriminator"](made.image), 1.0)
        weight = balance(loss, fooled, self.last_layer(networks["generator"])) * self.preset.adversarial
        yield "loss", loss + weight * fooled, numbers | {"fooled": fooled.detach()}

    @torch.no_grad()
    def vectors(self, image: Tensor) -> Tensor:
        """Face vectors (N, 512) of the steering embedder."""
        return self.steering[0](image)

    def seen(self, image: Tensor, grad: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Outputs of the steering networks: face vectors (N, 512) and feature maps."""
        with torch.set_grad_enabled(grad):
            return seen_by(self.steering, image)[:2]

    @staticmethod
    def discriminator_loss(discriminator: nn.Module, real: Tensor, made: Tensor) -> Tensor:
        return (least_squares(discriminator(real), 1.0) + least_squares(discriminator(made), 0.0)) / 2

    @staticmethod
    def last_layer(generator: nn.Module) -> Tensor:
        return getattr(generator, "module", generator).generator.im_decoder.conv_out.weight

    def check(self, networks):
        """Mean cosine between a validation face's vector and that of its reconstruction, by the steering embedder."""
        image = self.shown(networks, 64)
        vectors, _ = self.seen(image)
        made = networks["generator"](vectors).image
        found, _ = self.seen(made.clamp(-1, 1))
        alike = metrics.ssim(made, image)
        return {"cos": float(metrics.cosine(found, vectors).mean()), "ssim": float(alike.mean())}

    def sheet(self, networks):
        """Rows: eight validation faces, their reconstructions, and variations at σ = 0.5."""
        from core.images import grid, to_pil

        image = self.shown(networks, 8)
        vectors, _ = self.seen(image)
        varied = torch.stack([vary(vector, 0.5, seed) for seed, vector in enumerate(vectors.cpu())]).to(image.device)
        made = [networks["generator"](v).image for v in (vectors, varied)]
        return grid(to_pil(torch.cat([image, *made])), columns=8)

    def finish(self, networks: dict, folder: Path, command: str) -> list[Path]:
        """Write the generator and, unless `start` is given, the distribution of people; returns the paths."""
        chosen, generator, onward = self.preset, networks["generator"].generator, ""
        if chosen.start is not None:
            generator = blended(hub.load(chosen.start, "cpu"), generator, chosen.blend)
            onward = f" further from {chosen.start} {hub.row(chosen.start).sha256[:12]}"
        about = (f"Vec2Face: 512 numbers to a drawn face of 112 x 112 pixels; trained{onward} on {chosen.people} drawn "
                 f"people × {chosen.looks} looks, seed {chosen.seed}.")
        path = hub.save(generator, chosen.name, network="vec2face", preset=chosen.network, recipe=command, about=about,
                        folder=folder)
        if chosen.start is not None:        # same embedder, same distribution
            return [path]
        pictures = recognisable(data.rows_of(self.drawn, range_of(self.drawn, FITTED))["image"])
        people = People.fit(data.outputs(self.steering[0], pictures))
        return [path, save_people(people, chosen.people_name, folder, command)]

    def shown(self, networks, count: int) -> Tensor:
        """Validation faces, spread over the people, (count, 3, 112, 112) on the network's device."""
        device = next(networks["generator"].parameters()).device
        return recognisable(data.rows_of(self.held_out, range_of(self.held_out, count), device)["image"])


def recipe(preset: str, **asked: float) -> VectorsRecipe:
    """The recipe of a preset; draws missing faces and needs the checkpoints of `steering`."""
    chosen = replace(PRESETS[preset], **asked)
    return VectorsRecipe(chosen, *drawn_sets(chosen, CHECKED, size=chosen.size))


def balance(loss: Tensor, fooled: Tensor, weight: Tensor) -> Tensor:
    """The adversarial weight with equal gradient norms at the last layer (Esser et al., CVPR 2021, eq. 7)."""
    with torch.autocast(weight.device.type, enabled=False):
        pull, push = (torch.autograd.grad(term, weight, retain_graph=True)[0].norm() for term in (loss, fooled))
    return (pull / (push + 1e-6)).clamp(0, 1e4).detach()


def range_of(drawn: data.DrawnSet, count: int):
    """`count` rows spread over the people of a set."""
    return torch.linspace(0, len(drawn) - 1, min(count, len(drawn))).long().numpy()


@torch.no_grad()
def blended(start: nn.Module, end: nn.Module, share: float) -> nn.Module:
    """A network with weights interpolated by `share` from `start` to `end`, on the CPU."""
    found = copy.deepcopy(end).cpu()
    for name, value in found.state_dict().items():
        if value.is_floating_point():
            value.copy_(start.state_dict()[name].float().lerp(value.float(), share))
    return found


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
