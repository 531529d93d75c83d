"""`attributes`: 35 attributes of a face, edited at once."""

from core.engine.system import System
from core.systems.attributes.choices import CHOICES
from core.systems.attributes.request import REQUESTS

SYSTEM = System("attributes", "Attributes", "Khodadadeh et al., Latent to Latent: A Learned Mapper for Identity "
                "Preserving Editing of Multiple Face Attributes in StyleGAN-generated Images, WACV 2022",
                "core.systems.attributes.pipeline:Attributes", CHOICES, REQUESTS)
