"""The one GPT: config, patterns, blocks, cache, taps, init, presets, and weights in and out."""
