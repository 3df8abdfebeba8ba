"""What libraries say of themselves stays inside; errors and the user's logging do not."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest

from edgekit.quiet import quiet


def test_nothing_is_shown_and_errors_pass(capfd):
    with pytest.raises(ValueError, match="inner"), quiet():
        print("progress")
        print("notes", file=sys.stderr)
        warnings.warn("of internals", stacklevel=1)
        logging.getLogger("library").critical("loudly")
        raise ValueError("inner")
    assert capfd.readouterr() == ("", "")


def test_afterwards_logging_is_as_it_was(caplog):
    before = logging.root.manager.disable
    with quiet():
        logging.getLogger("library").error("inside")
    assert logging.root.manager.disable == before
    logging.getLogger("library").error("after")
    assert [record.message for record in caplog.records] == ["after"]
