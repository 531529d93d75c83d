"""The tab `clusters`: groups that faces fall into by themselves, and a face that wears one of them."""

from collections.abc import Iterator
from typing import Any, ClassVar

import gradio as gr

from core import systems
from core.engine.result import Restored
from core.errors import SettingsError
from core.systems.clusters.request import SPACE_LABELS, Discover, Grouping, Wear
from core.systems.clusters.tree import Node, tree_of
from spaces import GPU, widgets
from spaces.fields import field
from spaces.map import face_map, mapped
from spaces.tab import Shown, SystemTab
from spaces.widgets import Change, new_run_id, unchanged

SESSION_S = 3 * 3600    # a visitor's pictures stay in memory for so long
LEVELS = (10, 20)       # k of the tree above the chosen one


def tab(opens: Any) -> None:
    """Fill the tab; its first groups are shown when it is opened. opens: the event of that."""
    Tab().listen(opens)


@GPU
def taken(checkpoint: str, path: str, aligned: bool) -> Iterator[Any]:
    """The faces of a ZIP file, checked one by one: progress, the last with the faces."""
    from core.systems.clusters import intake

    yield from systems.load("clusters", checkpoint).taken(intake.entries_in(path), aligned)


class Tab(SystemTab):
    """The widgets of the tab by name. `action` is what the next run does; `found` holds the groups on show."""

    system, ids = "clusters", "clusters-"
    description = "Groups are being found for another visitor"
    seconds = Discover.expected
    legend_text = ("No labels were used to find these groups. The words under a group are what **{judge}** sees in its "
                   "faces more often than in all: the share in the group, and in brackets among all. Similarity is "
                   "read by **{embedder}**.")
    ours = ("The feature networks that ship were trained on drawings of faces, to tell rotations and jigsaws apart, "
            "never on attributes. They suit drawn faces; for photos choose DINOv2 under Network.")
    theirs = ("These feature networks were trained by their authors on photos. The groups show what those photos and "
              "tasks made them see.")
    downloads: ClassVar = {**SystemTab.downloads, "table": "Groups (CSV)", "sheet": "Contact sheet (PNG)",
                           "tree": "Tree (JSON)"}
    gallery_options: ClassVar = {"columns": 2, "elem_classes": "faces main wall"}

    def build_controls(self) -> None:
        """The faces, how groups are found, and the face that wears one."""
        self.action, self.found, self.group = gr.State("discover"), gr.State(None), gr.State(0)
        self.crowd = gr.State(None, time_to_live=SESSION_S)
        self.names = gr.BrowserState({}, storage_key="facet-groups")
        self.source = gr.Radio([("Drawn crowd", "drawn"), ("Your pictures", "images")], value="drawn", label="Faces",
                               elem_id="clusters-source", elem_classes="tiles two")
        with gr.Column(visible=False, elem_classes="panel") as self.own_panel:
            self.images = gr.File(label="A ZIP file of pictures", file_types=[".zip"], elem_id="clusters-images",
                                  height=120)
            self.aligned = field(Discover, "aligned", elem_id="clusters-aligned")
            gr.Markdown("Up to 2,000 pictures, checked one by one. They stay in memory, for three hours at most.",
                        elem_classes="hint")
        with gr.Group(elem_classes="settings"):
            self.space = field(Discover, "space", choices=spaces("tiny"), value=spaces("tiny")[0][1],
                               elem_id="clusters-space")
            self.k = field(Discover, "k", elem_id="clusters-k")
            self.seed = gr.Number(0, label="Seed", precision=0, elem_id="clusters-seed")
        self.generate, self.stop = widgets.run_row(self.ids, "Find groups")
        with gr.Column(elem_classes="panel", elem_id="clusters-wear"):
            self.face = field(Wear, "face", elem_id="clusters-face", elem_classes="tiles three")
            self.photo = gr.File(label="A photo with a face", visible=False, elem_id="clusters-photo", height=110)
            self.method = field(Wear, "method", elem_id="clusters-method")
            self.strength = field(Wear, "strength", elem_id="clusters-strength")
            self.count = field(Wear, "count", elem_id="clusters-count")
            self.wear = gr.Button("Wear the chosen group", interactive=False, elem_id="clusters-wear-group")

    def build_outputs(self) -> None:
        """The chosen group, faces that wear it, the map and the tree."""
        with gr.Row(visible=False, elem_classes="detail") as self.detail, gr.Column(min_width=240):
            self.facts = gr.HTML(elem_id="clusters-picked", elem_classes="plain")
            self.name = gr.Textbox("", label="Your name for this group", max_length=40, elem_id="clusters-name",
                                   info="Kept in this browser only.")
        self.worn = gr.Gallery(label="Faces that wear the group", columns=4, allow_preview=False, buttons=[],
                               interactive=False, visible=False, elem_id="clusters-worn", elem_classes="faces",
                               height="auto", object_fit="cover")
        self.map = face_map(elem_id="clusters-map", visible=False)
        with gr.Accordion("Which group splits into which", open=False, elem_id="clusters-tree"):
            self.tree = gr.HTML(elem_classes="plain")

    @property
    def inputs(self) -> dict[str, Any]:
        """What `wanted` reads."""
        return {name: getattr(self, name) for name in
                ("action", "source", "crowd", "space", "k", "seed", "group", "face", "photo", "method", "strength",
                 "count", "names")}

    @property
    def outputs(self) -> list:
        """What a run changes."""
        return [self.found, self.group, self.wear, self.worn, self.map, self.tree, self.detail, self.facts, self.name]

    @property
    def restored_outputs(self) -> list:
        """What a restored picture changes."""
        return [self.action, self.source, self.space, self.k, self.seed, self.group, self.face, self.method,
                self.strength, self.count]

    @property
    def uses_outputs(self) -> list:
        """What another checkpoint changes."""
        return [self.space, self.action, self.run]

    def listen(self, opens: Any) -> None:
        """Also: uploads, choosing and naming a group, wearing it."""
        super().listen(opens)
        on, active = widgets.private, self.network.active
        start = {self.action: "discover"}
        on(self.source.change, lambda source: gr.update(visible=source == "images"), {"source": self.source},
           [self.own_panel], queue=False)
        on(self.images.upload, self.receive, {"path": self.images, "aligned": self.aligned, "checkpoint": active},
           [self.notice, self.status, self.crowd, self.images, self.action, self.run], **widgets.GPU_TURN)
        on([self.generate.click, self.k.release, self.space.input, self.seed.submit],
           lambda: start | {self.run: new_run_id()}, {}, [self.action, self.run])
        on(self.source.input, lambda source, crowd: unchanged(self.run) if source == "images" and crowd is None else
           start | {self.run: new_run_id()}, {"source": self.source, "crowd": self.crowd}, [self.action, self.run])
        picked = [self.group, self.wear, self.detail, self.facts, self.name]
        on(self.gallery.select, self.pick, {"found": self.found, "names": self.names}, picked)
        on(self.map.input, self.pick_on_map, {"found": self.found, "names": self.names, "where": self.map}, picked)
        on(self.name.submit, self.rename, {"name": self.name, "found": self.found, "group": self.group,
                                           "names": self.names}, [self.names, self.gallery])
        on(self.face.change, lambda face: gr.update(visible=face == "photo"), {"face": self.face}, [self.photo],
           queue=False)
        on([self.wear.click, self.strength.release, self.method.input], self.ask_to_wear, {"found": self.found},
           [self.action, self.run])

    # ------------------------------------------------------------------------------------------------------ faces

    def receive(self, path: str, aligned: bool, checkpoint: str) -> Iterator[Change]:
        """Check a visitor's pictures one by one, then find groups in them."""
        try:
            for progress in taken(checkpoint, path, aligned):
                yield {self.status: widgets.progress(progress.done, progress.total,
                                                     f"Checked {progress.done} of {progress.total} pictures")}
            yield {self.crowd: progress.faces, self.images: None, self.action: "discover",
                   self.run: widgets.new_run_id_with_notice(), self.notice: widgets.remark(self.said_of(progress))}
        except Exception as error:
            yield {self.notice: widgets.sentence(widgets.known(error)), self.images: None,
                   self.status: widgets.progress(1, 1, "")}

    def said_of(self, progress: Any) -> str:
        """How many pictures are used, and why others are not."""
        first = "".join(f" {name}: {problem}" for name, problem in progress.left_out[:1])
        left = f" {len(progress.left_out)} were left out.{first}" if progress.left_out else ""
        return f"{len(progress.faces)} of {progress.total} pictures have a face and are used.{left}"

    # ------------------------------------------------------------------------------------------------------ running

    def wanted(self, checkpoint: str, action: str, source: str, crowd: Any, space: str, k: int, seed: int | None,
               group: int, face: str, photo: str | None, method: str, strength: float, count: int,
               names: dict) -> Grouping:
        """The request of the next run."""
        if source == "images" and crowd is None:
            raise SettingsError("There are no pictures yet.", "Upload a ZIP file of pictures, or choose Drawn crowd.")
        shared = {"crowd": crowd if source == "images" else None, "space": space, "k": k}
        if action == "wear":
            return Wear(**shared, group=min(group, k - 1), grouping=seed or 0, face=face, method=method,
                        strength=strength, count=count, photo=photo if face == "photo" else None)
        return Discover(**shared, seed=seed or 0)

    def showing(self, shown: Shown, first: bool) -> Change:
        """Groups as strips, or faces that wear one."""
        result = shown.result
        if isinstance(shown.request, Wear):
            faces = [(path, f"similarity {kept['similarity']:.2f}") for path, kept in
                     zip(result.images, result.settings, strict=True)]
            return {self.worn: gr.update(value=faces, visible=bool(faces))}
        return {self.gallery: gr.update(value=wall(shown, {})), **({} if not first else self.emptied())}

    def finished(self, shown: Shown, stopped: bool) -> Change:
        """The map and the tree of the groups."""
        if isinstance(shown.request, Wear) or stopped:
            return {}
        request, pipeline = shown.request, shown.pipeline
        faces = pipeline.crowd if request.crowd is None else request.crowd
        found = pipeline.discover(faces, pipeline.space(request.space), request.k, request.seed)
        levels = [pipeline.discover(faces, pipeline.space(request.space), k, request.seed)
                  for k in LEVELS if k < min(request.k, len(faces))]
        names = [title(kept, "") for kept in shown.result.settings]
        return {self.found: shown, self.map: gr.update(visible=True, value=mapped(
                    found.points.tolist(), found.clusters.labels.tolist(), names)),
                self.tree: nested(tree_of([*levels, found]))}

    def emptied(self) -> Change:
        """No group chosen."""
        return {self.detail: gr.update(visible=False), self.wear: gr.update(interactive=False),
                self.worn: gr.update(value=None, visible=False)}

    def count_text(self, shown: Shown) -> str:
        """How many groups or faces there are."""
        made = len(shown.result.images)
        return f"{made} {'faces' if isinstance(shown.request, Wear) else 'groups'}"

    # ------------------------------------------------------------------------------------------------ a chosen group

    def pick(self, found: Shown | None, names: dict, event: gr.SelectData) -> Change:
        """The group that was clicked on the wall."""
        return self.chosen(found, names, event.index)

    def pick_on_map(self, found: Shown | None, names: dict, where: dict) -> Change:
        """The group that was clicked on the map."""
        return self.chosen(found, names, where["picked"])

    def chosen(self, found: Shown | None, names: dict, group: int | None) -> Change:
        """A group in words, ready to be worn and named."""
        if found is None or group is None or group >= len(found.result.settings):
            return unchanged(self.group)
        kept = found.result.settings[group]
        words = "".join(f"<li>{widgets.safe(each)}</li>" for each in kept["shared"]) or "<li>nothing stands out</li>"
        return {self.group: group, self.wear: gr.update(interactive=True, value=f"Wear group {group}"),
                self.detail: gr.update(visible=True), self.name: names.get(key_of(found.request, group), ""),
                self.facts: f"<b>Group {group}</b>: {kept['size']} of {kept['faces']} faces<ul>{words}</ul>"}

    def rename(self, name: str, found: Shown | None, group: int, names: dict) -> Change:
        """Keep a visitor's name of the group in the browser."""
        if found is None:
            return unchanged(self.names)
        names = {**names, key_of(found.request, group): name.strip()}
        return {self.names: names, self.gallery: gr.update(value=wall(found, names))}

    def ask_to_wear(self, found: Shown | None) -> Change:
        """Wear the chosen group."""
        return unchanged(self.run) if found is None else {self.action: "wear", self.run: new_run_id()}

    # --------------------------------------------------------------------------------- restoring, other checkpoints

    def restored(self, kept: Restored, **values: Any) -> Change:
        """Every widget as the request of the picture set it."""
        request = kept.request
        shared = {self.source: "drawn", self.space: request.space or spaces(values["checkpoint"])[0][1],
                  self.k: request.k, self.action: request.action}
        if isinstance(request, Wear):
            return {**shared, self.seed: request.grouping, self.group: request.group, self.face: request.face,
                    self.method: request.method, self.strength: request.strength, self.count: request.count}
        return {**shared, self.seed: request.seed}

    def uses(self, choice: Any) -> Change:
        """The feature spaces of the checkpoint."""
        known = spaces(choice.name)
        return {self.space: gr.update(choices=known, value=known[0][1]), self.action: "discover",
                self.run: new_run_id()}


def spaces(checkpoint: str) -> list[tuple[str, str]]:
    """Labels and names of the feature spaces of a checkpoint."""
    return [(SPACE_LABELS[name], name) for name in systems.choose("clusters", checkpoint).spaces]


def key_of(request: Grouping, group: int) -> str:
    """Under which a visitor's name of a group is kept."""
    source = "drawn" if request.crowd is None else "images"
    return "/".join(map(str, (source, request.space, request.k, getattr(request, "seed", 0), group)))


def wall(shown: Shown, names: dict[str, str]) -> list[tuple[str, str]]:
    """The strips of groups with their captions."""
    return [(path, title(kept, names.get(key_of(shown.request, kept["group"]), "")))
            for path, kept in zip(shown.result.images, shown.result.settings, strict=True)]


def title(kept: dict[str, Any], name: str) -> str:
    """A group in two lines: its name and size, and what its faces have in common."""
    named = name or f"Group {kept['group']}"
    return f"{named} · {kept['size']} faces\n{', '.join(kept['shared'])}"


def nested(levels: list[list[Node]]) -> str:
    """The tree of groups as nested lists that fold."""
    def branch(level: int, parent: int | None) -> str:
        if level == len(levels):
            return ""
        items = "".join(leaf(node, branch(level + 1, node.group)) for node in levels[level] if node.parent == parent)
        return f"<ul class='tree'>{items}</ul>" if items else ""

    return branch(0, None)


def leaf(node: Node, inside: str) -> str:
    """One group of the tree."""
    words = f"{node.size} faces{': ' + node.words if node.words else ''}"
    if not inside:
        return f"<li>{widgets.safe(words)}</li>"
    return f"<li><details><summary>{widgets.safe(words)}</summary>{inside}</details></li>"
