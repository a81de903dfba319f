"""What is masked, what is not, and that masking twice is masking once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.text.document import Document
from ensue.text.filters.numbers import is_card, is_iban
from ensue.text.filters.personal import PersonalData

KEY = "sk-9f8G7h6J5k4L3m2N1b0V"


def masked(text: str, **settings: bool) -> str:
    return PersonalData(**settings).prepare()(Document.of(text, "a")).documents[0].text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to jane.doe+x@mail.example.co.uk.", "Write to <mail>."),
        ("邮箱abc@qq.com。", "邮箱<mail>。"),
        ("+49 (0)30 1234567, +1 212 555 0100, 0049 30 1234567", "<phone>, <phone>, <phone>"),
        ("(212) 555-0100 or 212-555-0100 or 020 7946 0000", "<phone> or <phone> or <phone>"),
        ("手机13812345678，电话：62345678。", "手机<phone>，电话：<phone>。"),
        ("Tel.: 555 1234, Fax 555-123-45", "Tel.: <phone>, Fax <phone>"),
        ("from 8.8.8.8 and 2001:4860:4860::8888", "from <ip> and <ip>"),
        ("card 4111 1111 1111 1111, 378282246310005", "card <card>, <card>"),
        ("AKIAIOSFODNN7EXAMPLE", "<key>"),
        ("use ghp_" + "a1B2" * 9, "use <key>"),
        ("xoxb-123456789012-abcdef", "<key>"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N", "<key>"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\nabc=\n-----END RSA PRIVATE KEY-----\nx", "<key>\nx"),
        (f'{{"api_key": "{KEY}"}}', '{"api_key": "<key>"}'),
        (f"SECRET_TOKEN={KEY}; 密码：{KEY}", "SECRET_TOKEN=<key>; 密码：<key>"),
    ],
)
def test_what_is_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "ISBN 0-306-40615-2, 978-3-16-148410-0 and ISSN 0378-5955",
        "2023-01-02, 01.02.2003, 01/02/2003, 1861-1865, 1999 2000 2001, 12:34:56",
        "version 1.2.3.4, v10.20.30.40, release 4.3.2.1, Python 3.11.7",
        "10.0.0.1, 192.168.1.1, 127.0.0.1, 300.1.1.1, fe80::1, std::vector, a::b",
        "3.14159265358979, 1,234,567,890, 1234567890, $4,111,111.00, 0.12 34567890",
        "4111 1111 1111 1112, 1234 5678 9012 3456",
        "Fevereiro (148) Janeiro (48) 2010, (36) 2013, Hokkaido 094-0011",
        "pages 113-122, 20231105123456, 5e-324, 0x1F, #12345678",
        "password: correcthorsebatterystaple, token: see the manual, key = value",
        "user@host, @name, a@b, 50@10.00",
        "GB82WEST12345698765432",
    ],
)
def test_what_is_not(text: str) -> None:
    assert masked(text) == text


def test_facts_and_settings() -> None:
    document = Document.of("a@b.com c@d.org, 8.8.8.8, DE89 3704 0044 0532 0130 00", "a")
    verdict = PersonalData(addresses=False, accounts=True, mask="[{}]").prepare()(document)
    assert verdict.documents[0].text == "[mail] [mail], 8.8.8.8, [account]"
    assert verdict.facts == {"mail": 2, "account": 1}
    assert verdict.reason == "personal data masked"
    assert PersonalData(mail=False, addresses=False).prepare()(document).reason == ""
    for mask in ("x", "{}@example.com", "{}{}"):
        with pytest.raises(ValueError, match="mask="):
            PersonalData(mask=mask)


pieces = st.one_of(
    st.sampled_from("0123456789+-()./:@ \n="),
    st.sampled_from(["a@b.com", "8.8.8.8", "4111111111111111", "Tel.", "token=", KEY, "13812345678", "<mail>", "key"]),
    st.sampled_from(["AKIAIOSFODNN7EXAMPLE", "电话", "v", "::", "xoxb-123456789012", "ISBN ", "2023-01-02"]),
    st.text(max_size=3),
)


@settings(max_examples=300)
@given(st.lists(pieces, max_size=14).map("".join))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = masked(text, accounts=True)
    assert masked(once, accounts=True) == once


@given(st.integers(0, 10**14 - 1))
def test_one_check_digit_of_ten_is_right(stem: int) -> None:
    assert sum(is_card(f"4{stem:014d}{digit}") for digit in range(10)) == 1


def test_check_digits() -> None:
    assert is_iban("GB82 WEST 1234 5698 7654 32")
    assert not is_iban("GB82 WEST 1234 5698 7654 33")


def test_a_long_line_takes_no_time() -> None:
    for unit in ("a", "1", "a.", "1-", "x@", "+1 ", "=a1", "AKIA", "eyJ", "-----BEGIN PRIVATE KEY-----"):
        masked(unit * (200_000 // len(unit)))
