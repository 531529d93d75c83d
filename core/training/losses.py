"""Loss terms shared by recipes, and the ArcFace head."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ArcFace(nn.Module):
    """Additive angular margin over people as classes (Deng et al., CVPR 2019): softmax of s·cos(θ + m·[own class])."""

    def __init__(self, features: int, people: int, scale: float = 64.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(people, features), dim=1))  # (people, features) centres
        self.scale = scale

    def forward(self, features: Tensor, person: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        """features: (N, D). person: (N,). margin: radians. Returns the loss, and the mean cosine to the own centre."""
        with torch.autocast(features.device.type, enabled=False):
            cos = F.linear(F.normalize(features.float(), dim=1), F.normalize(self.weight.float(), dim=1))  # (N, people)
        own = cos.gather(1, person[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)  # (N, 1)
        # beyond pi - margin the cosine would rise again: continue linearly
        below = own - margin * math.sin(margin)
        turned = torch.where(own > -math.cos(margin), (own.acos() + margin).cos(), below)
        return F.cross_entropy(self.scale * cos.scatter(1, person[:, None], turned), person), own.detach().mean()


def perceptual(maps: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Distance between feature maps as in LPIPS (Zhang et al. 2018), unweighted. maps: any number of (N, C, H, W).

    Channels are normalised at every position; squared differences are summed over channels and averaged over the rest.
    """
    pairs = [(F.normalize(a, dim=1), F.normalize(b, dim=1)) for a, b in zip(maps, wanted, strict=True)]
    return torch.stack([(a - b).square().sum(1).mean() for a, b in pairs]).mean()


def seen_by(steering: tuple[nn.Module, nn.Module], image: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    """Outputs of the steering embedder and judge for faces (N, 3, 112, 112).

    Returns the face vectors (N, 512), feature maps of both for `perceptual`, and the years (N,).
    """
    embedder, judge = steering
    maps, judged = embedder.maps(image), judge.maps(image)
    return embedder.embed(maps[-1]), maps[:3] + judged[:4], judge.answer(judge.pool(judged[-1]))["age"]


def encoder_maps(autoencoder: nn.Module, image: Tensor) -> list[Tensor]:
    """Feature maps of an autoencoder's encoder, for `perceptual`: one after each halving of the picture but the last.

    This network neither identifies nor judges, so no score is trained for. image: (N, 3, H, W) in [-1, 1].
    """
    x, maps = autoencoder.kl.encoder.conv_in(image), []
    for block in autoencoder.kl.encoder.down_blocks[:-1]:
        x = block(x)
        maps.append(x)
    return maps


def paired_terms(made: Tensor, real: Tensor) -> dict[str, Tensor]:
    """The loss of pairs of pictures (N, 3, S, S): pixels, differences of neighbours, and both smaller sizes, as L1."""
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
