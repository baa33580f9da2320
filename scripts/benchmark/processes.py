"""Child processes on loopback: started, found ready, accounted for, and never left behind."""
import ctypes
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """What a person can act on; printed without a traceback."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def raise_descriptor_limit(wanted):
    """Lets this process, and so its children, have `wanted` descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Failure(f"{wanted} descriptors are needed, the hard limit is {hard}: see ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def follow_parent():
    """Runs in the child: it is told to end if this program is killed. All peers obey SIGTERM."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Workplace:
    """A temporary folder and the processes at work in it; both are gone when it is left."""

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="meshbench-bench-"))
        # Workers of nginx run as another user when its master is root.
        self.folder.chmod(0o755)
        self.running = []
        self.started = 0
        return self

    def __exit__(self, *_):
        for process in self.running:
            signal_group(process, signal.SIGTERM)
        for process in list(self.running):
            self.stop(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, arguments, env=None, stdout=subprocess.DEVNULL, timed=False):
        """Starts a program in a session of its own, out of reach of the terminal's Ctrl-C.

        timed: leave out the step between fork and exec, which delays the start.
        """
        self.started += 1
        errors = self.folder / f"stderr-{self.started}"
        with errors.open("wb") as stderr:
            try:
                process = subprocess.Popen(
                    [str(a) for a in arguments], stdin=subprocess.DEVNULL, stdout=stdout,
                    stderr=stderr, env=env, start_new_session=True,
                    preexec_fn=None if timed else follow_parent)
            except OSError as error:
                raise Failure(f"cannot start {arguments[0]}: {error.strerror}") from None
        process.errors = errors
        self.running.append(process)
        return process

    def stop(self, process, seconds=5):
        """Asks the process to end, then ends it and what it started."""
        signal_group(process, signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        signal_group(process, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()
        if process in self.running:
            self.running.remove(process)

    def run(self, arguments, seconds, env=None, accept=(0,)):
        """Runs a program to its end, with one of the exit codes `accept`. Returns its output."""
        process = self.start(arguments, env=env, stdout=subprocess.PIPE)
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"not done after {seconds:.0f} s: {command_line(process)}") from None
        finally:
            self.stop(process)
        output = output.decode(errors="replace")
        if process.returncode not in accept:
            raise Failure(f"exit code {process.returncode}: {command_line(process)}\n"
                          f"{output}{last_words(process)}")
        return output

    def wait_listening(self, process, port, seconds=20, host="127.0.0.1"):
        """Until `port` accepts. Returns the instant at which it did, of time.perf_counter."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            if process.poll() is not None:
                raise Failure(f"exit code {process.returncode} at once: {command_line(process)}\n"
                              f"{last_words(process)}")
            with socket.socket() as probe:
                if probe.connect_ex((host, port)) == 0:
                    return time.perf_counter()
            time.sleep(0.0002)
        raise Failure(f"nothing listens on {port} after {seconds} s: {command_line(process)}\n"
                      f"{last_words(process)}")


def signal_group(process, number):
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def command_line(process):
    return " ".join(str(word) for word in process.args)


def last_words(process):
    try:
        return process.errors.read_text(errors="replace")[-2000:]
    except OSError:
        return ""


def family(pid):
    """The process and all its descendants."""
    children = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold anything; fields count from its end.
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def cpu_nanoseconds(process):
    """What the scheduler has charged to every thread of the family (proc(5), schedstat)."""
    total = 0
    for pid in family(process.pid):
        for file in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(file.read_text().split()[0])
            except (OSError, IndexError):
                continue
    return total


def cpu_ticks(process):
    """User and system time of the family in clock ticks; only their ratio is of use."""
    user = system = 0
    for pid in family(process.pid):
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        user += int(fields[11])
        system += int(fields[12])
    return user, system


def memory_bytes(process, kind="Pss"):
    """Proportional (Pss) or resident (Rss) memory of the family."""
    total = 0
    for pid in family(process.pid):
        try:
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))
    return total * 1024
