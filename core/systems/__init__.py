"""The systems: one row each, and one pipeline per system and choice of checkpoints, made on first use.

    load("vectors")             the shared pipeline; load("vectors", "base") that of another choice
    make("vectors", folder=…)   a new one, which writes where the caller says
"""

from typing import Any

from core.cache import LRUCache
from core.engine.system import System
from core.errors import SettingsError
from core.systems import aging, attributes, clusters, vectors

SYSTEMS: dict[str, System] = {system.name: system for system in (vectors.SYSTEM, aging.SYSTEM)}
SYSTEMS |= {system.name: system for system in (attributes.SYSTEM, clusters.SYSTEM)
            if system.is_shipped}       # as soon as the manifest has its checkpoints

MAX_PIPELINES = 8       # that stay made; those in use stay besides, and pictures stay in any case

_pipelines = LRUCache(MAX_PIPELINES)        # by (system, choice of checkpoints)
_device: str | None = None


def configure(device: str | None = None, offline: bool = False) -> None:
    """Settings of the whole process, to be given before the first pipeline is made; nothing heavy is imported.

    device: "cpu", "cuda", "cuda:1", "mps"; None takes the best there is. Whether this machine has it is seen on `load`.
    offline: never touch the network.
    """
    global _device
    _device = device
    if offline:
        from core import hub

        hub.set_offline()


def system_of(name: str) -> System:
    """The row of a system. Raises SettingsError that lists those there are."""
    if name not in SYSTEMS:
        raise SettingsError(f"There is no system called {name!r}.", f"Choose from: {', '.join(SYSTEMS)}.")
    return SYSTEMS[name]


def choices(system: str) -> tuple[Any, ...]:
    """The checkpoint choices of a system; the first one ships."""
    return system_of(system).choices


def choose(system: str, name: str | None = None) -> Any:
    """The choice called `name`; None: the one that ships. Raises SettingsError that lists those there are."""
    return system_of(system).choose(name)


def make(system: str, checkpoint: str | None = None, **settings: Any) -> Any:
    """A new pipeline. checkpoint: name of a choice; None takes the one that ships.

    Raises SettingsError for an unknown system, choice or device, CheckpointError for its networks, also when they are
    not on this machine: nothing is fetched here.
    """
    row = system_of(system)
    row.choose(checkpoint)
    if _device is not None:
        from core import hub

        hub.set_device(_device)
    return row.make(checkpoint, **settings)


def load(system: str, checkpoint: str | None = None) -> Any:
    """The shared pipeline of a system and choice; the first call makes it, other calls for the same choice wait.

    The MAX_PIPELINES used last stay. Raises as `make`.
    """
    key = (system, choose(system, checkpoint).name)
    return _pipelines.get(key, lambda: make(*key))


def warm_more() -> None:
    """Let every pipeline there is do what can wait until visitors have been served."""
    for pipeline in _pipelines.values():
        pipeline.warm_more()


def tidy() -> None:
    """Delete the old files of every pipeline, also of those that are gone."""
    from core.engine import files

    files.tidy()
