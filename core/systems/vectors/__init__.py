"""`vectors`: a face from 512 numbers."""

from core.engine.system import System
from core.systems.vectors.choices import CHOICES
from core.systems.vectors.request import REQUESTS

SYSTEM = System("vectors", "Vectors", "Wu et al., Vec2Face, ICLR 2025, arXiv 2409.02979",
                "core.systems.vectors.pipeline:Vectors", CHOICES, REQUESTS)
