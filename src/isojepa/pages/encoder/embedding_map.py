"""The interactive map: embeddings in the plane, a picture under the pointer."""

from collections.abc import Sequence

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.models.annotations import LegendItem
from bokeh.models.renderers import GlyphRenderer
from bokeh.palettes import Category10_10, Category20_20, Turbo256
from bokeh.plotting import figure
from jaxtyping import Float

from isojepa.pages.encoder.pictures import Sprites
from isojepa.pages.run import Sample
from isojepa.theme.style import BLUE, FONT, INK, SOFT, new_figure, new_legend

MOST_IN_LEGEND = 20
MOST_IN_TOOLTIP = 3
PICTURE_WIDTH = 96


def layout(embeddings: Float[np.ndarray, "n d"], seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """Place samples in the plane so that neighbours by cosine stay neighbours, wider than high.

    t-SNE, or the first two principal components where t-SNE has nothing to work with: fewer than
    10 samples, or directions that do not differ. Two seconds for 1,000 samples on one core.
    """
    from sklearn.manifold import TSNE  # takes a second to import

    tiny = np.finfo(np.float32).tiny
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), tiny)
    centred = leading_components(unit.astype(np.float64), 30)
    if len(centred) < 10 or centred.shape[1] < 2 or centred.std() < 1e-7:
        padded = np.pad(centred, ((0, 0), (0, 2)))
        return padded[:, :2]
    tsne = TSNE(
        perplexity=min(30.0, (len(centred) - 1) / 3), init="pca", max_iter=500, random_state=seed
    )
    return leading_components(tsne.fit_transform(centred), 2)


def leading_components(x: Float[np.ndarray, "n d"], most: int) -> Float[np.ndarray, "n p"]:
    """Coordinates along the p = min(most, n, d) directions of largest variance."""
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    return (u * s)[:, :most]


def class_colours(count: int) -> list[str]:
    """A colour for each of `count` classes."""
    if count <= 10:
        return list(Category10_10[:count])
    if count <= 20:
        return list(Category20_20[:count])
    return [Turbo256[round(20 + 215 * i / (count - 1))] for i in range(count)]


def draw_map(
    plane: Float[np.ndarray, "n 2"], sample: Sample, indices: Sequence[int], sprites: Sprites
) -> figure:
    """The plane of `layout` with a picture, its class and its path under the pointer.

    Args:
        plane: where each sample of `indices` lies.
        indices: which of the run's samples are shown.
        sprites: their thumbnails; the page holds the sheet in the CSS variable --sprite.
    """
    plot = new_figure("", height=620, match_aspect=True, name="map")
    plot.axis.visible = plot.grid.visible = False
    shown = np.asarray(indices)
    labels = np.full(len(shown), -1) if sample.labels is None else sample.labels[shown]
    groups = np.unique(labels).tolist()
    colours = [BLUE] if sample.labels is None else class_colours(len(groups))
    items: list[LegendItem] = []
    for group, colour in zip(groups, colours):
        rows = np.flatnonzero(labels == group)
        name = "" if sample.labels is None else sample.class_name(group)
        source = ColumnDataSource(
            {
                "x": plane[rows, 0],
                "y": plane[rows, 1],
                "name": [name] * len(rows),
                "path": [str(path) for path in sample.paths[shown[rows]]],
                "position": [sprites.position(i, PICTURE_WIDTH) for i in shown[rows].tolist()],
            }
        )
        points: GlyphRenderer = plot.scatter(
            "x", "y", source=source, color=colour, size=7, alpha=0.8, line_color=None,
            hover_line_color=SOFT, hover_alpha=1.0, muted_alpha=0.06,
        )  # fmt: skip
        items.append(LegendItem(label={"value": name}, renderers=[points]))
    if sample.labels is not None and len(groups) <= MOST_IN_LEGEND:
        legend = new_legend(items=items, click_policy="mute", label_text_font_size="12px")
        plot.add_layout(legend, "right")
    hover = HoverTool(
        tooltips=_tooltip(sprites), point_policy="snap_to_data", limit=MOST_IN_TOOLTIP
    )
    plot.add_tools(hover)
    return plot


def _tooltip(sprites: Sprites) -> str:
    """Bokeh fills in the @fields, and escapes them."""
    width, height = sprites.size(PICTURE_WIDTH)
    rendering = "pixelated" if max(sprites.cell) < 48 else "auto"
    return f"""
    <div style="display:flex;gap:12px;align-items:center;max-width:360px;margin:4px;
      font:12px {FONT}">
      <div class="thumbnail" style="flex:none;width:{width}px;height:{height}px;border-radius:4px;
        background-image:var(--sprite);background-size:{sprites.sheet_size(width)};
        background-position:@position;image-rendering:{rendering}"></div>
      <div style="min-width:0;overflow-wrap:anywhere">
        <div class="name" style="font-weight:600;font-size:14px;color:{INK}">@name</div>
        <div class="path" style="color:{SOFT}">@path</div>
      </div>
    </div>"""
