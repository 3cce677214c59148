"""Metrics: what acts did (``acts``), what happened to the State (``facts``, ``cost``), how it stands now (``gauges``).

``perform`` and the store tell, a scrape collects; nobody decides by any of it, and no trouble in it reaches those who tell.
"""
