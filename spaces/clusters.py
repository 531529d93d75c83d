"""The tab `clusters`: groups that faces fall into by themselves, and a face that wears one of them."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

import gradio as gr

from core import systems
from core.engine.result import Restored, Result
from core.errors import SettingsError
from core.systems.clusters.request import METHODS, PEOPLE, SPACE_HELP, SPACE_LABELS, Discover, Grouping, Wear
from core.systems.clusters.tree import Node, tree_of
from spaces import GPU, widgets
from spaces.fields import field
from spaces.map import face_map, mapped
from spaces.queue import DRAWING, page_id, remaining_time
from spaces.tab import Shown, SystemTab
from spaces.widgets import Change, new_run_id, new_seed, unchanged

SESSION_S = 2 * 3600    # a visitor's pictures stay in memory for so long
CHECKING, CHECKING_S = "A visitor's pictures are being checked", 60.0
LEVELS = (10, 20)       # k of the tree above the chosen one
FACES_PER_GROUP = 4     # of a visitor's pictures, at least
WEAR = "Wear the chosen group"
NAMES_KEY = "names of groups"       # hides nothing; with a new key at each start, names would be lost
FIRST_PERSON = 3        # drawn people from the front wear groups best; this one was chosen


def tab(opens: Any) -> None:
    """Fill the tab; its first groups are shown when it is opened. opens: the event of that."""
    Tab().listen(opens)


@GPU
def check_pictures(checkpoint: str, path: str, aligned: bool) -> Iterator[Any]:
    """The faces of a ZIP file, checked one by one: progress, the last with the faces. The file is deleted."""
    from core.systems.clusters import intake

    if Path(path).is_dir():     # gradio accepts its own folder of all uploads
        raise SettingsError("images can't be a folder.", "Upload a ZIP file.")
    try:
        yield from systems.load("clusters", checkpoint).check_pictures(intake.entries_in(path), aligned)
    finally:
        Path(path).unlink(missing_ok=True)


class Tab(SystemTab):
    """The widgets of the tab by name. `action` is what the next run does; `found` holds the groups on show."""

    system, ids = "clusters", "clusters-"
    description = "Groups are being found for another visitor"
    seconds = Discover.expected
    legend_text = ("No labels were used to find these groups. The words under a group are what **{judge}** sees in its "
                   "faces more often than in all: the share in the group, and in brackets among all. Similarity is "
                   "read by **{embedder}**.")
    ours = ("The feature networks that ship learned to remove noise from drawn faces, and to tell how they are rotated "
            "or cut, never attributes. They suit drawn faces; for photos choose DINOv2 under Network.")
    theirs = ("These feature networks were trained by their authors on photos. The groups show what those photos and "
              "tasks made them see.")
    downloads: ClassVar = {**SystemTab.downloads, "table": "Groups (CSV)", "sheet": "Contact sheet (PNG)",
                           "tree": "Tree (JSON)"}
    gallery_options: ClassVar = {"columns": 2, "elem_classes": "faces main wall"}

    def build_controls(self) -> None:
        """The faces, how groups are found, and the face that wears one."""
        self.action, self.group = gr.State("discover"), gr.State(None)
        self.crowd, self.found, self.grouping = (gr.State(None, time_to_live=SESSION_S) for _ in range(3))
        self.shown.time_to_live = SESSION_S
        self.wall_id = gr.State("")     # changes with the groups on show
        self.names = gr.BrowserState({}, storage_key="facet-groups", secret=NAMES_KEY)
        self.source = gr.Radio([("Drawn faces", "drawn"), ("Your pictures", "images")], value="drawn", label="Faces",
                               elem_id="clusters-source", elem_classes="tiles two")
        with gr.Column(visible=False, elem_classes="panel") as self.own_panel:
            self.images = gr.File(label="A ZIP file of pictures", file_types=[".zip"], elem_id="clusters-images",
                                  height=120)
            self.aligned = field(Discover, "aligned", elem_id="clusters-aligned")
            gr.Markdown("Up to 2,000 pictures, 64 MB. Two folders in the file are compared: each group shows how much "
                        "of either it holds. The file is deleted once its pictures are checked. Faces and results are "
                        "deleted after two hours.", elem_classes="hint")
        with gr.Group(elem_classes="settings"):
            first = spaces("tiny")[0][1]
            self.space = field(Discover, "space", choices=spaces("tiny"), value=first, info=SPACE_HELP[first],
                               elem_id="clusters-space")
            self.k = field(Discover, "k", elem_id="clusters-k")
            self.seed = gr.Number(0, label="Seed", precision=0, elem_id="clusters-seed")
        self.generate, self.stop = widgets.run_row(self.ids, "Find groups")
        with gr.Column(elem_classes="panel", elem_id="clusters-wear"):
            self.face = field(Wear, "face", value="drawn", elem_id="clusters-face", elem_classes="tiles three")
            self.photo = gr.File(label="A photo with a face", visible=False, elem_id="clusters-photo", height=110)
            self.person = field(Wear, "person", value=FIRST_PERSON, elem_id="clusters-person")
            self.faces_seed = gr.Number(1, label="Seed of the faces", precision=0, visible=False,
                                        elem_id="clusters-faces-seed")
            self.method = field(Wear, "method", elem_id="clusters-method")
            self.strength = field(Wear, "strength", elem_id="clusters-strength")
            self.count = field(Wear, "count", elem_id="clusters-count")
            self.wear = gr.Button(WEAR, interactive=False, elem_id="clusters-wear-group")
            self.others = gr.Button("Other faces", size="sm", interactive=False, elem_id="clusters-others")

    def build_above(self) -> None:
        """The chosen group, and faces that wear it."""
        self.detail = gr.Row(visible=False, elem_id="clusters-detail", elem_classes="detail")
        with self.detail, gr.Column(min_width=240):
            self.facts = gr.HTML(elem_id="clusters-picked", elem_classes="plain")
            self.name = gr.Textbox("", label="Your name for this group", max_length=40, elem_id="clusters-name",
                                   info="Kept in this browser only.")
        self.worn = gr.Gallery(show_label=False, columns=4, allow_preview=False, buttons=[],
                               interactive=False, visible=False, elem_id="clusters-worn", elem_classes="faces worn",
                               height="auto", object_fit="cover")

    def build_outputs(self) -> None:
        """The map and the tree."""
        self.map = face_map(elem_id="clusters-map", visible=False)
        with gr.Accordion("Which group splits into which", open=False, elem_id="clusters-tree"):
            self.tree = gr.HTML(elem_classes="plain")

    @property
    def inputs(self) -> dict[str, Any]:
        """What `wanted` reads."""
        return {name: getattr(self, name) for name in
                ("action", "source", "crowd", "space", "k", "seed", "grouping", "group", "face", "photo", "person",
                 "faces_seed", "method", "strength", "count")}

    @property
    def outputs(self) -> list:
        """What a run changes."""
        return [self.found, self.wall_id, self.grouping, self.group, self.wear, self.others, self.worn, self.map,
                self.tree, self.detail, self.facts, self.name]

    @property
    def restored_outputs(self) -> list:
        """What a restored picture changes."""
        return [self.action, self.source, self.space, self.k, self.seed, self.found, self.grouping, self.group,
                self.face, self.person, self.faces_seed, self.method, self.strength, self.count, self.gallery]

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
        on(self.space.change, lambda space: gr.update(info=SPACE_HELP[space]), {"space": self.space}, [self.space],
           queue=False)
        on(self.images.upload, self.receive,
           {"path": self.images, "aligned": self.aligned, "k": self.k, "checkpoint": active},
           [*self.running, self.crowd, self.images, self.k, self.action, self.run], **widgets.GPU_TURN)
        on([self.generate.click, self.k.release, self.space.input, self.seed.submit],
           lambda: start | {self.run: new_run_id()}, {}, [self.action, self.run])
        on(self.source.input, lambda source, crowd: unchanged(self.run) if source == "images" and crowd is None else
           start | {self.run: new_run_id()}, {"source": self.source, "crowd": self.crowd}, [self.action, self.run])
        picked = [self.grouping, self.group, self.wear, self.others, self.detail, self.facts, self.name]
        on(self.wall_id.change, self.with_names, {"found": self.found, "names": self.names}, [self.gallery])
        on(self.gallery.select, self.pick, {"found": self.found, "names": self.names}, picked)
        on(self.map.input, self.pick_on_map, {"found": self.found, "names": self.names, "where": self.map}, picked)
        on([self.name.submit, self.name.blur], self.rename,
           {"name": self.name, "found": self.found, "group": self.group, "names": self.names},
           [self.names, self.gallery])
        on(self.face.change, lambda face: {self.photo: gr.update(visible=face == "photo"),
                                           self.person: gr.update(visible=face == "drawn"),
                                           self.faces_seed: gr.update(visible=face == "random"),
                                           self.others: gr.update(visible=face != "photo")},
           {"face": self.face}, [self.photo, self.person, self.faces_seed, self.others], queue=False)
        on([self.wear.click, self.strength.release, self.method.input, self.faces_seed.submit, self.person.release],
           self.ask_to_wear, {"group": self.group}, [self.action, self.run])
        for button in (self.wear, self.others):
            button.click(None, js=widgets.show("#clusters-status"), **widgets.QUIET)
        on(self.others.click, self.other_faces, {"face": self.face, "person": self.person, "count": self.count},
           [self.faces_seed, self.person, self.action, self.run])

    # ------------------------------------------------------------------------------------------------------ faces

    def receive(self, path: str, aligned: bool, k: int, checkpoint: str, request: gr.Request) -> Iterator[Change]:
        """Check a visitor's pictures one by one, then find groups in them."""
        began, job = monotonic(), new_run_id()
        yield {self.generate: gr.update(visible=False), self.stop: gr.update(visible=True), self.images: None,
               self.notice: ""}
        try:
            work = DRAWING.run(page_id(request, self.system), CHECKING, CHECKING_S,
                               check_pictures(checkpoint, path, aligned),
                               lambda progress: remaining_time(began, progress.done, progress.total), job)
            for progress in work:
                if DRAWING.is_stopped(job):
                    work.close()
                    yield self.ended(None, "Stopped; no picture was kept")
                    return
                yield {self.status: widgets.progress(progress.done, progress.total,
                                                     f"Checked {progress.done} of {progress.total} pictures")}
            yield {**self.ended(None, ""), self.crowd: progress.faces, self.action: "discover",
                   self.k: min(k, max(2, len(progress.faces) // FACES_PER_GROUP)),
                   self.run: widgets.new_run_id_with_notice(), self.notice: widgets.remark(self.summary(progress))}
        except Exception as error:
            yield self.failed(error)

    def summary(self, progress: Any) -> str:
        """How many pictures are used, and why others are not."""
        first = "".join(f" {name}: {problem}" for name, problem in progress.left_out[:1])
        left = f" {len(progress.left_out)} were left out.{first}" if progress.left_out else ""
        return f"{len(progress.faces)} of {progress.total} pictures have a face and are used.{left}"

    # ------------------------------------------------------------------------------------------------------ running

    def wanted(self, checkpoint: str, action: str, source: str, crowd: Any, space: str, k: int, seed: int | None,
               grouping: dict | None, group: int | None, face: str, photo: str | None, person: int,
               faces_seed: int | None, method: str, strength: float, count: int) -> Grouping:
        """The request of the next run."""
        if action == "wear":
            if grouping is None or group is None:
                raise SettingsError("No group is chosen.", "Click a group first.")
            return Wear(**grouping, group=group, face=face, person=person, method=method, strength=strength,
                        count=count, seed=1 if faces_seed is None else faces_seed,
                        photo=photo if face == "photo" else None)
        if source == "images" and crowd is None:
            raise SettingsError("There are no pictures yet.", "Upload a ZIP file of pictures, or choose Drawn faces.")
        return Discover(crowd=crowd if source == "images" else None, space=space, k=k, seed=seed or 0)

    def showing(self, shown: Shown, first: bool) -> Change:
        """Groups as strips, or faces that wear one."""
        result = shown.result
        if isinstance(shown.request, Wear):
            rows = worn_rows(result, shown.request)
            classes = ["faces", "worn", *(["three"] if shown.request.method == "both" else [])]
            return {self.worn: gr.update(value=rows, visible=bool(rows), elem_classes=classes)}
        return {self.gallery: gr.update(value=wall(shown, {})), **({} if not first else self.emptied())}

    def finished(self, shown: Shown, stopped: bool) -> Change:
        """The map and the tree of the groups."""
        if isinstance(shown.request, Wear):
            return {}
        if stopped:
            return {self.found: None}
        request, pipeline = shown.request, shown.pipeline
        faces = pipeline.crowd if request.crowd is None else request.crowd
        found = pipeline.discover(faces, pipeline.space(request.space), request.k, request.seed)
        levels = [pipeline.discover(faces, pipeline.space(request.space), k, request.seed)
                  for k in LEVELS if k < min(request.k, len(faces))]
        names = [title(kept, "") for kept in shown.result.settings]
        return {self.found: shown, self.wall_id: new_run_id(), self.map: gr.update(visible=True, value=mapped(
                    found.points.tolist(), found.clusters.labels.tolist(), names)),
                self.tree: nested(tree_of([*levels, found]))}

    def emptied(self) -> Change:
        """No group chosen."""
        return {self.grouping: None, self.group: None, self.detail: gr.update(visible=False),
                self.wear: gr.update(interactive=False, value=WEAR), self.others: gr.update(interactive=False),
                self.worn: gr.update(value=None, visible=False)}

    def cleared(self) -> Change:
        """No faces that wear a group. The groups stay: they are of other pictures than a photo that wears one."""
        return {self.worn: gr.update(value=None, visible=False)}

    def count_text(self, shown: Shown) -> str:
        """How many groups or faces there are."""
        if isinstance(shown.request, Wear):
            made = len(shown.result.files)
            return f"{made} face{'s' * (made != 1)}"
        return f"{len(shown.result.images)} groups"

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
        words = "".join(f"<li>{widgets.safe(each)}</li>" for each in (*kept["sets"], *kept["shared"]))
        words = words or "<li>nothing stands out</li>"
        return {self.grouping: grouping_of(found.request), self.group: group, self.others: gr.update(interactive=True),
                self.wear: gr.update(interactive=True, value=f"Wear group {group}"),
                self.detail: gr.update(visible=True), self.name: names.get(key_of(found.request, group), ""),
                self.facts: f"<b>Group {group}</b>: {kept['size']} of {kept['faces']} faces<ul>{words}</ul>"}

    def rename(self, name: str, found: Shown | None, group: int, names: dict) -> Change:
        """Keep a visitor's name of the group in the browser."""
        if found is None or group is None or names.get(key := key_of(found.request, group), "") == name.strip():
            return unchanged(self.names)
        names = {**names, key: name.strip()}
        return {self.names: names, self.gallery: gr.update(value=wall(found, names))}

    def with_names(self, found: Shown | None, names: dict) -> Change:
        """The wall with the visitor's names of its groups."""
        if found is None or not names:
            return unchanged(self.gallery)
        return {self.gallery: gr.update(value=wall(found, names))}

    def ask_to_wear(self, group: int | None) -> Change:
        """Wear the chosen group."""
        return unchanged(self.run) if group is None else {self.action: "wear", self.run: new_run_id()}

    def other_faces(self, face: str, person: int, count: int) -> Change:
        """Wear it with other faces: the next people by number, or a new seed."""
        changed = {self.person: (person + count) % PEOPLE} if face == "drawn" else {self.faces_seed: new_seed()}
        return {**changed, self.action: "wear", self.run: new_run_id()}

    # --------------------------------------------------------------------------------- restoring, other checkpoints

    def restored(self, kept: Restored, **values: Any) -> Change:
        """Every widget as the request of the picture set it."""
        request = kept.request
        known = [name for _, name in spaces(values["checkpoint"])]
        shared = {self.source: "drawn", self.space: request.space if request.space in known else known[0],
                  self.k: request.k, self.action: request.action}
        if isinstance(request, Wear):
            return {**shared, self.seed: request.grouping, self.grouping: grouping_of(request),
                    self.group: request.group, self.face: request.face, self.person: request.person,
                    self.faces_seed: request.seed, self.method: request.method, self.strength: request.strength,
                    self.count: request.count,
                    self.found: None, self.gallery: gr.update(value=None)}      # the wall may show other groups
        return {**shared, self.seed: request.seed}

    def uses(self, choice: Any) -> Change:
        """The feature spaces of the checkpoint."""
        known = spaces(choice.name)
        return {self.space: gr.update(choices=known, value=known[0][1]), self.action: "discover",
                self.run: new_run_id()}


def spaces(checkpoint: str) -> list[tuple[str, str]]:
    """Labels and names of the feature spaces of a checkpoint."""
    return [(SPACE_LABELS[name], name) for name in systems.choose("clusters", checkpoint).spaces]


def grouping_of(request: Grouping) -> dict[str, Any]:
    """The settings of `Wear` that say which groups it means."""
    seed = request.grouping if isinstance(request, Wear) else request.seed
    return {"crowd": request.crowd, "space": request.space, "k": request.k, "grouping": seed}


def key_of(request: Grouping, group: int) -> str:
    """Under which a visitor's name of a group is kept."""
    source = "drawn" if request.crowd is None else request.crowd.key
    return "/".join(map(str, (source, request.space, request.k, getattr(request, "seed", 0), group)))


def wall(shown: Shown, names: dict[str, str]) -> list[tuple[str, str]]:
    """The strips of groups with their captions."""
    return [(path, title(kept, names.get(key_of(shown.request, kept["group"]), "")))
            for path, kept in zip(shown.result.images, shown.result.settings, strict=True)]


def worn_rows(result: Result, request: Wear) -> list[tuple[str, str]]:
    """Each face before, and how each method makes it wear the group."""
    rows, made = [], list(zip(result.images, result.settings, strict=True))
    for at, before in enumerate(result.files.values()):
        rows.append((before, "Before"))
        for path, kept in made[at * len(request.methods):(at + 1) * len(request.methods)]:
            name = f"{METHODS[kept['worn_by']].split(':')[0]}\n" if request.method == "both" else ""
            rows.append((path, f"{name}Similarity {kept['similarity']:.2f}"))
    return rows


def title(kept: dict[str, Any], name: str) -> str:
    """A group in two lines: its name and size, and what its faces have in common."""
    named = name or f"Group {kept['group']}"
    return f"{named} · {kept['size']} faces\n{', '.join((*kept['sets'], *kept['shared']))}"


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
