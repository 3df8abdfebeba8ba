"""All that an app needs: open a bundle, feed it, read what it says. Imports NumPy; a backend only when opened."""

from edgekit.runtime.runner import Ticket, Timing
from edgekit.runtime.session import Session

__all__ = ["Session", "Ticket", "Timing"]
