"""
What a person on a phone sees of a journey, and may answer.

From what Turn sends (``rendering``) to the text of a message (``numbering``),
to the screens it is shown on (``screens``, ``pages``), and from what the
person typed back to the choice that was meant (``menus``).
"""
