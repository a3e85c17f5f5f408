"""The MMG tracker: networks, data, training, tracking and evaluation."""

__version__ = "0.2.0"
