"""The online store: the newest row of every key, packed, read in microseconds.

* ``packing.py``, ``rows.py``: a row as bytes with its times, its schema and its nulls;
* ``keys.py``: the key of a row, which never holds an identifier;
* ``store.py``: what any online store promises; ``sqlite.py``, ``redis.py``: those there are;
* ``reading.py``: features for learners, with a status each.

How rows get here is in :mod:`feature_store.materialise` and :mod:`feature_store.push`.
"""
