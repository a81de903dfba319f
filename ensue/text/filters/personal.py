"""Personal data masked: mail addresses, telephone numbers, network addresses, keys, payment cards, bank accounts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ensue.text.curation.step import Judge, Verdict, change
from ensue.text.document import Document
from ensue.text.filters.numbers import mask_accounts, mask_addresses, mask_cards, mask_phones
from ensue.text.filters.secrets import mask_secrets

Mask = Callable[[str, str], tuple[str, int]]
_LOCAL = "A-Za-z0-9.!#$%&'*+/=?^_`{|}~-"
_MAIL = re.compile(
    rf"(?<![{_LOCAL}])[{_LOCAL}]{{1,64}}@(?:[A-Za-z0-9-]{{1,63}}\.){{1,8}}[A-Za-z]{{2,24}}(?![A-Za-z0-9@])"
)


def mask_mail(text: str, mask: str) -> tuple[str, int]:
    """Mail addresses in ASCII, the rule of RFC 5322 without quoted names."""
    return _MAIL.subn(mask.replace("\\", r"\\"), text) if "@" in text else (text, 0)


@dataclass(frozen=True)
class PersonalData:
    """Replace what leads to a person or opens a door by a mask such as <mail>; no document is dropped.

    mail       mail addresses                                                              <mail>
    phones     telephone numbers in international, North American, European and Chinese
               shapes, and numbers that are called one; not dates, ISBNs, versions         <phone>
    addresses  public IP addresses, versions 4 and 6                                       <ip>
    keys       keys of AWS, GitHub and Slack, private keys, JSON web tokens, and values of
               high entropy that are called a key, token or password                       <key>
    cards      payment cards with a right check digit                                      <card>
    accounts   bank accounts with right check digits (IBAN); off, as few texts have any    <account>
    mask       what is put in, with {} where the kind goes

    Patterns find shapes, not people: names and street addresses stay, and so does what is written unusually. Masking
    what was masked changes nothing. Facts count what was replaced, by kind.
    """

    mail: bool = True
    phones: bool = True
    addresses: bool = True
    keys: bool = True
    cards: bool = True
    accounts: bool = False
    mask: str = "<{}>"

    def __post_init__(self) -> None:
        if self.mask.count("{}") != 1:
            raise ValueError(f"mask={self.mask!r} must have {{}} once, where the kind goes, such as <{{}}>.")
        everything = " ".join(self.mask.format(kind) for kind, _ in self._masks())
        if self._once(everything)[0] != everything:
            raise ValueError(f"mask={self.mask!r} looks like personal data itself; take one such as <{{}}>.")

    def prepare(self) -> Judge:
        """The judge, which changes texts and drops none."""
        return self._judge

    def _judge(self, document: Document) -> Verdict:
        text, counts = self._once(document.text)
        while text != document.text:  # a mask can end what kept its neighbour from being seen
            again, more = self._once(text)
            if again == text:
                break
            text, counts = again, {kind: counts.get(kind, 0) + more.get(kind, 0) for kind in {**counts, **more}}
        return change(document, text, "personal data masked", **counts)

    def _once(self, text: str) -> tuple[str, dict[str, int]]:
        counts: dict[str, int] = {}
        for kind, function in self._masks():
            text, found = function(text, self.mask.format(kind))
            if found:
                counts[kind] = found
        return text, counts

    def _masks(self) -> list[tuple[str, Mask]]:
        masks: list[tuple[bool, str, Mask]] = [
            (self.keys, "key", mask_secrets),
            (self.mail, "mail", mask_mail),
            (self.cards, "card", mask_cards),
            (self.accounts, "account", mask_accounts),
            (self.addresses, "ip", mask_addresses),
            (self.phones, "phone", mask_phones),
        ]
        return [(kind, function) for wanted, kind, function in masks if wanted]
