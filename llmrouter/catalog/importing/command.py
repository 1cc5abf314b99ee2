"""`llmrouter catalog import`: fetch or read a source, and write catalog files that are valid.

Files that exist are kept; a price list updates the price of targets that it knows. Nothing is
written unless the whole directory is valid with it.
"""

from __future__ import annotations

import datetime
import fnmatch
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import yaml

from llmrouter.catalog.importing.entry import ImportedModel, ImportFailed
from llmrouter.catalog.importing.fetch import fetch_listing
from llmrouter.catalog.importing.litellm_config import read_config
from llmrouter.catalog.importing.model_listing import read_listing
from llmrouter.catalog.importing.price_list import read_price_list
from llmrouter.catalog.loader import ROUTING, TARGETS, load
from llmrouter.errors import CatalogInvalid
from llmrouter.util.json_output import print_json

MOST = 50
"""More models than this are only imported when they are chosen by `--only`."""
DONE, NO, USAGE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """`source` is a path or an address; `only` are patterns of names; `key_env` names the variable
    whose key the address needs; `prices` is a price list for models without a price.
    """

    source: str
    directory: Path
    only: Sequence[str] = ()
    prices: Path | None = None
    key_env: str | None = None
    dry_run: bool = False
    as_json: bool = False


def run_import(options: ImportOptions, out: TextIO) -> int:
    """Import, and say what was done. The exit code: 0 done, 1 nothing valid, 2 wrong usage.

    With `as_json` one document is printed, and what went wrong goes to standard error.
    """
    failed = sys.stderr if options.as_json else out
    try:
        models, is_price_list = _read(options)
        if options.prices is not None:
            models = _priced(models, read_price_list(_json(options.prices)))
        files, said = _files(options, models, is_price_list)
    except ImportFailed as failure:
        print(f"llmrouter: {failure}", file=failed)
        return USAGE
    for line in () if options.as_json else said:
        print(line, file=out)
    if not files:
        print("nothing to import", file=failed)
        return NO
    if not (options.directory / ROUTING).exists():
        first = min(name for name in files if name.startswith(TARGETS))
        files[ROUTING] = f"default: {Path(first).stem}\n"
    try:
        load(options.directory, edits=files)
    except CatalogInvalid as invalid:
        print(f"the catalog would not be valid, nothing was written:\n{invalid}", file=failed)
        return NO
    if not options.dry_run:
        _write(options.directory, files)
    written = [model for model in models if f"{TARGETS}/{model.id}.md" in files]
    named = sorted({model.api_key_env for model in written if model.api_key_env})
    missing = [name for name in named if not os.environ.get(name)]
    if options.as_json:
        notes = {f"{TARGETS}/{model.id}.md": list(model.notes) for model in written}
        answer = {
            "directory": str(options.directory),
            "written": not options.dry_run,
            "files": [{"path": path, "notes": notes.get(path, [])} for path in sorted(files)],
            "missing_keys": missing,
        }
        print_json(answer, out)
        return DONE
    if options.dry_run:
        print(f"{len(files)} files would be written to {options.directory}", file=out)
        return DONE
    print(f"{len(files)} files written to {options.directory}", file=out)
    if missing:
        print(f"set these variables before you serve: {', '.join(missing)}", file=out)
    return DONE


def _read(options: ImportOptions) -> tuple[list[ImportedModel], bool]:
    """The models of the source, and whether it is a price list."""
    source = options.source
    if source.startswith(("http://", "https://")):
        key = None if options.key_env is None else os.environ.get(options.key_env)
        document, base_url = fetch_listing(source, key)
        models = read_listing(document, base_url)
        if options.key_env is not None:
            models = [replace(model, api_key_env=options.key_env) for model in models]
        return models, False
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        return read_config(_yaml(path)), False
    return read_price_list(_json(path)), True


def _files(
    options: ImportOptions, models: list[ImportedModel], is_price_list: bool
) -> tuple[dict[str, str], list[str]]:
    """The files to write, and what is said of each model."""
    source, day = options.source, datetime.datetime.now(datetime.UTC).date().isoformat()
    files: dict[str, str] = {}
    said: list[str] = []
    updates = _updates(options, models, f"{source}, {day}") if is_price_list else {}
    for path, text in updates.items():
        files[path] = text
        said.append(f"updated {path}: its price")
    chosen = [model for model in models if _chosen(model, options.only)]
    if is_price_list and updates and not options.only:
        return files, said  # a list of all prices is no wish for all its models
    if len(chosen) > MOST and not options.only:
        raise ImportFailed(
            f"{source} has {len(chosen)} models: choose some, such as --only '{chosen[0].id}'"
        )
    for model in chosen:
        path = f"{TARGETS}/{model.id}.md"
        if path in files:
            continue
        if (options.directory / path).exists():
            said.append(f"kept {path}: it is there already")
            continue
        files[path] = model.file(source, day)
        said.append(f"added {path}" + "".join(f"\n  check: {note}" for note in model.notes))
    return files, said


def _chosen(model: ImportedModel, only: Sequence[str]) -> bool:
    names = model.name, model.model, model.id
    return not only or any(fnmatch.fnmatchcase(n, pattern) for n in names for pattern in only)


def _updates(options: ImportOptions, models: list[ImportedModel], source: str) -> dict[str, str]:
    """Catalog files whose model has another price now."""
    prices = {model.model: model.price for model in models if model.price is not None}
    found = {}
    for file in sorted((options.directory / TARGETS).glob("*.md")):
        text = file.read_text("utf-8")
        lines = text.splitlines(keepends=True)
        model = next((_value(line) for line in lines if line.startswith("model:")), None)
        price = prices.get(model) if model is not None else None
        at = next((i for i, line in enumerate(lines) if line.startswith("price: {")), None)
        if price is None or at is None or yaml.safe_load(lines[at])["price"] == price:
            continue
        lines[at] = f"price: {json.dumps(price)}   # {source}\n"
        found[f"{TARGETS}/{file.name}"] = "".join(lines)
    return found


def _value(line: str) -> str | None:
    value = yaml.safe_load(line)["model"]
    return value if isinstance(value, str) else None


def _priced(models: list[ImportedModel], prices: list[ImportedModel]) -> list[ImportedModel]:
    known: Mapping[str, ImportedModel] = {price.model: price for price in prices}
    return [
        replace(model, price=known[model.model].price)
        if model.price is None and model.model in known
        else model
        for model in models
    ]


def _write(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(text, "utf-8")
        fresh.replace(path)


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ImportFailed(f"{path} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise ImportFailed(f"{path} is no LiteLLM configuration")
    return document


def _json(path: Path) -> object:
    try:
        document: object = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ImportFailed(f"{path} cannot be read as JSON: {error}") from None
    return document
