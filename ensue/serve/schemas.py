"""What clients may send. Fields that are not here are refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_CHOICES = 128
MOST_LIKELIEST = 20
"""Of the likeliest tokens at each place, how many can be told."""

TokenId = Annotated[int, Field(strict=True, ge=0, lt=1 << 31)]
Text = Annotated[str, Field(strict=True)]
Number = Annotated[int, Field(strict=True, lt=1 << 31)]
Tokens = Annotated[list[TokenId], Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1)]
TokenLists = Annotated[list[Tokens], Field(min_length=1)]
Prompt = Text | Tokens | Texts | TokenLists
Stop = Text | Annotated[list[Text], Field(max_length=16)] | None
Bias = dict[str, Annotated[float, Field(ge=-100, le=100)]]


class _Fields(BaseModel):
    """Fields of which null means the same as leaving them out, as in OpenAI's API."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if type(given) is dict else given


class StreamOptions(_Fields):
    """Of a stream: whether its last event counts tokens."""

    include_usage: bool = False


class JsonSchema(_Fields):
    """A JSON schema by a name; `strict` is how it is always held to."""

    name: Text | None = None
    description: Text | None = None
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")
    strict: bool | None = None


class TextFormat(_Fields):
    """Any text."""

    type: Literal["text"]


class JsonObjectFormat(_Fields):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(_Fields):
    """JSON that a schema describes."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class _Writing(_Fields):
    """What completions and chats have in common."""

    model: Text | None = Field(None, description="The name that /v1/models gives; may be left out")
    temperature: float = Field(1.0, ge=0, le=100, description="0 takes the likeliest token each time")
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: Number | None = Field(None, ge=-1, description="Sample from the k likeliest tokens only; -1 is all")
    repetition_penalty: float = Field(1.0, ge=0.01, le=100)
    no_repeat_ngram: Number = Field(0, ge=0, le=1000)
    n: Number = Field(1, ge=1, le=MOST_CHOICES)
    stop: Stop = Field(None, description="A string, or up to 16; the text ends before the first of them")
    ignore_end: bool = Field(False, description="Go on past the end token")
    seed: Annotated[int, Field(strict=True, ge=-(2**63), lt=2**64)] | None = None
    logit_bias: Bias | None = Field(None, description="Added to the logits of tokens, by their ids")
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    guided_regex: Text | None = Field(None, description="A regular expression that the whole text matches")
    user: Text | None = Field(None, description="Taken and not used")
    metadata: dict[str, Text] | None = Field(None, description="Taken and not used")
    store: bool | None = Field(None, description="Taken and not used: nothing is kept")


class CompletionBody(_Writing):
    """Text to go on with."""

    prompt: Prompt = Field(description="A text, a list of token ids, or a list of either")
    max_tokens: Number = Field(16, ge=0, description="Unless said, 16 or what the context has room for")
    best_of: Number | None = Field(None, ge=1, le=MOST_CHOICES, description="Write so many, answer the n likeliest")
    echo: bool = Field(False, description="Answer the prompt as well")
    logprobs: Number | None = Field(None, ge=0, le=MOST_LIKELIEST)
    suffix: None = Field(None, description="Not offered: these models do not fill gaps")


class TextPart(_Fields):
    """A part of a message."""

    type: Literal["text"]
    text: Text


class Message(_Fields):
    """What somebody said."""

    role: Annotated[str, Field(strict=True, min_length=1, max_length=64)]
    content: Text | list[TextPart] | None = None
    name: Text | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or [])


class ChatBody(_Writing):
    """A conversation to go on with."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Number | None = Field(None, ge=0, description="Unless said, what the context has room for")
    max_completion_tokens: Number | None = Field(None, ge=0, description="The same by OpenAI's newer name")
    logprobs: bool | None = False
    top_logprobs: Number | None = Field(None, ge=0, le=MOST_LIKELIEST)


class EmbeddingBody(_Fields):
    """Texts to be made vectors of."""

    model: Text | None = None
    input: Prompt
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Number | None = Field(None, description="Only the model's own width")
    pooling: Literal["mean", "last"] = Field("mean", description="The mean of a text's states, or the last")
    normalize: bool = Field(True, description="Scale each to length 1, as OpenAI's are")
    user: Text | None = None


class ScoreItem(_Fields):
    """A context, and a continuation whose likelihood after it is asked for; each as text or as token ids."""

    context: Text | list[TokenId] = ""
    continuation: Text | Tokens


class ScoreBody(_Fields):
    """Continuations to be scored."""

    model: Text | None = None
    items: Annotated[list[ScoreItem], Field(min_length=1, max_length=4096)]


class TokenizeBody(_Fields):
    """A text to be cut into tokens."""

    model: Text | None = None
    prompt: Text
    parse_special: bool = Field(True, description="Read text that spells a special token as that token")
    add_special_tokens: bool | None = Field(None, description="Taken and not used: none are ever added")


class DetokenizeBody(_Fields):
    """Tokens to be joined."""

    model: Text | None = None
    tokens: list[TokenId]
