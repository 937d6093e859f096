"""What a patch is made of; both sides read it the same way (docs/formats/patch.md).

``header``                           the head: images, layers, table of streams; ``source_images`` gives the digests
``profiles``                         what a patch may ask of a device
``roles``, ``coders``, ``tape``      streams: what is in them, how they are coded and read
``items``                            how a layer is made; ``references`` number what it is made of, by ``tar_walk``
``header_columns``                   tar headers
``zero_runs``                        differences
``config_text``, ``dictionary_reading``   the config and changed text, coded behind what is there already
"""
