# What `make bench` compares; common/model.mk says what the names mean.
BENCH = 'PROFILE=random QUESTIONS=240 BS=8 SEQ_LENS=512' 'PROFILE=random QUESTIONS=240 BS=8 SEQ_LENS=auto GEARS=100'
BENCH_COMPARE = --equal --at_least 2.5
