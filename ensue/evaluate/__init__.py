"""Measuring models: tasks as text, three primitives that score them, and honest statistics."""
