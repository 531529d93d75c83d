"""The optimisers of all recipes. A group stores its peak learning rate as "initial_lr"; schedules start from that."""

from collections.abc import Iterable

import torch
from torch import nn


def adamw(networks: list[nn.Module], rate: float, decay: float = 0.05) -> torch.optim.AdamW:
    """AdamW of a recipe, betas 0.9 and 0.99, without weight decay on norms and biases."""
    weights = [p for network in networks for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group | {"initial_lr": rate} for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99))


def adamw_groups(*groups: tuple[Iterable[nn.Parameter], float, float]) -> torch.optim.AdamW:
    """AdamW with torch's betas of groups (parameters, peak rate, weight decay); empty groups are left out."""
    rows = [{"params": list(parameters), "lr": rate, "initial_lr": rate, "weight_decay": decay}
            for parameters, rate, decay in groups]
    return torch.optim.AdamW([row for row in rows if row["params"]])


def adam_without_momentum(groups: Iterable[Iterable[nn.Parameter]], rate: float) -> torch.optim.Adam:
    """Adam with betas 0 and 0.99, as adversarial training needs it."""
    return torch.optim.Adam([{"params": list(group), "initial_lr": rate} for group in groups], lr=rate,
                            betas=(0.0, 0.99))
