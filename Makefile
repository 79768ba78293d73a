# A thin call into Python, which needs nothing but itself; the work is in deploy/local/. Works with make 3.81.
#   make demo [DOCS=folder] [KEEP=1]     make test [STRICT=1] [ARGS="-k name"]     make up | down | status | logs
#   make test-vllm [ARGS=]     the tests that need a real vLLM, on CPU (Linux on x86-64; 5.8 GB in the cache folder)
#   make check     make bench BENCH=name     make setup | clean     FRESHET_PORT_BASE=N moves every port
#   make chaos [SEED=N] [ARGS=]   faults on purpose for 30 minutes, judged from history; make chaos-short: under three
#   STACK=external uses your own Kafka, Weaviate and Redis; LLM_URL= and LLM_MODEL= an OpenAI-compatible endpoint
PYTHON ?= python3
export DOCS KEEP STRICT BENCH SEED STACK ARGS LLM_URL LLM_MODEL LLM_API_KEY FRESHET_PORT_BASE FRESHET_WORKERS

.PHONY: help setup demo test test-vllm up down status check bench chaos chaos-short logs clean
help:
	@sed -n '2,6s/^#  *//p' Makefile
setup demo test test-vllm up down status check bench chaos chaos-short logs clean:
	@$(PYTHON) deploy/local/bootstrap.py $@
