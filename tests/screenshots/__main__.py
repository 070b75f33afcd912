"""make screenshots: the environment of the tests first, then the pictures."""

import sys

import tests.conftest  # noqa: F401  (settings, and a database that ends with us)

if __name__ == "__main__":
    from tests.screenshots.taking import main

    sys.exit(main())
