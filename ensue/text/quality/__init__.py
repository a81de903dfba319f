"""GPT-3's quality filter: a classifier that tells a reference from the raw crawl, and a draw that lets some pass."""
