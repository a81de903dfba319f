"""What `ensue info` prints: the numbers of a model or a preset, read without loading any weights."""

from __future__ import annotations

import json
from pathlib import Path

from ensue.core.config import suggest, to_dict
from ensue.generate.resolve import ORIGINAL_RELEASE, resolve
from ensue.model.config import GPTConfig
from ensue.model.presets import PRESETS
from ensue.model.weights import load_config


def show_one(name: str, *, as_json: bool) -> str:
    """Shape, size and parts of the preset or the model called `name`; of a mixture, what it takes of each source."""
    if (Path(name) / "mixture.json").is_file():
        from ensue.recipes.mixtures import show_mixture

        return show_mixture(Path(name), as_json=as_json)
    config = _config_of(name)
    facts: dict[str, object] = {
        "parameters": config.parameters,
        "layers": config.layers,
        "width": config.width,
        "heads": config.heads,
        "context": config.context,
        "vocab": config.vocab,
    }
    if as_json:
        return json.dumps({**facts, "config": to_dict(config)})
    facts["parts"] = f"{config.norm_place}-{config.norm} norm, {config.mlp}, {config.positions} positions"
    facts["patterns"] = ", ".join(map(str, config.patterns))
    facts["memory"] = _size(config.parameters * 4) + " in fp32, " + _size(config.parameters * 2) + " in bf16"
    facts["training"] = f"{config.flops_per_token(config.context) / 1e9:,.2f} GFLOPs a token"
    return "\n".join(
        f"{key:<11} {value:,}" if isinstance(value, int) else f"{key:<11} {value}" for key, value in facts.items()
    )


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def show_all(*, as_json: bool) -> str:
    """The table of presets."""
    if as_json:
        return json.dumps({name: config.parameters for name, config in PRESETS.items()})
    header = f"{'preset':<14} {'parameters':>17} {'layers':>6} {'width':>6} {'heads':>5} {'context':>7} {'vocab':>6}"
    rows = [
        f"{name:<14} {c.parameters:>17,} {c.layers:>6} {c.width:>6} {c.heads:>5} {c.context:>7} {c.vocab:>6}"
        for name, c in PRESETS.items()
    ]
    return "\n".join([header, *rows])


def _config_of(name: str) -> GPTConfig:
    if name in PRESETS and not Path(name).exists():
        return PRESETS[name]
    looks_like_path = Path(name).exists() or "/" in name
    if not looks_like_path:
        raise ValueError(f"there is no preset and no folder {name!r}{suggest(name, PRESETS)}")
    folder = resolve(name)
    if (folder / ORIGINAL_RELEASE).is_file():
        from ensue.model.weights.original_gpt import load_original_gpt

        return load_original_gpt(folder).config
    return load_config(folder)
