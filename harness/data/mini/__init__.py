"""The mini benchmark: nine drawn categories in the three official layouts.

The images are SYNTHETIC: they stand in for MVTec AD, VisA and BTAD, and share only their names and layouts. The same
versions of NumPy and Pillow draw the same bytes.
"""
