# What `make bench` compares; common/model.mk says what the names mean.
# The original's recipe beside the same short sentences, exact; its answers are others. Then a sample of all, beside allennlp.
BENCH = 'PROFILE=random RECIPE=original SAMPLE=' 'PROFILE=random BS="32 64" SAMPLE= SEQ_LENS="5 6 7 8"' 'PROFILE=random BS="32 64" SAMPLE=1024 GEARS=6'
BENCH_COMPARE = --at_least 10
BENCH_PEER = peer.py $(bench)/3 --oracle $(ORACLE)/bin/python --at_least 1.3
BENCH_NEEDS = $(ORACLE)/ready
