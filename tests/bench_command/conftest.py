"""Bundles that the tests of this room borrow."""

from tests.run.conftest import colours  # noqa: F401 (a fixture)
