"""Facet in the browser: `python app.py`, then http://127.0.0.1:7860. The page answers before networks are loaded."""

import argparse
import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import spaces
from core import environment
from core.errors import FacetError

_ = spaces.GPU      # on a Space with lent GPUs, the Hub's package comes before anything that may touch CUDA

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")    # torch's threads wait spinning, and take from others for long

try:
    environment.prepare_app(os.environ, offline="--offline" in sys.argv)     # gradio reads it when it is imported
except FacetError as error:
    sys.exit(str(error))

import gradio as gr  # noqa: E402

from core import systems  # noqa: E402
from spaces import aging, api, attributes, clusters, vectors, widgets  # noqa: E402

TABS = {"Vectors": vectors.tab, "Aging": aging.tab, "Attributes": attributes.tab, "Clusters": clusters.tab}

KEEP = (1800, 7200)     # every half hour, uploads and pictures older than two hours are deleted
WARMUP_PAUSE_S = 3      # visitors have the machine to themselves before the next system is loaded


def page() -> gr.Blocks:
    """The whole page: header, a tab per system, footer."""
    with gr.Blocks(title="Facet", analytics_enabled=False, delete_cache=KEEP, fill_width=True) as demo:
        widgets.header()
        with gr.Tabs(elem_id="tabs"):
            for number, (name, fill) in enumerate(tabs().items()):
                with gr.Tab(name, id=name.lower(), elem_id=name.lower()) as opened:
                    fill(opened.select if number else demo.load)
    demo.preprocess_data = api.understood(demo.preprocess_data)
    return demo


def tabs() -> dict[str, Callable[[Any], None]]:
    """The tabs of the systems whose checkpoints are here."""
    return {title: fill for title, fill in TABS.items() if title.lower() in systems.SYSTEMS}


def warm() -> None:
    """Load what the tabs need, so that the first visitor does not wait."""
    for system in map(str.lower, tabs()):
        try_to(f"warm up {system}", lambda system=system: systems.load(system).warm())
        time.sleep(WARMUP_PAUSE_S)
    try_to("warm up what is needed later", systems.warm_more)


def try_to(description: str, task: Callable[[], None]) -> None:
    """Run a task in the background; an error is one line of the log, and the page shows it to those it concerns."""
    try:
        task()
    except Exception as error:
        reason = error.message if isinstance(error, FacetError) else f"{type(error).__name__}: {error}"
        print(f"Could not {description}. {' '.join(reason.split())}", file=sys.stderr, flush=True)


def tidy() -> None:
    """Delete old files, again and again."""
    while True:
        time.sleep(KEEP[0])
        try_to("delete old files", systems.tidy)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python app.py", description="Facet in the browser.")
    parser.add_argument("--host", default=None, help="address to listen on (127.0.0.1; 0.0.0.0 lets the network in)")
    parser.add_argument("--port", type=port, default=None, help="port (7860, or the next one that is free)")
    parser.add_argument("--share", action="store_true", help="also open a temporary public address")
    parser.add_argument("--offline", action="store_true", help="never touch the network")
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps (the best there is)")
    return parser.parse_args(arguments)


def port(text: str) -> int:
    """A port from the command line."""
    if not (text.isdecimal() and 1 <= int(text) <= environment.MAX_PORT):
        raise argparse.ArgumentTypeError(f"choose a number from 1 to {environment.MAX_PORT}, not {text[:30]!r}")
    return int(text)


def problem_with(host: str, number: int) -> str:
    """Why the app can't listen on an address and a port; "" if it can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except socket.gaierror:
            return f"There is no address {host!r}."
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"Port {number} is taken."
            return f"The app can't listen on {host}, port {number}: {os.strerror(error.errno).lower()}."
    return ""


def main(arguments: list[str] | None = None) -> None:
    """Build the page, start loading, and serve until interrupted."""
    environment.print_anything()
    asked = options(arguments)
    if asked.offline and asked.share:
        sys.exit("--share opens an address on the network, which --offline never touches. Leave one of them out.")
    host = asked.host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    if problem := problem_with(host, asked.port or 0):
        sys.exit(f"{problem} Choose another --host (or GRADIO_SERVER_NAME) or --port, or leave them out.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))   # as Ctrl-C: what visitors left is deleted on the way out
    systems.configure(asked.device, asked.offline)
    demo = page()
    for task in (warm, tidy):
        threading.Thread(target=task, name=task.__name__, daemon=True).start()
    try:
        demo.queue(max_size=64).launch(
            server_name=asked.host, server_port=asked.port, share=asked.share, max_file_size="64mb",
            theme=widgets.theme(), css_paths=widgets.STYLE, head=widgets.HEAD, footer_links=["api"],
            run_history=False, enable_monitoring=False, ssr_mode=False)
    except OSError as error:        # gradio found no free port
        sys.exit(f"The app can't listen on {host}: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
