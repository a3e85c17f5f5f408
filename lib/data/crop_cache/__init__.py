"""The cache of training regions: crops with their surroundings, cut once."""
