"""Many requests at once over one paged key-value cache: they join and leave at any step."""
