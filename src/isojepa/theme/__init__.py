"""One look for every page: style of plots, wording of numbers, skeleton of the HTML."""
