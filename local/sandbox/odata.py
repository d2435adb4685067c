"""How much of OData does the sandbox speak? `$filter`, `$orderby`, `$select`, `$skip` and `$top` over flat records."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from operator import eq, ge, gt, le, lt, ne

Record = dict[str, object]
Test = Callable[[Mapping[str, object]], bool]

MOST_AT_ONCE = 1000
_DEFAULT_PAGE = 100
_MOST_SKIPPED = 100_000
_COMPARISONS: dict[str, Callable[..., bool]] = {"eq": eq, "ne": ne, "gt": gt, "ge": ge, "lt": lt, "le": le}
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<time>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))"
    r"|(?P<number>-?\d+(?:\.\d+)?)|(?P<mark>[(),])|(?P<word>[A-Za-z_]\w*))"
)


class BadQuery(ValueError):
    """A query option that cannot be read, or is not supported; `status` is HTTP's, 400 or 501."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


def parse_filter(text: str) -> Test:
    """Return the test that a `$filter` describes: comparisons, `in`, `and`, `or`, `not` and parentheses."""
    return _Parser(text).whole()


class _Parser:
    """Recursive descent over the tokens of one `$filter`."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def whole(self) -> Test:
        test = self._either()
        if self._peek() != ("end", ""):
            raise BadQuery(f"$filter goes on with {self._peek()[1]!r} where it should end")
        return test

    def _either(self) -> Test:
        tests = [self._both()]
        while self._took("word", "or"):
            tests.append(self._both())
        return lambda record: any(test(record) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._took("word", "and"):
            tests.append(self._one())
        return lambda record: all(test(record) for test in tests)

    def _one(self) -> Test:
        if self._took("word", "not"):
            test = self._one()
            return lambda record: not test(record)
        if self._took("mark", "("):
            test = self._either()
            self._must("mark", ")")
            return test
        return self._comparison()

    def _comparison(self) -> Test:
        name, operator = self._must("word"), self._must("word")
        if operator == "in":
            values = self._values()
            return lambda record: any(_holds(eq, record.get(name), value) for value in values)
        if operator not in _COMPARISONS:
            raise BadQuery(f"$filter: {operator!r} is no comparison; known are {', '.join(_COMPARISONS)}, in")
        compare, value = _COMPARISONS[operator], self._value()
        return lambda record: _holds(compare, record.get(name), value)

    def _values(self) -> list[object]:
        self._must("mark", "(")
        values = [self._value()]
        while self._took("mark", ","):
            values.append(self._value())
        self._must("mark", ")")
        return values

    def _value(self) -> object:
        kind, text = self._next()
        if kind == "text":
            return text[1:-1].replace("''", "'")
        if kind == "time":
            return _time(text)
        if kind == "number":
            return float(text)
        if kind == "word" and text in {"true", "false", "null"}:
            return {"true": True, "false": False, "null": None}[text]
        raise BadQuery(f"$filter: {text!r} is no value; texts stand in 'single quotes'")

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _took(self, kind: str, text: str) -> bool:
        found = self._peek() == (kind, text)
        if found:
            self._next()
        return found

    def _must(self, kind: str, text: str | None = None) -> str:
        found, said = self._next()
        if found != kind or text not in {None, said}:
            raise BadQuery(f"$filter: {said or 'the end'!r} where {text or 'a name'} should stand")
        return said


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise BadQuery(f"$filter cannot be read from {text[at : at + 20]!r} on")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return [*tokens, ("end", "")]


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise BadQuery(f"{text} is no timestamp") from None


def _holds(compare: Callable[..., bool], held: object, value: object) -> bool:
    if isinstance(value, datetime) and isinstance(held, str):
        held = _time(held)
    try:
        return compare(held, value)
    except TypeError:  # null compared with a value, a number with a text: never true
        return False


def page(records: Sequence[Record], options: Mapping[str, str]) -> tuple[list[Record], int | None]:
    """Return the records that the options ask for, and the `$skip` of the next page if there is one."""
    is_wanted = parse_filter(options["$filter"]) if options.get("$filter") else None
    chosen = [record for record in records if is_wanted is None or is_wanted(record)]
    for name, is_descending in reversed(_orders(options.get("$orderby", ""))):
        chosen.sort(key=partial(_place, name), reverse=is_descending)
    skip = _whole(options, "$skip", 0, _MOST_SKIPPED)
    top = _whole(options, "$top", _DEFAULT_PAGE, MOST_AT_ONCE)
    after = skip + top
    return chosen[skip:after], after if top and after < len(chosen) else None


def _place(name: str, record: Record) -> tuple[float, str]:
    value = record.get(name)
    return (value, "") if isinstance(value, (int, float)) else (0, str(value or ""))


def _orders(text: str) -> list[tuple[str, bool]]:
    orders = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, direction = part.partition(" ")
        if direction.strip() not in {"", "asc", "desc"} or not name.isidentifier():
            raise BadQuery(f"$orderby: {part!r} must read NAME, NAME asc or NAME desc")
        orders.append((name, direction.strip() == "desc"))
    return orders


def _whole(options: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = options.get(name, str(default))
    if not text.isdecimal() or int(text) > most:
        raise BadQuery(f"{name} is {text!r}; it must be a whole number up to {most}")
    return int(text)


def selected(record: Record, select: str) -> Record:
    """Return the fields that `$select` names; all of them if it is empty."""
    names = {name.strip() for name in select.split(",")}
    return {name: value for name, value in record.items() if not select or name in names}
