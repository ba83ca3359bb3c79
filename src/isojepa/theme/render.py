"""Templates and Bokeh figures -> one self-contained HTML page."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bokeh.embed import components
from bokeh.model import Model
from bokeh.plotting import figure
from bokeh.resources import Resources
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from isojepa.theme import wording

HERE = Path(__file__).parent


def render(template: Path, figures: Mapping[str, figure], **values: Any) -> str:
    """A page that needs no other file and no network.

    Args:
        template: a Jinja template that extends base.html.
        figures: Bokeh figures; the template finds the markup of each as plot.name.
        values: what else the template names.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": wording.number,
        "fixed": wording.fixed,
        "percent": wording.percent,
        "duration": wording.duration,
        "chance": wording.chance,
    }
    page = environment.get_template(template.name)
    # A figure without a place in the page would keep Bokeh from drawing any of them
    places = {name: f"<!-- place of {name} -->" for name in figures}
    draft = page.render(css="", js="", bokeh="", script="", plot=places, **values)
    shown: dict[str, Model] = {
        name: figure for name, figure in figures.items() if places[name] in draft
    }
    script, plot = components(shown) if shown else ("", {})
    return page.render(
        css=(HERE / "page.css").read_text(encoding="utf-8"),
        js=(HERE / "page.js").read_text(encoding="utf-8"),
        bokeh=Resources(mode="inline", components=["bokeh"]).render_js() if shown else "",
        script=script,
        plot=plot,
        **values,
    )


def data_uri(content: bytes, kind: str) -> str:
    """`content` as a URI that needs no file and no network; `kind` as in image/png."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
