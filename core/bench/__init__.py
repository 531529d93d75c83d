"""Benchmarks of speed and memory: networks, renderer and sampling of people."""
