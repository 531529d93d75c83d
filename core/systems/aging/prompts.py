"""Prompts of a person at an age: the age and the subject that a prompt names, and prompts with either one changed."""

import re
from itertools import pairwise

from core import words

AGES = tuple(words.GROUPS)      # as prompts say them, from young to old
SPANS = dict(zip(AGES, pairwise((0, *words.GROUPS.values())), strict=True))     # age: years it means, from, below
RARE = words.RARE


def plain(token: str) -> str:
    """A prompt that names only the person: photo of a wzx person."""
    return words.SUBJECT.format(token)


def age_in(prompt: str) -> str | None:
    """The first of AGES that a prompt names; None when it names none."""
    found = _AGE.search(prompt)
    return found[1].lower() if found else None


def at_age(prompt: str, age: str) -> str:
    """The prompt asking for this one of AGES, its other words kept; after the person where it named no age."""
    if _AGE.search(prompt):
        return _AGE.sub(age, prompt)
    person = _PERSON.search(prompt)
    cut = person.end() if person else len(prompt.rstrip(" ,"))
    return f"{prompt[:cut]} as {age}{prompt[cut:]}"


def without_age(prompt: str) -> str:
    """The prompt asking for no age, its other words kept."""
    return _AS_AGE.sub("", prompt).strip(" ,")


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


_AGE = re.compile(_any_of(AGES), re.IGNORECASE)
_AS_AGE = re.compile(rf",?\s*(?:\bas\s+)?(?:an?\s+)?{_any_of(AGES)}", re.IGNORECASE)
_TOKEN = re.compile(_any_of(RARE), re.IGNORECASE)
_PERSON = re.compile(r"\bperson\b", re.IGNORECASE)
