"""All that an app needs: open a bundle, feed it, read what it says. Imports NumPy; a backend only when opened."""

from edgekit.runtime.session import Session, Ticket, Timing

__all__ = ["Session", "Ticket", "Timing"]
