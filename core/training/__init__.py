"""Recipes: each is data + networks + loss + presets, run by the one loop. Nothing here knows a widget or a pipeline."""
