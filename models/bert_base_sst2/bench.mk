# What `make bench` compares; common/model.mk says what the names mean.
BENCH = 'PROFILE=random BS=8 SEQ_LENS=128' 'PROFILE=random BS=16 SEQ_LENS=auto GEARS=100'
BENCH_COMPARE = --equal --at_least 4
BENCH_PEER = -m npukit pipeline text-classification $(bench)/2 --tokenizer $(CHECKPOINT_random) --at_least 1.8
