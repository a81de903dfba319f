"""schemathesis, over the server's own description, finds no mistake of the server's."""

import pytest
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip("schemathesis")
ROUTES = [
    ("POST", "/v1/completions", 60),
    ("POST", "/v1/chat/completions", 40),
    ("POST", "/v1/embeddings", 25),
    ("POST", "/v1/score", 25),
    ("POST", "/tokenize", 15),
    ("POST", "/detokenize", 15),
    ("GET", "/v1/models", 2),
    ("GET", "/v1/models/{name}", 10),
    ("GET", "/tokenizer_info", 2),
    ("GET", "/healthz", 2),
    ("GET", "/readyz", 2),
    ("GET", "/metrics", 2),
]


@pytest.fixture(scope="module")
def description(server):
    return schemathesis.openapi.from_url(f"{server.address}/openapi.json")


def test_every_route_is_here(description) -> None:
    described = {(each.ok().method.upper(), each.ok().path) for each in description.get_all_operations()}
    assert described == {(method, path) for method, path, _ in ROUTES}


@pytest.mark.parametrize(
    ("method", "path", "count", "mode"),
    [
        (*route, mode)
        for route in ROUTES
        for mode in ("positive", "negative")
        if mode == "positive" or route[0] == "POST"
    ],
)
def test_no_answer_is_a_mistake(description, method: str, path: str, count: int, mode: str) -> None:
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    operation = description[path][method]
    strategy = operation.as_strategy(generation_mode=GenerationMode(mode))

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=strategy)
    def ask(case) -> None:
        case.call_and_validate(
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ]
        )

    ask()
