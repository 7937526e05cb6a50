"""What is on this disk: blobs, unpacked layers, named images, fetched files, containers; locks and clean-up.

What belongs here: where things lie, and the guarantees about them (content-addressed, written under a temporary name and
renamed when complete, safe against concurrent use and against being killed). What does not: making things.
"""
