"""Where a rare token begins: what a recogniser sees in pictures of a person -> the token's vector.

Not in Banerjee et al. (arXiv 2307.08585), where a rare token means nothing before it is taught. The tiny denoiser is
trained along with this network on captions that name people so, and thus knows from the start what a token may change:
who it is, not how old. Teaching goes on from there.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class SubjectConfig:
    """Sizes: face vectors in, vectors of a token out."""

    faces: int    # numbers in a face vector
    width: int    # of the layer between
    text: int     # numbers in the embedding of a token


PRESETS = {
    "tiny": SubjectConfig(faces=512, width=256, text=128),
}


class SubjectToken(nn.Module):
    """Two layers; the length of a face vector counts for nothing."""

    def __init__(self, config: SubjectConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(nn.Linear(config.faces, config.width), nn.SiLU(),
                                    nn.Linear(config.width, config.text))

    def forward(self, faces: Tensor) -> Tensor:
        """faces: (N, faces), the mean face vector of each person. Returns the vectors of their tokens, (N, text)."""
        return self.layers(F.normalize(faces, dim=1) * self.config.faces ** 0.5)


def mean_face(vectors: Tensor) -> Tensor:
    """One person's face vectors (K, D) as one of length 1, each picture counting the same: (D,)."""
    return F.normalize(F.normalize(vectors.float(), dim=1).mean(0), dim=0)
