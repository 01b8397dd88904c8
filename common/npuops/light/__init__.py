"""First light: what a chip's first hour is for.

steps        the steps of the hour
report       its report, and the tarball to send home
tarball      what may travel, cleaned
differences  observations of the conformance cases, beside each other
facts        the tarball -> recorded cases and costs of lengths in this tree
"""
