"""Finding what a project runs, where it does not say: files are read, never imported.

`order.py` has the recognisers in their order, `choose.py` takes one of what they found."""
