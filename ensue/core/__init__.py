"""What every other folder stands on: typed configs, named seeds, whole files, run folders, device and precision."""
