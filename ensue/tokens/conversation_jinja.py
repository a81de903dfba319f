"""Conversation templates as Hugging Face keeps them, rendered in Jinja's sandbox as `transformers` does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

Message = Mapping[str, Any]
"""One message: `role` (system, user, assistant, ...) and `content`, a text; a template may read more than these."""


def rendered(source: str, messages: Sequence[Message], *, names: Mapping[str, str], add_generation_prompt: bool) -> str:
    """The text that a template makes of messages; `names` are the tokens it calls by name, such as eos_token.

    Raises ValueError for a template that is no Jinja, that reaches for what the sandbox keeps from it, or that refuses
    these messages.
    """
    from jinja2 import TemplateError

    try:
        return _compiled(source).render(
            messages=[dict(message) for message in messages],
            add_generation_prompt=add_generation_prompt,
            tools=None,
            documents=None,
            **names,
        )
    except (TemplateError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"the conversation template cannot render these messages: {error}") from error


@lru_cache(maxsize=16)
def _compiled(source: str) -> Template:
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The block that marks what an assistant wrote; where the answers are is found in another way here."""

        tags = {"generation"}  # noqa: RUF012 (Jinja's own way)

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(source)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own would write HTML's entities."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
