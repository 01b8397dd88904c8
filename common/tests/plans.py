"""Plans without a checkout: two models, where the site says as much as it can."""
from npuops.cluster import plan as plans
from npuops.cluster.site import KubernetesSite, Site, SlurmSite

SLURM = SlurmSite(partition="cpu", npu_partition="npu", account="nlp", qos="long", modules=["cann/9.0", "python"])
KUBERNETES = KubernetesSite(namespace="nlp", data_claim="corpora",
                            host_paths=["/usr/local/Ascend/driver", "/usr/local/dcmi"])


def made(cluster: str, folder="/out/jobs/20260102-030405-abcdef", batch_sizes=None, max_npus=1, slurm=SLURM,
         kubernetes=KUBERNETES,
         soc="Ascend310P3", standin="", **site):
    """Return a plan, on a chip if not said otherwise; compiling BERT takes more memory than the site gives."""
    given = {"PROFILE": "released", "SOC": soc, "STANDIN": standin, "DATA": "/data", "OUT_ROOT": "/out",
             "VENV": "/venv", "LOOP": "50"}
    whole = Site(image="registry.example.org/npukit-cann:9.0.1", slurm=slurm, kubernetes=kubernetes, **site)
    groups = plans.graph(batch_sizes or {"bert_base_sst2": [8], "bilstm_crf": [1, 32]}, max_npus)
    return plans.Plan("20260102-030405-abcdef", cluster, "/npukit", str(folder), given, whole, groups, max_npus,
                      {"bert_base_sst2": {"compile": 12}})
