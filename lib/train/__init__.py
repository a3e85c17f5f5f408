"""Losses, optimisation, the trainer and its records; never imports `lib.eval`."""
