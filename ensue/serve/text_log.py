"""Prompts and answers in the log, for those who ask for it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from ensue.serve.service import Service

LOG = logging.getLogger("ensue.serve.text")


def log_text(service: Service, prompts: Sequence[Sequence[int]], answers: Sequence[str]) -> None:
    """Write a line of JSON with what was asked and answered, if the server was told to."""
    if service.settings.log_text:
        texts = [service.tokenizer.decode(prompt) for prompt in prompts]
        LOG.info(json.dumps({"prompts": texts, "answers": list(answers)}, ensure_ascii=False))
