"""Corpora and weights by digest, and results to a store.

manifest  assets.toml: what a model needs and where it comes from
fetch     assets to data/: from a folder, a mirror, their sources
sources   where an asset may be asked for
download  one file, resumed
archives  files out of archives
bundle    what is there as one tarball
stores    object storage, or a folder
publish   a run to a store
"""
