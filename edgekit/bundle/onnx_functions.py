"""Functions that an ONNX file brings are written out where they are called: a few of them may be without end."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import TypeAlias

from edgekit.bundle.window import Window
from edgekit.bundle.wire import LEN, Malformed, fields

_MOST_NODES, _DEEPEST = 1 << 20, 64
_LONGEST_NAME = 1024
_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
# Where nodes are: GraphProto.node, FunctionProto.node; and in a node the graphs of its attributes.
_GRAPH_NODE, _FUNCTION_NODE, _NODE_ATTRIBUTE, _ATTRIBUTE_GRAPHS = 1, 7, 5, (6, 11)
# Domain, name and overload, as field numbers.
_OF_NODE, _OF_FUNCTION = (7, 4, 8), (10, 1, 13)

Called: TypeAlias = tuple[bytes, bytes, bytes]
Span: TypeAlias = tuple[int, int]


def check_functions(window: Window) -> None:
    """Raise Malformed where functions call themselves, or would become more nodes than a file may have.

    Goes over messages that were found to be well formed.
    """
    functions = list(_parts(window, (0, window.size), _MODEL_FUNCTIONS))
    if not functions:
        return
    bodies: dict[Called, collections.Counter[Called]] = {}
    for span in functions:
        body = bodies.setdefault(_named(window, span, _OF_FUNCTION), collections.Counter())
        body.update(_calls(window, span, _FUNCTION_NODE))
    main: collections.Counter[Called] = collections.Counter()
    for span in _parts(window, (0, window.size), _MODEL_GRAPH):
        main.update(_calls(window, span, _GRAPH_NODE))
    if _written_out(main, bodies, {}, ()) > _MOST_NODES:
        raise Malformed(f"functions that become more than {_MOST_NODES} nodes")


def _written_out(
    body: collections.Counter[Called],
    bodies: dict[Called, collections.Counter[Called]],
    known: dict[Called, int],
    callers: tuple[Called, ...],
) -> int:
    """How many nodes a body becomes."""
    if len(callers) > _DEEPEST:
        raise Malformed(f"functions nested more than {_DEEPEST} deep")
    total = 0
    for called, count in body.items():
        if called in callers:
            raise Malformed("a function that calls itself")
        if called in bodies and called not in known:
            known[called] = _written_out(bodies[called], bodies, known, (*callers, called))
        total += count * known.get(called, 1)
    return total


def _calls(window: Window, span: Span, nodes: int) -> Iterator[Called]:
    """What the nodes of a graph or a function call, those of their subgraphs included."""
    for node in _parts(window, span, nodes):
        yield _named(window, node, _OF_NODE)
        for attribute in _parts(window, node, _NODE_ATTRIBUTE):
            for number in _ATTRIBUTE_GRAPHS:
                for graph in _parts(window, attribute, number):
                    yield from _calls(window, graph, _GRAPH_NODE)


def _named(window: Window, span: Span, numbers: tuple[int, int, int]) -> Called:
    found = dict.fromkeys(numbers, b"")
    for number, _, start, stop in fields(window, *span):
        if number in found:
            if stop - start > _LONGEST_NAME:
                raise Malformed(f"a name of {stop - start} bytes")
            found[number] = window.read(start, stop - start)
    domain, name, overload = found.values()
    return b"" if domain == b"ai.onnx" else domain, name, overload


def _parts(window: Window, span: Span, wanted: int) -> Iterator[Span]:
    """Where the messages of one field of a message lie."""
    for number, wire, start, stop in fields(window, *span):
        if number == wanted and wire == LEN:
            yield start, stop
