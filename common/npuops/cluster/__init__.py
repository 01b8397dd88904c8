"""Batch jobs on a shared cluster: a graph of them, as texts for the scheduler that the site already has.

    site        what a site is like: its profile file
    plan        which jobs there are, what each waits for, how many NPUs are held at a time
    texts       template files -> job texts; values are quoted, never pasted
    slurm, kubernetes, volcano   one a scheduler: fill its templates, submit, ask, cancel
    job         what runs inside a job: the front door, on the device that the job was given
    records     what each task wrote about itself: the truth that `jobs` and `collect` show
    checks      what the administrator must have set up, for `make doctor CLUSTER=...`
    main        python -m npuops cluster <verb>, which the Makefile calls

Nothing here schedules anything: order, limits and retries are the scheduler's own. The folder of a scheduler's name holds its
templates. Needs nothing but Python, so that it runs on a login node.
"""
