"""Adapting a model to a labelled task the way GPT (2018) did: `ensue finetune`."""
