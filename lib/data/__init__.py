"""Frames, crops, samples and the readers of every data set; knows no networks."""
