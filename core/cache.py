"""What this machine keeps: a folder of files that can be made again, and the last objects made, in memory.

    cache_dir()             FACET_CACHE, or ~/.cache/facet
    device_name("cuda")     "cuda:0": one name per device, so that no network is loaded twice
    LRUCache(4)             objects by key; the least recently used ones are dropped
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from pathlib import Path
from threading import Lock, RLock
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from core.errors import OutputError, SettingsError

Value = TypeVar("Value")


def cache_dir(*parts: str) -> Path:
    """A folder inside the cache folder, created if missing. Raises OutputError if it can't be written to."""
    folder = Path(os.environ.get("FACET_CACHE") or "~/.cache/facet")
    try:
        folder = folder.expanduser().joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:      # RuntimeError: there is no home folder
        raise OutputError(f"The cache folder {folder} can't be written to.",
                          "Point FACET_CACHE to a folder of yours, for example:  FACET_CACHE=/tmp/facet") from error
    return folder


def device_name(device: Any) -> str:
    """The one name of a device: "cuda" is "cuda:0", or the current GPU of this process; "cpu:0" is "cpu".

    device: a name or a torch.device. Raises SettingsError for anything else.
    """
    import torch

    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise SettingsError(f"There is no device called {str(device)[:30]!r}.", "Choose cpu, cuda, cuda:1 or mps."
                            ) from error
    if found.type != "cuda" or found.index is not None:
        return found.type if found.type in ("cpu", "mps") else str(found)
    return f"cuda:{torch.cuda.current_device() if torch.cuda.is_available() else 0}"


class LRUCache:
    """The most recently used objects by key; safe between threads.

    An object is made once per key; only callers that ask for the same key wait meanwhile. A dropped object that is
    still in use is given again, not made again, so there are never two copies of it.
    """

    def __init__(self, limit: float, size: Callable[[Any], float] = lambda value: 1) -> None:
        """limit: the largest sum of `size` over the objects kept. The latest object stays, however large it is."""
        self.limit, self.size = limit, size
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._in_use: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
        self._making: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()     # a lock per key that is being made
        self._lock = RLock()        # a dropped object may end anywhere, also where this is held

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The object of this key, made by `make()` if there is none."""
        with self._lock:
            making = self._making.setdefault(key, Lock())
        with making:
            found = self._found(key)
            return self._keep(key, make() if found is None else found)

    def has(self, key: Hashable) -> bool:
        """Whether there is an object of this key."""
        return self._found(key) is not None

    def find(self, key: Hashable) -> Any:
        """The object of this key, now the latest; None if there is none."""
        found = self._found(key)
        return None if found is None else self._keep(key, found)

    def drop(self, key: Hashable) -> None:
        """Forget the object of this key; the next call of `get` makes another one."""
        with self._lock:
            self._kept.pop(key, None)
            self._in_use.pop(key, None)

    def keys(self) -> list[Hashable]:
        """The keys of all objects there are, in use or kept."""
        with self._lock:
            return list(dict.fromkeys((*self._kept, *self._in_use)))

    def values(self) -> list[Any]:
        """All objects there are, in use or kept."""
        found = map(self._found, self.keys())
        return [value for value in found if value is not None]

    def _found(self, key: Hashable) -> Any:
        with self._lock:
            kept = self._kept.get(key)
            return self._in_use.get(key) if kept is None else kept

    def _keep(self, key: Hashable, value: Value) -> Value:
        """Make an object the latest; drop others until all fit."""
        with self._lock:
            is_new, self._kept[key] = key not in self._kept, value
            self._kept.move_to_end(key)
            with suppress(TypeError):       # lists and tuples can't be watched: once dropped they are made again
                self._in_use[key] = value
            total = sum(map(self.size, self._kept.values())) if is_new else 0
            while total > self.limit and len(self._kept) > 1:
                total -= self.size(self._kept.popitem(last=False)[1])
        return value
