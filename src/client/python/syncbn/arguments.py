"""Arguments as they are checked before anything is sent: what is wrong is an InvalidArgument that names the argument as
the caller wrote it, not the field of a message, and what is expected."""
from __future__ import annotations

import datetime
import math
import operator
import os
import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Union

from syncbn.errors import InvalidArgument

PathLike = Union[str, "os.PathLike[str]"]
TimeLimit = Union[None, float, str, datetime.timedelta]

_MOST = {32: 2 ** 31 - 1, 64: 2 ** 63 - 1}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
# As the coordinator has it: ten years.
_LONGEST = 3650 * 86400
_TIME = "a time from 1 s to ten years: '2h', '30m', '45s', '1h30m', a number of seconds, or a timedelta"


def whole(name: str, value: Any, low: int, *, bits: int = 32) -> int:
    """A whole number, also of NumPy, from `low` to the largest that a message holds."""
    expected = f"a whole number from {low}"
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise InvalidArgument(name, _shown(value), expected)
    if not low <= number <= _MOST[bits]:
        raise InvalidArgument(name, str(number), f"{expected} to {_MOST[bits]}")
    return number


def optional_whole(name: str, value: Any, low: int) -> Optional[int]:
    return None if value is None else whole(name, value, low)


def seconds(name: str, value: Any, *, low: float = 0.0) -> float:
    """A number of seconds, at least `low`; threads wait for no longer than some hundred years."""
    expected = f"a number of seconds from {low:g} to 1e9"
    try:
        number = math.nan if isinstance(value, (str, bytes, bool)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= 1e9:
        raise InvalidArgument(name, _shown(value), expected)
    return number


def time_limit(value: TimeLimit) -> Optional[datetime.timedelta]:
    """As the option --time-limit of the commands, a number of seconds, or a timedelta."""
    if value is None:
        return None
    if isinstance(value, datetime.timedelta):
        limit = value.total_seconds()
    elif isinstance(value, str):
        limit = _seconds_of(value)
    else:
        try:
            limit = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            limit = math.nan
    if not 1 <= limit <= _LONGEST:
        raise InvalidArgument("time_limit", _shown(value), _TIME)
    return datetime.timedelta(seconds=limit)


def _seconds_of(value: str) -> float:
    parts = re.findall(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([smhd]?)", value)
    # A number without a unit stands alone.
    if not parts or "".join(map("".join, parts)) != value or (len(parts) > 1 and not all(unit for _, unit in parts)):
        return math.nan
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(name, _shown(value), "a str")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(name, f"{value!r} with half a character in it", "text that UTF-8 can hold") from None
    return value


def texts(name: str, values: Any) -> List[str]:
    """A list of texts; a text alone is none, though it can be iterated."""
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__iter__"):
        raise InvalidArgument(name, _shown(values), "a list of str")
    return [text(name, value) for value in values]


def mapping(name: str, values: Any) -> Dict[str, Any]:
    """A dict whose keys are texts; none for None."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise InvalidArgument(name, _shown(values), "a dict")
    return {text(f"a key of {name}", key): value for key, value in values.items()}


def token(name: str, value: Any) -> str:
    """What a header can carry. Said without the token: it is a secret, and messages go into logs."""
    expected = "visible ASCII characters, as `syncbn token create` makes them"
    if not isinstance(value, str):
        raise InvalidArgument(name, f"a {type(value).__name__}", expected)
    wrong = [at for at, character in enumerate(value, 1) if not "\x21" <= character <= "\x7e"]
    if wrong:
        raise InvalidArgument(name, f"a token (not shown) whose character {wrong[0]} is none of these", expected)
    return value


def file_bytes(name: str, path: Any, expected: str = "the path of a file") -> bytes:
    """What a file has in it; `name` is the argument that names it."""
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise InvalidArgument(name, _shown(path), expected)
    shown = repr(os.fspath(path))
    if not os.fspath(path):
        raise InvalidArgument(name, "an empty path", expected)
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InvalidArgument(name, f"there is no file {shown}", expected) from None
    except IsADirectoryError:
        raise InvalidArgument(name, f"{shown} is a folder", expected) from None
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte or half a character
        why = getattr(error, "strerror", None) or error
        raise InvalidArgument(name, f"{shown} cannot be read ({why})", expected) from None


def file_text(name: str, path: Any, expected: str = "the path of a text file") -> str:
    try:
        return file_bytes(name, path, expected).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidArgument(name, f"{os.fspath(path)!r} is no UTF-8 text", expected) from None


def _shown(value: Any) -> str:
    """A value in a message: short, and with its type where that is what is wrong."""
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return shown if isinstance(value, (int, float)) else f"{shown}, a {type(value).__name__}"
