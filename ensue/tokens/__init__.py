"""Tokenizers, token folders, and the batches that training and evaluation read from them."""
