"""The Container Device Interface (CNCF, CDI specification 1.1.0): how vendors say what a container needs for their devices.

`read` finds specifications on this machine, `parse` makes values of their documents, `choose` turns what a caller asks for
into edits, and `apply` puts the edits into a runtime specification. Only `read` and `nodes` look at the machine.
"""
