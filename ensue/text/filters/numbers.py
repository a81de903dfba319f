"""Numbers that lead to a person: telephones, payment cards, bank accounts, network addresses; and what is not."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

_CARD = re.compile(r"(?<![\w.,-])[2-6](?:[ -]?\d){12,18}(?![\w-]|[.,]\d)")
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|35\d{14}|62\d{14,17}"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_IP4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IP6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:{1,2}){3,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_DOTTED = re.compile(r"\d\.\d{1,3}\.\d")
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]")
"""What any address has; looked for first, since it is rare and quickly found."""

_MANY_DIGITS = re.compile(r"\d(?:[ ./()-]{0,3}\d){5}")
"""What any card, account or telephone number has."""

_VERSION_BEFORE = re.compile(
    r"(?:\bv|\bver|version|release|build|firmware|section|chapter|版本|§)[\s.:-]{0,3}$", re.IGNORECASE
)
_PHONE = re.compile(
    r"(?<![\w.,/+-])(?<!\d )(?:"
    r"\+\d{1,3}(?:[ ./-]?\(\d{1,4}\))?(?:[ ./-]?\d){6,12}"  # +49 (0)30 1234567, +1 212 555 0100
    r"|\(0?[1-9]\d{1,3}\) ?\d{2,4}(?:[ -]?\d{2,4}){1,3}"  # (212) 555-0100, (020) 7946 0000
    r"|[2-9]\d\d[-.][2-9]\d\d[-.]\d{4}"  # 212-555-0100
    r"|00[1-9]\d(?:[ /-]?\d){7,12}"  # 0049 30 1234567
    r"|0[1-9]\d{1,3}[ /-]\d{2,4}(?:[ -]?\d{2,4}){1,3}"  # 030 1234567, 0171-2345678, 010-62345678
    r"|1[3-9]\d[ -]?\d{4}[ -]?\d{4}"  # 13812345678: a mobile number in China
    r")(?![\w-]|[.,/]\d)"
)
_NUMBER = re.compile(r"[+(]?\d(?:[ ./()-]{0,2}\d){5,14}(?![\w-]|[.,/]\d)")
_LABEL_BEFORE = re.compile(
    r"(?:(?:\btel(?:ephone|efon|éfono)?|\bphone|\bmobile|\bcell|\bfax|\bwhatsapp|电话|電話|手机|手機|传真|携帯)"
    r"\s?(?:no|number|nr|号码|號碼|番号)?\.?\s{0,2}[:：]?\s{0,2})$",
    re.IGNORECASE,
)
_ISBN_BEFORE = re.compile(r"(?:ISBN|ISSN|DOI|EAN|UPC)[\w\s:./-]{0,12}$", re.IGNORECASE)
_DATES = re.compile(r"(?:(?:19|20)\d\d[ ./-]\d{1,2}[ ./-]\d{1,2}|\d{1,2}[ ./-]\d{1,2}[ ./-](?:19|20)\d\d)\b")


def mask_cards(text: str, mask: str) -> tuple[str, int]:
    """Payment card numbers: an issuer's first digits and length, and Luhn's check digit (ISO/IEC 7812-1)."""
    return _line_by_line(text, lambda line: _substitute(_CARD, line, mask, lambda match: is_card(match[0])))


def mask_accounts(text: str, mask: str) -> tuple[str, int]:
    """International bank account numbers whose check digits are right (ISO 13616)."""
    return _line_by_line(text, lambda line: _substitute(_IBAN, line, mask, lambda match: is_iban(match[0])))


def mask_addresses(text: str, mask: str) -> tuple[str, int]:
    """IP addresses that are reachable from anywhere; private and reserved ones name nobody. Not version numbers."""
    fourth = sixth = 0
    if _DOTTED.search(text):
        text, fourth = _substitute(_IP4, text, mask, _is_public_address)
    if _COLONS.search(text):
        text, sixth = _substitute(_IP6, text, mask, _is_public_address)
    return text, fourth + sixth


def mask_phones(text: str, mask: str) -> tuple[str, int]:
    """Telephone numbers in the shapes people write, and whatever follows a word such as "Tel."; not ISBNs and dates."""

    def substitute(line: str) -> tuple[str, int]:
        line, shaped = _substitute(_PHONE, line, mask, _is_phone)
        line, labelled = _substitute(_NUMBER, line, mask, lambda match: bool(_LABEL_BEFORE.search(_before(match))))
        return line, shaped + labelled

    return _line_by_line(text, substitute)


def is_card(number: str) -> bool:
    """Whether these digits, with spaces or hyphens, could be a payment card's."""
    digits = re.sub(r"[ -]", "", number)
    return _ISSUERS.fullmatch(digits) is not None and _luhn(digits)


def is_iban(text: str) -> bool:
    """Whether this is a bank account number with right check digits, by ISO 7064's modulus 97."""
    account = text.replace(" ", "")
    if not 15 <= len(account) <= 34:
        return False
    moved = account[4:] + account[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def _luhn(digits: str) -> bool:
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def _is_public_address(match: re.Match[str]) -> bool:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return False
    return address.is_global and not _VERSION_BEFORE.search(_before(match))


def _is_phone(match: re.Match[str]) -> bool:
    if sum(map(str.isdigit, match[0])) < 8:
        return False  # a count before a year, as in "January (48) 2010", or a post code, as in 094-0011
    return not _DATES.match(match[0]) and not _ISBN_BEFORE.search(_before(match))


def _before(match: re.Match[str]) -> str:
    return match.string[max(match.start() - 24, 0) : match.start()]


def _line_by_line(text: str, substitute: Callable[[str], tuple[str, int]]) -> tuple[str, int]:
    """The text with `substitute` done on the lines that have enough digits, and how often it did anything."""
    if not _MANY_DIGITS.search(text):
        return text, 0
    lines = text.split("\n")
    found = 0
    for place, line in enumerate(lines):
        if _MANY_DIGITS.search(line):
            lines[place], more = substitute(line)
            found += more
    return "\n".join(lines), found


def _substitute(
    pattern: re.Pattern[str], text: str, mask: str, wanted: Callable[[re.Match[str]], bool]
) -> tuple[str, int]:
    found = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal found
        if not wanted(match):
            return match[0]
        found += 1
        return mask

    return pattern.sub(replace, text), found
