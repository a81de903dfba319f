"""Keys and passwords in text: published shapes of tokens, and values of high entropy that are called a secret."""

from __future__ import annotations

import math
import re
from collections import Counter

_SIGNS = ("PRIVATE KEY", "AKIA", "ASIA", "ABIA", "ACCA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xox",
          "hooks.slack.com", "eyJ")  # fmt: skip
"""A text without any of these has none of the published shapes, and looking for these costs almost nothing."""

_KNOWN = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r".{1,20000}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"|(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"  # AWS
    r"|(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36,255}(?![A-Za-z0-9])"  # GitHub
    r"|(?<![A-Za-z0-9])github_pat_[A-Za-z0-9_]{22,255}(?![A-Za-z0-9])"
    r"|(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10,255}(?![A-Za-z0-9])"  # Slack
    r"|https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9+/]{20,100}"
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,4000}",  # JSON web token
    re.DOTALL,
)
_ASSIGNED = re.compile(r"(?P<between>[=:：]>?[ \t]{0,4}[\"']?)(?P<value>[A-Za-z0-9+/=_.~$!%^&*-]{16,512})")
_NAME_BEFORE = re.compile(
    r"(?:(?:api|access|secret|private|auth|account|client|encryption|signing)[_ .-]?(?:key|token|secret)"
    r"|secret|token|passw(?:or)?d|passphrase|pwd|密码|密碼|密钥|密鑰)[\"']?[ \t]{0,4}:?$",
    re.IGNORECASE,
)
NAME_CHARACTERS = 40

LEAST_ENTROPY = 3.5
"""Bits a character of a value that counts as random; English words run together have about 3, hexadecimal digits 4."""


def mask_secrets(text: str, mask: str) -> tuple[str, int]:
    """The text with `mask` for each secret, and how many there were. Names and signs around a value stay."""
    known = assigned = 0
    if any(sign in text for sign in _SIGNS):
        text, known = _KNOWN.subn(mask.replace("\\", r"\\"), text)

    def replace(match: re.Match[str]) -> str:
        nonlocal assigned
        before = match.string[max(match.start() - NAME_CHARACTERS, 0) : match.start()]
        if not is_random(match["value"]) or not _NAME_BEFORE.search(before):
            return match[0]
        assigned += 1
        return match["between"] + mask

    return _ASSIGNED.sub(replace, text), known + assigned


def is_random(value: str) -> bool:
    """Whether a value looks drawn by chance: digits and letters, `LEAST_ENTROPY` bits a character or more."""
    if not (any(map(str.isdigit, value)) and any(map(str.isalpha, value))):
        return False
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts) >= LEAST_ENTROPY
