"""What tests of the report say of the runs that `make_run` writes."""

from collections.abc import Callable
from pathlib import Path

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">$$x$$"
)
"""As a path, a class and a folder may be named; dollars would send Bokeh to fetch MathJax."""

MakeRun = Callable[..., Path]
