"""`ensue evaluate` and `ensue compare`: models measured on tasks, in folders that can be gone back to."""
