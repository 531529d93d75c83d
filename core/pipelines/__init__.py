"""One pipeline per system: pictures and numbers in, a result out; no widgets. Made once per process, on first use."""

from importlib import import_module
from threading import Lock
from typing import Any

from core.errors import SettingsError

SYSTEMS = {"vectors": "Vectors"}    # system, which is also the name of its module here: its class

_made: dict[str, Any] = {}
_device: str | None = None
_lock = Lock()


def use_device(name: str | None) -> None:
    """Where pipelines made from now on compute: "cpu", "cuda", "cuda:1", "mps"; None takes the best there is.

    Whether this machine has it is seen when the first pipeline is made; until then nothing heavy is imported.
    """
    global _device
    _device = name


def load(system: str) -> Any:
    """The pipeline of a system. Raises SettingsError for an unknown system or device, CheckpointError for networks."""
    if system not in SYSTEMS:
        raise SettingsError(f"there is no system called {system!r}", f"choose from: {', '.join(SYSTEMS)}")
    with _lock:
        if system not in _made:
            from core import hub

            if _device is not None:
                hub.set_device(_device)
            _made[system] = getattr(import_module(f"{__name__}.{system}"), SYSTEMS[system])()
        return _made[system]
