"""The whole job, from imagery to answers: in the synthetic world, in a country, and on your own.

``sandbox``   imagery, cube, photos, answers, and how good they are
``national``  points along the roads of a country, regions, and down to cells
``real``      a GeoTIFF and photos of a user, with the model of real land use
"""
