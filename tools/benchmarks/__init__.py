"""Measurements, one module each: `measure(real)` returns the figures, `report(figures)` a text."""
