"""``make loop``: one turn of the loop on one machine, from drift to the version that answers it."""
