"""The whole jobs, on data that come with the package."""
