"""A run is a function that returns a complete typed config; these functions wire the parts together."""
