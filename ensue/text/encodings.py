"""Which encoding bytes are in: what is declared, as far as the bytes bear it out, or else what they look like."""

from __future__ import annotations

import codecs
import re

from ensue.text.latin import latin_encoding

SAMPLE_BYTES = 1 << 16
LEAST_BYTES = 30
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_META = re.compile(
    rb"""<meta[^>]{0,500}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.+-]+)|<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_:.+-]+)""",
    re.IGNORECASE,
)
_MARKUP = re.compile(rb"<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.IGNORECASE | re.DOTALL)
_JAPANESE_ESCAPE = re.compile(rb"\x1b(?:\$[@B]|\([BJ])")

# What pages call their encoding, and what browsers take it for (WHATWG Encoding, section 4.2): the larger encoding
# that contains it. The second of two is for bytes that the first does not know.
_FAMILIES = {
    "utf_8": ("utf-8",),
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "gb18030": ("gb18030",),
    "big5": ("cp950", "big5hkscs"),
    "cp950": ("cp950", "big5hkscs"),
    "big5hkscs": ("big5hkscs", "cp950"),
    "shift_jis": ("cp932", "shift_jis_2004"),
    "cp932": ("cp932", "shift_jis_2004"),
    "euc_jp": ("euc_jp", "euc_jis_2004"),
    "iso2022_jp": ("iso2022_jp", "iso2022_jp_2"),
    "euc_kr": ("cp949",),
    "cp949": ("cp949",),
    "ascii": ("cp1252",),
    "latin_1": ("cp1252",),
    "iso8859_1": ("cp1252",),
    "iso8859_9": ("cp1254",),
    "iso8859_11": ("cp874",),
    "tis_620": ("cp874",),
}
_OTHER_LABELS = {"x_sjis": "cp932", "windows_31j": "cp932", "x_gbk": "gbk", "x_big5": "big5", "x_euc_jp": "euc_jp"}
_FOUND_IN_TEXTS = (
    *("gb18030", "big5", "cp950", "big5hkscs", "cp932", "euc_jp", "euc_jis_2004", "cp949"),
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874"),
    *("koi8_r", "koi8_u", "iso8859_2", "iso8859_5", "iso8859_7", "cp866", "utf_16_le", "utf_16_be"),
)
_SINGLE = re.compile(r"(?:cp|iso8859_|koi8_|mac_|windows_|hp_|ptcp)\w*")


def decode_page(data: bytes, *, declared: str = "") -> tuple[str, str] | None:
    """The text of an HTML page and the name of its encoding, or None if the encoding cannot be told.

    In this order: a byte order mark; UTF-8, if the bytes are that and not only by chance; what the server declared
    (`declared`, the charset of its Content-Type); what the page declares in its head; UTF-8 with a few wrong bytes;
    what the bytes look like to charset-normalizer. A declaration counts only if the bytes are that encoding, but for
    very few. Bytes that are not become U+FFFD.
    """
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(codec, "replace"), codec
    if b"\x1b" in data and _JAPANESE_ESCAPE.search(data) and data.isascii():
        return data.decode("iso2022_jp", "replace"), "iso2022_jp"
    utf_8 = _strictly(data, "utf-8")
    labels = [declared, _declared_in(data)]
    if utf_8 is not None and not _by_chance(data, labels):
        return utf_8, "utf-8"
    visible = _MARKUP.sub(b" ", data[: 16 * SAMPLE_BYTES])[:SAMPLE_BYTES]
    # Servers say Latin 1 by default; a page that speaks for itself knows better.
    for label in sorted(labels, key=lambda label: family_of(label) in ((), ("cp1252",))):
        for codec in family_of(label):
            text = _mostly_utf_8(data) if codec == "utf-8" else _with_few_errors(data, codec)
            if text is not None and _is_plausible(visible, codec):
                return text, codec
    if (text := _mostly_utf_8(data)) is not None:
        return text, "utf-8"
    looks = _looks_like(visible)
    return (data.decode(looks, "replace"), looks) if looks else None


def encoding_of_text(head: bytes) -> str | None:
    """The encoding that the beginning of a text file without a byte order mark is in, or None if it cannot be told."""
    if _JAPANESE_ESCAPE.search(head) and head.isascii():
        return "iso2022_jp"
    if _is_utf_8_but_for_its_end(head) or _mostly_utf_8(head) is not None:
        return "utf-8"
    return _looks_like(head[:SAMPLE_BYTES])


def family_of(label: str) -> tuple[str, ...]:
    """The Python codecs to try for a label such as "gb2312" or "ISO-8859-1"; none if it is not known or not trusted."""
    name = re.sub(r"[^a-z0-9]+", "_", label.strip().lower())
    name = _OTHER_LABELS.get(name, name)
    try:
        name = codecs.lookup(name).name.replace("-", "_")
    except (LookupError, ValueError):
        return ()
    if name in _FAMILIES:
        return _FAMILIES[name]
    return (name,) if _SINGLE.fullmatch(name) else ()


def _declared_in(data: bytes) -> str:
    match = _META.search(data[:8192])
    return (match[1] or match[2]).decode("ascii") if match else ""


def _strictly(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return None


def _by_chance(data: bytes, labels: list[str]) -> bool:
    """Whether bytes that are UTF-8 may well be something else that was declared: a few words of GB 2312 can be both."""
    others = [label for label in labels if family_of(label) not in ((), ("utf-8",), ("cp1252",))]
    return bool(others) and 0 < len(data) - len(data.decode("ascii", "ignore")) < 12


def _with_few_errors(data: bytes, codec: str) -> str | None:
    """The text, if no more than one byte in two hundred of those outside ASCII is wrong (a page cut short has one)."""
    text = _strictly(data, codec)
    if text is not None:
        return text
    text = data.decode(codec, "replace")
    outside = len(data) - len(data.decode("ascii", "ignore"))
    return text if (text.count("\ufffd") - 1) * 200 <= outside else None


def _mostly_utf_8(data: bytes) -> str | None:
    """The text, if ten sequences that are UTF-8 stand against each byte that is not: by chance hardly any would be."""
    text = data.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    outside = len(text) - len(text.encode("ascii", "ignore"))
    return text if wrong * 11 <= outside else None


def _is_plausible(visible: bytes, codec: str) -> bool:
    """Whether it can be Latin 1, if that is what is said: no language that uses it has one letter in three outside
    ASCII."""
    if codec != "cp1252":
        return True
    letters = len(re.findall(rb"[A-Za-z]", visible))
    outside = len(re.findall(rb"[\x80-\xff]", visible))
    return outside < LEAST_BYTES or outside * 2 <= letters


def _is_utf_8_but_for_its_end(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _looks_like(data: bytes) -> str | None:
    """What letter frequencies say, in one of the encodings that texts and pages are found in."""
    if (latin := latin_encoding(data)) is not None:
        return latin
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        raise ValueError("To tell encodings apart, type: pip install 'ensue[corpus]'") from error
    best = from_bytes(data, cp_isolation=list(_FOUND_IN_TEXTS), preemptive_behaviour=False).best()
    return None if best is None else _FAMILIES.get(best.encoding, (best.encoding,))[0]
