"""Training samples: what is drawn of the data sets, and how it is cut."""
