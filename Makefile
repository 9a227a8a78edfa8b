# make run    sets everything up and runs CONFIG (default: the embedded mock survey)
# make test   sets everything up and runs the tests
# make fuzz   looks for new counterexamples to the property tests
# make faults kills runs a hundred times at random and compares what they end in (hours)
# make slurm  of the tests only the one that runs the profile on a SLURM that it starts itself
# make demo-fetch runs the road on images fetched over HTTP from a server on this machine, which fails now and then
# make why    says which file or setting would make what rerun
# make bench  runs every side-by-side benchmark (six minutes on two cores, 19 at most) and writes their table, here and in README.md
# make manual writes the settings tables of config/README.md, and docs/data-model.md
# make pictures takes the pictures of README.md from the page of the last default run
# make validation PART="simulated mock" TABLES=<folder> writes tables of an evaluation into docs/validation.md
# make trace  prints what TARGET (target_id, name or rank) was made from, back to the answers of services
# make verify recomputes the digest of every file of the run, or of what TARGET was made from
CONFIG ?= config/config.yaml
DATA ?=
TARGET ?=
CORES ?= 2
NO_SKIPS ?= 0
PYTHON ?= python3
VENV := .venv
export PYTHONPATH := $(CURDIR)/workflow/scripts
export NO_SKIPS
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.PHONY: setup run demo-fetch test fuzz faults slurm bench lint why trace verify manual validation pictures clean

setup: $(VENV)/.complete

$(VENV)/.complete: requirements.lock
	$(PYTHON) -m venv $(VENV)
	# the lock is complete; --no-deps leaves out what lenstronomy names but the lens models never import, some of it unfree
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	touch $@

SELECT = --configfile $(CONFIG) $(if $(DATA),--config data=$(DATA))

run: setup
	$(VENV)/bin/snakemake --cores $(CORES) $(SELECT)

demo-fetch: setup
	PYTHONPATH=$(PYTHONPATH):tests $(VENV)/bin/python -m skyserver --port 8642 --latency 0.1 --faults 0.1 --slow 10 \
	    --targets resources/targets/demo.csv --forever >/dev/null & server=$$!; trap "kill $$server" EXIT; sleep 3; \
	$(VENV)/bin/snakemake --cores $(CORES) --configfile config/examples/demo-fetch.yaml

why: setup
	$(VENV)/bin/python workflow/scripts/why.py $(SELECT)

trace: setup
	@$(VENV)/bin/python workflow/scripts/trail.py --configfile $(CONFIG) "$(TARGET)"

verify: setup
	@$(VENV)/bin/python workflow/scripts/verify.py --configfile $(CONFIG) $(if $(TARGET),"$(TARGET)")

pictures: setup
	$(VENV)/bin/python docs/pictures.py results/report/index.html

validation: setup
	$(VENV)/bin/python workflow/scripts/validation.py $(PART) "$(TABLES)"

manual: setup
	$(VENV)/bin/python workflow/scripts/manual.py

test: setup lint
	$(VENV)/bin/pytest -n $(CORES)

fuzz: setup
	HYPOTHESIS_PROFILE=fuzz $(VENV)/bin/pytest -n $(CORES) -m hypothesis

faults: setup
	KILLS=100 $(VENV)/bin/pytest -s tests/faults/test_kills.py

slurm: setup
	$(VENV)/bin/pytest tests/slurm

bench: setup
	PYTHONPATH=$(PYTHONPATH):tests:tests/learn:tests/services $(VENV)/bin/python benchmarks/bench.py

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/snakefmt --check Snakefile workflow/rules
	$(VENV)/bin/mypy
	$(VENV)/bin/snakemake --lint
	$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV) .snakemake results
