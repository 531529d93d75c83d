"""One pipeline per system: pictures and numbers in, a result out; no widgets. Made once per process, on first use."""

from importlib import import_module
from threading import Lock
from typing import Any

from core.errors import SettingsError

SYSTEMS = {"vectors": "Vectors"}    # system, which is also the name of its module here: its class

_made: dict[str, Any] = {}
_device: str | None = None
_lock = Lock()


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


def make(system: str, **settings: Any) -> Any:
    """A new pipeline. Raises SettingsError for an unknown system or device, CheckpointError for its networks."""
    if system not in SYSTEMS:
        raise SettingsError(f"There is no system called {system!r}.", f"Choose from: {', '.join(SYSTEMS)}.")
    if _device is not None:
        from core import hub

        hub.set_device(_device)
    return getattr(import_module(f"{__name__}.{system}"), SYSTEMS[system])(**settings)


def load(system: str) -> Any:
    """The pipeline of a system, the same one for everybody; the first call makes it, others wait. Raises as `make`."""
    with _lock:
        if system not in _made:
            _made[system] = make(system)
        return _made[system]


def tidy() -> None:
    """Delete the old files of every pipeline there is."""
    for pipeline in tuple(_made.values()):
        pipeline.tidy()
