"""Meters: counters, summaries with quantiles and histograms, and the catalogue of every series that is served.

They count what they are told and know nothing of what it means. Runtime and web fill them; nobody decides by them.
"""
