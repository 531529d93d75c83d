"""Prompts of a person at an age: the age and the subject that a prompt names, and prompts with either one changed."""

import re
from collections.abc import Sequence
from itertools import pairwise

from core import words

AGES = tuple(words.GROUPS)      # as prompts say them, from young to old
SPANS = dict(zip(AGES, pairwise((0, *words.GROUPS.values())), strict=True))     # age: years it means, from, below
RARE = words.RARE


def plain(token: str) -> str:
    """A prompt that names only the person: photo of a wzx person."""
    return words.SUBJECT.format(token)


def years_in(prompt: str) -> float | None:
    """The age in years that a prompt names, as in "45 years old"; None when it names none."""
    found = _YEARS.search(prompt)
    return float(found[1]) if found else None


def in_words(prompt: str) -> str:
    """The prompt with one of AGES in place of years: "45 years old" becomes "middleaged".

    Raises SettingsError for 200 years and more.
    """
    return _YEARS.sub(lambda found: words.group_of(float(found[1])), prompt)


def positions(years: float | None, ages: Sequence[float] | None) -> Sequence[float] | None:
    """Where AGES lie for one prompt, in years: `ages`, the calibrated ones of a person, with that of the prompt's own
    years moved to them. None keeps all where the network has them.
    """
    import numpy as np

    if years is None:
        return ages
    own = list(words.MIDDLES if ages is None else ages)
    own[AGES.index(words.group_of(years))] = float(np.interp(years, words.MIDDLES, own))
    return own


def age_in(prompt: str) -> str | None:
    """The first of AGES that a prompt names, in words or by years; None when it names none."""
    found = _AGE.search(in_words(prompt))
    return found[1].lower() if found else None


def at_age(prompt: str, age: str) -> str:
    """The prompt asking for this one of AGES, its other words kept; after the person where it named no age."""
    prompt = in_words(prompt)
    if _AGE.search(prompt):
        return _AGE.sub(age, prompt)
    person = _PERSON.search(prompt)
    cut = person.end() if person else len(prompt.rstrip(" ,"))
    return f"{prompt[:cut]} as {age}{prompt[cut:]}"


def without_age(prompt: str) -> str:
    """The prompt asking for no age, its other words kept."""
    return _AS_AGE.sub("", in_words(prompt)).strip(" ,")


def about(prompt: str, token: str) -> str:
    """The prompt with this rare token in place of any other subject."""
    if _TOKEN.search(prompt):
        return _TOKEN.sub(token, prompt)
    return _PERSON.sub(f"{token} person", prompt, count=1)


def about_anybody(prompt: str) -> str:
    """The prompt without a rare token: about a generic person."""
    left_out = re.sub(rf"{_TOKEN.pattern}\s*", "", prompt, flags=re.IGNORECASE)
    return re.sub(r"\s+,", ",", left_out).strip()


def tokens_in(prompt: str) -> list[str]:
    """The rare tokens that a prompt names, in lower case, each once."""
    return list(dict.fromkeys(token.lower() for token in _TOKEN.findall(prompt)))


def _any_of(names: tuple[str, ...]) -> str:
    return rf"\b({'|'.join(sorted(names, key=len, reverse=True))})\b"


_YEARS = re.compile(r"\b(\d{1,3})[\s-]*(?:years?|yrs?)[\s-]*old\b", re.IGNORECASE)
_AGE = re.compile(_any_of(AGES), re.IGNORECASE)
_AS_AGE = re.compile(rf",?\s*(?:\bas\s+)?(?:an?\s+)?{_any_of(AGES)}", re.IGNORECASE)
_TOKEN = re.compile(_any_of(RARE), re.IGNORECASE)
_PERSON = re.compile(r"\bperson\b", re.IGNORECASE)
