"""`python -m schemas.generate`: writes the schemas of the domain's events, and never changes a released one."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from domain.kernel.stream import Stream
from schemas.codec import event_classes
from schemas.committed import FOLDER, IDS_FILE, EventSchema, SchemaSet, file_name, ids_text, load
from schemas.generator import avro_schema, record_name, without_docs
from schemas.golden import golden_files, golden_name
from schemas.shapes import record_of
from schemas.versions import VERSIONS


class ReleasedSchemaChanged(Exception):
    """What the code says differs from a schema that is committed."""


def generated(
    streams: Mapping[str, Stream[Any]],
    *,
    known: SchemaSet | None = None,
    versions: Mapping[str, int] = VERSIONS,
    reset_unreleased: bool = False,
) -> SchemaSet:
    """The known schemas and, with the next free ids, those of event types or versions not known yet.

    Descriptions may change: a released schema keeps its old ones, the others follow.
    Raises ReleasedSchemaChanged where a known schema differs from what its dataclass says, or its type is gone;
    with `reset_unreleased` only for released ones: the others are made anew, under their old ids.
    """
    schemas = {(schema.event_type, schema.version): schema for schema in (known.all if known else ())}
    next_id = max((schema.id for schema in schemas.values()), default=0) + 1
    classes = event_classes(streams)
    problems: list[str] = []
    for (event_type, version), schema in list(schemas.items()):
        if event_type not in classes or version > versions.get(event_type, 1):
            if reset_unreleased and not schema.released:
                del schemas[event_type, version]
            else:
                problems.append(f"{event_type} version {version} has a schema but is no longer in the code")
    for event_type, cls in sorted(classes.items()):
        version = versions.get(event_type, 1)
        found = schemas.get((event_type, version))
        made = avro_schema(record_of(cls, record_name(event_type)))
        if found is None:
            schemas[event_type, version] = EventSchema(
                id=next_id, event_type=event_type, version=version, released=False, schema=made
            )
            next_id += 1
        elif found.schema != made:
            reworded = without_docs(found.schema) == without_docs(made)
            if found.released and reworded:
                continue
            if not found.released and (reworded or reset_unreleased):
                schemas[event_type, version] = replace(found, schema=made)
            elif found.released:
                problems.append(
                    f"{event_type} version {version} is released and {cls.__name__} differs from it: set"
                    f" VERSIONS[{event_type!r}] = {version + 1} in schemas/versions.py and run this again"
                )
            else:
                problems.append(
                    f"{event_type} version {version} differs from {cls.__name__}; it is not released, so"
                    " --reset-unreleased may make it anew (what was written with it can then no longer be read)"
                )
    if problems:
        raise ReleasedSchemaChanged("\n".join(problems))
    return SchemaSet(schemas.values())


def files_of(streams: Mapping[str, Stream[Any]], schemas: SchemaSet, folder: Path) -> dict[Path, bytes]:
    """Every file that a set of schemas consists of, with its content.

    Golden bytes of a version that is released, or no longer the newest, stay as they lie there.
    """
    events, golden = folder / "events", folder / "golden"
    files = {events / IDS_FILE: ids_text(schemas).encode()}
    samples = golden_files(streams, schemas)
    for schema in schemas.all:
        files[events / file_name(schema.event_type, schema.version)] = schema.text.encode()
        for suffix in (".bin", ".json"):
            name = golden_name(schema.event_type, schema.version) + suffix
            kept = (golden / name).exists() and (schema.released or name not in samples)
            files[golden / name] = (golden / name).read_bytes() if kept else samples[name]
    return files


def differences(files: Mapping[Path, bytes]) -> list[Path]:
    """The files that are missing, too many or other than they should be."""
    present = {path: path.read_bytes() for folder in {file.parent for file in files} for path in folder.glob("*")}
    return sorted(path for path in {*present, *files} if present.get(path) != files.get(path))


def write(files: Mapping[Path, bytes]) -> list[Path]:
    """Make the folders hold exactly these files. Returns those that changed."""
    changed = differences(files)
    for path in changed:
        if path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[path])
        else:
            path.unlink()
    return changed


def main(arguments: list[str] | None = None) -> int:
    """0: done, or nothing to do. 1: --check found a difference, or a released schema would have changed."""
    parser = argparse.ArgumentParser(prog="python -m schemas.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    parser.add_argument("--reset-unreleased", action="store_true", help="make schemas that are not released anew")
    parser.add_argument("--release", action="store_true", help="mark every schema released: from then on it is frozen")
    options = parser.parse_args(arguments)
    streams: Mapping[str, Stream[Any]] = import_module("domain.catalogue").STREAMS
    try:
        schemas = generated(streams, known=load(), reset_unreleased=options.reset_unreleased)
    except ReleasedSchemaChanged as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.release:
        schemas = SchemaSet(replace(schema, released=True) for schema in schemas.all)
    files = files_of(streams, schemas, FOLDER.parent)
    if options.check:
        stale = differences(files)
        for path in stale:
            sys.stderr.write(f"{_shown(path)} is not what the code says: run `make schemas`\n")
        return 1 if stale else 0
    for path in write(files):
        sys.stdout.write(f"{_shown(path)}\n")
    return 0


def _shown(path: Path) -> str:
    return path.relative_to(FOLDER.parent.parent).as_posix()


if __name__ == "__main__":
    sys.exit(main())
