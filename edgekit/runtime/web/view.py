"""What the page has to know of a loop to say what its answers mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgekit.runtime.loop.policy import Policy
from edgekit.specs import Postprocess, Preprocess


class Described(Protocol):
    """What is asked of a Session."""

    preprocessing: Preprocess | None
    postprocessing: Postprocess | None


@dataclass(frozen=True)
class View:
    """`preprocessing` puts boxes, which are in pixels of the network's input, in their place on the picture.

    Without it, boxes are in pixels of the picture. `deadline_ms` is drawn beside the ages.
    """

    preprocessing: Preprocess | None = None
    postprocessing: Postprocess | None = None
    deadline_ms: float | None = None

    @classmethod
    def of(cls, session: Described, policy: Policy = Policy()) -> View:
        """The view of a loop of `session` under `policy`."""
        return cls(session.preprocessing, session.postprocessing, policy.deadline_ms)
