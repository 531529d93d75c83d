"""The stylegan2 recipe: a generator of drawn faces, first from the renderer's numbers by pairs, then adversarially.

Stage A: z is the whitened numbers of a drawn face (`face_numbers`), and the picture that z gives is compared with that
face: L1, L1 of differences between neighbours, L1 at a half and a quarter of the size. Nothing can collapse, and the
mapping network learns beside the rest. Stage B: a patch discriminator sees real and generated pictures of the same
face beside the frozen generator's of stage A (`adversarial`); pixels and an encoder's features stay compared.

Time: on one AVX2 core, in float32, stage A makes 25 pictures of 128 pixels a second and stage B nine: 200,000 pictures
of stage A take two and a half hours. Memory: 2 GB. Seed: the preset's.
Data: `aligned` drawn faces of 128 pixels, never mirrored, because their numbers are not.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import data, hub
from core.models import build
from core.models.stylegan2 import StyleGAN2
from core.training import adversarial
from core.training.face_numbers import fit_whitening, numbers_of
from core.training.loop import Recipe, drawn_sets
from core.training.losses import encoder_maps, perceptual
from core.training.optim import adam_without_momentum


@dataclass(frozen=True)
class Preset:
    """network: preset of `stylegan2`. people × looks drawn faces. rate, mapping: of stage A; see `set_stage`.

    soft_images: pictures after which stage B begins. warmup: steps of stage B in which only the discriminator uses what
    it sees. sharp_rate, discriminating: peak rates of generator and discriminator in stage B. share: the adversarial
    gradient, in parts of the reconstruction's. gamma: weight of the gradient penalties, halved in the loss.
    perception, features: weights in stage B of the encoder's features and of the discriminator's own.
    """

    network: str
    seed: int
    people: int = 6000
    looks: int = 6
    batch: int = 16
    rate: float = 2e-3
    mapping: float = 100.0
    soft_images: int = 200_000
    warmup: int = 1000
    sharp_rate: float = 5e-4
    discriminating: float = 1e-3
    share: float = 0.6
    gamma: float = 0.1
    perception: float = 0.3
    features: float = 0.3
    encoder: str = "aging-autoencoder-tiny"
    name: str = "stylegan2-tiny"


PRESETS = {
    "tiny":     Preset("tiny", seed=21, name="stylegan2-tiny-64"),
    "tiny-128": Preset("tiny-128", seed=21),
}
SIZE = 128  # pixels of the drawn faces; a smaller generator learns from them made smaller
CHECKED = (150, 8)  # validation people × looks
SHOWN = 8  # columns of the sheet


class Critic(nn.Module):
    """The patch discriminator, with the frozen generator whose pictures are its condition, and how far training is.

    images: pictures seen in both stages. steps: steps of stage B. Kept here so that a resumed run knows them.
    """

    def __init__(self, discriminator: nn.Module, generator: StyleGAN2) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.soft = copy.deepcopy(generator).requires_grad_(False)
        self.register_buffer("images", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, picture: Tensor, condition: Tensor) -> Tensor:
        """Both (N, 3, S, S). Returns patch scores (N, 1, S / 8, S / 8): high is real."""
        return self.discriminator(torch.cat([picture, condition], 1))

    def maps(self, picture: Tensor, condition: Tensor) -> list[Tensor]:
        """The discriminator's feature maps."""
        return self.discriminator.maps(torch.cat([picture, condition], 1))


class StyleGAN2Recipe(Recipe):
    """Networks "generator" (kept as an average) and "discriminator", a `Critic`."""

    averaged, saved = ("generator",), ("generator", "stylegan2")

    def __init__(self, preset: Preset, drawn: data.DrawnSet, held_out: data.DrawnSet, z: Tensor, held_out_z: Tensor,
                 device: str | None = None) -> None:
        """z, held_out_z: the whitened numbers of the faces of both sets, (N, latent)."""
        torch.manual_seed(preset.seed)
        self.preset, self.drawn, self.held_out, self.batch = preset, drawn, held_out, preset.batch
        self.z, self.held_out_z = z, held_out_z
        self.encoder = hub.load(preset.encoder, device)
        generator = build("stylegan2", preset.network).to(memory_format=torch.channels_last)
        self.size = generator.config.size
        critic = Critic(build("discriminator", "paired"), generator).to(memory_format=torch.channels_last)
        self.networks = {"generator": generator, "discriminator": critic}
        mapping = list(generator.style.parameters())
        others = [weight for name, weight in generator.named_parameters() if not name.startswith("style.")]
        self.optimizers = {"loss": adam_without_momentum([mapping, others], preset.rate),
                           "discriminator": adam_without_momentum([critic.discriminator.parameters()],
                                                                  preset.discriminating)}
        self.set_stage(adversarial_stage=False)

    @property
    def about(self) -> str:
        """What the manifest says of the generator."""
        chosen, images = self.preset, int(self.networks["discriminator"].images)
        return (f"StyleGAN2 of drawn faces, z from the renderer's numbers; {chosen.people} people × {chosen.looks} "
                f"looks, {images} pictures ({min(images, chosen.soft_images)} by pairs alone), seed {chosen.seed}.")

    def set_stage(self, adversarial_stage: bool) -> None:
        """Rates and momentum of the generator's optimiser.

        The mapping layers hold weights of spread 100 and use a hundredth of them, so they learn a hundred times more
        slowly than the rest. That suits stage B. In stage A their rate is `mapping` times the others'.
        """
        chosen = self.preset
        rate, factor, momentum = ((chosen.sharp_rate, 1.0, 0.0) if adversarial_stage else
                                  (chosen.rate, chosen.mapping, 0.9))
        for group, times in zip(self.optimizers["loss"].param_groups, (factor, 1.0), strict=True):
            group["initial_lr"], group["betas"] = rate * times, (momentum, 0.99)

    def batches(self, start: int, shard: tuple[int, int], device) -> Iterator[dict]:
        for batch in data.batches(self.drawn, self.batch, self.preset.seed, device, None, start, shard):
            image = self.sized(batch["image"])
            yield {"image": image, "z": self.z[batch["row"].cpu()].to(image.device)}

    def sized(self, image: Tensor) -> Tensor:
        """Pictures at the generator's size, by averages."""
        image = image if image.shape[-1] == self.size else F.interpolate(image, size=self.size, mode="area")
        return image.contiguous(memory_format=torch.channels_last)

    def updates(self, networks, batch, progress):
        critic, image, z = self.networks["discriminator"], batch["image"], batch["z"]
        sharp = int(critic.images) >= self.preset.soft_images
        critic.images += len(image)
        self.set_stage(sharp)
        if not sharp:
            terms = paired_terms(networks["generator"](z, noise="none"), image)
            yield "loss", sum(terms.values()), {name: term.detach() for name, term in terms.items()}
            return
        if not int(critic.steps):
            critic.soft.load_state_dict(self.networks["generator"].state_dict())
        with torch.no_grad():
            condition = critic.soft(z, noise="none")
        made = networks["generator"](z, noise="random")
        yield "discriminator", *self.discriminator_loss(networks["discriminator"], image, made.detach(), condition,
                                                        penalised=int(critic.steps) % adversarial.LAZY == 0)
        yield "loss", *self.generator_loss(critic, made, image, condition)
        critic.steps += 1

    def discriminator_loss(self, critic: nn.Module, real: Tensor, made: Tensor, condition: Tensor,
                           penalised: bool) -> tuple[Tensor, dict]:
        """The relativistic loss of pairs, and every few steps both gradient penalties."""
        scores = critic(torch.cat([real, made]), torch.cat([condition, condition])).chunk(2)
        loss = adversarial.discriminator_loss(*scores)
        numbers = {"scores": (scores[0] - scores[1]).detach().mean()}
        if penalised:
            r1, r2 = (adversarial.gradient_penalty(critic, picture, condition) for picture in (real, made))
            loss = loss + adversarial.LAZY * self.preset.gamma / 2 * (r1 + r2)
            numbers |= {"r1": r1.detach(), "r2": r2.detach()}
        return loss, numbers

    def generator_loss(self, critic: Critic, made: Tensor, real: Tensor, condition: Tensor) -> tuple[Tensor, dict]:
        """Pixels, the encoder's and the discriminator's features, and the adversarial term once that is warm."""
        with torch.no_grad():
            seen, maps = encoder_maps(self.encoder, real), critic.maps(real, condition)
            real_scores = critic.discriminator.score(maps[-1])
        made_maps = critic.maps(made, condition)
        terms = {"pixel": (made - real).abs().mean(),
                 "perceptual": self.preset.perception * perceptual(encoder_maps(self.encoder, made), seen),
                 "features": self.preset.features * torch.stack([
                     (a - b).abs().mean() for a, b in zip(made_maps, maps, strict=True)]).mean()}
        numbers = {name: term.detach() for name, term in terms.items()}
        if int(critic.steps) < self.preset.warmup:
            return sum(terms.values()), numbers
        fooled = adversarial.generator_loss(real_scores, critic.discriminator.score(made_maps[-1]))
        both = terms["pixel"] + terms["perceptual"] + terms["features"]
        last = self.networks["generator"].to_rgbs[-1].conv.weight
        loss, weight = adversarial.balanced_loss(made, last, both, fooled, self.preset.share)
        return loss, numbers | {"fooled": fooled.detach(), "weight": weight}

    def check(self, networks):
        """Of an eighth of the validation pictures: L1, and the Laplacian energy of theirs in parts of the real one."""
        rows = np.arange(0, len(self.held_out), 8)
        real, made = self.shown(networks, self.held_out, self.held_out_z, rows)
        return {"l1": float((made - real).abs().mean()), "sharpness": float(laplacian(made) / laplacian(real)),
                "images": int(self.networks["discriminator"].images)}

    def sheet(self, networks):
        """Held-out faces, the same from their numbers, training faces, the same, and faces from normal z."""
        from core.images import grid, to_pil

        pictures = []
        for drawn, z in ((self.held_out, self.held_out_z), (self.drawn, self.z)):
            pictures += self.shown(networks, drawn, z, np.linspace(0, len(drawn) - 1, SHOWN).astype(int))
        random = torch.randn(SHOWN, self.z.shape[1], generator=torch.Generator().manual_seed(0))
        pictures.append(networks["generator"](random.to(pictures[0].device), noise="none"))
        return grid(to_pil(torch.cat(pictures)), columns=SHOWN)

    def shown(self, networks, drawn: data.DrawnSet, z: Tensor, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Some pictures of a set and what the generator makes of their numbers, both (N, 3, S, S)."""
        generator = networks["generator"]
        device = generator.input.input.device
        real, wanted = self.sized(data.rows_of(drawn, rows, device)["image"]), z[torch.from_numpy(rows)].to(device)
        return real, torch.cat([generator(part, noise="none") for part in wanted.split(32)])


def paired_terms(made: Tensor, real: Tensor) -> dict[str, Tensor]:
    """Stage A's loss of pairs (N, 3, S, S): pixels, differences of neighbours, and both smaller sizes, as L1."""
    off = made - real
    smaller = [F.avg_pool2d(off, size).abs().mean() for size in (2, 4)]
    return {"pixel": off.abs().mean(), "smaller": sum(smaller) / 2,
            "edges": (off.diff(dim=2).abs().mean() + off.diff(dim=3).abs().mean()) / 2}


def laplacian(picture: Tensor) -> Tensor:
    """Mean squared Laplacian of the brightness of pictures (N, 3, S, S): how much fine detail there is."""
    light = picture.float().mean(1)
    bent = (4 * light[:, 1:-1, 1:-1] - light[:, :-2, 1:-1] - light[:, 2:, 1:-1] - light[:, 1:-1, :-2]
            - light[:, 1:-1, 2:])
    return bent.square().mean()


def recipe(preset: str, **asked: float) -> StyleGAN2Recipe:
    """The recipe of a preset; its faces are drawn and their numbers computed if they are not yet."""
    chosen = replace(PRESETS[preset], **asked)
    drawn, held_out = drawn_sets(chosen, CHECKED, size=SIZE, version=4)
    numbers = numbers_of("train", chosen.people, chosen.looks)
    whitening = fit_whitening(numbers, build("stylegan2", chosen.network).config.latent)
    z, held_out_z = (torch.from_numpy(whitening.apply(each)) for each in (numbers, numbers_of("validation", *CHECKED)))
    return StyleGAN2Recipe(chosen, drawn, held_out, z, held_out_z)
