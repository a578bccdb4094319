"""The car studio: path-traced photos of made-up cars in Carvana's format, with exact labels.

`python -m tools.studio --cars 32 --size 288x192 --seed 7 --out DIR` renders a pack. The modules, in
the order in which a photo is made: bodies, styles, geometry, hull, panels, trim, front, rear,
wheels, details, car (the meshes), materials, lettering, studio, edge, camera (the scene), render,
labels, gloss, photo, shoot (the pictures), writer; measure compares a pack's sizes with another's.
"""
