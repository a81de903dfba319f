"""Curated corpora: the recipes as lists of steps, and what people ask of a corpus that was made by one."""
