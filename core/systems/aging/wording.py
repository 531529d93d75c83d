"""A prompt as written -> the prompt that is drawn, and notes on the difference."""

import re

from core import words
from core.systems.aging import prompts

GENERIC_PROMPT = "photo of a person"
SYNONYMS = {    # pattern, in lower case: the age word that the small network knows
    r"children|kids?|toddlers?": "child", r"teens?|teenaged?|teenagers|adolescents?": "teenager",
    r"young[ -]adults?|youngadult": "youngadults", r"middle[ -]aged?": "middleaged", r"seniors?": "elderly",
}
PREPOSITIONS = "with|a|as|of|from"      # dropped with the word that follows them
PUNCTUATION = ".;:!?\"'()-–—"     # dropped without a note


def compose_prompt(prompt: str, token: str | None, is_limited: bool) -> tuple[str, tuple[str, ...]]:
    """The prompt that is drawn, and notes for the visitor.

    token: of the subject, inserted where it is missing; None draws a generic person, and rare tokens are then removed.
    is_limited: the network knows only the words of core.words.
    """
    drawn, notes = supported_words(prompt) if is_limited else (prompt.strip(), ())
    if token is not None:
        others = [other for other in prompts.tokens_in(drawn) if other != token]
        if others:
            notes += (f"The chosen person's token is {token}, so it was drawn in place of {' and '.join(others)}.",)
        return _with_token(drawn, token), notes
    tokens = prompts.tokens_in(drawn)
    if tokens:
        drawn = prompts.about_anybody(drawn)
        notes += (f"No subject is selected for {' or '.join(tokens)}, so it was left out.",)
    return drawn if drawn.strip(" ,") else GENERIC_PROMPT, notes


def supported_words(prompt: str) -> tuple[str, tuple[str, ...]]:
    """The words of a prompt that the small network knows, and notes that name the others."""
    notes, worded = (), prompts.in_words(prompt)
    if worded != prompt:
        notes += (f"{prompts.years_in(prompt):.0f} years were read as “{prompts.age_in(prompt)}”, at these years.",)
        prompt = worded
    for pattern, age in SYNONYMS.items():
        match = re.search(rf"\b({pattern})\b", prompt, re.IGNORECASE)
        if match and match[0].lower() != age:
            prompt = re.sub(rf"\b({pattern})\b", age, prompt, flags=re.IGNORECASE)
            notes += (f"“{match[0]}” was read as “{age}”.",)
    found = re.findall(r"[^\W_]+|[^\s\w]|_", prompt)
    out = [word for word in found if word != "," and word.lower() not in words.WORDS]
    named = dict.fromkeys(word for word in out if word not in PUNCTUATION)
    if named:
        notes += (f"The small network does not know these words, so they were left out: {', '.join(named)}.",)
    text = " ".join(word.lower() for word in found if word not in out)
    parts = (re.sub(rf"(\b({PREPOSITIONS})\b ?)+$", "", part.strip()).strip() for part in text.split(","))
    return ", ".join(part for part in parts if part), notes


def _with_token(prompt: str, token: str) -> str:
    """The prompt about the person of this token, who is put first where the prompt names no person."""
    named = prompts.about(prompt, token)
    if token in prompts.tokens_in(named):
        return named
    rest = named.strip(" ,").removeprefix("as ")
    link = " as " if prompts.age_in(rest) == rest.split(",")[0].strip().lower() else ", "
    return prompts.plain(token) + (link + rest if rest else "")
