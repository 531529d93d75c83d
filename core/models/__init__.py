"""Networks by name: name -> class and presets. Modules are imported on first use."""

from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from core.errors import SettingsError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Network:
    """Location of a network. Its module has the class, PRESETS (name -> config) and, if published, UNUSED.

    Where several classes share a module, UNUSED belongs to the class.
    """

    module: str     # below core.models
    name: str       # of the class
    published: tuple[str, ...] = ()     # presets with published weights
    tables: tuple[str, ...] = ()        # its parts, where the published file has a table for each

    @property
    def file(self) -> ModuleType:
        """The module, imported now."""
        return import_module(f"core.models.{self.module}")

    @property
    def cls(self) -> "type[nn.Module]":
        """The class: one argument, a config."""
        return getattr(self.file, self.name)

    @property
    def presets(self) -> dict[str, Any]:
        """Preset name -> config."""
        return self.file.PRESETS

    @property
    def unused(self) -> frozenset[str]:
        """Keys of the published file that are not used and not loaded."""
        return getattr(self.cls if hasattr(self.cls, "UNUSED") else self.file, "UNUSED", frozenset())

    def rename(self, key: str) -> str:
        """Our name for a key of the published file: the same, unless the network's file has a `rename`."""
        return getattr(self.file, "rename", str)(key)


NETWORKS = {
    "iresnet":       Network("iresnet", "IResNet", published=("50", "100")),
    "judge":         Network("judge", "Judge"),
    "vec2face":      Network("vec2face", "Vec2Face", published=("base", "large")),
    "landmarks":     Network("landmarks", "Landmarks"),
    "discriminator": Network("discriminator", "Discriminator"),
    "sixdrepnet":    Network("sixdrepnet", "SixDRepNet", published=("b1g2",)),
    "autoencoder":   Network("autoencoder", "Autoencoder", published=("sd14",)),
    "unet":          Network("unet", "UNet", published=("sd14",)),
    "text":          Network("text", "TextEncoder", published=("sd14",)),
    "subject":       Network("subject", "SubjectToken"),
    "safety":        Network("safety", "Safety", published=("sd14",)),
    "stylegan2":     Network("stylegan2", "StyleGAN2", published=("ffhq-1024",)),
    "stylegan2-discriminator": Network("stylegan2_discriminator", "StyleGAN2Discriminator", published=("ffhq-1024",)),
    "e4e":           Network("e4e", "E4E", published=("ffhq",)),
    "inception-resnet": Network("inception_resnet", "InceptionResnet", published=("vggface2",)),
    "latent-to-latent": Network("latent_to_latent", "LatentToLatent"),
    "directions":    Network("directions", "Directions"),
    "l2m_gan":       Network("l2m_gan", "L2MGAN", published=("published",), tables=("generator", "style_encoder")),
    "l2m_discriminator": Network("l2m_gan", "DomainDiscriminator", published=("published",)),
    "xploregan":     Network("xploregan", "XploreGAN"),
    "xploregan_critic": Network("xploregan", "Critic"),
    "bagnet":        Network("bagnet", "BagNet", published=("17",)),
    "resnet":        Network("resnet", "ResNet", published=("50",)),
    "dinov2":        Network("dinov2", "DINOv2", published=("small",)),
}


def build(network: str, preset: str, **overrides: Any) -> "nn.Module":
    """A new network with random weights, in training mode; under `torch.device("meta")` it costs no memory.

    overrides: config fields to change, by name. Raises SettingsError for an unknown name, listing the known ones.
    """
    row = _pick(NETWORKS, network, "network")
    config = _pick(row.presets, preset, f"preset of {network}")
    unknown = sorted(set(overrides) - set(config.__dataclass_fields__))
    if unknown:
        raise SettingsError(f"{network} has no setting called {unknown[0]!r}.",
                            f"Choose from: {', '.join(config.__dataclass_fields__)}.")
    return row.cls(replace(config, **overrides))


def _pick(table: dict[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise SettingsError(f"There is no {what} called {name!r}.", f"Choose from: {', '.join(table)}.")
    return table[name]
