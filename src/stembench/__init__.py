"""stembench: a multi-task recommendation benchmark that settles STEM against its rivals."""

__version__ = "0.1.0"
