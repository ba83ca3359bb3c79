"""All Bokeh figures that a world model's run has the material for."""

from collections.abc import Iterator

from bokeh.plotting import figure

from isojepa.pages.embeddings.plots import distance_histogram, sample_spectrum
from isojepa.pages.world.probe_plots import distance_plots, probe_scatters
from isojepa.pages.world.surprise_plots import surprise_histogram, surprise_roc, surprise_traces
from isojepa.pages.world.training_plots import training_plots
from isojepa.pages.world.world_run import WorldRun


def figures_of(world: WorldRun) -> dict[str, figure]:
    """The figures by the names that the template has for them."""
    return dict(_figures(world))


def _figures(world: WorldRun) -> Iterator[tuple[str, figure]]:
    for name, plot in training_plots(world).items():
        yield f"curve_{name}", plot
    probes, arrays = world.probes, world.probe_arrays
    if probes and arrays:
        flip = probes.distance_unit.startswith("pixels")
        for i, plot in enumerate(probe_scatters(probes.quantities, arrays, flip=flip)):
            yield f"probe_{i}", plot
        plots = distance_plots(arrays.pairs, probes.distances, probes.distance_unit)
        yield from ((f"distance_{name}", plot) for name, plot in plots.items())
    measured = world.embeddings
    if measured is not None and measured.distances is not None:
        yield "spectrum", sample_spectrum(measured.spectrum, height=300)
        outliers = len(measured.outliers)
        yield "radii", distance_histogram(measured.distances, outliers, height=300)
    if world.surprise:
        yield "surprise_traces", surprise_traces(world.surprise)
        yield "surprise_roc", surprise_roc(world.surprise)
        if world.surprise_arrays:
            yield "surprise_histogram", surprise_histogram(world.surprise_arrays)
