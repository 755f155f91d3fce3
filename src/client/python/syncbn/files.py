"""Run files and study files as they are sent: from a path, from YAML text, or from a dict."""
from __future__ import annotations

import json
import math
import os
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple, Union

import yaml

from syncbn import arguments
from syncbn.errors import InvalidArgument

RunSource = Union[str, "os.PathLike[str]", Mapping[str, Any]]


def read(source: RunSource, kind: str) -> Tuple[str, str]:
    """The text, and its name in messages. A str with a line break is YAML text, any other the path of a file; a dict
    becomes JSON, which is YAML, too."""
    if isinstance(source, Mapping):
        return _json(kind, source, indent=2) + "\n", kind + ".json"
    if isinstance(source, str) and "\n" in source:
        return arguments.text(kind, source), kind + ".yaml"
    expected = f"a {kind} file: its path, a dict, or YAML text of more than one line"
    return arguments.file_text(kind, source, expected), os.fspath(source)


def overrides(settings: Optional[Mapping[str, Any]]) -> List[str]:
    """`path=value` each, the value in JSON, which is YAML, too."""
    return [f"{path}={_json(f'overrides[{path!r}]', value)}"
            for path, value in arguments.mapping("overrides", settings).items()]


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
    return arguments.file_text("run of the study", path), path


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
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: the 31st of February
        return None


def _json(name: str, value: Any, indent: Optional[int] = None) -> str:
    return json.dumps(_plain(name, value, 0), indent=indent, allow_nan=False, ensure_ascii=False)


def _plain(name: str, value: Any, depth: int) -> Any:
    """What JSON knows of what it does not: numbers and arrays of NumPy, paths, mappings. `name` is where it stands."""
    if depth > 100:
        raise InvalidArgument(name, "this is more than 100 levels deep, or within itself", "a few levels")
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return arguments.text(name, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidArgument(name, str(value), "a finite number")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {_key(name, key): _plain(f"{name}.{key}", below, depth + 1) for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(f"{name}[{at}]", below, depth + 1) for at, below in enumerate(value)]
    raise InvalidArgument(name, f"{value!r}, a {type(value).__name__}",
                          "what YAML can hold: texts, numbers, truth values, lists and dicts")


def _key(name: str, key: Any) -> Any:
    if not isinstance(key, (str, int, float)):
        raise InvalidArgument(name, f"the key {key!r}, a {type(key).__name__}", "keys that are texts or numbers")
    return arguments.text(f"a key of {name}", key) if isinstance(key, str) else key
