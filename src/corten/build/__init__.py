"""Lock → Plan (pure) → layers → Image.

What belongs here: deciding which layers an image has, placing files into them deterministically, compiling bytecode,
composing the configuration. No command is ever run inside an image being built.
"""
