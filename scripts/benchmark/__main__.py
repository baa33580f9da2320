"""`scripts/bench NAME`: arguments, dispatch, exit codes (0, 1 a failure, 64 usage, 130 Ctrl-C)."""
import argparse
import signal
import sys

from . import allocations, control, http2, identity, load, memory, pair, policies, profile
from . import proxy, tcp, tls
from .options import add_shared
from .processes import Failure

BENCHMARKS = {"proxy": proxy, "memory": memory, "allocations": allocations, "load": load,
              "profile": profile, "pair": pair, "http2": http2, "tcp": tcp, "tls": tls,
              "identity": identity, "control": control, "policies": policies}
USAGE = 64


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def parser_of(name):
    module = BENCHMARKS[name]
    parser = Parser(prog=f"scripts/bench {name}", description=module.__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    add_shared(parser)
    return parser


def end(number, _):
    """As Ctrl-C does: leaves every `with`, which ends the children."""
    sys.exit(128 + number)


def run_all(arguments):
    """Every benchmark with what all of them take; --json FILE becomes FILE.NAME."""
    parser = Parser(prog="scripts/bench all", description="Runs every benchmark in turn.")
    add_shared(parser)
    shared = parser.parse_args(arguments)
    for name, module in BENCHMARKS.items():
        options = parser_of(name).parse_args([])
        options.seed, options.lock = shared.seed, shared.lock
        options.json = f"{shared.json}.{name}" if shared.json else None
        print(f"\n=== {name}")
        module.run(options)


def main():
    name, *arguments = sys.argv[1:]
    sys.stdout.reconfigure(line_buffering=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    try:
        if name == "all":
            run_all(arguments)
        else:
            BENCHMARKS[name].run(parser_of(name).parse_args(arguments))
    except Failure as failure:
        print(f"scripts/bench {name}: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


main()
