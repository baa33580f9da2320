"""perf, strace and callgrind on a running process: their output as numbers."""
import contextlib
import os
import re
import signal
import subprocess

from .processes import Failure, family


@contextlib.contextmanager
def sampled(workplace, process):
    """Samples the process by function until the block is left; the list it gives is filled then.

    On the clock of the CPU: virtual machines rarely have hardware counters.
    """
    rows = []
    file = workplace.folder / f"perf-{process.pid}"
    perf = workplace.start(["perf", "record", "-q", "-e", "cpu-clock", "-F", "4999", "-o", file,
                            "-p", process.pid])
    yield rows
    perf.send_signal(signal.SIGINT)
    perf.wait(30)
    workplace.stop(perf)
    text = workplace.run(["perf", "report", "-i", file, "--stdio", "--no-children", "-F",
                          "overhead,dso,symbol", "--percent-limit", "0.3"], 120)
    found = re.findall(r"^\s*([\d.]+)%\s+(\S+)\s+\[(.)\] (.+?)\s*$", text, re.MULTILINE)
    if not found:
        raise Failure(f"perf saw nothing:\n{text}\n{perf.errors.read_text()}")
    names = demangled([name for *_, name in found])
    rows += [{"percent": float(percent), "kernel": mode == "k", "object": where, "function": name}
             for (percent, where, mode, _), name in zip(found, names)]


def demangled(names):
    """Swift symbols as a person would write them; all others as they are."""
    try:
        done = subprocess.run(["swift-demangle", "--compact", "--simplified"], check=False,
                              input="\n".join(names), capture_output=True, text=True)
    except OSError:
        return names
    lines = done.stdout.splitlines()
    return lines if len(lines) == len(names) else names


@contextlib.contextmanager
def traced(workplace, process):
    """Counts the system calls of the family until the block is left; the dictionary it gives is
    filled then."""
    calls = {}
    file = workplace.folder / f"strace-{process.pid}"
    pids = [word for pid in family(process.pid) for word in ("-p", str(pid))]
    strace = workplace.start(["strace", "-f", "-c", "-o", file, *pids])
    wait_traced(process, strace)
    yield calls
    strace.send_signal(signal.SIGINT)
    strace.wait(30)
    workplace.stop(strace)
    calls.update(calls_of(file))


def calls_of(file):
    """The summary of `strace -c`: calls by name."""
    # % time, seconds, usecs/call, calls, errors (may be blank), name.
    rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", file.read_text(),
                      re.MULTILINE)
    return {name: int(number) for number, name in rows if name != "total"}


def wait_traced(process, strace):
    """Until the kernel names strace as the tracer of every process of the family."""
    for _ in range(200):
        tracers = []
        for pid in family(process.pid):
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                tracers.append(int(re.search(r"TracerPid:\s+(\d+)", file.read())[1]))
        if all(pid == strace.pid for pid in tracers):
            return
        # Nothing tells when the last thread is attached; it takes milliseconds.
        with contextlib.suppress(subprocess.TimeoutExpired):
            strace.wait(0.05)
            break
    raise Failure(f"strace did not attach:\n{strace.errors.read_text()}")


@contextlib.contextmanager
def without_debug_information(workplace):
    """Within the block meshbench is a copy that Valgrind can load: the debug information of a newer
    compiler makes it give up."""
    program = os.environ["MESHBENCH_BINARY"]
    copy = workplace.folder / "meshbench-stripped"
    if not copy.exists():
        workplace.run(["strip", "--strip-debug", "-o", copy, program], 60)
    os.environ["MESHBENCH_BINARY"] = str(copy)
    try:
        yield
    finally:
        os.environ["MESHBENCH_BINARY"] = program


def counted_instructions(workplace, proxy, upstream, drive):
    """Instructions in user mode of a proxy from its start to its end, with `drive` between."""
    out = workplace.folder / f"callgrind-{workplace.started}"
    process, port = proxy.start(workplace, upstream, prefix=[
        "valgrind", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={out}.%p"])
    drive(port)
    workplace.stop(process, 60)
    total = 0
    for file in workplace.folder.glob(f"{out.name}.*"):
        sums = re.findall(r"^(?:totals|summary): (\d+)", file.read_text(), re.MULTILINE)
        total += int(sums[-1]) if sums else 0
    return total
