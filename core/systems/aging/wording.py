"""A prompt as somebody writes it -> the prompt that is drawn, and what there is to say of the difference."""

import re

from core import words
from core.systems.aging import prompts

ANYBODY = "photo of a person"
ALSO = {    # what people say, as patterns of lower case: the age that the small network knows it by
    r"children|kids?|toddlers?": "child", r"teens?|teenaged?|teenagers|adolescents?": "teenager",
    r"young[ -]adults?|youngadult": "youngadults", r"middle[ -]aged?": "middleaged", r"seniors?": "elderly",
}
GLUE = "with|a|as|of|from"      # words that lead to others, and are dropped with them
MARKS = ".;:!?\"'()-–—"     # what is left out without a word


def worded(prompt: str, token: str | None, small: bool) -> tuple[str, tuple[str, ...]]:
    """The prompt that is drawn, and notes for the visitor.

    token: of the person meant, put in where it is missing; None is anybody, and a rare token then means nobody. small:
    the network knows the words of core.words and no others.
    """
    drawn, notes = known(prompt) if small else (prompt.strip(), ())
    if token is not None:
        return _naming(drawn, token), notes
    said = prompts.tokens_in(drawn)
    if said:
        drawn = prompts.about_anybody(drawn)
        notes += (f"Nobody is chosen whom {' or '.join(said)} could mean, so it was left out.",)
    return drawn if drawn.strip(" ,") else ANYBODY, notes


def known(prompt: str) -> tuple[str, tuple[str, ...]]:
    """The words of a prompt that the small network knows, and a note that names the others."""
    notes = ()
    for pattern, age in ALSO.items():
        said = re.search(rf"\b({pattern})\b", prompt, re.IGNORECASE)
        if said and said[0].lower() != age:
            prompt = re.sub(rf"\b({pattern})\b", age, prompt, flags=re.IGNORECASE)
            notes += (f"“{said[0]}” was read as “{age}”.",)
    found = re.findall(r"[^\W_]+|[^\s\w]|_", prompt)
    out = [word for word in found if word != "," and word.lower() not in words.WORDS]
    named = dict.fromkeys(word for word in out if word not in MARKS)
    if named:
        notes += (f"Not among the words that the small network knows, so left out: {', '.join(named)}.",)
    text = " ".join(word.lower() for word in found if word not in out)
    parts = (re.sub(rf"(\b({GLUE})\b ?)+$", "", part.strip()).strip() for part in text.split(","))
    return ", ".join(part for part in parts if part), notes


def _naming(prompt: str, token: str) -> str:
    """The prompt about the person of this token, who is put before it where it speaks of no person."""
    said = prompts.about(prompt, token)
    if token in prompts.tokens_in(said):
        return said
    rest = said.strip(" ,").removeprefix("as ")
    link = " as " if prompts.age_in(rest) == rest.split(",")[0].strip().lower() else ", "
    return prompts.plain(token) + (link + rest if rest else "")
