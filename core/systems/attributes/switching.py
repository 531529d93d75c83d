"""What L2M-GAN is asked for: attributes that shall be there or not, and references for some of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import FacetError, SettingsError
from core.systems.attributes.networks import Networks
from core.systems.attributes.request import L2M, METHODS, OF_LATENTS, THERE, Compare, MethodRequest, check_switched
from core.systems.attributes.sources import Source, Sources


@dataclass(frozen=True)
class Switch:
    """source: the face, not inverted. asked: attribute to whether it shall be there. references: of some of them."""

    source: Source
    asked: Mapping[str, bool]
    references: Mapping[str, Source]

    @property
    def values(self) -> dict[str, float]:
        """What is asked as values of attributes."""
        return {name: float(there) for name, there in self.asked.items()}


def taking_part(request: MethodRequest, networks: Networks) -> tuple[tuple[str, ...], str]:
    """The methods that can edit what is asked, and a note on one that can't.

    Raises FacetError where a single method was chosen and can't.
    """
    if L2M not in request.methods:
        return request.methods, ""
    if isinstance(request, Compare) and not networks.choice.has_l2m:
        return tuple(OF_LATENTS), ""
    try:
        check_switched(request.asked | request.references, networks.l2m.offered)
    except FacetError as error:
        if not isinstance(request, Compare):
            raise
        return tuple(OF_LATENTS), f"{METHODS[L2M]} is left out. {error.message}"
    return request.methods, ""


def switch_of(request: MethodRequest, networks: Networks, sources: Sources) -> Switch:
    """What a request asks of L2M-GAN. Raises FacetError for a reference that has nothing to pass on."""
    source, editor = sources.given(request), networks.l2m
    asked, references = {name: value > THERE for name, value in request.asked.items()}, {}
    for name, picture in request.references.items():
        reference = sources.reference(picture)
        there, now = (editor.has(each.seen.units, name) for each in (reference, source))
        if asked.get(name, there) != there:
            raise SettingsError(f"The reference for {name} has {name} {there:d}, and {asked[name]:d} is asked.",
                                f"Choose a reference with {name} {asked[name]:d}, or leave {name} out.")
        if there == now:
            raise SettingsError(f"The reference for {name} has {name} {there:d}, and so has the face.",
                                f"Choose a reference with {name} {not now:d}.")
        asked[name], references[name] = there, reference
    return Switch(source, asked, references)
