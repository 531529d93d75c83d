"""Requests to change attributes of a face, drawn at random, and how far a picture is from one."""

import torch
from torch import Tensor
from torch.nn import functional as F

from core.faces import NAMES, TIED
from core.models.judge import YES_NO
from core.models.latent_to_latent import complete

ROLL = NAMES.index("roll")      # an aligned face is upright: turning the picture changes it, no latent does
CLEAR = 0.25        # yes/no attributes are mostly asked within this of 0 or 1
VAGUE = 0.2         # share of them that are asked anywhere between
BETA = 0.02         # of the smooth L1 of measures, in units
MEASURED = 5.0      # weight of the measures beside the yes/no attributes
TIES = torch.tensor([[other in TIED[name] for other in NAMES] for name in NAMES])       # (35, 35)


def sample(units: Tensor, several: float, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Requests that change one attribute of each face, or several.

    units: (N, 35), what the faces have. several: share of requests that change two to `most` attributes. generator: on
    the CPU. Returns what is wanted (N, 35), and (N, 35) bool, which attributes were asked for.
    """
    count, device = len(units), units.device
    many = torch.where(torch.rand(count, generator=generator) < several,
                       torch.randint(2, most + 1, (count,), generator=generator), 1)
    order = torch.rand(count, len(NAMES), generator=generator)
    order[:, ROLL] = -1
    ranks = order.argsort(1, descending=True).argsort(1)
    asked = (ranks < many[:, None]).to(device)
    wanted = torch.where(asked, _values(units, generator), units)
    return complete(wanted, asked), asked


def _values(units: Tensor, generator: torch.Generator) -> Tensor:
    """A new value for every attribute: the clear opposite of a yes/no attribute, anything of a measure."""
    anywhere, near, kind = torch.rand(3, *units.shape, generator=generator).to(units)
    opposite = torch.where(units < 0.5, 1 - CLEAR * near, CLEAR * near)
    clear = torch.tensor(YES_NO, device=units.device) & (kind > VAGUE)
    return torch.where(clear, opposite, anywhere)


def weights_of(asked: Tensor, weight: float) -> Tensor:
    """Weights (N, 35) of the attributes in the loss: `weight` if asked for, 0 if tied to one that is, else 1.

    A tied attribute may follow. Roll has none.
    """
    tied = (asked.float() @ TIES.to(asked.device).float()) > 0
    weights = torch.where(asked, weight, torch.where(tied, 0.0, 1.0))
    weights[:, ROLL] = 0
    return weights


def attribute_loss(scores: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """How far scores (N, 35) are from the units wanted, 0 where they agree; a scalar.

    Yes/no attributes by the divergence of the two probabilities, measures by a smooth L1.
    """
    off = F.binary_cross_entropy_with_logits(scores, wanted, reduction="none") - _entropy(wanted)
    measured = MEASURED * F.smooth_l1_loss(scores, wanted, beta=BETA, reduction="none")
    each = torch.where(torch.tensor(YES_NO, device=scores.device), off, measured)
    return (weights * each).sum() / weights.sum()


def _entropy(units: Tensor) -> Tensor:
    units = units.clamp(1e-6, 1 - 1e-6)
    return F.binary_cross_entropy(units, units, reduction="none")
