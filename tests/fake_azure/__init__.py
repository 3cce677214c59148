"""A fake Azure Resource Manager: a real TLS socket that the real SDK speaks to, unkind and suspicious. No account is needed.

* ``judge.py`` judges every request by ``table.py`` (our own schema), ``rules.py`` (what no schema says), ``sdk_models.py`` (the
  models of the installed SDK) and ``microsoft.py`` (Microsoft's descriptions, where they are at hand); ``shapes.py`` is the form
  that all of them share;
* ``buckets.py`` are Azure's limits, ``faults.py`` and ``knobs.py`` what goes wrong, ``errors.py`` what is said then;
* ``model.py`` is what exists, ``creating.py`` and ``deleting.py`` how it comes and goes, ``views.py`` how it is shown;
* ``account.py`` puts these together: a request is a value and so is its answer; ``handlers.py`` has a row for each operation;
* ``retail.py`` is the public page of prices;
* ``login.py`` hands out tokens, ``server.py`` is the socket, ``machines.py`` the SSH servers behind the machines;
* ``python -m tests.fake_azure --port 8443 --folder /tmp/azure`` runs it alone.

What it cannot show: that Azure accepts a combination of size, image and zone, Azure's true times and true texts.
"""
