"""The clients that offer load: wrk in a closed loop, h2load at a fixed rate or a fixed number."""
import http.client
import re

from .processes import Failure


def check_answer(port, size):
    """One request by hand: what follows is only worth measuring if the answer is the right one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", f"/{size}")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"port {port}: no answer for /{size}: {error!r}") from None
    finally:
        connection.close()
    if answer.status != 200 or body != b"x" * size:
        raise Failure(f"port {port}: /{size} gave {answer.status} and {len(body)} bytes")


def closed_loop(workplace, port, path, connections, seconds, prefix=()):
    """wrk on one thread. Returns the number of requests and their rate."""
    output = workplace.run(
        [*prefix, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s",
         f"http://127.0.0.1:{port}/{path}"], seconds + 30)
    count = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if not count or not rate or int(count[1]) == 0 or "Non-2xx" in output \
            or "Socket errors" in output:
        raise Failure(f"the load on port {port} met errors:\n{output}")
    return int(count[1]), float(rate[1])


def fixed_rate(workplace, port, path, connections, seconds, rate):
    """h2load at `rate` requests/s in all. Returns the number of requests."""
    output = workplace.run(
        ["h2load", "--h1", "-t1", f"-c{connections}", f"-D{seconds}", "--rps",
         f"{rate / connections:g}", f"http://127.0.0.1:{port}/{path}"], seconds + 30)
    return answered(output, port)


def fixed_number(workplace, port, path, connections, number, body=None, seconds=300):
    """h2load with `number` requests in all, a POST of the file `body` if there is one."""
    data = ["-d", body] if body else []
    output = workplace.run(
        ["h2load", "--h1", "-t1", f"-c{connections}", f"-n{number}", *data,
         f"http://127.0.0.1:{port}/{path}"], seconds)
    done = answered(output, port)
    if done != number:
        raise Failure(f"{done} of {number} requests were answered on port {port}:\n{output}")
    return done


def answered(output, port):
    """Counts what h2load calls done, not what it calls 2xx: it does not read every status line."""
    found = {word: int(n) for n, word in re.findall(r"(\d+) (done|errored|timeout)", output)}
    if not found.get("done") or any(found.get(w) for w in ("errored", "timeout")):
        raise Failure(f"the load on port {port} met errors:\n{output}")
    return found["done"]
