"""The web pages: write with a model and watch it choose, runs as they train, attention, data and evaluations."""
