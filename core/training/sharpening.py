"""The adversarial stage that recipes share: a patch discriminator makes the pictures of a soft generator sharp.

The discriminator sees the detail of a real or a generated picture beside what the generator drew of the same face when
the stage began, and learns to tell them apart (`adversarial`). Pixels and an encoder's features stay compared, so that
the face stays the same.

Why detail alone: a real picture differs from the one beside it in colour and outline, too, and a generator that is
rewarded for such differences may move away from the face instead of adding detail. Two runs of `stylegan2` differed in
more than that: after 200 steps of eight pictures, Laplacian energy was 0.05 of the real one with whole pictures, an
adversarial weight of 0.3, 0.3 of the discriminator's features and all layers; with detail, the weights below and fine
layers it was 0.37.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.nn import functional as F

from core import hub
from core.training import adversarial
from core.training.losses import encoder_maps, laplacian, perceptual


@dataclass(frozen=True, kw_only=True)
class Sharpening:
    """Settings of the stage, for the preset of a recipe.

    soft_images: pictures after which the stage begins. warmup: steps of the stage in which only the discriminator
    uses what it sees. sharp_rate, discriminating: peak rates of generator and discriminator. share: the adversarial
    gradient, in parts of the reconstruction's. most: the highest weight of the adversarial loss. gamma: weight of the
    gradient penalties, halved in the loss. perception, features: weights of the features of `encoder`, an autoencoder,
    and of the discriminator's own. start: checkpoint that the generator begins as.
    """

    soft_images: int = 200_000
    warmup: int = 60
    sharp_rate: float = 5e-4
    discriminating: float = 1e-3
    share: float = 0.5
    most: float = 3.0
    gamma: float = 0.5
    perception: float = 0.3
    features: float = 2.0
    encoder: str = "aging-autoencoder-tiny"
    start: str | None = None

    def initialised(self, generator: nn.Module) -> nn.Module:
        """The generator with the weights of `start`, if there is one. Raises CheckpointError."""
        if self.start is not None:
            generator.load_state_dict(hub.load(self.start, "cpu").state_dict())
        return generator

    def summary(self, images: int) -> str:
        """What the manifest says of a run of so many pictures in both stages."""
        onward = f" further from {self.start} {hub.row(self.start).sha256[:12]}" if self.start else ""
        return f"{images} pictures{onward} ({min(images, self.soft_images)} by pairs alone)"


def detail(picture: Tensor) -> Tensor:
    """What a picture (N, 3, S, S) is beyond its own blur over nine pixels, times 3."""
    blurred = picture
    for _ in range(2):
        blurred = F.avg_pool2d(blurred, 5, 1, 2, count_include_pad=False)
    return 3 * (picture - blurred)


class Critic(nn.Module):
    """The patch discriminator, the frozen network that draws its condition, and how far training is.

    images: pictures seen in both stages, in all processes. steps: of the adversarial stage. began: when it began, as a
    part of the run. Kept here so that a resumed run knows them.
    """

    def __init__(self, discriminator: nn.Module, drawing: nn.Module) -> None:
        """drawing: the network that is made sharp; a copy of it is frozen when the stage begins."""
        super().__init__()
        self.discriminator = discriminator
        self.soft = copy.deepcopy(drawing).requires_grad_(False)
        self.register_buffer("images", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("began", torch.zeros(()))

    def begin(self, drawing: nn.Module, progress: float) -> None:
        """Begin the adversarial stage: `drawing` as it is now draws the conditions."""
        self.soft.load_state_dict(drawing.state_dict())
        self.began.fill_(progress)

    def stage(self, progress: float) -> float:
        """How far the present stage is. The adversarial stage has a schedule of its own: the end of the first stage's
        would leave it a tenth of its rate.
        """
        return (progress - float(self.began)) / (1 - float(self.began))

    def count(self, pictures: int) -> int:
        """Count the pictures of a step, in all processes; returns how many were seen before."""
        seen = int(self.images)
        self.images += pictures * PartialState().num_processes
        return seen

    def forward(self, picture: Tensor, condition: Tensor) -> Tensor:
        """Both (N, 3, S, S). Returns patch scores (N, 1, S / 8, S / 8): high is real."""
        return self.discriminator(torch.cat([detail(picture), condition], 1))

    def maps(self, picture: Tensor, condition: Tensor) -> list[Tensor]:
        """The discriminator's feature maps."""
        return self.discriminator.maps(torch.cat([detail(picture), condition], 1))


def discriminator_loss(critic: nn.Module, real: Tensor, made: Tensor, condition: Tensor, gamma: float,
                       penalised: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """The relativistic loss of pairs, and every few steps, if `penalised`, both gradient penalties.

    real, made, condition: (N, 3, S, S), of the same faces; `made` without its gradient. Returns the loss and what to
    log.
    """
    scores = critic(torch.cat([real, made]), torch.cat([condition, condition])).chunk(2)
    loss = adversarial.discriminator_loss(*scores)
    numbers = {"scores": (scores[0] - scores[1]).detach().mean()}
    if penalised:
        r1, r2 = (adversarial.gradient_penalty(critic, picture, condition) for picture in (real, made))
        loss = loss + adversarial.LAZY * gamma / 2 * (r1 + r2)
        numbers |= {"r1": r1.detach(), "r2": r2.detach()}
    return loss, numbers


def generator_loss(critic: Critic, encoder: nn.Module, made: Tensor, real: Tensor, condition: Tensor, last: Tensor,
                   chosen: Sharpening, others: Mapping[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """Pixels, the encoder's and the discriminator's features, and the adversarial term once that is warm.

    made, real, condition: (N, 3, S, S), of the same faces. last: the weight of the generator's last layer. others:
    further terms by name, weighted, of the recipe. Returns the loss and what to log.
    """
    with torch.no_grad():
        seen, maps = encoder_maps(encoder, real), critic.maps(real, condition)
        real_scores = critic.discriminator.score(maps[-1])
    made_maps = critic.maps(made, condition)
    terms = {"pixel": (made - real).abs().mean(),
             "perceptual": chosen.perception * perceptual(encoder_maps(encoder, made), seen),
             "features": chosen.features * torch.stack([
                 (a - b).abs().mean() for a, b in zip(made_maps, maps, strict=True)]).mean()} | dict(others or {})
    numbers = {name: term.detach() for name, term in terms.items()}
    numbers["sharpness"] = laplacian(made.detach()) / laplacian(real)
    wanted = sum(terms.values())
    if int(critic.steps) < chosen.warmup:
        return wanted, numbers
    fooled = adversarial.generator_loss(real_scores, critic.discriminator.score(made_maps[-1]))
    loss, weight = adversarial.balanced_loss(made, last, wanted, fooled, chosen.share, chosen.most)
    return loss, numbers | {"fooled": fooled.detach(), "weight": weight}
