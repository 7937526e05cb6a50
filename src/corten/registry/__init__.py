"""The distribution protocol: references to registries, authentication, blobs, manifests, referrers; push, pull and copy; and a
small registry server of our own.

What belongs here: whatever speaks distribution-spec. What does not: compression and tar (`corten.oci`), what lies on this disk
(`corten.store`).
"""
