"""Arithmetic that has a fast form and a plain twin; the plain twin says what is correct."""
