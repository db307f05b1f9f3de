"""Conformance suites of what is exported; `spaces.conformance` says how they are run."""
