"""The other models of `--beside`: found and checked before anything is measured."""

from __future__ import annotations

from pathlib import Path

from edgekit.bench.requests import Requests, find_requests
from edgekit.configs import BenchConfig, ValidateConfig
from edgekit.errors import DataError
from edgekit.latency.beside import Company, parse_company
from edgekit.latency.child import Request
from edgekit.rewrite.reading import read_onnx_file
from edgekit.validate.running import check_timeable
from edgekit.validate.subject import Subject, is_bundle, open_subject

_BACKEND = "auto"


def company_of(config: BenchConfig) -> list[tuple[Company, Request]]:
    """Each with what it is asked: its example inputs, else made-up ones, since it is there for its load.

    Raises what `bench` raises of a model.
    """
    found = []
    for text in config.beside:
        who = parse_company(text)
        asked = trusting(config) if is_bundle(who.source) else ValidateConfig()  # an ONNX has no signature
        subject = open_subject(who.source, asked)
        check_timeable(subject, _BACKEND)
        try:
            requests = find_requests(subject, None)
        except DataError as error:
            raise DataError(
                f"{who.source}: {error.problem}", "a bundle, which says so, or an ONNX with examples"
            ) from error
        found.append((who, request_of(subject, requests, _BACKEND)))
    return found


def models_beside(config: BenchConfig) -> list[Path]:
    """Their files and folders."""
    return [parse_company(text).source for text in config.beside]


def trusting(config: BenchConfig) -> ValidateConfig:
    """How bundles are opened: with these demands on who signed them."""
    return ValidateConfig(trusted_keys=config.trusted_keys, require_signature=config.require_signature)


def request_of(subject: Subject, requests: Requests, backend: str) -> Request:
    """What a process of its own is to open and answer; of pictures it gets what these become, ready."""
    inputs, outputs = requests.arrays[0], tuple(spec.name for spec in subject.outputs)
    if subject.pinned is None:
        return Request(read_onnx_file(subject.onnx).serialized, backend, inputs, outputs)
    return Request(subject.pinned, backend, inputs, outputs)
