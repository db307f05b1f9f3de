"""Conformance suites of what is measured and how; `spaces.conformance` says how they are run."""
