"""A tracker taken through a benchmark, from sequences to result files."""
