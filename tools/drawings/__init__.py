"""Figures that take more than a few lines to draw; tools/figures.py writes them to figures/."""
