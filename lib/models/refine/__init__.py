"""Alpha-Refine: the mask of a target, from a box on a crop."""
