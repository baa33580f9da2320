"""Holds a server against RFC 9113 and RFC 7541, case by case.

The cases are those of the public suite h2spec, under its numbers (which follow RFC 7540), written
anew after the text of the standards; those of `more/` go beyond it. Where RFC 9113 lets a server
choose, each choice passes. The server is expected to answer `GET /slow` never, and anything else
at once, with a body.

    http2_conformance.py ADDRESS [CASE...]

Prints one line a case, and a count; exits with 1 if a case failed.
"""

import sys

from http2_cases import CASES, Script
from http2_wire import Failure
import http2_cases_frames  # noqa: F401, for its cases
import http2_cases_messages  # noqa: F401


def main():
    address, wanted = sys.argv[1], sys.argv[2:]
    failed = count = 0
    for name, about, function in CASES:
        if wanted and not any(name.startswith(w) for w in wanted):
            continue
        count += 1
        script = Script(address)
        try:
            function(script)
            print(f"ok {name} {about}", flush=True)
        except (Failure, OSError) as failure:
            failed += 1
            print(f"not ok {name} {about}: {type(failure).__name__} {failure}", flush=True)
        script.close()
    print(f"{count} cases, {failed} failed", flush=True)
    sys.exit(1 if failed or not count else 0)


if __name__ == "__main__":
    main()
