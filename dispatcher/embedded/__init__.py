"""The default that needs nothing else: a queue on SQLite that speaks the Arvados API, and a small runner for its containers.

Nothing imports this package but the command line; the dispatcher speaks to the queue over HTTP and copies the runner to its
instances. The map, from the outside to the inside:

* ``serve.py`` starts the queue as a process of its own (``python -m dispatcher.embedded.serve``): data folder, port, lock;
  ``server.py`` is the HTTP server below it, ``tls.py`` its certificate, ``accounts.py`` its users and tokens;
* ``app.py`` maps paths to actions, ``forms.py`` reads parameters, ``render.py`` writes answers, ``discovery.py`` describes both;
* ``containers.py`` and ``requests.py`` act on the two kinds of record within one transaction, side effects included;
* ``rules.py``, ``request_rules.py``, ``normalise.py``, ``priority.py`` decide, as pure functions;
* ``filters.py`` and ``listing.py`` turn list parameters to SQL; ``store.py`` is the database; ``resources.py`` is the table of
  resources and attributes that all of them read;
* ``runner.py`` stands alone: one file of the standard library, copied to instances.
"""
