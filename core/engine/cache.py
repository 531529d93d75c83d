"""The least recently used goes: a cache for networks and what is made of them."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import TypeVar

Made = TypeVar("Made")


class LRUCache:
    """The last few things made, by key; safe between threads. Who asks for what is being made waits for it."""

    def __init__(self, most: int) -> None:
        self.most, self._made, self._lock = most, OrderedDict(), Lock()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made under this key, or `make()`; forgets what was asked for longest ago."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            self._made.move_to_end(key)
            while len(self._made) > self.most:
                self._made.popitem(last=False)
            return self._made[key]

    def find(self, key: Hashable) -> Made | None:
        """What is kept under this key; None if nothing is."""
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
            return self._made.get(key)

    def drop(self, key: Hashable) -> None:
        """Forget what was made under this key, if anything was."""
        with self._lock:
            self._made.pop(key, None)
