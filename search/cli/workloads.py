"""`paretoken workloads`: what can be searched."""

from __future__ import annotations

from paretoken.search.cli.options import AsJson


def run(as_json: AsJson = False) -> None:
    """List the workloads: each is a model with data and objectives, ready to search.

    \b
      paretoken workloads
      paretoken search fashion --study first
    """
    from paretoken.search.cli.plugins import print_plugins

    print_plugins(["workloads"], as_json)
