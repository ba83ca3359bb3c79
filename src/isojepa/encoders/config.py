"""What a user may say about pre-training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from isojepa.embeddings.alarm import OnCollapse
from isojepa.objective.directions import Directions
from isojepa.objective.regularisers import TESTS, RegulariserName
from isojepa.runs.config import RunConfig
from isojepa.runs.settings import Said, as_paths, remembers, require, require_bounds

RecipeName = Literal["photo", "small", "glyph", "none", "series", "table", "masked"]
ModalityName = Literal["images", "series", "tables"]
AT_LEAST_ONE = (
    "steps", "batch_size", "image_size", "slices", "probe_every", "projection_dim",
    "projector_hidden", "global_views", "micro_batch", "local_size", "length",
    "channels",
)  # fmt: skip


AT_MOST = {
    "t_max": 100, "knots": 10_000, "slices": 2**20, "clip": 1e6, "weight_decay": 1e3,
    "image_size": 4096, "projection_dim": 2**16, "projector_hidden": 2**16, "global_views": 256,
    "local_views": 256, "local_size": 4096, "length": 2**16, "channels": 64,
    "steps": 10**9, "warmup": 10**9,
}  # fmt: skip
"""Far beyond sense, and below what no number or memory holds."""


@remembers
@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunConfig):
    """Train an encoder on images, series or tables by LeJEPA. Only --data and --out are needed."""

    data: Path | tuple[Path, ...]
    """Folder of images, nested as you like, or several; archives (.tar, shards-{000..012}.tar),
    tables (.parquet, .arrow), arrays (.npy, .npz), or a .txt file with a path on each line. One
    folder per class gives labels, which are used for scores and never for training; train/ and
    test/ (or val/) folders give the split."""

    modality: ModalityName | None = None
    """What the data are. Default: what --data looks like."""
    labels: Path | None = None
    """CSV file with the columns path,label (paths relative to --data); replaces class folders."""
    holdout: float | None = None
    """Share of the images, in [0, 1), kept out of training and used for scores. Default: 0.2 with
    labels, 0 without. Folders named train/ and test/ take precedence."""
    max_skipped: float = 0.05
    """Largest share of unreadable files, in [0, 1], with which training starts."""

    model: str | None = None
    """Any timm model name. Default: resnet_nano below 24 px, resnet_micro up to 64 px or on a CPU,
    else vit_small_patch16_224."""
    pretrained: bool = False
    """Start from timm's published weights (downloaded by timm)."""
    image_size: int | None = None
    """Side of the global views in pixels. Default: from the images, 16 to 64 on a CPU, up to 224
    on a GPU."""
    length: int | None = None
    """Of series: time steps of the global views. Default: the median length, at most 512."""
    id_column: str | None = None
    """Of a table: the column that says which series, or row, it is. Default: one named id,
    series_id, unique_id and the like."""
    time_column: str | None = None
    """Of a table of series: the column of times. Default: one named time, timestamp, ds, ..."""
    label_column: str | None = None
    """Of a table: the column of classes, for scores only. Default: one named label, class, ..."""
    channels: int | None = None
    """1 for grey, 3 for RGB, or as many as the images have. Default: 1 if all images are grey, 3 if
    they are in colour, else what they have."""
    pages: Literal["first", "each"] = "first"
    """Of TIFF files of several pages: first, or each, as an image of its own (stacks, time series,
    documents); the pages of a file are held out together."""
    projector_hidden: int | None = None
    """Width of the projector's two hidden layers. Default: 2048, or 512 for images up to 64 px."""
    projection_dim: int = 64
    """Dimension of the projector's output, where SIGReg acts; 16 to 512, often best small."""

    recipe: RecipeName | None = None
    """Augmentations: photo; small (32-64 px); glyph (digits, documents: no flips, no colour);
    series; table; masked (nothing but missing parts); none. Default, of images: glyph
    for drawings and where a mirrored image is none that the folder could hold; else small up to 64
    px and photo above; series and table for those."""
    mirror: Literal["yes", "no"] | None = None
    """Whether half of the views of images are mirrored. Default: the recipe's where one is given,
    else found from the images, and said."""
    colours: Literal["keep", "vary"] | None = None
    """keep: views differ a little in colour, as the recipe says; vary: they have any colour, which
    then tells the encoder nothing. Default: likewise."""
    polarity: Literal["keep", "vary"] | None = None
    """vary: bright and dark are exchanged in half of the views of images, so that a white sign on
    black is the same as a black one on white. Default: likewise."""
    global_views: int | None = None
    """Large views per sample. Default: 2 of images, which buys more updates than 4 and reaches more
    in the same time; 4 of series and rows."""
    local_views: int | None = None
    """Small views per image. Default: 6 for vision transformers with the photo recipe, else 0."""
    local_size: int | None = None
    """Side of the local views in pixels. Default: 98 of 224 (or half, for glyphs), rounded to what
    the network reads: 96 px for 224, 48 for 96."""
    global_scale: tuple[float, float] | None = None
    """Smallest and largest share of an image's area in a global view. Default: by the recipe."""

    regulariser: RegulariserName = "sigreg"
    """What keeps the embeddings from collapsing: sigreg; exact, its closed form; decoupled, scale
    and shape apart; visreg; vicreg, its variance and covariance; ksd, the kernel Stein
    discrepancy."""
    lambd: float | Literal["auto"] | None = None
    """Weight of the regulariser in [0, 1]; 0 lets the embeddings collapse. auto finds it while
    training, for sigreg and exact: it rises while SIGReg is further than 6 % on the way from its
    floor to a single point, and falls while it is nearer. Default: 0.05 for sigreg, exact and
    decoupled, good from 0.01 to 0.1; 0.6 for visreg, 0.3 for vicreg, 0.01 for ksd."""
    slices: int = 1024
    """Random directions per step."""
    knots: int = 17
    """Frequencies of the characteristic function on [0, t_max]."""
    t_max: float = 3.0
    """Largest frequency, in units of one over the embeddings' standard deviation."""
    directions: Directions = "random"
    """Of SIGReg's slices: random; orthogonal, in blocks that miss no direction; fixed, the same at
    every step; exact, all of them in closed form, cheaper for --batch-size up to about --slices."""

    minutes: float | None = None
    """What training, scores and the report may take together: updates are timed before the first,
    and as many made as fit, to the end of their schedule. Default: 20, where --steps is not
    given."""
    steps: int | None = None
    """Updates to make; with --resume, more than before train on. Default: as many as fit into
    --minutes."""
    batch_size: int | None = None
    """Samples per update, over all devices. Default: 256, less for fewer than 1,024, and down to 64
    where fewer than 500 updates fit into --minutes."""
    micro_batch: int | None = None
    """Most images that a device embeds at a time. Fewer take less memory and one more forward
    pass; the loss sees the whole batch still, but batch normalisation each part by itself.
    Default: all of them."""
    lr: float | None = None
    """Peak learning rate. Default: 5e-4 for vision transformers above 64 px, else 2e-3."""
    weight_decay: float = 0.05
    """Of AdamW, on weights but not on norms and biases."""
    warmup: int | None = None
    """Updates of linear warm-up before the cosine. Default: a tenth of the steps, at most 1,000."""
    clip: float = 1.0
    """Largest gradient norm."""
    like: Path | None = None
    """Take what is not given from the settings of another run (its folder), or from a JSON file of
    them such as the best.json of `isojepa tune`."""
    probe_every: int | None = None
    """Updates between two online probes (linear and k-NN), with labels. Default: ten in all."""
    on_collapse: OnCollapse = "warn"
    """What to do when training collapses: warn, and go on; stop; or recover, from the last
    checkpoint at which nothing was wrong, with decoupled SIGReg."""
    evaluate: bool = True
    """With labels, score the encoder against its baselines after training."""

    cache: Path | None = None
    """Folder in which decoded images are kept for the next run, whatever its model. Default:
    ISOJEPA_CACHE, else isojepa/ in the user's cache folder."""
    no_cache: tyro.conf.FlagCreatePairsOff[bool] = False
    """Keep no decoded images and use none that were kept."""

    preview: Path | None = None
    """Write a picture of a batch of views to this PNG file and stop: look before you train."""

    replay = "isojepa replay"
    may_differ = RunConfig.may_differ | {
        "labels", "preview", "evaluate", "probe_every", "cache", "no_cache", "on_collapse", "like",
    }  # fmt: skip

    def __post_init__(self, said: Said) -> None:
        super().__post_init__(said)
        as_paths(self, "labels", "preview", "cache", "like")
        require_bounds(self, AT_LEAST_ONE, AT_MOST)
        require(0 <= self.max_skipped <= 1, "--max-skipped must lie in [0, 1]")
        require(self.holdout is None or 0 <= self.holdout < 1, "--holdout must lie in [0, 1)")
        number = None if self.lambd == "auto" else self.lambd
        require(number is None or 0 <= number <= 1, "--lambd must lie in [0, 1]")
        require(
            self.lambd != "auto" or self.regulariser in TESTS,
            f"--lambd auto goes by SIGReg's value: not with --regulariser {self.regulariser}",
        )
        require(
            self.regulariser != "decoupled" or self.directions != "exact",
            "--regulariser decoupled works along slices: --directions cannot be exact",
        )
        require(self.knots >= 2, "--knots must be at least 2")
        require(self.t_max > 0, "--t-max must be positive")
        require(self.clip > 0, "--clip must be positive")
        require(self.minutes is None or self.minutes > 0, "--minutes must be positive")
        both = self.minutes is not None and self.steps is not None
        require(self.resume or not both, "give --minutes or --steps, not both")
        require(self.lr is None or self.lr > 0, "--lr must be positive")
        require(self.weight_decay >= 0, "--weight-decay must not be negative")
        if self.global_scale is not None:
            low, high = self.global_scale
            require(0 < low <= high <= 1, "--global-scale must be 0 < low <= high <= 1")
        require(self.warmup is None or self.warmup >= 0, "--warmup must not be negative")
        require(self.local_views is None or self.local_views >= 0, "--local-views is negative")
