"""`clusters`: unnamed attributes, found in a crowd of faces and worn by any face."""

from core.engine.system import System
from core.systems.clusters.choices import CHOICES
from core.systems.clusters.request import REQUESTS

SYSTEM = System("clusters", "Clusters", "Bahng et al., Exploring Unlabeled Faces for Novel Attribute Discovery, CVPR "
                "2020, arXiv 1912.03085", "core.systems.clusters.pipeline:ClustersPipeline", CHOICES, REQUESTS)
