"""Figures with their spread and their targets, and how they are printed."""
import contextlib
import dataclasses
import fcntl
import json
import statistics

from .processes import Failure


@dataclasses.dataclass
class Target:
    """What a median has to keep to: at most, or at least, a bound."""
    relation: str
    bound: float

    def holds(self, value):
        return value <= self.bound if self.relation == "≤" else value >= self.bound

    def __str__(self):
        return f"{self.relation} {self.bound:g}"


def at_most(bound):
    return Target("≤", bound)


def at_least(bound):
    return Target("≥", bound)


@dataclasses.dataclass
class Figure:
    """One line of a table: a value for each round, or each repetition, of which the median counts.

    unit: empty for a ratio.
    """
    name: str
    values: list
    unit: str = ""
    target: Target = None

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def verdict(self):
        if self.target is None:
            return ""
        return "met" if self.target.holds(self.median) else "MISSED"

    def row(self):
        spread = f"({short(min(self.values))} .. {short(max(self.values))})"
        value = f"{short(self.median)}{' ' + self.unit if self.unit else ''}"
        target = f"{self.target} {self.unit}".strip() if self.target else ""
        return [self.name, value, spread if len(self.values) > 1 else "", target, self.verdict]

    def record(self):
        return {"name": self.name, "unit": self.unit or "ratio", "median": self.median,
                "min": min(self.values), "max": max(self.values), "values": self.values,
                "target": str(self.target) if self.target else None,
                "verdict": self.verdict or None}


def short(value):
    """Three digits are more than such measurements hold."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"


def ratios(numerators, denominators):
    """Round by round, so that what disturbs a whole round cancels."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def table(title, heads, rows):
    """Prints rows under their heads, as wide as they need be."""
    lines = [[str(cell) for cell in row] for row in [heads, *rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    print(f"\n{title}")
    for line in lines:
        print("  " + "  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip())


def show(title, figures):
    table(title, ["figure", "median", "spread", "target", ""], [f.row() for f in figures])


def write_json(path, document):
    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.write("\n")
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}") from None


@contextlib.contextmanager
def quiet(lock):
    """Holds an exclusive lock on the file `lock`, if there is one, so that builds stay away that
    are run as `flock FILE swift build`."""
    if lock is None:
        yield
        return
    try:
        file = open(lock, "a", encoding="utf-8")
    except OSError as error:
        raise Failure(f"cannot open {lock}: {error.strerror}") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
