"""The command line: help, exit codes, JSON, and each small verb on real models made here."""

import io
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import ensue as package
from ensue.cli import VERBS, main

Ensue = Callable[..., tuple[int, str, str]]
SHAPE = ["--layers", "2", "--width", "16", "--heads", "2", "--context", "16", "--sample_every", "0"]
SHAPE += ["--batch.start", "8", "--batch.end", "8", "--lr", "1e-2"]

PUBLISHED = {
    # parameters, layers, width, heads, context, vocab: the three papers' tables
    "gpt": (116_534_784, 12, 768, 12, 512, 40_478),
    "gpt2": (124_439_808, 12, 768, 12, 1024, 50_257),
    "gpt2-medium": (354_823_168, 24, 1024, 16, 1024, 50_257),
    "gpt2-large": (774_030_080, 36, 1280, 20, 1024, 50_257),
    "gpt2-xl": (1_557_611_200, 48, 1600, 25, 1024, 50_257),
    "gpt3-small": (125_226_240, 12, 768, 12, 2048, 50_257),
    "gpt3-medium": (355_871_744, 24, 1024, 16, 2048, 50_257),
    "gpt3-large": (760_300_032, 24, 1536, 16, 2048, 50_257),
    "gpt3-xl": (1_315_723_264, 24, 2048, 16, 2048, 50_257),
    "gpt3-2.7b": (2_651_553_280, 32, 2560, 32, 2048, 50_257),
    "gpt3-6.7b": (6_658_404_352, 32, 4096, 32, 2048, 50_257),
    "gpt3-13b": (12_853_386_240, 40, 5120, 40, 2048, 50_257),
    "gpt3-175b": (174_604_259_328, 96, 12_288, 96, 2048, 50_257),
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def ensue(capsys: pytest.CaptureFixture[str]) -> Ensue:
    """`ensue` in this process: its exit code, what it wrote, and what it complained of."""

    def call(*arguments: str | Path | float) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(0)
    words = ["the", "fox", "says", "that", "grapes", "are", "sour", "and", "goes", "home", "naïve", "河流"]
    lines = [" ".join(draw.choices(words, k=9)).capitalize() + "." for _ in range(400)]
    path = tmp_path_factory.mktemp("text") / "fables.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "data"
    assert main(["prepare", str(text), "--out", str(out), "--vocab", "290"]) == 0
    return out


def trained(recipe: str, data: Path, folder: Path) -> Path:
    options = ["--run", str(folder / recipe), "--recipe", recipe, "--steps", "20"]
    assert main(["train", str(data), *options, *SHAPE]) == 0
    return folder / recipe


@pytest.fixture(scope="module")
def gpt2(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained("gpt2", data, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def gpt(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained("gpt", data, tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_lists_every_verb(arguments: list[str], ensue: Ensue) -> None:
    code, said, _ = ensue(*arguments)
    assert code == 0
    of_text = {"demo", "curate", "corpus", "prepare", "tokenizer"}
    of_models = {"train", "generate", "chat", "serve", "studio", "info", "convert", "bench", "plan", "verify", "why"}
    assert set(VERBS) == of_text | of_models | {"finetune", "evaluate", "compare", "probe", "study"}
    listed = [line.split()[0] for line in said.splitlines() if line.startswith("  ")]
    assert listed == list(VERBS)


@pytest.mark.parametrize("arguments", [[verb] for verb in VERBS] + [["tokenizer", "train"], ["tokenizer", "show"]])
def test_help_shows_an_example(arguments: list[str], ensue: Ensue) -> None:
    code, said, _ = ensue(*arguments, "--help")
    assert code == 0
    before_options = re.split(r"^[╭+]", said, flags=re.MULTILINE)[0].splitlines()[1:]
    examples = [line.strip() for line in before_options if line.strip().startswith("ensue " + " ".join(arguments))]
    assert examples, said
    assert all(line.count("ensue ") == 1 for line in examples)


def test_the_version(ensue: Ensue) -> None:
    assert ensue("--version") == (0, f"ensue {package.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generat"], "no verb 'generat'; did you mean 'generate'?"),
        (["xyz"], "ensue --help"),
        (["info", "gpt2", "--jsn"], "no option --jsn; did you mean '--json'?"),
        (["info", "gpt2", "surplus"], "do not know what to do with 'surplus'"),
        (["info", "gpt2-smal"], "did you mean 'gpt"),
        (["prepare", "a", "--out", "b", "--vocabs", "9"], "no option --vocabs; did you mean '--vocab'?"),
        (["train", "a", "--run", "b", "--steps", "3", "--layer", "2"], "no option --layer; did you mean 'layers'?"),
        (["train", "a", "--rnu", "b"], "no option --rnu; did you mean '--run'?"),
        (["train", "a", "--run", "b", "--steps", "3", "--layers"], "--layers needs a value"),
        (["train", "a", "--run", "b", "--steps", "3", "--layers", "two"], "expected int, got 'two'"),
        (["train", "a", "--run", "b", "--preset", "gtp2"], "no preset 'gtp2'; did you mean 'gpt2'?"),
        (["train", "a"], "say where to write the run"),
        (["train"], "say what to train on"),
        (["train", "a", "--run", "b", "--steps", "many"], "--steps"),
        (["train", "a", "--run", "b", "--recipe", "gpt4"], "gpt3"),
        (["generate", "nowhere"], "there is no folder nowhere"),
        (["tokenizer", "trian"], "train"),
        (["prepare", "a"], "--out"),
    ],
)
def test_mistakes_are_named_and_write_nothing(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ensue: Ensue
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    code, said, complaint = ensue(*arguments)
    assert code == 2
    assert message in complaint
    assert not said
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_help_and_presets_do_without_torch() -> None:
    code = "import sys; from ensue.cli import main; main(['--help']); main(['info', 'gpt3-175b', '--json']);"
    code += (
        "main(['info']); heavy = {'torch', 'transformers', 'pyarrow', 'matplotlib'} & set(sys.modules); print(heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_command_exits_with_the_code() -> None:
    done = subprocess.run([sys.executable, "-m", "ensue.cli", "inof"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ensue: there is no verb 'inof'; did you mean 'info'?")


@pytest.mark.parametrize("name", PUBLISHED)
def test_info_of_the_published_sizes(name: str, ensue: Ensue) -> None:
    code, said, _ = ensue("info", name, "--json")
    assert code == 0
    found = json.loads(said)
    assert (
        tuple(found[key] for key in ("parameters", "layers", "width", "heads", "context", "vocab")) == PUBLISHED[name]
    )
    code, said, _ = ensue("info", name)
    assert f"parameters  {PUBLISHED[name][0]:,}" in said


def test_the_table_of_presets(ensue: Ensue) -> None:
    sizes = json.loads(ensue("info", "--json")[1])
    assert {name: sizes[name] for name in PUBLISHED} == {name: facts[0] for name, facts in PUBLISHED.items()}
    table = ensue("info")[1]
    assert all(f"{parameters:,}" in table for parameters in sizes.values())


def test_info_of_a_run(gpt2: Path, ensue: Ensue) -> None:
    found = json.loads(ensue("info", gpt2, "--json")[1])
    model = package.load(gpt2).model
    assert found["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert (found["layers"], found["width"], found["heads"], found["context"], found["vocab"]) == (2, 16, 2, 16, 290)


def test_train_and_show_a_tokenizer(text: Path, data: Path, tmp_path: Path, ensue: Ensue) -> None:
    code, said, _ = ensue("tokenizer", "train", text, "--out", tmp_path / "tk", "--vocab", 280)
    assert code == 0
    assert "280 tokens in" in said
    phrase = "The fox says 河流!"
    code, said, _ = ensue("tokenizer", "show", tmp_path / "tk", "--text", phrase, "--json")
    shown = json.loads(said)
    assert (code, shown["vocab"], len(shown["ids"])) == (0, 280, len(shown["tokens"]))
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(tmp_path / "tk")
    assert theirs(phrase)["input_ids"] == shown["ids"]
    code, said, _ = ensue("tokenizer", "show", tmp_path / "tk", "--text", "the fox")
    assert code == 0
    assert said.splitlines()[-1].endswith("bytes a token)")
    code, _, complaint = ensue("tokenizer", "train", text, "--out", tmp_path / "tk")
    assert (code, "already exists" in complaint) == (2, True)
    code, _, complaint = ensue("tokenizer", "train", text, "--out", tmp_path / "large", "--vocab", 99_999)
    assert (code, "at most" in complaint) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["tk"]


def test_the_tokenizer_of_a_run_is_shown(gpt2: Path, data: Path, ensue: Ensue) -> None:
    shown = [ensue("tokenizer", "show", path, "--text", "grapes", "--json")[1] for path in (gpt2, data / "tokenizer")]
    assert shown[0] == shown[1]


def test_generate_says_the_same_as_python(gpt2: Path, ensue: Ensue) -> None:
    lm = package.load(gpt2)
    greedy = lm.generate("The fox", max_new_tokens=30)
    assert greedy
    code, said, _ = ensue("generate", gpt2, "--prompt", "The fox", "--max-new-tokens", 30)
    assert (code, said) == (0, f"The fox{greedy}\n")  # streamed, piece by piece
    found = json.loads(ensue("generate", gpt2, "--prompt", "The fox", "--max-new-tokens", 30, "--json")[1])
    assert (found["prompt"], found["text"]) == ("The fox", greedy)
    assert found["path"] == str((gpt2 / "final").resolve())

    options = ["--temperature", 0.9, "--top-k", 40, "--top-p", 0.95, "--max-new-tokens", 30]
    first, again, other = (ensue("generate", gpt2, *options, "--seed", seed)[1] for seed in (1, 1, 2))
    assert first == again != other
    expected = lm.generate("", max_new_tokens=30, temperature=0.9, top_k=40, top_p=0.95, seed=1)
    assert first == expected + "\n"

    stopped = json.loads(ensue("generate", gpt2, "--prompt", "The fox", "--stop", " ", "--json")[1])["text"]
    assert " " not in stopped
    beams = json.loads(ensue("generate", gpt2, "--prompt", "The", "--beams", 3, "--max-new-tokens", 9, "--json")[1])
    assert beams["text"] == lm.generate("The", max_new_tokens=9, beams=3)
    code, said, _ = ensue("generate", gpt2, "--prompt", "The", "--beams", 3, "--max-new-tokens", 9)
    assert said == f"The{beams['text']}\n"


def test_generate_from_standard_input(gpt2: Path, monkeypatch: pytest.MonkeyPatch, ensue: Ensue) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("The fox"))
    piped = ensue("generate", gpt2, "--prompt", "-", "--max-new-tokens", 5)
    assert piped == ensue("generate", gpt2, "--prompt", "The fox", "--max-new-tokens", 5)


def test_a_prompt_longer_than_the_context(gpt2: Path, ensue: Ensue) -> None:
    prompt = "the fox says " * 20
    for options in ([], ["--json"], ["--beams", 2]):
        code, said, complaint = ensue("generate", gpt2, "--prompt", prompt, *options)
        assert code == 2, options
        assert "16" in complaint
        assert "truncate" in complaint
        assert "Traceback" not in said + complaint
    code, said, _ = ensue("generate", gpt2, "--prompt", prompt, "--truncate", "--max-new-tokens", 5)
    assert (code, said.startswith(prompt)) == (0, True)


def test_settings_that_cannot_be(gpt2: Path, ensue: Ensue) -> None:
    for options in (["--temperature", -1], ["--top-p", 0], ["--top-k", 0], ["--beams", 2, "--temperature", 1]):
        code, _, complaint = ensue("generate", gpt2, "--prompt", "The", *options)
        assert (code, complaint.startswith("ensue: ")) == (2, True), options
        assert options[-2].strip("-").replace("-", "_") in complaint


def logits(path: Path) -> torch.Tensor:
    tokens = torch.arange(32).reshape(2, 16) * 7 % 290
    with torch.no_grad():
        return package.load(path).model(tokens)


def test_convert_to_hugging_face(gpt2: Path, tmp_path: Path, ensue: Ensue) -> None:
    code, said, _ = ensue("convert", gpt2, tmp_path / "hf")
    assert code == 0
    assert "parameters from" in said
    assert torch.equal(logits(tmp_path / "hf"), logits(gpt2))
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    with torch.no_grad():
        found = theirs(torch.arange(32).reshape(2, 16) * 7 % 290).logits
    assert torch.allclose(found, logits(gpt2), atol=1e-4)
    assert package.load(tmp_path / "hf").generate("The fox") == package.load(gpt2).generate("The fox")
    code, _, complaint = ensue("convert", gpt2, tmp_path / "hf")
    assert (code, "already exists" in complaint) == (2, True)
    code, _, _ = ensue("convert", gpt2, tmp_path / "half", "--dtype", "bf16")
    assert code == 0
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "hf")]
    assert sizes[0] < 0.7 * sizes[1]


def test_convert_to_the_original_release_and_back(gpt: Path, gpt2: Path, tmp_path: Path, ensue: Ensue) -> None:
    code, _, complaint = ensue("convert", gpt, tmp_path / "release", "--to", "original-gpt")
    assert code == 0, complaint
    assert (tmp_path / "release" / "params_9.npy").is_file()
    assert torch.equal(logits(tmp_path / "release"), logits(gpt))
    code, _, complaint = ensue("convert", tmp_path / "release", tmp_path / "back")
    assert code == 0, complaint
    assert torch.equal(logits(tmp_path / "back"), logits(gpt))
    code, _, complaint = ensue("convert", gpt2, tmp_path / "other", "--to", "original-gpt")
    assert (code, "holds only the GPT of 2018" in complaint) == (2, True)
    assert not (tmp_path / "other").exists()


def test_a_changed_checkpoint_is_refused_everywhere(gpt2: Path, tmp_path: Path, ensue: Ensue) -> None:
    run = Path(shutil.copytree(gpt2, tmp_path / "run", symlinks=True))
    weights = (run / "final" / "model.safetensors").resolve()
    held = bytearray(weights.read_bytes())
    held[-5] ^= 4
    weights.write_bytes(held)
    for arguments in (["convert", run, tmp_path / "out"], ["generate", run, "--prompt", "The"]):
        code, said, complaint = ensue(*arguments)
        assert (code, said) == (2, "")
        assert str(weights) in complaint
    assert not (tmp_path / "out").exists()
