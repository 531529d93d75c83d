"""Facet without its user interface: pictures, networks, training, scores.

    faces/       named numbers -> a drawn face; the training data
    images.py    PIL <-> (N, 3, H, W) in [-1, 1]; grids; settings in the PNG
    alignment.py the five-point template and the similarity transform
    photos.py    a photo -> its faces, each aligned to 112 x 112
    hub/         checkpoint name -> verified file -> network on a device
    sampling.py  one seed per image; sampling identities
    checks.py    numbers from outside, in their range
    cache.py     the cache folder, and what stays in memory
    output.py    files that a run writes
    environment.py  proxies, certificates, terminals and signals
    words.py     vocabulary of aging-tiny: prompts, captions, token ids
    data.py      batches of drawn faces or of a folder of photos
    features.py  feature spaces: faces -> features that groups are found in
    clustering.py  principal components and k-means
    metrics.py   verification, accuracy, agreement, image statistics
    scoring/     the bars of each system, measured on test people
    kernels/     attention: plain, torch or xFormers
    models/      one architecture per file, its sizes as presets
    engine/      what all systems share
    systems/     one folder per system, its pipeline made on first use
    training/    one loop; a recipe is data, networks, loss and presets
    commands/    the commands of `python -m core`

One way: app.py -> spaces/ -> systems -> models -> kernels. Nothing here imports gradio or `spaces`, and
`import core` imports nothing. tests/test_flow.py lists the allowed imports.
"""

__version__ = "0.1.0"
