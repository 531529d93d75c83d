"""Which checkpoints `aging` can be made of: the small ones that ship, or Stable Diffusion 1.4."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class AgingChoice:
    """Checkpoints of a latent diffusion, by name, and the two that read its pictures.

    subject: predicts the initial embedding of a new token; "" for none. vocabulary: files of the tokenizer, none for
    the shipped one, which the manifest does not list. safety: withholds pictures; "" where only faces can be drawn.
    quick: the LoRA that draws in four steps; "" for none. people: trained, shipped. drawn: draws aligned faces only.
    """

    name: str
    label: str
    autoencoder: str
    unet: str
    text: str
    subject: str
    vocabulary: tuple[str, ...]
    safety: str
    quick: str
    people: tuple[str, ...]
    embedder: str
    judge: str
    drawn: bool
    does: ClassVar[tuple[str, str]] = ("draw", "draw in four steps")

    def files(self, extra: bool = False) -> tuple[str, ...]:
        """The checkpoints that drawing takes; with `extra` what drawing in four steps takes besides."""
        names = (self.quick,) if extra else (self.autoencoder, self.unet, self.text, self.subject, *self.vocabulary,
                                                self.safety, self.embedder, self.judge)
        return tuple(dict.fromkeys(name for name in names if name))


CHOICES = (     # the first ships with the project
    AgingChoice("tiny", "Facet's own, trained on drawn people", "aging-autoencoder-tiny", "aging-unet-tiny",
                "aging-text-tiny", "aging-subject-tiny", vocabulary=(), safety="", quick="",
                people=tuple(f"aging-person-{number}" for number in (1, 2, 3, 4)),
                embedder="embedder-tiny-v3", judge="judge-tiny-v3", drawn=True),
    AgingChoice("sd14", "Stable Diffusion 1.4, trained on pictures from the web", "sd14-autoencoder", "sd14-unet",
                "sd14-text", "", vocabulary=("sd14-vocabulary", "sd14-merges"), safety="sd14-safety",
                quick="lcm-lora-sd15", people=(), embedder="hsface-300k", judge="judge-tiny-v3", drawn=False),
)
