"""An engine that was built after the bundle, as on the device that runs it, and the bundle that has it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from edgekit.bundle.engine_header import check_engine
from edgekit.bundle.entries import EngineEntry, FileEntry
from edgekit.bundle.keys import Trust
from edgekit.bundle.link import following
from edgekit.bundle.manifest import Manifest
from edgekit.bundle.pack import Contents, pack
from edgekit.bundle.verified import VerifiedBundle
from edgekit.bundle.verify import verify_folder
from edgekit.bundle.window import Window
from edgekit.errors import EdgekitError, OutputError, RecipeError, ShapeError, TargetError, first_line
from edgekit.files import check_apart, sha256_of
from edgekit.reports import report_file
from edgekit.specs import ShapeRange, from_table
from edgekit.targets import sm_names, target
from edgekit.texts import read_json

_CLAUSE = "; engine "
_ANEW = "edgekit build-engine BUNDLE/model.onnx OUT.engine --target T"


@dataclass(frozen=True)
class _Built:
    """What is read of the report of `edgekit build-engine`, under its names."""

    target: str
    sha256: str
    source_sha256: str
    flavour: str
    version: str
    compute_capabilities: tuple[str, ...]
    shapes: tuple[str, ...]
    plugins: str | None
    plugins_sha256: str
    plugin_creators: tuple[str, ...]
    os: str
    architecture: str
    minimum_cuda: str


def add_engine(bundle: Path, engine: Path, out: Path, trust: Trust = Trust()) -> Manifest:
    """Write `bundle`, a folder, with the engine that `edgekit build-engine` made of its model to the folder `out`.

    An engine of the same name is replaced. The new bundle is not signed: whoever built the engine vouches for it. What
    the verdict says of the model stands, and that this engine was not judged. Raises IntegrityError for a bundle that
    does not verify as `trust` asks, EdgekitError for an engine without its report or of another model, ShapeError for
    one that does not take the sizes at which a Session opens, OutputError where `out` cannot be written.
    """
    check_apart(bundle, out)
    if bundle.resolve() in out.resolve().parents:
        raise OutputError(f"expected OUT outside of {bundle}, found {out}", "another OUT")
    built = _read_report(engine)
    return following(bundle, lambda folder: _add(verify_folder(folder, trust), engine, built, out))


def _add(verified: VerifiedBundle, engine: Path, built: _Built, out: Path) -> Manifest:
    manifest, report = verified.manifest, f"reports/{engine.name}.json"
    before = {item.file for item in manifest.engines}
    for name in (engine.name, report):
        if name in manifest.files and engine.name not in before:
            raise EdgekitError(f"expected a new name for an engine, found {name} in the bundle", "another OUT.engine")
    _check_model(manifest, built)
    _check_shapes(manifest, engine.name, built)
    others = tuple(item for item in manifest.engines if item.file != engine.name)
    gone = {item.plugins for item in manifest.engines} - {item.plugins for item in others}
    contents = Contents({name: verified.path / name for name in manifest.files if name not in gone})
    contents.copies.update({engine.name: engine, report: report_file(engine)})
    entry = _entry(engine, built, contents)
    with engine.open("rb") as file:
        check_engine(Window.of(file.fileno(), 0, engine.stat().st_size), entry)
    made = replace(
        manifest,
        engines=(*others, entry),
        reports=tuple(dict.fromkeys([*manifest.reports, report])),
        verdict=_verdict(manifest, others, built),
    )
    known = {name: item for name, item in manifest.files.items() if name in contents.copies and name != report}
    known[engine.name] = FileEntry(engine.stat().st_size, built.sha256)
    if entry.plugins:
        known[entry.plugins] = FileEntry(contents.copies[entry.plugins].stat().st_size, built.plugins_sha256)
    return pack(out, made, contents, known)


def _verdict(manifest: Manifest, others: tuple[EngineEntry, ...], built: _Built) -> str:
    """What is said of the model and of the `others` stays, what was said of an engine that is replaced goes."""
    judged, *clauses = manifest.verdict.split(_CLAUSE)
    own = f"{built.target} {sm_names(built.compute_capabilities)}"
    stay = {_what_it_is(item) for item in others}
    gone = {_what_it_is(item) for item in manifest.engines} - stay

    def stays(clause: str) -> bool:
        """`rtx sm86: not run`, or `jetpack6: not built here` of what now is."""
        told = clause.partition(":")[0]
        name, _, built_for = told.partition(" ")
        return told not in (own, built.target) and (_flavour(name), built_for) not in gone

    return _CLAUSE.join([judged, *filter(stays, clauses), f"{own}: added, not judged"])


def _what_it_is(entry: EngineEntry) -> tuple[str, str]:
    return entry.flavour, sm_names(entry.compute_capabilities)


def _flavour(name: str) -> str:
    try:
        return target(name).flavour
    except TargetError:
        return ""


def _read_report(engine: Path) -> _Built:
    """What `edgekit build-engine` said of this very file."""
    path = report_file(engine)
    try:
        table = read_json(path)
    except (OSError, ValueError) as error:
        raise EdgekitError(
            f"expected an engine with its report {path}, found: {first_line(error)}", "the two files together"
        ) from error
    if not isinstance(table, dict) or table.get("stage") != "build" or table.get("flavour") == "ort":
        raise EdgekitError(f"expected the report of an engine of TensorRT in {path}, found another", _ANEW)
    if sha256_of(engine) != table.get("sha256"):
        raise EdgekitError(f"expected the engine that {path} tells of in {engine}, found another", _ANEW)
    known = {item.name: table[item.name] for item in fields(_Built) if item.name in table}
    try:
        built: _Built = from_table(_Built, known, path.name)
    except RecipeError as error:
        raise EdgekitError(f"expected a report of this edgekit, found another: {error.problem}", _ANEW) from error
    return built


def _entry(engine: Path, built: _Built, contents: Contents) -> EngineEntry:
    """The entry for the manifest; the library of its plugins joins the contents."""
    plugins = ""
    if built.plugins is not None:
        library = Path(built.plugins)
        if not library.is_file() or sha256_of(library) != built.plugins_sha256:
            raise EdgekitError(f"expected the plugins of the engine in {library}, found none or others", _ANEW)
        plugins = f"plugins/{built.plugins_sha256[:8]}/{library.name}"  # another engine may have another build
        contents.copies[plugins] = library
    return EngineEntry.of(built, engine.name, plugins)


def _check_model(manifest: Manifest, built: _Built) -> None:
    wanted, found = manifest.files[manifest.model.file].sha256, built.source_sha256
    if found != wanted:
        raise EdgekitError(
            f"expected an engine of {manifest.model.file} of the bundle ({wanted[:12]}…), found one of another model "
            f"({found[:12]}…)",
            _ANEW,
        )


def _check_shapes(manifest: Manifest, name: str, built: _Built) -> None:
    """Some profile of the engine takes what a Session opens at."""
    names = [spec.name for spec in manifest.inputs]
    opt = {axis: sizes[1] for axis, sizes in manifest.ranges.items()}
    ranges = [ShapeRange.parse(text, names) for text in built.shapes]
    shapes = {spec.name: shape for spec in manifest.inputs if (shape := spec.at(opt)) is not None}
    taken = {item.name for item in ranges if item.name in shapes and item.takes(shapes[item.name])}
    if missing := shapes.keys() - taken:
        wanted = ", ".join(f"{item}:{'x'.join(map(str, shapes[item]))}" for item in sorted(missing))
        found = ", ".join(map(str, ranges)) or "none"
        raise ShapeError(f"expected {name} to take {wanted}, found {found}", f"{_ANEW} --shape name:min:opt:max")
