"""Which checkpoints `attributes` can be made of: the small ones that ship, or the published StyleGAN2."""

from dataclasses import dataclass
from typing import ClassVar

from core import hub


@dataclass(frozen=True)
class AttributeChoice:
    """Checkpoints that belong together, by name: one draws, two edit, two read; an encoder inverts pictures.

    l2m: L2M-GAN, which edits pictures, and domains: the attributes that its domains combine, in their order. It is
    trained or imported, so the other methods do without it.
    features: autoencoder whose encoder compares pictures while an inversion is refined. frame: of the pictures, see
    `core.training.face_latents`. drawn: drawn people can be edited, and their ideal pairs shown.
    """

    name: str
    label: str
    generator: str
    mapper: str
    directions: str
    encoder: str
    judge: str
    embedder: str
    features: str
    l2m: str
    domains: tuple[str, ...]
    frame: str
    drawn: bool
    does: ClassVar[tuple[str, str]] = ("edit", "invert pictures")

    def files(self, extra: bool = False) -> tuple[str, ...]:
        """The checkpoints that editing takes; with `extra` those that inverting pictures takes besides."""
        return (self.encoder, self.features) if extra else (self.generator, self.mapper, self.directions, self.judge,
                                                            self.embedder)

    @property
    def has_l2m(self) -> bool:
        """Whether L2M-GAN is on this machine."""
        return hub.place(hub.row(self.l2m)) is not None


CHOICES = (     # the first ships with the project
    AttributeChoice("tiny", "Facet's own, trained on drawn people", "stylegan2-tiny", "attributes-tiny",
                    "attributes-directions-tiny", "attributes-encoder-tiny", "judge-tiny", "embedder-tiny",
                    "aging-autoencoder-tiny", "attributes-l2m-tiny", ("smile", "glasses", "gender"), frame="aligned",
                    drawn=True),
    AttributeChoice("ffhq", "Published StyleGAN2, trained on photos", "stylegan2-ffhq", "attributes-ffhq",
                    "attributes-directions-ffhq", "e4e-ffhq", "judge-photos", "hsface-300k", "aging-autoencoder-tiny",
                    "l2m-gan", ("smile",), frame="ffhq", drawn=False),
)
