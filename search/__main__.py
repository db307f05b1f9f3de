"""`python -m paretoken.search` is the command `paretoken`."""

import sys

from paretoken.search.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
