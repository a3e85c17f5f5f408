"""Benchmarks: running trackers on them, the result files, the metrics, tables and plots."""
