"""The papers' own ablations at a size that runs here: each study is one command that can be stopped and goes on."""
