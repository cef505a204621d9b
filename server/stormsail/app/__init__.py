"""The one composition root: here all parts are built from the settings and put together, nowhere else."""

from .serve import serve

__all__ = ["serve"]
