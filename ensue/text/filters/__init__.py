"""Steps that look at one document at a time and keep it, change it or drop it."""
