"""The networks of a choice. Pictures are processed one at a time, so that each is the same alone and in a strip."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from core import hub
from core.engine import choices
from core.models.judge import units_of
from core.photos import FRAMES, SIZE
from core.sampling import randn
from core.systems.attributes.choices import AttributeChoice
from core.systems.attributes.methods.l2m_gan import PictureEditor
from core.training.face_latents import Frozen


class Seen(NamedTuple):
    """What the steering networks see in a picture. scores, units: (1, 35), see `core.models.judge`. vector: (512,)."""

    scores: Tensor
    units: Tensor
    vector: np.ndarray


class Networks:
    """Loaded once; all on this machine already, but for the encoder and L2M-GAN, which are loaded on first use."""

    def __init__(self, choice: AttributeChoice) -> None:
        """Raises CheckpointError; nothing is fetched."""
        choices.require(choice)
        self.choice = choice
        self.editors: dict[str, nn.Module] = {"mapper": hub.load(choice.mapper),
                                              "directions": hub.load(choice.directions)}
        self.frozen = Frozen(hub.load(choice.generator), hub.load(choice.judge), hub.load(choice.embedder),
                             frame=choice.frame)
        self.device, self.size = self.frozen.device, self.frozen.generator.config.size

    @cached_property
    def encoder(self) -> nn.Module:
        """The encoder. Raises CheckpointError when it is not on this machine."""
        choices.require(self.choice, extra=True)
        return hub.load(self.choice.encoder)

    @cached_property
    def features(self) -> nn.Module:
        """The autoencoder that compares pictures while an inversion is refined."""
        choices.require(self.choice, extra=True)
        return hub.load(self.choice.features)

    @cached_property
    def l2m(self) -> PictureEditor:
        """L2M-GAN. Raises CheckpointError when it is not on this machine."""
        choices.require_all((self.choice.l2m,), "L2M-GAN can't edit")
        return PictureEditor(hub.load(self.choice.l2m), self.choice.domains,
                             (FRAMES[self.choice.frame] + 0.5) / SIZE)

    @property
    def deviation(self) -> Tensor:
        """Standard deviations of w, (style,)."""
        return self.editors["mapper"].deviation

    @torch.no_grad()
    def random(self, seed: int, truncation: float) -> Tensor:
        """The latent (1, 1, style) of a seed. truncation: 1 leaves it, 0 gives the mean."""
        generator = self.frozen.generator
        w = generator.map(randn([seed], (generator.config.latent,), self.device))
        return generator.truncate(w, truncation, self.frozen.mean)[:, None]

    @torch.no_grad()
    def invert(self, picture: np.ndarray) -> Tensor:
        """The encoder's latent (1, styles, style) of a picture (S, S, 3) uint8."""
        return self.encoder.invert(self.tensor(picture), self.frozen.mean)

    @torch.no_grad()
    def see(self, picture: np.ndarray) -> Seen:
        """What is seen in a picture (S, S, 3) uint8, as it is shown."""
        scores, vectors = self.frozen.see(self.tensor(picture))
        return Seen(scores, units_of(scores), vectors[0].cpu().numpy())

    def tensor(self, picture: np.ndarray) -> Tensor:
        """A picture (S, S, 3) uint8 -> (1, 3, S, S) in [-1, 1]."""
        from core.images import from_uint8

        return from_uint8(picture[None]).to(self.device)
