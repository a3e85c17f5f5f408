"""The cache of crops for training: crops with their surroundings, cut once."""
