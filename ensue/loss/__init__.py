"""What is optimised: pure functions of a model and a batch."""
