"""The MMG tracker: networks, data, training, tracking and evaluation."""
