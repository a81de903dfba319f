"""The only training loop: engine, optimizer, schedule, checkpoints, hooks."""
