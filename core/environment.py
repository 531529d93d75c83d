"""What the environment breaks before our code runs: proxies, certificates, gradio's variables, terminals, signals."""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from core.errors import OutputError, SettingsError

CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy")
SCHEMES = ("", "http", "https", "socks5", "socks5h")        # of a proxy
LOOPBACK = "localhost,127.0.0.1,::1"
PORTS = ("GRADIO_SERVER_PORT", "GRADIO_NUM_PORTS", "GRADIO_NODE_SERVER_PORT", "GRADIO_NODE_NUM_PORTS")
MAX_PORT = 65_535


def prepare_app(environ: MutableMapping[str, str], offline: bool) -> None:
    """Make the environment fit for gradio, before that is imported.

    Loopback needs no proxy; an offline app needs neither proxy nor certificates. Raises SettingsError, OutputError for
    what the user must mend; the error names the variable.
    """
    for name in PORTS:
        _check_port(name, environ.get(name))
    for name in (*CERTIFICATES, *PROXIES):
        if offline:
            environ.pop(name, None)
        elif value := environ.get(name):
            (_check_certificates if name in CERTIFICATES else _check_proxy)(name, value)
    for name in ("NO_PROXY", "no_proxy"):
        environ[name] = ",".join(filter(None, (environ.get(name), LOOPBACK)))
    folder = _gradio_folder(environ.get("GRADIO_TEMP_DIR"))
    if folder.name != "gradio":
        environ["GRADIO_TEMP_DIR"] = str(folder)


def _check_port(name: str, value: str | None) -> None:
    if value is not None and not (value.isdecimal() and 1 <= int(value) <= MAX_PORT):
        raise SettingsError(f"{name} can't be {value[:30]!r}.",
                            f"Set it to a whole number from 1 to {MAX_PORT}, or unset it.")


def _check_certificates(name: str, value: str) -> None:
    """The variables of requests and curl may also name a folder."""
    if not (Path(value).is_file() or (name != "SSL_CERT_FILE" and Path(value).is_dir())):
        raise SettingsError(f"{name} names a file that is not there: {value}.", f"Correct or unset {name}.")


def _check_proxy(name: str, value: str) -> None:
    scheme = value.partition("://")[0].lower() if "://" in value else ""
    if scheme not in SCHEMES:
        raise SettingsError(f"{name} names a proxy of an unknown kind: {scheme[:30]}.",
                            "Use a proxy whose address begins with http, https or socks5.")
    if scheme.startswith("socks") and find_spec("socksio") is None:
        raise SettingsError(f"{name} names a SOCKS proxy, which needs a package that is not installed.",
                            f'Unset {name}, start with --offline, or:  pip install "httpx[socks]"')


def _gradio_folder(chosen: str | None) -> Path:
    """A folder for gradio's files that we can write to: the chosen one, else one in the temporary folder."""
    try:
        folder = Path(chosen) if chosen else Path(tempfile.gettempdir()) / "gradio"
        if not chosen and not _is_usable(folder):       # it belongs to another user
            folder = folder.with_name(f"facet-gradio-{os.getuid()}")
    except FileNotFoundError as error:
        raise OutputError("There is no temporary folder that can be written to.",
                          "Point TMPDIR to a folder of yours.") from error
    if not _is_usable(folder):
        raise OutputError(f"{folder} can't be written to.",
                          f"Point {'GRADIO_TEMP_DIR' if chosen else 'TMPDIR'} to a folder of yours.")
    return folder


def _is_usable(folder: Path) -> bool:
    """Whether a folder is there, made if need be, and can be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def print_anything() -> None:
    """Let a terminal that can't show a character show a question mark, instead of an error after the work is done."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does: results are kept and temporary files deleted."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        kinds = [kind for kind in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(kind) is signal.SIG_DFL]
        before = {kind: signal.signal(kind, _interrupt) for kind in kinds}      # nohup ignores SIGHUP: that stays
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
