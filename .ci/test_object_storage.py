"""A job as a cluster runs it: its data come from object storage, its results go there, and its stages know no network."""
import json
import os
import subprocess
import sys
from pathlib import Path

import s3server
from corpora import need
from test_offline import ALONE

ROOT = Path(__file__).parents[1]


def test_a_job_from_s3_to_s3(tmp_path):
    with s3server.serving() as settings:
        store = s3server.client(settings)
        for bucket in ("data", "results"):
            store.create_bucket(Bucket=bucket)
        for part in ("train", "dev", "test"):
            store.upload_file(str(need(f"cluener/{part}.json")), "data", f"copy/cluener/{part}.json")

        def make(*goals, before=(), **environment):
            given = [f"VENV={sys.prefix}", "ENGINE=none", f"DATA={tmp_path}/data", f"OUT_ROOT={tmp_path}/out",
                     "MODEL=bilstm_crf",
                     "PROFILE=released", "BS=32", "LOOP=3"]
            done = subprocess.run([*before, "make", "--no-print-directory", *given, *goals], cwd=ROOT,
                                  capture_output=True, text=True,
                                  env={**os.environ, **settings, **environment})
            assert done.returncode == 0 and s3server.SECRET not in done.stdout + done.stderr, done.stdout + done.stderr
            return done.stdout

        assert make("fetch", MIRROR="s3://data/copy").count(": from s3://data/copy/cluener/") == 3
        short = tmp_path / "short.json"  # a hundred sentences: what is tried here is the way, not the model
        short.write_text("".join((tmp_path / "data/cluener/dev.json").read_text().splitlines(keepends=True)[:100]))
        make(f"CORPUS={short}", "all", before=ALONE)
        assert "files sent" in make("publish", DEST="s3://results/jobs")
        assert make("publish", DEST="s3://results/jobs").strip().endswith(": there")
        assert make("verify-published", DEST="s3://results/jobs").strip().endswith(": verified")
        [key] = [key for key in s3server.keys(settings, "results") if key.endswith("postprocess/report.json")]
        assert key.startswith("jobs/bilstm_crf/cpu/released/bs32/")
        assert json.load(store.get_object(Bucket="results", Key=key)["Body"])["passes"]
