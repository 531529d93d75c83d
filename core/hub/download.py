"""From the Hub to its cache, through `huggingface_hub`; whatever goes wrong becomes one CheckpointError.

The Hub is asked once, briefly, before anything is fetched: gated, private, gone, replaced and unreachable are known
within seconds, where the client alone would try again for 23. A connection that breaks off is resumed by the client;
a download that was killed leaves a nameless half file that nothing reads and that a later fetch sweeps away.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import CheckpointError
from core.hub import manifest, pins
from core.hub.files import sha256, sweep
from core.hub.manifest import Row

PATIENCE = 5.0      # seconds in which the Hub must answer the first question
ATTEMPTS = 3        # whole downloads, when a connection is reset in a way that the client doesn't resume
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
LOCKED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}

Progress = Callable[[float, str], None]     # fraction in [0, 1], one line of text

_forced_offline = False


def set_offline(on: bool = True) -> None:
    """Forbid (or allow again) every use of the network, for this process and the libraries it imports."""
    global _forced_offline
    _forced_offline = on
    os.environ["HF_HUB_OFFLINE"] = "1" if on else "0"
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:
        constants.HF_HUB_OFFLINE = on


def offline() -> bool:
    """Whether the network must not be touched: --offline, FACET_OFFLINE or HF_HUB_OFFLINE."""
    names = ("FACET_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return _forced_offline or any(os.environ.get(name, "").lower() in {"1", "true", "yes", "on"} for name in names)


def cached(row: Row) -> Path | None:
    """The file in the Hub's cache, if it is there whole; the network is not touched."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(row.repo, row.file, revision=row.revision or "main")
    return Path(found) if isinstance(found, str) else None


def commit(path: Path) -> str:
    """The revision that a file in the Hub's cache belongs to: …/snapshots/<revision>/…"""
    return path.parts[len(path.parts) - path.parts[::-1].index("snapshots")]


def drop(path: Path) -> None:
    """Take a damaged file out of the Hub's cache: the link, and the blob it points to."""
    blob = path.resolve()
    path.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)


def download(row: Row, agree: bool = False, progress: Progress | None = None) -> Path:
    """Fetch a row's file into the Hub's cache, checked and noted; returns its path.

    agree: the person agrees to `row.agreement`, if there is one. progress: called as the bar on stderr moves.
    Raises CheckpointError, whatever the reason.
    """
    _may(row, agree)
    with explained(row):
        _ask(row)
        path = _get(row, progress)
        sweep(path.resolve().parent, "*.incomplete")
    if row.sha256 not in (None, sha256(path)):
        found = sha256(path)
        drop(path)
        raise CheckpointError(f"{_endpoint()} sent another file for {row.name} than the manifest describes "
                              f"(expected sha256 {row.sha256[:12]}…, found {found[:12]}…); it has been thrown away.",
                              f"Try again, through another network if need be:  python -m core fetch {row.name}")
    if row.is_open:
        manifest.pin_first(row, commit(path), path)
    return path


def _may(row: Row, agree: bool) -> None:
    if offline():
        raise CheckpointError(f"{row.name} is not on this machine, and Facet is offline.",
                              "Without --offline, FACET_OFFLINE and HF_HUB_OFFLINE run:  "
                              f"python -m core fetch {row.name}")
    if row.agreement and not agree:
        raise CheckpointError(f"{row.name} is fetched only after agreement to its terms. {row.agreement}",
                              f"If you agree:  python -m core fetch {row.name} --yes-i-agree")


def _ask(row: Row) -> None:
    """Raise before a byte is fetched if the Hub can't be reached, refuses, or has another file than the manifest."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import FileMetadataError

    if not _endpoint().startswith(("http://", "https://")):
        raise CheckpointError(f"HF_ENDPOINT is {_endpoint()!r}, which does not begin with https://.",
                              f"Set  HF_ENDPOINT=https://{_endpoint()}  or unset it, then:  "
                              f"python -m core fetch {row.name}")
    url = hf_hub_url(row.repo, row.file, revision=row.revision, endpoint=_endpoint())
    facts = get_hf_file_metadata(url, timeout=PATIENCE)
    if facts.commit_hash is None or facts.etag is None:
        raise FileMetadataError(url)
    etag_is_hash = len(facts.etag) == 64        # the Hub names its large files by their SHA-256
    replaced = etag_is_hash and row.sha256 not in (None, facts.etag)
    if replaced or (row.bytes and facts.size and row.bytes != facts.size):
        raise CheckpointError(f"{row.repo} holds another {row.file} than the one Facet knows; nothing was fetched.",
                              "Take a newer Facet (git pull), or open an issue with this message.")


def _get(row: Row, progress: Progress | None) -> Path:
    """The client's download, once more from the start when a connection is reset."""
    import httpx2
    from huggingface_hub import hf_hub_download

    _plain_http()
    for attempt in range(ATTEMPTS):
        try:
            return Path(hf_hub_download(row.repo, row.file, revision=row.revision, endpoint=_endpoint(),
                                        tqdm_class=_bar(row.name, progress)))
        except (httpx2.ReadError, httpx2.WriteError):
            if attempt + 1 == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _plain_http() -> None:
    """One bar, a stop that stops, a cut that resumes: the client's chunk store (Xet) promises none of the three.

    For good: two fetches at once that each put it back would disturb one another.
    """
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_XET = True


def _bar(name: str, progress: Progress | None) -> type:
    """A tqdm class whose bar on stderr carries the checkpoint's name and which also tells `progress`."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args, **kwargs):
            self.seen = kwargs.get("initial", 0)
            super().__init__(*args, **{**kwargs, "desc": name})

        def update(self, n=1):
            self.seen += n
            if progress and self.total:
                done = min(self.seen / self.total, 1.0)
                progress(done, f"{name}: {self.seen / 1e6:.1f} of {self.total / 1e6:.1f} MB")
            return super().update(n)

    return Bar


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


@contextmanager
def explained(row: Row) -> Iterator[None]:
    """Turn what the Hub's client raises into one sentence and the command that mends it."""
    try:
        yield
    except Exception as caught:
        error = _first(caught)
        story = _hub_story(row, error) or _network_story(row, error) or _disk_story(row, error)
        if story is None:
            raise
        raise CheckpointError(*story) from error


def _first(error: Exception) -> Exception:
    """The client says "not found locally" of almost anything that went wrong remotely: what did."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    remote = isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception)
    return error.__cause__ if remote else error


def _hub_story(row: Row, error: Exception) -> tuple[str, str] | None:
    """What the Hub answered."""
    from huggingface_hub import errors

    again = f"python -m core fetch {row.name}"
    match error:
        case errors.GatedRepoError():
            return (f"{row.repo} is gated: its authors want their terms accepted before {row.name} is downloaded.",
                    f"Accept them at {_endpoint()}/{row.repo}, log in with  hf auth login,  then:  {again}")
        case errors.RepositoryNotFoundError() | errors.DisabledRepoError():
            return (f"{row.repo}, where {row.name} should be, does not exist on {_endpoint()} or is private.",
                    f"If it is private and you may see it, log in with  hf auth login,  then:  {again}")
        case errors.RevisionNotFoundError():
            was_open = pins.unpin(row.name) or row.revision is None
            mend = "Fetch the present one" if was_open else "Take a newer Facet (git pull), then"
            return f"Revision {row.revision or 'main'} of {row.repo} is gone from the Hub.", f"{mend}:  {again}"
        case errors.RemoteEntryNotFoundError():
            return (f"{row.repo} exists but holds no {row.file}, so {row.name} can't be fetched.",
                    f"Look at {_endpoint()}/{row.repo}/tree/main, take a newer Facet (git pull), then:  {again}")
        case errors.HfHubHTTPError():
            status = error.response.status_code
            return (f"{_endpoint()} answered {status} when asked for {row.name}.", _later(status, again))
        case errors.FileMetadataError():
            return (f"{_endpoint()} answered, but not as a Hub would; it may be the login page of a network.",
                    f"Check the connection and HF_ENDPOINT, then:  {again}")
        case errors.HFValidationError():
            return (f"The manifest's row {row.name} names no possible repository ({row.repo!r}).",
                    "Bring it back:  git restore -- checkpoints/manifest.json")
    return None


def _later(status: int, again: str) -> str:
    if status in (401, 403):
        return f"Log in with an account that may read it,  hf auth login,  then:  {again}"
    return f"Wait a few minutes, then:  {again}"


def _network_story(row: Row, error: Exception) -> tuple[str, str] | None:
    """What became of the connection."""
    import httpx2
    from huggingface_hub import errors

    again = f"python -m core fetch {row.name}"
    match error:
        case errors.OfflineModeIsEnabled():
            return f"{row.name} is not on this machine, and Facet is offline.", f"With a connection:  {again}"
        case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.ProxyError() | errors.LocalEntryNotFoundError():
            return (f"{row.name} is not on this machine, and {_endpoint()} can't be reached.",
                    f"Check the connection, then:  {again}   (or put it there by hand: {row.shipped})")
        case httpx2.HTTPError():
            return f"The connection to {_endpoint()} broke off while fetching {row.name}.", f"Fetch it again:  {again}"
    return None


def _disk_story(row: Row, error: Exception) -> tuple[str, str] | None:
    """What the disk said."""
    from huggingface_hub import constants

    again = f"python -m core fetch {row.name}"
    if not isinstance(error, OSError):
        return None
    if error.errno in FULL:
        return (f"The disk is too full for {row.name} ({constants.HF_HUB_CACHE}).",
                f"Free some space, or set HF_HOME to a folder on a larger disk, then:  {again}")
    if error.errno in LOCKED:
        return (f"{row.name} can't be stored: {error.filename or constants.HF_HUB_CACHE} can't be written to.",
                f"Set HF_HOME and FACET_CACHE to folders of yours, then:  {again}")
    if error.errno is None and "size" in str(error):        # the client's own check of what arrived
        return f"{row.name} arrived incomplete and was thrown away.", f"Fetch it again:  {again}"
    return None
