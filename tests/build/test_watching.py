"""What TensorRT says while it builds: where each message goes, and progress until Ctrl-C."""

from enum import Enum

from edgekit.build.layers import Memory
from edgekit.build.watching import Watcher
from edgekit.reports import no_progress
from tests.build.test_layers import TEXT


class FakeTrt:
    """The two classes that TensorRT wants subclassed, and its levels."""

    class ILogger:
        Severity = Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")

    class IProgressMonitor:
        pass


def test_messages_go_where_they_belong():
    watcher = Watcher(FakeTrt, no_progress)
    level = FakeTrt.ILogger.Severity
    watcher.logger.log(level.WARNING, "slow")
    watcher.logger.log(level.ERROR, "the\ncause")
    watcher.logger.log(level.INTERNAL_ERROR, "its echo")
    watcher.logger.log(level.INFO, "chatter")
    watcher.logger.log(level.VERBOSE, TEXT)
    watcher.logger.log(level.VERBOSE, "more chatter")
    assert (watcher.warnings, watcher.errors) == (["slow"], ["the\ncause", "its echo"])
    assert watcher.reason() == "the cause"
    watcher.logger.log(level.INFO, "Total Weights Memory: 12 bytes")
    assert len(watcher.layers) == 3
    assert watcher.memory == Memory(weights_bytes=12)
    assert Watcher(FakeTrt, no_progress).reason() == "TensorRT gave no reason"


def test_progress_is_passed_on_until_ctrl_c():
    told = []

    def progress(*step: object) -> None:
        told.append(step)
        if step[1] == 2:
            raise KeyboardInterrupt

    monitor = (watcher := Watcher(FakeTrt, progress)).monitor
    monitor.phase_start("tactics", None, 3)
    assert monitor.step_complete("tactics", 0)
    assert not watcher.interrupted
    assert not monitor.step_complete("tactics", 1)
    monitor.phase_finish("tactics")
    assert told == [("tactics", done, 3) for done in (0, 1, 2, 3)]
