"""The fused layer list, from the text that TensorRT-RTX 1.7.1 prints."""

from enum import Enum

from edgekit.build.watching import Layer, Watcher, parse_layers
from edgekit.reports import no_progress

TEXT = """Layers:
Name: __mye2422_0_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata: 
Name: conv, a_myl0_2, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [-1,4], Datatype: Float, Format: (Linear) }], Outputs: [ { Name: y, Dimensions: [-1,4], Datatype: Half, Format: (NHWC) }], TacticName: stub_0x2d, StreamId: 0, Metadata: [ONNX Layer: node_1][ONNX Layer: node_2]
"""  # noqa: E501, W291


def test_parse_layers():
    assert parse_layers(TEXT) == (
        Layer("__mye2422_0_myl0_0", "shape_call", "", "", ()),
        Layer("conv, a_myl0_2", "correlation", "half", "stub_0x2d", ("node_1", "node_2")),
    )


def test_an_empty_list_and_a_line_of_another_kind_give_no_layers():
    assert parse_layers("Layers:") == ()
    assert parse_layers("Layers:\n\nsomething else, with commas\n") == ()


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
    assert len(watcher.layers) == 2
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
