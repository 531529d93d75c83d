"""What is not drawn here: prompts that ask for sexual or violent content are refused, whatever the checkpoint.

    refuse(prompt)              SettingsError, in words, or nothing
    refuse_without(negative)    the same of a negative prompt
    unsafe(pictures, checker)   which pictures Stable Diffusion's safety checker would withhold

Whole words are compared, in their inflections and through the usual disguises (n4ked, n.a.k.e.d, nakeeed, f*ck, a
letter borrowed from Greek), so that Sussex, grapes and assassins pass. The list is English: a threshold, not a wall.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from core.errors import SettingsError

if TYPE_CHECKING:
    from PIL import Image

WORDS = {   # by kind; longer ones count with their endings
    "sexual": frozenset("""
        nude nudity nudism nudist naked unclothed undress topless bottomless nsfw porn porno pornographic pornography
        sex sexual sexuality sexualize sexualise sexy sext erotic erotica eroticism lewd lust lustful obscene smut
        smutty kinky fetish fetishist bdsm bondage dominatrix lingerie panties thong underwear bra braless striptease
        stripper hooker prostitute prostitution whore slut slutty horny orgasm orgasmic masturbate masturbation fuck
        fucker blowjob handjob footjob rimjob deepthroat cum cumshot creampie bukkake gangbang threesome orgy
        intercourse fornicate fornication copulate copulation penis penile phallus vagina vaginal vulva pussy cunt
        clitoris dildo genital genitalia testicle scrotum boner nipple areola boob tits titty titties breasts busty
        cleavage buttock butt ass asshole arse arsehole anus anal upskirt camgirl onlyfans hentai ecchi futanari milf
        incest incestuous loli lolicon shotacon pedo paedo pedophile paedophile pedophilia paedophilia pederast rape
        raping rapist molest molester molestation""".split()),
    "violent": frozenset("""
        gore gory blood bloody bloodied bloodbath bloodshed bleed kill killer murder murderer murderous behead
        decapitate decapitation stab slit dismember dismemberment disembowel eviscerate mutilate mutilation
        torture torturer massacre slaughter strangle strangulation suffocate impale lynched lynching corpse
        cadaver suicide suicidal gunshot gunned wounded maim genocide terrorist terrorism flay entrails
        brutalize brutalise crucify crucifixion
        """.split()),
}
CLOTHES = r"(clothes|clothing|clothed|garments?|pants|trousers|dress(ed)?)"
PHRASES = {     # of plain letters and single spaces
    "sexual": (
        r"(without|no|not wearing|wearing no|tak(e|es|ing) off|took off|remov(e|es|ed|ing))"
        rf"( (any|all|her|his|their|the))? {CLOTHES}",
        r"(wearing|dressed in) (nothing|only a)", r"birthday suit", r"in the buff", r"mak(e|es|ing) love",
        r"bare (breast|chest|butt|bottom|skin)(ed|s)?", r"barely (legal|dressed|clothed)", r"see through"),
    "violent": (
        r"shoot(s|ing)? (him|her|them|himself|herself|at|people|somebody|someone|an? (man|woman|person|child))",
        r"shot (dead|in the (head|face|chest))", r"(school|mass) shootings?", r"bullet (holes?|wounds?)",
        r"(gun|knife|pistol|blade|axe) (to|at|in|against) (his|her|their|the|my) (head|throat|neck|face|chest)",
        r"(cut|slash|rip|tear)(s|ting|ping|ing)?( (off|open))? (his|her|their|the) (throat|wrists?|head|fingers?)",
        r"(severed|cut off) (head|hand|arm|leg|limb|finger)s?", r"beat(en|ing)?( (him|her|them))? (up|to death)",
        r"hang(s|ed|ing)? (himself|herself|themselves)", r"noose", r"burn(s|ed|t|ing)? alive", r"self harm(ing)?",
        r"dead (body|bodies|man|woman|child|person|people|girl|boy)", r"firing squad", r"open wounds?"),
}
YOUNG = (r"(child|children|kid|girl|boy|teen|teenage|teenaged|teenager|preteen|pre teen|adolescent|toddler|baby|infant|"
         r"minor|schoolgirl|schoolboy|underage)s?")
MINOR = re.compile(r"\b(\d|1[0-7]|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|"
                   r"fourteen|fifteen|sixteen|seventeen)[\s-]*(years?|yrs?|y)[\s-]*(old|o)\b")
IMPROPER = (r"(bikini|swimsuit|swimwear|seductive|seductively|sensual|flirty|flirting|provocative|suggestive|"
            r"shirtless|stockings)")
INSIDE = {      # so telling that they count inside longer words too
    "sexual": ("porn", "fuck", "nsfw", "hentai", "masturbat", "blowjob", "gangbang", "lolicon", "nakedw", "nakedg"),
    "violent": ("decapitat", "dismember", "disembowel"),
}
FINE = frozenset("butter butters buttery luster stably stabler stables asses".split())   # not inflections of these
# in which a word is harmless
IDIOMS = re.compile(r"\b(blood ?(orange|moon|type|pressure|hound|shot|donor|test)s?|bloody mary|"
                    r"killer (whale|smile|look)s?|kill(ing|ed)? time|bleeding (edge|heart|gum)s?|"
                    r"nose[ -]?bleed(s|ing)?|same sex|opposite sex|anal(?= retentive)|cum laude|bra straps?|"
                    r"kinky([ -]+(curly|coily|straight|black|brown|dark|long|short))*[ -]+(hair|curl|lock|afro)(ed|s)?|"
                    r"(eye ?)?brow slits?|slit(ted)? (in (an?|the|his|her|their) )?(eye ?brows?|eyes|pupils?|skirt)|"
                    r"breast (cancer|pocket|stroke)s?|breaststroke|(blue|great|coal|marsh) tits?|pussy ?willows?)\b")
WITH_Y = ("ies", "ier", "iest")
ENDINGS = ("s", "es", "ed", "d", "ing", "er", "ers", "ly", "ness", "est", *WITH_Y)
SHORT = 3       # words of so many letters have a plural and no other endings
SIGNS = str.maketrans({"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s",
                       "€": "e", "|": "l", "+": "t"})
ALIKE = str.maketrans(dict(zip("аеорсхуіѕјһԁαεικνοπρτυχ", "aeopcxyisjhdaeiknonptux", strict=True)))
NEXT = "Describe a face: an age, a mood, hair, light.  photo of a person as elderly, smiling"


def refuse(prompt: str) -> None:
    """Raise SettingsError, which names the word, when a prompt asks for sexual or violent content."""
    kind, word = found(prompt)
    if kind:
        raise SettingsError(f"Facet draws nothing {kind}, and {word!r} in the prompt asks for it.", NEXT)


def refuse_without(negative: str) -> None:
    """Raise SettingsError when a negative prompt leads away from clothes. Other words there keep things out: fine."""
    if any(re.search(rf"\b{CLOTHES}\b", text) for text in _readings(negative)):
        raise SettingsError("Facet draws nothing sexual, and a negative prompt against clothes asks for it.", NEXT)


def asked(prompt: str) -> str:
    """What kind of forbidden content a prompt asks for: "sexual", "violent", or "" for none."""
    return found(prompt)[0]


def found(prompt: str) -> tuple[str, str]:
    """The kind of forbidden content that a prompt asks for, and the words that do; two empty texts for none."""
    return next((each for text in _readings(prompt) if (each := _found_in(text))[0]), ("", ""))


def _found_in(text: str) -> tuple[str, str]:
    """`found` in a text in plain letters."""
    text = MINOR.sub("child", IDIOMS.sub(" ", text))
    spaced = " ".join(re.findall(r"[a-z]+", text))
    if young := re.search(rf"\b{YOUNG}\b.*\b{IMPROPER}\b|\b{IMPROPER}\b.*\b{YOUNG}\b", spaced):
        return "sexual", young[0][:60]
    words = ((_kind(word), word) for word in re.findall(r"[a-z*]+", text))
    phrases = ((kind, match[0]) for kind, rows in PHRASES.items() for row in rows
               if (match := re.search(rf"\b{row}\b", spaced)))
    return next(filter(itemgetter(0), words), None) or next(phrases, ("", ""))


# ------------------------------------------------------------------------------------------------------- disguises

def _readings(prompt: str) -> list[str]:
    """The prompt in plain lower-case letters: as written, and with its disguises taken off."""
    letters = unicodedata.normalize("NFKD", prompt.lower().translate(ALIKE))
    text = "".join(letter for letter in letters if unicodedata.category(letter) not in ("Mn", "Cf"))
    texts = [text, *(" ".join(_unsigned(word, one) for word in text.split()) for one in "il")]
    return list(dict.fromkeys([*texts, *map(_joined, texts)]))


def _unsigned(word: str, one: str) -> str:
    """A word whose digits and signs stand for letters, as these; numbers stay. one: what 1 and ! stand for."""
    body, end = re.fullmatch(r"(.*?)([.,;:!?]*)", word).groups()
    if re.search(r"[^\W\d_]|[$@]", body):
        body = body.translate(SIGNS).replace("1", one).replace("!", one)
    return body + end


def _joined(text: str) -> str:
    """Letters that stand apart, "n a k e d", "n.a.k.e.d", "na-ked", "nak_ed", put together."""
    apart = re.sub(r"(?<![a-z])(?:[a-z][\s._\-/,]+){2,}[a-z](?![a-z])", lambda found: _bare(found[0]), text)
    return re.sub(r"[a-z]+(?:[._\-][a-z]+)+", lambda found: f"{found[0]} {_bare(found[0])}", apart)


def _bare(text: str) -> str:
    return re.sub(r"[^a-z]", "", text)


@lru_cache(maxsize=4096)        # words come from visitors
def _kind(word: str) -> str:
    """Which kind a word of plain letters is of, "" for none; a * inside stands for any letter."""
    word = word.strip("*")
    if "*" in word:
        hidden = re.compile(word.replace("*", "[a-z]"))
        return next((kind for kind, bad in WORDS.items() if any(map(hidden.fullmatch, bad))), "")
    forms = dict.fromkeys((word, re.sub(r"(.)\1{2,}", r"\1", word), re.sub(r"(.)\1{2,}", r"\1\1", word)))  # nakeeed
    bases = {base for form in forms for base in _bases(form)}
    return next((kind for kind, bad in WORDS.items() if bases & bad
                 or any(part in form for part in INSIDE[kind] for form in forms)), "")


def _bases(word: str) -> set[str]:
    """What a word may be an inflection of, itself included: stabbing -> stab, tortures -> torture, gorier -> gory."""
    if word in FINE:
        return set()
    bases = {word}
    for ending in ENDINGS:
        stem = word.removesuffix(ending)
        if stem == word or (len(stem) <= SHORT and ending not in ("s", *WITH_Y)):
            continue
        bases |= {stem, f"{stem}y" if ending in WITH_Y else stem if ending == "s" else f"{stem}e"}
        if len(stem) > SHORT + 1 and stem[-1] == stem[-2]:
            bases.add(stem[:-1])
    return bases


# -------------------------------------------------------------------------------------------------------- pictures

def unsafe(pictures: "Sequence[Image.Image]", checker: Any) -> list[bool]:
    """Which pictures the safety checker of Stable Diffusion withholds. checker: a core.models.safety.Safety."""
    import torch

    from core import images

    device = next(checker.parameters()).device
    seen = images.to_tensor([central(picture, checker.config.size) for picture in pictures])
    with torch.inference_mode():
        return checker(seen.to(device)).tolist()


def central(picture: "Image.Image", size: int) -> "Image.Image":
    """The shorter side made `size` pixels, then the middle cut out, as CLIP wants it."""
    from PIL import Image

    scale = size / min(picture.size)
    picture = picture.resize([max(size, int(side * scale)) for side in picture.size], Image.Resampling.BICUBIC)
    left, top = ((side - size) // 2 for side in picture.size)
    return picture.crop((left, top, left + size, top + size))
