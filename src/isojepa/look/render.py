"""Templates and Bokeh figures -> one self-contained HTML page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bokeh.embed import components
from bokeh.plotting import figure
from bokeh.resources import Resources
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from isojepa.look import wording

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
        "percent": wording.percent,
        "duration": wording.duration,
        "chance": wording.chance,
    }
    script, plot = components(dict(figures)) if figures else ("", {})
    return environment.get_template(template.name).render(
        css=(HERE / "page.css").read_text(encoding="utf-8"),
        js=(HERE / "page.js").read_text(encoding="utf-8"),
        bokeh=Resources(mode="inline", components=["bokeh"]).render_js() if figures else "",
        script=script,
        plot=plot,
        **values,
    )
