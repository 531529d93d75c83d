"""`aging`: the same person at any age, by a prompt."""

from core.engine.system import System
from core.systems.aging.choices import CHOICES
from core.systems.aging.request import REQUESTS

SYSTEM = System("aging", "Aging", "Banerjee et al., Identity-Preserving Aging of Face Images via Latent Diffusion "
                "Models, IJCB 2023, arXiv 2307.08585", "core.systems.aging.pipeline:Aging", CHOICES, REQUESTS)
