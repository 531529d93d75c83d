"""A system as the registry knows it: its name, its paper, what it can be made of, and where its pipeline is."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from core.engine.request import Request
from core.errors import CheckpointError, SettingsError


@dataclass(frozen=True)
class System:
    """One row of `core.systems.SYSTEMS`.

    pipeline: "module:Class", imported on first use. choices: see `core.engine.choices`; the first one ships. requests:
    its actions, see `core.engine.request`.
    """

    name: str
    title: str
    paper: str
    pipeline: str
    choices: tuple[Any, ...]
    requests: tuple[type[Request], ...]

    def choose(self, name: str | None = None) -> Any:
        """The choice called `name`; None: the one that ships. Raises SettingsError that lists those there are."""
        known = {choice.name: choice for choice in self.choices}
        if name is None:
            return self.choices[0]
        if name not in known:
            raise SettingsError(f"{self.name} has no checkpoint choice called {str(name)[:40]!r}.",
                                f"Choose from: {', '.join(known)}.")
        return known[name]

    @property
    def is_shipped(self) -> bool:
        """Whether the manifest has every checkpoint of the first choice; nothing but the manifest is read."""
        from core import hub

        try:
            return hub.known(*self.choices[0].files(), *self.choices[0].files(extra=True))
        except CheckpointError:     # a damaged manifest is reported where a network is loaded
            return False

    def make(self, checkpoint: str | None = None, **settings: Any) -> Any:
        """A new pipeline of a choice. Raises SettingsError, CheckpointError; nothing is fetched."""
        module, name = self.pipeline.split(":")
        return getattr(import_module(module), name)(checkpoint=self.choose(checkpoint).name, **settings)
