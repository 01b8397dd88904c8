"""One stage, and the machine that it runs on.

run     a command in a fresh folder, moved into place when it succeeds
reads   what a command read, as prerequisites for make; audit/ is what notes it
device  which chips there are, and whether they are idle
doctor  what this machine has for a job
why     which prerequisite makes a stage stale
"""
