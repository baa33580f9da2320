"""Command lines: checked values, and the options that all benchmarks share."""
import argparse
import re

FACTORS = {"": 1, "B": 1, "KiB": 1024, "MiB": 1024**2}


def whole(low, high):
    """A whole number in low...high."""
    def parse(text):
        if not re.fullmatch(r"\d{1,9}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(
                f"'{text}' is not a whole number from {low} to {high}")
        return int(text)
    return parse


def byte_size(text):
    """16, 16B, 1KiB or 1MiB, up to 64 MiB."""
    match = re.fullmatch(r"(\d{1,9})(B|KiB|MiB)?", text)
    size = int(match[1]) * FACTORS[match[2] or ""] if match else 0
    if not 1 <= size <= 64 * 1024**2:
        raise argparse.ArgumentTypeError(f"'{text}' is no size such as 16B, 1KiB or 1MiB")
    return size


def byte_sizes(text):
    return [byte_size(part) for part in text.split(",")]


def names(known):
    """A list of some of `known`, separated by commas."""
    def parse(text):
        chosen = [part for part in text.split(",") if part]
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(known)}")
        return chosen
    return parse


def size_text(size):
    for unit in ("MiB", "KiB"):
        if size % FACTORS[unit] == 0:
            return f"{size // FACTORS[unit]} {unit}"
    return f"{size} B"


def add_shared(parser):
    parser.add_argument("--json", metavar="FILE", help="write every measurement")
    parser.add_argument("--seed", type=whole(0, 999999999), default=1,
                        help="of the order within rounds (1)")
    parser.add_argument("--lock", metavar="FILE",
                        help="measure only while holding this lock, round by round (flock(1))")


def add_rounds(parser, rounds, seconds):
    parser.add_argument("--rounds", type=whole(1, 1000), default=rounds, help=f"({rounds})")
    parser.add_argument("--seconds", type=whole(1, 3600), default=seconds,
                        help=f"of each measurement ({seconds})")


def add_connections(parser):
    parser.add_argument("--connections", type=whole(1, 4096), default=32, help="(32)")
