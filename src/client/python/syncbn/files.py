"""Run files and study files as they are sent: from a path, from YAML text, or from a dict."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple, Union

import yaml

from syncbn.errors import InvalidRequest

RunSource = Union[str, "os.PathLike[str]", Mapping[str, Any]]


def read(source: RunSource, kind: str) -> Tuple[str, str]:
    """The text, and its name in messages. A str with a line break is YAML text, any other the path of a file; a dict
    becomes JSON, which is YAML, too."""
    if isinstance(source, Mapping):
        return _json(source, indent=2) + "\n", kind + ".json"
    if isinstance(source, str) and "\n" in source:
        return source, kind + ".yaml"
    try:
        return Path(source).read_text(encoding="utf-8"), os.fspath(source)
    except FileNotFoundError:
        raise InvalidRequest(f"there is no file {os.fspath(source)!r}", code="INVALID_ARGUMENT",
                             hint="give a path, a dict, or YAML text of more than one line") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{os.fspath(source)!r} is not UTF-8 text", code="INVALID_ARGUMENT") from None


def overrides(settings: Optional[Mapping[str, Any]]) -> List[str]:
    """`path=value` each, the value in JSON, which is YAML, too."""
    return [f"{path}={_json(value)}" for path, value in (settings or {}).items()]


def absolute_inputs(text: str, changes: List[str]) -> List[str]:
    """Further overrides: a relative path of what a run reads means the folder in which its submitter stands, not one
    in which a worker happens to start."""
    run = _changed(text, changes)
    more: Dict[str, Any] = {}
    for path in ("data.path", "model.init.from"):
        node: Any = run
        for key in path.split("."):
            node = node.get(key) if isinstance(node, dict) else None
        if isinstance(node, str) and node and not os.path.isabs(node):
            more[path] = os.path.abspath(node)
    return overrides(more)


def run_of_study(text: str, name: str, changes: Iterable[str]) -> Optional[Tuple[str, str]]:
    """The run file that a study file names by its path from there, and that path; nothing where it stands in it."""
    run = _changed(text, changes).get("run")
    if not isinstance(run, str):
        return None
    path = os.path.normpath(os.path.join(os.path.dirname(name), run))
    return read(Path(path), "run")


def _changed(text: str, changes: Iterable[str]) -> Dict[str, Any]:
    """The keys after the overrides, as far as they can be read: the coordinator says what is wrong, and where."""
    value = _value(text)
    keys: Dict[str, Any] = value if isinstance(value, dict) else {}
    for change in changes:
        path, _, new = change.partition("=")
        node: Any = keys
        *above, last = path.split(".")
        for key in above:
            node = node.setdefault(key, {}) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node[last] = _value(new)
    return keys


def _value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _json(value: Any, indent: Optional[int] = None) -> str:
    return json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """What json does not know: numbers and arrays of NumPy, paths, mappings."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} cannot stand in a run file")
