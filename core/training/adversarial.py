"""The adversarial term that recipes share: relativistic pairs, gradient penalties, an adaptive weight.

Huang et al., *The GAN is dead; long live the GAN! A Modern Baseline GAN* (R3GAN), NeurIPS 2024 (arXiv 2501.05441),
section 2: the loss and both penalties, not the backbone. The adaptive weight follows Esser et al., *Taming
Transformers* (CVPR 2021), equation 7. A discriminator here takes a picture and its condition, side by side as six
channels; real and generated pictures come in pairs with the same condition.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

LAZY = 8    # steps between two penalties, each weighted so many times


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Scores of paired pictures, any equal shape -> how far the real ones fail to score higher."""
    return F.softplus(fake.float() - real.float()).mean()


def generator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The same pairs seen by the generator: how far the generated pictures fail to score higher."""
    return discriminator_loss(fake, real)


def gradient_penalty(discriminator: Callable[[Tensor, Tensor], Tensor], picture: Tensor, condition: Tensor) -> Tensor:
    """R1 where `picture` is real, R2 where it is generated: the squared gradient of the scores with respect to it.

    picture, condition: (N, 3, H, W). Summed over the pixels and divided by the scores a picture gets, so that the
    number of patches does not change its meaning; then averaged over pictures. Computed in float32.
    """
    with torch.autocast(picture.device.type, enabled=False):
        picture = picture.detach().float().requires_grad_()
        scores = discriminator(picture, condition.float())
        gradient, = torch.autograd.grad(scores.sum(), picture, create_graph=True)
        return gradient.square().sum() / scores.numel()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, share: float, high: float = 3.0) -> Tensor:
    """The weight at which the adversarial gradient is `share` times the reconstruction's, at most `high`.

    reconstruction, adversarial: gradients of the two losses with respect to the generator's last layer.
    """
    ratio = reconstruction.float().norm() / adversarial.float().norm().clamp(min=1e-12)
    return (share * ratio).clamp(max=high)


def balanced_loss(picture: Tensor, last: Tensor, reconstruction: Tensor, adversarial: Tensor,
                  share: float, high: float = 3.0) -> tuple[Tensor, Tensor]:
    """Reconstruction plus the weighted adversarial loss (`adaptive_weight`); returns the loss and the weight.

    picture: what the generator made, both losses' only way to it. last: the weight of its last layer. Each loss is
    differentiated down to the picture once, and the loss that comes back has the weighted sum as its gradient.
    """
    with torch.autocast(picture.device.type, enabled=False):
        wanted, = torch.autograd.grad(reconstruction, picture, retain_graph=True)     # both may share a discriminator
        fooled, = torch.autograd.grad(adversarial, picture)
        at_last = [torch.autograd.grad(picture, last, gradient, retain_graph=True)[0] for gradient in (wanted, fooled)]
    weight = adaptive_weight(*at_last, share, high)
    carrier = (picture * (wanted + weight * fooled)).sum()
    value = (reconstruction + weight * adversarial).detach()
    return carrier + (value - carrier).detach(), weight
