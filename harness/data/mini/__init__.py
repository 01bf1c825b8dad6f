"""The mini benchmark: nine drawn categories in the three official layouts.

`write.write_dataset` puts one on a disk, `draw.draw_plan` gives an image in memory; `counts` says what there is and
imports nothing heavy. The images are SYNTHETIC: they stand in for MVTec AD, VisA and BTAD where none of these is at
hand, and share their names and layouts only. The same versions of NumPy and Pillow draw the same bytes.
"""
