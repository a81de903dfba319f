"""`benchmarks.generate_gpu` without its GPU: all that write do the same work, and it says what it cannot do."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

from ensue.model.gpt import GPT

pytest.importorskip("transformers")

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY))
        return importlib.import_module("benchmarks.generate_gpu")


def test_contenders_write_the_same_tokens(benchmark: ModuleType) -> None:
    """On the CPU in fp32, without what compiles; the model's weights are large enough for texts of many tokens."""
    model = GPT.build(benchmark.SHAPES["tiny"], 0).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    prompts = torch.randint(0, 512, (3, 16), generator=generator).tolist()
    contenders, _ = benchmark.contenders_for(model)
    written = {name: write(prompts, 6) for name, write in contenders.items()}
    expected = written.pop("ensue")
    assert len({token for tokens in expected.tokens for token in tokens}) > 6
    for found in written.values():
        assert found.tokens == expected.tokens
        assert min(found.first, found.total) > 0
        assert found.later == 3 * 5


def test_it_measures_what_it_is_asked_to(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["--device", "cpu", "--shapes", "tiny", "--rounds", "1", "--new", "2"]) == 0
    said = capsys.readouterr().out
    assert "tiny: 1 MB a step" in said
    assert all(name in said for name in ("ensue, graphs, compiled", "transformers generate", "static cache, compiled"))


def test_shapes_are_those_of_their_names(benchmark: ModuleType) -> None:
    assert round(benchmark.SHAPES["124m"].parameters / 1e6) == 124
    assert round(benchmark.SHAPES["1.5b"].parameters / 1e8) == 16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main([]) == 2
    assert capsys.readouterr().err == "There is no GPU here that torch sees, so nothing was measured.\n"
