"""Which single-byte encoding of a Latin script some text is in, told from the letters that its languages use."""

from __future__ import annotations

import codecs

# Letters outside ASCII of the languages written in each encoding, in the order in which encodings are preferred.
_LETTERS = {
    "cp1252": (
        "äöüß",  # German
        "àâæçéèêëîïôœùûüÿ",  # French
        "áéíñóúü",  # Spanish
        "áâãàçéêíóôõúü",  # Portuguese
        "àèéìîòù",  # Italian
        "åäöéæøü",  # Swedish, Danish, Norwegian, Finnish
        "áéíóúýþæöð",  # Icelandic
        "àçéèíïóòúü",  # Catalan
        "áàâçéèëêïíóöôúü",  # Dutch
    ),
    "cp1250": (
        "ąćęłńóśźż",  # Polish
        "áčďéěíňóřšťúůýž",  # Czech
        "áäčďéíĺľňóôŕšťúýž",  # Slovak
        "áéíóöőúüű",  # Hungarian
        "ăâîșțşţ",  # Romanian
        "čćđšž",  # Croatian, Slovene
    ),
    "iso8859-2": ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "ăâîşţ", "čćđšž"),
    "cp1254": ("çğıöşüâîûİ",),  # Turkish
    "cp1257": (
        "ąčęėįšųūž",  # Lithuanian
        "āčēģīķļņšūž",  # Latvian
        "äõöüšž",  # Estonian
    ),
    "cp850": ("äöüß", "àâçéèêëîïôùûü", "áéíñóúü", "áâãàçéêíóôõúü"),  # of DOS
}
_LEAST_SHARE = 0.97


def latin_encoding(data: bytes) -> str | None:
    """The encoding in which nearly all letters outside ASCII are those of one language, or None if there is none.

    Text in any other script has far more bytes outside ASCII than Latin ones do, so that is looked at first.
    """
    outside = data.translate(None, bytes(range(128)))
    letters = sum(map(str.isalpha, data.translate(None, bytes(range(128, 256))).decode("ascii")))
    if not outside or len(outside) * 2 > letters:
        return None
    best, most = None, _LEAST_SHARE
    for codec, languages in _LETTERS.items():
        if (shown := _decoded(outside, codec)) is None:
            continue
        used = [letter for letter in shown if letter.isalpha() and letter not in _SIGNS]
        share = max(sum(letter in language for letter in used) for language in map(_both_cases, languages))
        # Signs count against an encoding, but for those that texts do use.
        strange = sum(not letter.isalpha() and letter not in _SIGNS for letter in shown)
        if share / (len(used) + strange or 1) > most:
            best, most = codec, share / (len(used) + strange)
    return best


_SIGNS = "\u00a0§°«»·¿¡–—‘’‚“”„…€£©®™ºª´½²³\u00ad"


def _both_cases(letters: str) -> frozenset[str]:
    return frozenset(letters + letters.upper())


def _decoded(data: bytes, codec: str) -> str | None:
    try:
        return codecs.decode(data, codec)
    except UnicodeDecodeError:
        return None
