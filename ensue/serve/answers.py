"""What the server answers, for its OpenAPI page; those of OpenAI's routes have OpenAI's fields."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Finish = Literal["stop", "length"]


class Usage(BaseModel):
    """Tokens that were read and written; the end token is one of those written."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int


class LegacyLogprobs(BaseModel):
    """ln p of each token, of the likeliest beside it, and the character at which it begins."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One text."""

    text: str
    index: int
    logprobs: LegacyLogprobs | None
    finish_reason: Finish | None


class Completion(BaseModel):
    """Texts that go on from prompts."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None


class LikelyToken(BaseModel):
    """A token and its ln p."""

    token: str
    logprob: float
    bytes: list[int]


class ChatToken(LikelyToken):
    """A token of an answer, with the likeliest at its place."""

    top_logprobs: list[LikelyToken]


class ChatLogprobs(BaseModel):
    """ln p of an answer's tokens."""

    content: list[ChatToken]
    refusal: None = None


class AssistantMessage(BaseModel):
    """What the model said."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: Finish


class ChatCompletion(BaseModel):
    """Answers in a conversation."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class Model(BaseModel):
    """A model that is served; `max_model_len` is its context in tokens."""

    model_config = ConfigDict(protected_namespaces=())

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "ensue"
    max_model_len: int


class Models(BaseModel):
    """All that are served."""

    object: Literal["list"] = "list"
    data: list[Model]


class Embedding(BaseModel):
    """A text's vector: numbers, or their float32 bytes in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Embeddings(BaseModel):
    """One vector for each text."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class Score(BaseModel):
    """ln p of a continuation, of each of its tokens, and whether each was the likeliest."""

    loglikelihood: float
    greedy: bool
    tokens: list[int]
    token_logprobs: list[float]


class Scores(BaseModel):
    """One score for each item."""

    object: Literal["list"] = "list"
    model: str
    data: list[Score]
    usage: Usage


class Cut(BaseModel):
    """A text's tokens, and the text of each."""

    tokens: list[int]
    texts: list[str]
    count: int
    max_model_len: int


class Joined(BaseModel):
    """The text of some tokens."""

    prompt: str


class TokenizerInfo(BaseModel):
    """The tokenizer: its kind, size, and the end token, which also stands before texts."""

    tokenizer_class: str
    vocab_size: int
    eos_token: str
    bos_token: str
    eos_token_id: int
    fingerprint: str


class Health(BaseModel):
    """Whether the server is well."""

    status: Literal["ok"] = "ok"
