"""What the core and the store cost: ``python -m tests.bench``. Prints a table, then one JSON object; judges nothing."""
