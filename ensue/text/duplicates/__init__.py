"""Duplicates: documents, addresses and paragraphs that come again, and texts that are nearly the same."""
