"""The mini benchmark: nine drawn categories in the three official layouts, the same to the byte on every machine.

`write.write_mini` puts it on a disk, `draw.draw_category` gives its images in memory; `counts` says what it holds and
imports nothing. Its images are SYNTHETIC: they stand in for MVTec AD, VisA and BTAD where none of these is at hand, and
share their names and layouts only.
"""
