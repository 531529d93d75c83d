"""Recipes: each is data, networks, loss and presets, run by one training loop. No widgets or pipelines here."""
