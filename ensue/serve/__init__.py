"""The HTTP API: OpenAI's routes, and a few more, over one engine."""
