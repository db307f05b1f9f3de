"""Spaces to start from: one module a preset, whose `plugin` is a function that returns the space.

On the command line the file's underscores are hyphens: `--space fashion-small`.
"""
