"""What the environment may break: variables of the app, terminals, signals, disks."""

import io
import os
import signal
import sys
import time

import pytest

from core import __main__ as command_line
from core import environment
from core.errors import FacetError

FINE = {"GRADIO_SERVER_PORT": "7860", "NO_PROXY": "example.org", "HTTPS_PROXY": "http://proxy:3128", "no_proxy": ""}


@pytest.mark.parametrize(("name", "value"), [
    ("GRADIO_SERVER_PORT", "notanumber"), ("GRADIO_SERVER_PORT", "99999"), ("GRADIO_NUM_PORTS", "-1"),
    ("SSL_CERT_FILE", "/nonexistent.pem"), ("REQUESTS_CA_BUNDLE", "/nonexistent.pem"), ("ALL_PROXY", "gopher://proxy:1"),
    ("ALL_PROXY", "socks5://proxy:1"), ("https_proxy", "socks5h://proxy:1"),
    ("http_proxy", "ftp://[::1"), ("GRADIO_TEMP_DIR", "/dev/null/gradio"),
])
def test_a_variable_that_would_break_the_app_is_named(name, value, monkeypatch):
    monkeypatch.setattr(environment, "find_spec", lambda name: None)        # no package for SOCKS
    with pytest.raises(FacetError) as caught:
        environment.prepare_app({name: value}, offline=False)
    assert name in str(caught.value) and caught.value.next_step


def test_certificates_of_requests_may_be_a_folder(tmp_path):
    environment.prepare_app({"REQUESTS_CA_BUNDLE": str(tmp_path)}, offline=False)
    with pytest.raises(FacetError, match="SSL_CERT_FILE"):
        environment.prepare_app({"SSL_CERT_FILE": str(tmp_path)}, offline=False)


def test_an_offline_app_needs_neither_proxy_nor_certificates():
    environ = dict.fromkeys(environment.PROXIES, "socks5://proxy:1") | {"SSL_CERT_FILE": "/nonexistent.pem"}
    environment.prepare_app(environ, offline=True)
    assert not {*environment.PROXIES, *environment.CERTIFICATES} & environ.keys()


def test_loopback_needs_no_proxy():
    environment.prepare_app(environ := dict(FINE), offline=False)
    assert environ["NO_PROXY"].startswith("example.org,localhost,127.0.0.1")
    assert environ["no_proxy"] == environment.LOOPBACK
    assert environ["HTTPS_PROXY"] == FINE["HTTPS_PROXY"] and "GRADIO_TEMP_DIR" not in environ


def test_a_folder_of_gradio_that_is_not_ours_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(environment.tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / "gradio").write_text("in the way")      # as good as another user's folder
    environment.prepare_app(environ := {}, offline=False)
    assert os.path.isdir(environ["GRADIO_TEMP_DIR"]) and environ["GRADIO_TEMP_DIR"].startswith(str(tmp_path))


# --------------------------------------------------------------------------------------------- the command line

def test_a_terminal_that_can_not_show_a_sign_gets_another(monkeypatch):
    monkeypatch.setattr(command_line, "application", lambda called: lambda *a, **k: print("3 × 4"))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    command_line.main(["list"])
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue() == b"3 ? 4\n"


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_like_ctrl_c(monkeypatch, kind):
    kept = []

    def command(*asked, **options):
        try:
            os.kill(os.getpid(), kind)
            time.sleep(60)
        except KeyboardInterrupt:
            kept.append("state")

    before = signal.signal(kind, signal.SIG_DFL)        # under nohup it is ignored
    monkeypatch.setattr(command_line, "application", lambda called: command)
    try:
        command_line.main(["train"])
        assert kept == ["state"] and signal.getsignal(kind) is signal.SIG_DFL
    finally:
        signal.signal(kind, before)


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch):
    monkeypatch.setattr(command_line, "application", lambda called: lambda *a, **k: os.kill(os.getpid(), signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)       # nohup
    try:
        command_line.main(["train"])
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_error_of_the_disk_is_one_sentence(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(command_line, "application", lambda called: lambda *a, **k: (tmp_path / "file" / "out").mkdir())
    with pytest.raises(SystemExit):
        command_line.main(["train"])
    said = capsys.readouterr().err
    assert said.startswith("OutputError: ") and str(tmp_path / "file" / "out") in said and "Traceback" not in said
