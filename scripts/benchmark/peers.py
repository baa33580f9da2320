"""How each proxy, and the backend behind them, is started: one worker, one hop, no extras.

What is not needed is off everywhere (access logs), what helps is on everywhere (keep-alive on both
sides, answers handed on as they come). Otherwise each has the settings that it comes with.
"""
import json
import os
import shlex
import shutil
import string
import subprocess

from .processes import Failure, free_port

NGINX = """\
daemon off; worker_processes 1; worker_rlimit_nofile 16384;
pid $folder/$name.pid; error_log $folder/$name.err;
events { worker_connections 8192; }
http {
    access_log off; default_type application/octet-stream;
    sendfile on; tcp_nopush on;
    keepalive_requests 1000000000; keepalive_timeout 3600s;
    client_body_temp_path $folder; proxy_temp_path $folder; fastcgi_temp_path $folder;
    uwsgi_temp_path $folder; scgi_temp_path $folder;
    $body
}
"""

# An answer larger than its buffers is passed on as the client takes it, as the others do, not
# written to a file first.
NGINX_PROXY = """\
upstream backend {
        server 127.0.0.1:$upstream;
        keepalive 256; keepalive_requests 1000000000; keepalive_timeout 3600s;
    }
    server {
        listen 127.0.0.1:$listen backlog=4096;
        location / {
            proxy_pass http://backend; proxy_http_version 1.1;
            proxy_set_header Connection ""; proxy_max_temp_file_size 0;
        }
    }"""

NGINX_BACKEND = """\
open_file_cache max=64;
    server {
        listen 127.0.0.1:$listen backlog=4096;
        location / { root $folder/www; }
        location /post { return 200 "taken"; }
    }"""

HAPROXY = """\
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 3600s
  timeout server 3600s
  http-reuse always
frontend in
  bind 127.0.0.1:$listen backlog 4096 $bind
  default_backend out
backend out
  server backend 127.0.0.1:$upstream $server
"""

ENVOY_TYPES = "type.googleapis.com/envoy.extensions.filters"


class Proxy:
    """A proxy that can be started any number of times on ports of its own choosing.

    name: as it stands in tables. command: (workplace, listen, upstream) -> argument list.
    """

    def __init__(self, name, command):
        self.name = name
        self.command = command

    def start(self, workplace, upstream, env=None, prefix=()):
        """Starts it and waits until it accepts. Returns the process and its port."""
        port = free_port()
        process = workplace.start([*prefix, *self.command(workplace, port, upstream)], env=env)
        # Valgrind makes the start fifty times longer.
        workplace.wait_listening(process, port, seconds=60 if prefix else 20)
        return process, port


def write(workplace, file, template, **values):
    path = workplace.folder / file
    path.write_text(string.Template(template).substitute(folder=workplace.folder, **values))
    return path


def nginx_command(workplace, name, body, program="nginx", **values):
    body = string.Template(body).substitute(folder=workplace.folder, **values)
    path = write(workplace, f"{name}.conf", NGINX, name=name, body=body)
    return [program, "-c", path, "-p", workplace.folder, "-e", workplace.folder / f"{name}.err"]


def nginx(workplace, listen, upstream):
    return nginx_command(
        workplace, f"nginx-{listen}", NGINX_PROXY, listen=listen, upstream=upstream)


def haproxy(workplace, listen, upstream):
    path = write(
        workplace, f"haproxy-{listen}.cfg", HAPROXY, listen=listen, upstream=upstream, bind="",
        server="")
    return ["haproxy", "-db", "-f", path]


def envoy(workplace, listen, upstream):
    return envoy_command(workplace, listen, envoy_config(listen, upstream))


def envoy_config(listen, upstream):
    """One hop."""
    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    router = {"@type": f"{ENVOY_TYPES}.http.router.v3.Router"}
    connections = {
        "@type": f"{ENVOY_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "out"}}]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {"filters": [{
        "name": "envoy.filters.network.http_connection_manager", "typed_config": connections}]}
    cluster = {
        "name": "out", "type": "STATIC", "load_assignment": {"cluster_name": "out", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]}}
    return {"static_resources": {
        "listeners": [{"address": address(listen), "filter_chains": [chain]}],
        "clusters": [cluster]}}


def envoy_command(workplace, listen, config):
    path = workplace.folder / f"envoy-{listen}.json"
    path.write_text(json.dumps(config))
    return [envoy_program(), "-c", path, "--concurrency", "1", "-l", "error",
            "--disable-hot-restart"]


def envoy_program():
    """The binary inside the package that `scripts/bench` put into its Python environment."""
    question = "import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / '_bin/envoy')"
    try:
        answer = subprocess.run([os.environ["MESHBENCH_BENCH_PYTHON"], "-c", question],
                                capture_output=True, text=True, check=True)
    except (KeyError, OSError, subprocess.CalledProcessError) as error:
        raise Failure(f"Envoy is not in the Python environment of scripts/bench: {error}") from None
    return answer.stdout.strip()


def meshbench_program():
    program = os.environ.get("MESHBENCH_BINARY", "")
    if not os.access(program, os.X_OK):
        raise Failure(f"MESHBENCH_BINARY is no program: '{program}'")
    return program


def meshbench(workplace, listen, upstream):
    return [meshbench_program(), "proxy", "--workers", "1", "--listen", f"127.0.0.1:{listen}",
            "--upstream", f"127.0.0.1:{upstream}"]


PROXIES = {p.__name__: Proxy(p.__name__, p) for p in (meshbench, nginx, haproxy, envoy)}


def candidate(text):
    """NAME=COMMAND with {listen} and {upstream} in it, as a proxy."""
    name, _, command = text.partition("=")
    if not name or "{listen}" not in command or "{upstream}" not in command:
        raise Failure(f"'{text}' is not NAME=COMMAND with {{listen}} and {{upstream}} in it")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Failure(f"'{command}': {error}") from None

    def build(_, listen, upstream):
        return [w.replace("{listen}", str(listen)).replace("{upstream}", str(upstream))
                for w in words]
    return Proxy(name, build)


def start_backend(workplace, sizes):
    """nginx with a file for each size, at /SIZE. Returns the process and its port.

    A copy of the program: pages shared with the nginx under test would make that one's proportional
    memory look smaller.
    """
    program = workplace.folder / "backend-nginx"
    if not program.exists():
        shutil.copy(shutil.which("nginx") or "/usr/sbin/nginx", program)
    folder = workplace.folder / "www"
    folder.mkdir(exist_ok=True)
    for size in sizes:
        (folder / str(size)).write_bytes(b"x" * size)
    port = free_port()
    process = workplace.start(
        nginx_command(workplace, "backend", NGINX_BACKEND, program=program, listen=port))
    workplace.wait_listening(process, port)
    return process, port
