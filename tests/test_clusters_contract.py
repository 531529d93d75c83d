"""The contract of every system (tests/test_systems.py) for `clusters`, which is registered once its networks ship."""

import gradio as gr
import pytest
from clusters_toys import checkout
from gradio_client import Client
from test_systems import ActionContract, RequestContract

from core.commands.run import add, run
from core.systems import clusters
from spaces import api

REQUESTS = clusters.REQUESTS


@pytest.fixture(scope="module", autouse=True)
def toys(tmp_path_factory):
    """Toys in the registry and among the commands."""
    with pytest.MonkeyPatch.context() as patch:
        checkout(tmp_path_factory.mktemp("clusters") / "checkpoints", patch)
        patch.setattr(run, "registered_groups", [*run.registered_groups])
        add(clusters.SYSTEM)
        yield


@pytest.fixture(scope="module")
def client(toys):
    """An app that has nothing but the endpoints."""
    with gr.Blocks(analytics_enabled=False) as demo:
        api.endpoints(clusters.SYSTEM)
    demo.queue().launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    yield Client(demo.local_url, verbose=False)
    demo.close()


@pytest.fixture(scope="module")
def made() -> dict:
    return {}


@pytest.mark.parametrize(("system", "request_"), [("clusters", each) for each in REQUESTS],
                         ids=[each.action for each in REQUESTS])
class TestAction(ActionContract):
    pass


@pytest.mark.parametrize("request_", REQUESTS, ids=[each.action for each in REQUESTS])
class TestRequest(RequestContract):
    pass
