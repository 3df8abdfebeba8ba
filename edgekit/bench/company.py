"""The other models of `--beside`: found and checked before anything is measured."""

from __future__ import annotations

from edgekit.bench.requests import Requests, find_requests
from edgekit.configs import BenchConfig, ValidateConfig
from edgekit.latency.beside import Company, parse_company
from edgekit.latency.child import Request
from edgekit.rewrite.reading import read_onnx_file
from edgekit.validate.running import check_timeable
from edgekit.validate.subject import Subject, open_subject

_BACKEND = "auto"


def company_of(config: BenchConfig) -> list[tuple[Company, Request]]:
    """Each with what it is asked: its example inputs, else made-up ones, since it is there for its load.

    Raises what `bench` raises of a model.
    """
    found = []
    for text in config.beside:
        who = parse_company(text)
        subject = open_subject(who.source, ValidateConfig())
        check_timeable(subject, _BACKEND)
        found.append((who, request_of(subject, find_requests(subject, None), _BACKEND)))
    return found


def request_of(subject: Subject, requests: Requests, backend: str) -> Request:
    """What a process of its own is to open and answer; of pictures it gets what these become, ready."""
    model = subject.path if subject.manifest else read_onnx_file(subject.onnx).serialized
    return Request(model, backend, requests.arrays[0], tuple(spec.name for spec in subject.outputs))
