# Every target prepares .venv from the requirements itself. PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: demo test lint bench
.DELETE_ON_ERROR:

demo: .venv/ready
	$(RUN) scripts/make_synthetic.py --kind pcb --count 60 --seed 0 --output datasets/demo-pcb --write coco
	$(RUN) scripts/augment.py --data datasets/demo-pcb --method copypaste --count 120 --output runs/demo

test: .venv/ready
	$(RUN) -m pytest

lint: .venv/ready
	$(RUN) -m ruff check .

bench: .venv/ready
	$(RUN) scripts/bench.py

# The check that torch and torchvision fit each other: operators are missing where they do not.
.venv/ready: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(RUN) -c "import torch, torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)"
	touch $@
