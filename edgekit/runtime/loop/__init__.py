"""A camera or robot loop: the newest frame is answered, and every frame is accounted for."""

from edgekit.runtime.loop.answers import AnswersFile
from edgekit.runtime.loop.events import Event
from edgekit.runtime.loop.golden import Golden
from edgekit.runtime.loop.placed import placed
from edgekit.runtime.loop.policy import Policy
from edgekit.runtime.loop.realtime import realtime
from edgekit.runtime.loop.report import LoopReport, Processed
from edgekit.runtime.loop.slots import Fifo, Latest
from edgekit.runtime.loop.stream_loop import StreamLoop
from edgekit.runtime.loop.swap import Swap

__all__ = [
    "AnswersFile",
    "Event",
    "Fifo",
    "Golden",
    "Latest",
    "LoopReport",
    "Policy",
    "Processed",
    "StreamLoop",
    "Swap",
    "placed",
    "realtime",
]
