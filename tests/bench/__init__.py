"""Ratios against peers, measured side by side; run by `make bench`, never by `make test`."""
