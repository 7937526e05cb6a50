"""Corten's model server. It runs inside images and imports nothing from `corten`."""
