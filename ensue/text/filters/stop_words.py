"""Words that hardly any text of a language does without, so that a text with none of them is a list or a menu."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import normalize

from ensue.text.filters.words import Words

STOP_WORDS = {
    "en": "the be to of and that have with",  # Rae et al. 2021, appendix A.1.1
    "de": "der die und in zu den das nicht von mit",
    "fr": "de la le et les des en un que dans",
    "es": "de la que el en y los se del las",
    "pt": "de a que e o do da em um para",
    "it": "di e che il la per un in del della",
    "nl": "de van het een en in is dat op te",
    "sv": "och i att det som en på är av för",
    "da": "og i at det er en til af på for",
    "nb": "og i det er på til av en som har",
    "no": "og i det er på til av en som har",
    "nn": "og i det er på til av ein som har",
    "fi": "ja on ei se että tai oli kun hän olla",
    "pl": "i w na z się nie do to jest lub",
    "cs": "a v se na je že s nebo má do",
    "hu": "a az és hogy nem is egy vagy van",
    "ca": "de la i el que a en les els dret",
    "ro": "de și în la a cu pe să nu este",
    "ru": "и в на с не что или по на к",
    "uk": "і в на з не що або та до у",
    "bg": "и на в за с не да от се или",
    "el": "και το να της η του ο με τα σε",
    "tr": "ve bir bu için ile de da her veya olarak",
    "ar": "في من على أن إلى أو كل و لا هذا",
    "fa": "و در به از که این را با است یا",
    "he": "של את על לא או כל זה אדם הוא עם",
    "hi": "के का की में और है को से या हो",
    "id": "dan yang di untuk dengan dari setiap ini itu tidak",
    "ms": "dan yang di untuk dengan dari setiap ini itu tidak",
    "vi": "và của các có người quyền được là không mọi",
    "ko": "및 수 있는 또는 모든 그 이 있다 한 것",
    "zh": "的 一 不 是 有 人 在 之 而 以 其 為 为 無 无 何 此 來 来 我",
    "ja": "の に は を た が で て と し",
    "th": "ที่ และ ใน การ เป็น ของ มี ได้",
    "lo": "ແລະ ຂອງ ໃນ ມີ ທີ່ ເປັນ",
    "km": "និង ដែល ក្នុង មាន នៃ",
    "my": "သည် နှင့် မှ ကို တွင်",
}
"""By language code, separated by spaces. English has the paper's eight; the other lists are ours, since the paper
filtered English alone. Where words are not spaced they are looked for anywhere in the text."""

_EDGES = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡§«»¿‐–—‘’‚“”„…‹›،؛؟।॥、。，"
"""Punctuation around words. Not whatever is no letter: vowel signs are not, and belong to the word."""


def stop_words_for(language: str, own: Sequence[str]) -> list[frozenset[str]]:
    """The lists a text is held against: `own` if there are any, else those of its language, else all of them.

    An empty result means that nothing is known of the language.
    """
    if own:
        return [frozenset(word.lower() for word in own)]
    if language:
        return [frozenset(STOP_WORDS[language].split())] if language in STOP_WORDS else []
    return [frozenset(words.split()) for words in STOP_WORDS.values()]


def count_stop_words(text: str, words: Words, lists: Sequence[frozenset[str]]) -> int:
    """How many different words of one list are in the text; the most for any of the lists."""
    if words.unspaced:
        return max(sum(word in text for word in each) for each in lists)
    present = {piece.strip(_EDGES) for piece in {piece.lower() for piece in words.pieces}}
    if not text.isascii():
        present = {normalize("NFC", word) for word in present}
    return max(len(each & present) for each in lists)
