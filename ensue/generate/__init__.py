"""From a model to text: sampling, beam search, scoring, and loading a model to do them with."""
