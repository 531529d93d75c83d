"""What Facet does when nobody is looking at it: pictures, networks, training, scores. No widgets.

    faces/       named numbers -> a drawn face; the data source that ships
    images.py    PIL <-> (N, 3, H, W) in [-1, 1]; grids; settings in the PNG
    alignment.py the five-point template, and the way there
    photos.py    a photo -> its faces, each aligned to 112 x 112
    hub/         a checkpoint's name -> a checked file -> a network on a device
    sampling.py  one seed per image; sampling people
    words.py     the words of aging-tiny: prompts, captions, their tokens
    data.py      endless batches: drawn faces, or a folder of photos behind the same call
    metrics.py   same person? asked change made? sharp?
    scoring/     a system's bars: what it must reach, what it reached
    kernels/     attention: one signature; plain, torch, xFormers
    models/      one published architecture each, its sizes as rows
    engine/      what every system does, written once
    systems/     one folder per system, its pipeline made on first use
    training/    one loop; a recipe is data, networks, loss and presets
    commands/    the words of `python -m core`

One way: app.py -> spaces/ -> systems -> models -> kernels. Nothing here imports gradio or `spaces`, and
`import core` imports nothing. tests/test_flow.py holds the table of who may import whom.
"""

__version__ = "0.1.0"
