"""One pipeline per system and choice of checkpoints: pictures and numbers in, a result out; no widgets.

Each is made once per process, on first use. What the choices are: `core.pipelines.checkpoints`.
"""

from importlib import import_module
from threading import Lock
from typing import Any

from core.errors import SettingsError
from core.pipelines.checkpoints import choose

SYSTEMS = {"vectors": "Vectors", "aging": "Aging"}    # system, which is also the name of its module here: its class

_made: dict[tuple[str, str], Any] = {}      # (system, choice of checkpoints): its pipeline
_device: str | None = None
_locks: dict[tuple[str, str], Lock] = {}


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


def make(system: str, checkpoint: str | None = None, **settings: Any) -> Any:
    """A new pipeline. checkpoint: name of a choice; None takes the one that ships.

    Raises SettingsError for an unknown system, choice or device, CheckpointError for its networks, also when they are
    not on this machine: nothing is fetched here.
    """
    if system not in SYSTEMS:
        raise SettingsError(f"There is no system called {system!r}.", f"Choose from: {', '.join(SYSTEMS)}.")
    checkpoint = choose(system, checkpoint).name
    if _device is not None:
        from core import hub

        hub.set_device(_device)
    return getattr(import_module(f"{__name__}.{system}"), SYSTEMS[system])(checkpoint=checkpoint, **settings)


def load(system: str, checkpoint: str | None = None) -> Any:
    """The pipeline of a system and choice, the same one for everybody; the first call makes it, others wait.

    Who asks for another choice does not wait. Raises as `make`.
    """
    key = (system, choose(system, checkpoint).name)
    with _locks.setdefault(key, Lock()):
        if key not in _made:
            _made[key] = make(*key)
        return _made[key]


def warm_more() -> None:
    """Let every pipeline there is do what can wait until visitors have been served."""
    for pipeline in tuple(_made.values()):
        pipeline.warm_more()


def tidy() -> None:
    """Delete the old files of every pipeline there is."""
    for pipeline in tuple(_made.values()):
        pipeline.tidy()
