# What `make bench` compares; common/model.mk says what the names mean.
conll = $(bench)/conll-160.txt
BENCH = 'PROFILE=random CORPUS=$(conll) BS=1 SEQ_LENS=512' 'PROFILE=random CORPUS=$(conll) BS=16 SEQ_LENS=auto GEARS=100'
BENCH_CORPUS = bench_corpus.py --sentences 160 --output $(conll)
BENCH_COMPARE = --equal --at_least 20
BENCH_PEER = -m npukit pipeline token-classification $(bench)/2 --tokenizer $(CHECKPOINT_random) --at_least 1.7
