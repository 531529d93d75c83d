"""A checkpoint of ours as a repository on the Hub: config.json, model.safetensors and its card.

    hub.portable("vectors-tiny").push_to_hub("you/vectors-tiny")      # or .save_pretrained("folder")
    Portable.from_pretrained("you/vectors-tiny")                      # the same network, eval mode

The mixin fits here and not on the networks themselves: their settings are a preset's name, their own files are checked
against the manifest, and models know nothing of files.
"""

from typing import Any

from huggingface_hub import ModelCard, PyTorchModelHubMixin
from torch import nn

from core.models import build


class Portable(nn.Module, PyTorchModelHubMixin, library_name="facet", license="apache-2.0", tags=["face"]):
    """A network of core.models with its name and preset as config; called like the network itself."""

    def __init__(self, network: str, preset: str) -> None:
        super().__init__()
        self.network = build(network, preset)
        self.card: str | None = None        # README.md of the repository; the mixin's own text when None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The network's forward."""
        return self.network(*args, **kwargs)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The checkpoint's card, for the mixin to write beside the weights, under the facts that the Hub reads."""
        plain = super().generate_model_card(*args, **kwargs)
        if self.card is None:
            return plain
        return ModelCard(self.card if self.card.startswith("---") else f"---\n{plain.data.to_yaml()}\n---\n{self.card}")

    @classmethod
    def _from_pretrained(cls, **kwargs: Any) -> "Portable":
        """The mixin's loading, strict: a weight that is missing is an error."""
        return super()._from_pretrained(**{**kwargs, "strict": True})
