"""Probes of what a model associates with groups of people, after GPT-3 (2020), section 6.2."""
