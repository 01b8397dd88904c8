"""Batch jobs on a shared cluster: a graph of them, as texts for the scheduler that the site already has.

    site        what a site is like: its profile file
    plan        which jobs there are, what each waits for, how many NPUs are held at a time
    typed       TOML or JSON -> the dataclasses of site and plan, checked key by key
    render      values -> job texts; values are quoted, never pasted; templates/ has what is more than a document
    slurm       its job texts; submit, ask, cancel
    kubectl     a scheduler of Kubernetes: submit, ask, cancel, and what a task's pod leaves behind
    pods        the pod of a task, for every one of them; argo, volcano add the order
    job         what runs inside a job: the front door, on the device that the job was given
    records     what each task wrote about itself: the truth that `jobs` and `collect` show
    checks      what the administrator must have set up, for `make doctor CLUSTER=...`
    main        python -m npuops cluster <verb>, which the Makefile calls

Nothing here schedules anything: order, limits and retries are the scheduler's own. `make doctor` runs it with any Python.
"""
