"""Conversations as tokens: the template saved with a tokenizer, the plain one that any tokenizer can have, and where an
answer ends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensue.tokens.conversation_jinja import Message, rendered
from ensue.tokens.tokenizer import SAVED, SAVED_CONFIG, Tokenizer
from ensue.tokens.vocabulary_files import read_json

TEMPLATE_FILE = "chat_template.jinja"
"""Where `transformers` 5 keeps a template; older versions, and Ensue, keep it as `chat_template` in the config."""

PLAIN = """\
{%- for message in messages -%}
{{- '' if loop.first else '\\n' -}}
{{- message['role'] | capitalize }}: {{ message['content'] | trim -}}
{{- eos_token if message['role'] == 'assistant' -}}
{%- endfor -%}
{{- '\\nAssistant:' if add_generation_prompt -}}
"""
"""User: ... Assistant: ..., each on a line, and the end token behind every answer; no token is new."""

PLAIN_LINES = """\
{%- for message in messages -%}
{{- message['role'] | capitalize }}: {{ message['content'].split() | join(' ') }}{{ '\\n' -}}
{%- endfor -%}
{{- 'Assistant:' if add_generation_prompt -}}
"""
"""The same where the token that ends a text is the line's end, as in GPT's vocabulary: a message is one line."""

MARKS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
"""Characters that Unicode reserves for a program's own use and that no text holds."""


@dataclass(frozen=True)
class ChatTemplate:
    """A template in Jinja; the `names` of tokens that it may use, as they are spelt (eos_token and the like); and
    `tokens`, the ids of all that stand for themselves where a template spells them."""

    source: str
    names: Mapping[str, str]
    tokens: Mapping[str, int]


@dataclass(frozen=True)
class Ends:
    """What ends an answer: these tokens, or where one of these texts begins."""

    tokens: frozenset[int]
    texts: tuple[str, ...]


def plain_template(tokenizer: Tokenizer) -> ChatTemplate:
    """Roles in plain words, for a tokenizer that has no template."""
    end = _spelt_end(tokenizer)
    if end.isspace():
        return ChatTemplate(PLAIN_LINES, {}, {end: tokenizer.end})
    return ChatTemplate(PLAIN, {"eos_token": end}, {end: tokenizer.end})


def read_template(folder: Path, tokenizer: Tokenizer) -> ChatTemplate | None:
    """The template in a model's folder, None where it has none. Raises ValueError naming a file that is damaged."""
    config = read_json(folder / SAVED_CONFIG) if (folder / SAVED_CONFIG).is_file() else {}
    source = config.get("chat_template")
    if (folder / TEMPLATE_FILE).is_file():
        source = (folder / TEMPLATE_FILE).read_text(encoding="utf-8")
    if isinstance(source, list):  # several, by name
        source = {entry.get("name"): entry.get("template") for entry in source}.get("default")
    return None if not isinstance(source, str) else with_source(source, folder, tokenizer)


def with_source(source: str, folder: Path, tokenizer: Tokenizer) -> ChatTemplate:
    """Another template for the tokenizer in `folder`, with the tokens that this one has."""
    config = read_json(folder / SAVED_CONFIG) if (folder / SAVED_CONFIG).is_file() else {}
    names = {name: _content(value) for name, value in config.items() if name.endswith("_token")}
    added = read_json(folder / SAVED).get("added_tokens", []) if (folder / SAVED).is_file() else []
    if not added:
        added = [{**token, "id": int(number)} for number, token in config.get("added_tokens_decoder", {}).items()]
    tokens = {token["content"]: token["id"] for token in added if token["id"] < tokenizer.vocab_size}
    own = {name: spelt for name, spelt in names.items() if isinstance(spelt, str)}
    return ChatTemplate(source, own, {**tokens, _spelt_end(tokenizer): tokenizer.end})


def with_template(template: ChatTemplate, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """A saved tokenizer's files with the template in them, so that `transformers` and `read_template` find it."""
    config = {**json.loads(files[SAVED_CONFIG]), **template.names, "chat_template": template.source}
    changed = {**files, SAVED_CONFIG: (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()}
    if SAVED in files and len(template.tokens) > 1:
        from tokenizers import AddedToken
        from tokenizers import Tokenizer as Backend

        backend = Backend.from_str(files[SAVED].decode())
        backend.add_special_tokens([AddedToken(spelt, normalized=False, special=True) for spelt in template.tokens])
        changed[SAVED] = backend.to_str(pretty=True).encode()
    return changed


def checked_messages(value: Any) -> list[dict[str, Any]]:
    """Messages as a template takes them: a text alone is a user's, a content in parts is joined, and one of the system
    that says nothing is left out. Raises ValueError for what is no conversation."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, Sequence) or not value:
        raise ValueError('a conversation is a list of messages such as {"role": "user", "content": "Hello"}.')
    messages = [_checked(message, number) for number, message in enumerate(value, start=1)]
    found = [message for message in messages if message["role"] != "system" or message["content"].strip()]
    for number, message in enumerate(found, start=1):
        if not message["content"].strip():
            raise ValueError(f"message {number}, of the {message['role']}, is empty; give it words, or leave it out.")
    if not found:
        raise ValueError("the conversation holds nothing but empty messages of the system; give it a user's message.")
    return found


def render(template: ChatTemplate, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
    """The conversation as text, with tokens spelt out, and what an answer follows where `add_generation_prompt`.

    Raises ValueError for messages that the template refuses. For ids take `encode`: a token that a message merely
    spells is not told apart in text.
    """
    return rendered(template.source, messages, names=template.names, add_generation_prompt=add_generation_prompt)


def encode(
    template: ChatTemplate, tokenizer: Tokenizer, messages: Sequence[Message], *, add_generation_prompt: bool
) -> list[int]:
    """The conversation as ids: those of `transformers`' apply_chat_template, except that a message which spells a token
    stays plain text, so that nobody can end or begin a turn from inside one."""
    pieces = pieces_of(template, messages, add_generation_prompt=add_generation_prompt)
    return [token for piece in pieces for token in ([piece] if isinstance(piece, int) else tokenizer.encode(piece))]


def pieces_of(template: ChatTemplate, messages: Sequence[Message], *, add_generation_prompt: bool) -> list[str | int]:
    """The rendered conversation, parted at tokens that stand for themselves, which are given as their ids."""
    contents = "".join(str(message["content"]) for message in messages)
    mark = next((mark for mark in MARKS if mark not in contents), MARKS[0])
    marked = [{**message, "content": _apart(message["content"], template.tokens, mark)} for message in messages]
    text = render(template, marked, add_generation_prompt=add_generation_prompt)
    parts = _splitter(template.tokens).split(text)
    pieces = [template.tokens[part] if part in template.tokens else part.replace(mark, "") for part in parts]
    return [piece for piece in pieces if piece != ""]


def ends_of(template: ChatTemplate, tokenizer: Tokenizer) -> Ends:
    """What ends an answer, seen in what the template puts between one and the next message."""
    turns = [{"role": role, "content": text} for role, text in (("user", "one"), ("assistant", "two"))]
    try:
        pieces = pieces_of(template, [*turns, {"role": "user", "content": "three"}], add_generation_prompt=False)
    except ValueError:
        return Ends(frozenset({tokenizer.end}), ())
    text = "".join(piece if isinstance(piece, str) else MARKS[0] for piece in pieces)
    between = text.rpartition("three")[0].rpartition("two")[2]
    before = text.rpartition("three")[0].rpartition("two")[0].count(MARKS[0])
    tokens = {tokenizer.end}
    if between.lstrip(" \n").startswith(MARKS[0]):
        tokens.add([piece for piece in pieces if isinstance(piece, int)][before])
        between = between.lstrip(" \n")[1:]
    turn = between.partition(MARKS[0])[0].rstrip()
    return Ends(frozenset(tokens), (turn,) if turn.startswith("\n") and turn.strip() else ())


def _spelt_end(tokenizer: Tokenizer) -> str:
    """The end token as a template spells it; white space is a line's end."""
    spelt = tokenizer.token_bytes(tokenizer.end).decode("utf-8", "replace")
    return "\n" if spelt.isspace() else spelt


def _content(value: Any) -> Any:
    """A token's spelling, which transformers before 5 writes with its flags."""
    return value.get("content") if isinstance(value, dict) else value


def _checked(message: Any, number: int) -> dict[str, Any]:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise ValueError(f'message {number} should be such as {{"role": "user", "content": "Hello"}}, not {message!r}.')
    content = message.get("content")
    if isinstance(content, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    if content is None:
        content = ""
    if not isinstance(content, str):
        raise ValueError(f"message {number}: its content is {type(content).__name__}, not text.")
    return {**message, "content": content}


def _apart(content: str, tokens: Iterable[str], mark: str) -> str:
    """The content with a mark inside whatever spells a token."""
    for spelt in tokens:
        if len(spelt) > 1:
            content = content.replace(spelt, spelt[0] + mark + spelt[1:])
    return content


def _splitter(tokens: Iterable[str]) -> re.Pattern[str]:
    """The longest spelling first."""
    return re.compile("(" + "|".join(re.escape(spelt) for spelt in sorted(tokens, key=len, reverse=True)) + ")")
