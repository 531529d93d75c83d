"""Initial embedding of a rare token: a person's mean face vector -> the token's embedding.

Not in Banerjee et al. (arXiv 2307.08585), where a rare token has no meaning before training. The tiny denoiser is
trained together with this network, on captions with rare tokens. So a token changes identity and not age from the
start.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class SubjectConfig:
    """Sizes: face vectors in, token embeddings out."""

    faces: int    # numbers in a face vector
    width: int    # of the hidden layer
    text: int     # numbers in the embedding of a token


PRESETS = {
    "tiny": SubjectConfig(faces=512, width=256, text=128),
}


class SubjectToken(nn.Module):
    """Two linear layers on normalised face vectors."""

    def __init__(self, config: SubjectConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(nn.Linear(config.faces, config.width), nn.SiLU(),
                                    nn.Linear(config.width, config.text))

    def forward(self, faces: Tensor) -> Tensor:
        """faces: (N, faces), the mean face vector of each person. Returns token embeddings, (N, text)."""
        return self.layers(F.normalize(faces, dim=1) * self.config.faces ** 0.5)


def mean_face(vectors: Tensor) -> Tensor:
    """Normalised mean of the normalised face vectors (K, D) of one person: (D,)."""
    return F.normalize(F.normalize(vectors.float(), dim=1).mean(0), dim=0)
