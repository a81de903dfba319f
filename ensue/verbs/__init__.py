"""The verbs of the command line, thin: small dataclasses whose `start` hands over to a recipe."""
