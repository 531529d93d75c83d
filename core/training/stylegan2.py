"""The stylegan2 recipe: a generator of drawn faces, first from the renderer's numbers by pairs, then adversarially.

Stage A: z is the whitened numbers of a drawn face (`face_numbers`), and the picture that z gives is compared with that
face: L1, L1 of differences between neighbours, L1 at a half and a quarter of the size. Nothing can collapse, and the
mapping network learns beside the rest. Stage B: a patch discriminator sees real and generated pictures of the same
face beside the frozen generator's of stage A (`sharpening`); pixels and an encoder's features stay compared. Only the
layers of 32 pixels and more learn then.

Time: on one AVX2 core, in float32, stage A makes 25 pictures of 128 pixels a second and stage B nine; on one with bf16
units, with --precision bf16, 48 (78 of 64 pixels, 130 of 32) and 11. Memory: 2 GB. Seed: the preset's.
Data: `aligned` drawn faces of 128 pixels, never mirrored, because their numbers are not. z is whitened over these
faces, so the preset `onward`, stage B from what ships, needs the --people and --looks of the first run.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import data, hub
from core.features import resized
from core.models import build
from core.training import adversarial
from core.training.face_numbers import fit_whitening, numbers_of
from core.training.loop import Recipe, drawn_sets
from core.training.losses import laplacian, paired_terms
from core.training.optim import adam_without_momentum
from core.training.sharpening import Critic, Sharpening, discriminator_loss, generator_loss


@dataclass(frozen=True)
class Preset(Sharpening):
    """network: preset of `stylegan2`. people × looks drawn faces. rate, mapping: of stage A; see `set_stage`.

    Weights have spread 1 and are scaled when they are used, so rates are larger than elsewhere: 12,900 pictures of 32
    pixels reach a held-out L1 of 0.298 at a rate of 2e-3, 0.239 at 1e-2, 0.195 at 3e-2 and 0.185 at 8e-2.
    small: pixels of the first pictures of stage A, and after how many pictures the next size follows. A step with 32
    pixels takes a third of the time of one with 128; with 64, two thirds.
    """

    network: str
    seed: int
    people: int = 6000
    looks: int = 6
    batch: int = 16
    rate: float = 5e-2
    mapping: float = 100.0
    small: tuple[tuple[int, int], ...] = ((32, 60_000), (64, 140_000))
    name: str = "stylegan2-tiny"


PRESETS = {
    "tiny":     Preset("tiny", seed=21, sharp_rate=2e-3, name="stylegan2-tiny-64"),
    "tiny-128": Preset("tiny-128", seed=21, sharp_rate=2e-3, soft_images=400_000),
    "onward":   Preset("tiny-128", seed=22, sharp_rate=2e-3, soft_images=0, start="stylegan2-tiny"),
}
SHARPENED = 32  # pixels of the layers from which stage B changes the generator
SIZE = 128  # pixels of the drawn faces; a smaller generator learns from them made smaller
CHECKED = (150, 8)  # validation people × looks
SHOWN = 8  # columns of the sheet


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
        generator = preset.initialised(build("stylegan2", preset.network)).to(memory_format=torch.channels_last)
        self.size = generator.config.size
        critic = Critic(build("discriminator", "paired"), generator).to(memory_format=torch.channels_last)
        self.networks = {"generator": generator, "discriminator": critic}
        self.optimizers = {"loss": adam_without_momentum(groups_of(generator), preset.rate),
                           "discriminator": adam_without_momentum([critic.discriminator.parameters()],
                                                                  preset.discriminating)}
        self.set_stage(adversarial_stage=False)

    @property
    def about(self) -> str:
        """What the manifest says of the generator."""
        chosen, images = self.preset, int(self.networks["discriminator"].images)
        return (f"StyleGAN2 of drawn faces, z from the renderer's numbers; {chosen.people} people × {chosen.looks} "
                f"looks, {chosen.summary(images)}, seed {chosen.seed}.")

    def set_stage(self, adversarial_stage: bool) -> None:
        """Rates and momentum of the generator's optimiser.

        The mapping layers hold weights of spread 100 and use a hundredth of them, so in stage A their rate is `mapping`
        times the others'. Stage B changes the layers of SHARPENED pixels and more alone, so that a face as a whole
        stays.
        """
        chosen = self.preset
        rate, factors, momentum = ((chosen.sharp_rate, (0.0, 0.0, 1.0), 0.0) if adversarial_stage else
                                   (chosen.rate, (chosen.mapping, 1.0, 1.0), 0.9))
        for group, times in zip(self.optimizers["loss"].param_groups, factors, strict=True):
            group["initial_lr"], group["betas"] = rate * times, (momentum, 0.99)

    def stage(self, progress):
        return self.networks["discriminator"].stage(progress)

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
        seen = critic.count(len(image))
        sharp = seen >= self.preset.soft_images
        self.set_stage(sharp)
        if not sharp:
            size = next((size for size, until in self.preset.small if seen < until), self.size)
            terms = paired_terms(networks["generator"](z, noise="none", size=size), resized(image, size))
            yield "loss", sum(terms.values()), {name: term.detach() for name, term in terms.items()}
            return
        if not int(critic.steps):
            critic.begin(self.networks["generator"], progress)
        with torch.no_grad():
            condition = critic.soft(z, noise="none")
        made = networks["generator"](z, noise="none")       # with noise it paints grain instead of hair and skin
        yield "discriminator", *discriminator_loss(networks["discriminator"], image, made.detach(), condition,
                                                   self.preset.gamma, int(critic.steps) % adversarial.LAZY == 0)
        last = self.networks["generator"].to_rgbs[-1].conv.weight
        yield "loss", *generator_loss(critic, self.encoder, made, image, condition, last, self.preset)
        critic.steps += 1

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


def groups_of(generator: nn.Module) -> list[list[Tensor]]:
    """The weights of the mapping network, of the layers under SHARPENED pixels, and of the others.

    Strengths of noise are in none of them: pictures are made without noise, so they stay 0.
    """
    mapping, coarse, fine = [], [], []
    for name, weight in generator.named_parameters():
        if name.endswith(".noise.weight"):
            continue
        kind, at = name.split(".")[:2]
        size = 2 ** (3 + int(at) // 2) if kind == "convs" else 2 ** (3 + int(at)) if kind == "to_rgbs" else 4
        (mapping if kind == "style" else fine if size >= SHARPENED else coarse).append(weight)
    return [mapping, coarse, fine]


def recipe(preset: str, **asked: float) -> StyleGAN2Recipe:
    """The recipe of a preset; its faces are drawn and their numbers computed if they are not yet."""
    chosen = replace(PRESETS[preset], **asked)
    drawn, held_out = drawn_sets(chosen, CHECKED, size=SIZE, version=4)
    numbers = numbers_of("train", chosen.people, chosen.looks)
    whitening = fit_whitening(numbers, build("stylegan2", chosen.network).config.latent)
    z, held_out_z = (torch.from_numpy(whitening.apply(each)) for each in (numbers, numbers_of("validation", *CHECKED)))
    return StyleGAN2Recipe(chosen, drawn, held_out, z, held_out_z)
