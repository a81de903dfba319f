"""Recipes for a corpus: steps, the passes they run in, and the record of what became of each document."""
