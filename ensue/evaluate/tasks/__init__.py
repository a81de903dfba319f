"""The built-in tasks, one file a family, each as its paper defines it."""
