# make check       seconds: format, vet, lint, voice, and tests that need nothing
# make test        everything that guards a change; installs what it needs when root
# make soak        the same comparisons with larger counts; hours
# make bench       the numbers of docs/performance.md
# make compare     the table of docs/compare.md: our compiler's code and the Linux driver's
# make examples    rebuilds the example objects with clang
# make golden      rewrites expected outputs; review the diff

GO ?= go
# One test process per core: the suites are CPU bound.
TESTFLAGS ?= -timeout 40m

# Packages that take longest. They start first, so that no core is idle while they end.
LONGEST = ./internal/difftest ./internal/uml ./cmd/nfpsim

# Packages whose tests need no kernel, guest, prover or other program and end in seconds.
CHECK = . ./bpf/asmtext ./bpf/code ./bpf/helper ./bpf/maps ./ir ./nfp ./nfp/firmware ./nfp/jit/mach ./internal/jsonfile ./internal/voice

.PHONY: check test packages format lint deadcode voice prepare unit examples golden bench compare soak
.DEFAULT_GOAL := test

test: packages lint deadcode voice prepare unit

packages:
	@scripts/packages

# Works on what git lists, as lint does; go's cache makes repeated runs short.
check: lint voice
	@$(GO) test -short $(CHECK)

voice:
	@$(GO) run ./internal/voice

format:
	@files=$$(git ls-files '*.go') && [ -n "$$files" ] || { echo "format: git lists no Go files"; exit 1; }; \
	out=$$(gofmt -l $$files) || exit 1; [ -z "$$out" ] || { echo "gofmt: $$out"; exit 1; }

lint: format
	@$(GO) vet ./...
	@$(GO) tool staticcheck ./...
	@echo "lint: gofmt, vet and staticcheck found nothing"

# Functions that neither a command nor a test reaches. It analyses the whole program,
# half a minute of CPU time, so make check does without.
deadcode:
	@out=$$($(GO) tool deadcode -test ./...) || exit 1; [ -z "$$out" ] || { echo "deadcode: nothing calls"; echo "$$out"; exit 1; }

# Builds that take minutes, once, before any test's time limit runs.
prepare:
	@$(GO) run ./internal/prepare

unit:
	@$(GO) build -o .cache/suites ./internal/suites
	@.cache/suites --go "$(GO)" --flags "$(TESTFLAGS)" $(LONGEST) ./...

examples:
	@$(MAKE) --no-print-directory -C examples

golden:
	$(GO) test ./... -update

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

compare:
	@$(GO) run ./cmd/nfpsim compare --kernel --list examples/compare.list --corpus

# Counts are set here so that a soak is repeatable; results go to docs/soak.json.
soak:
	NFPKIT_DIFF_N=$${NFPKIT_DIFF_N:-200000} $(GO) test -count 1 -timeout 24h -v -run 'TestRandomPrograms' ./internal/difftest
	NFPKIT_TWOJITS_N=$${NFPKIT_TWOJITS_N:-20000} $(GO) test -count 1 -timeout 24h -v -run 'TestTwoCompilers' ./internal/difftest
	NFPKIT_KILLS=$${NFPKIT_KILLS:-4000} NFPKIT_RELOADS=$${NFPKIT_RELOADS:-10000} $(GO) test -count 1 -timeout 24h -v -run 'TestKills|TestReloadsUnderTraffic' ./internal/uml
	NFPKIT_DAMAGES=$${NFPKIT_DAMAGES:-2000} $(GO) test -count 1 -timeout 24h -v -run 'TestDamagedJournal|TestVersion1$$' ./driver/live
	NFPKIT_RFC_N=$${NFPKIT_RFC_N:-1000} $(GO) test -count 1 -timeout 24h -v -run 'TestRFC9669' ./cmd/nfpsim
	NFPKIT_SOUND_N=$${NFPKIT_SOUND_N:-100000} $(GO) test -count 1 -timeout 24h -v -run 'TestSoundness$$' ./bpf/verify
	NFPKIT_RULES_N=$${NFPKIT_RULES_N:-10000} NFPKIT_RULES_MUTANTS_N=$${NFPKIT_RULES_MUTANTS_N:-4000} NFPKIT_RULES_MAPS_N=$${NFPKIT_RULES_MAPS_N:-4000} $(GO) test -count 1 -timeout 24h -v -run 'TestDriver(RulesRandom|RulesMutants|Maps)' ./internal/difftest
	NFPKIT_MAPTYPES_N=$${NFPKIT_MAPTYPES_N:-4000} $(GO) test -count 1 -timeout 24h -v -run 'TestBpftoolTypes' ./bpf/maps
	NFPKIT_LISTINGS=$${NFPKIT_LISTINGS:-200} $(GO) test -count 1 -timeout 24h -v -run 'Test(Bpftool|Objdump)Listings|TestVerifierLogs' ./internal/difftest
	NFPKIT_MUTANTS_N=$${NFPKIT_MUTANTS_N:-10000} $(GO) test -count 1 -timeout 24h -v -run 'TestMutants' ./internal/difftest
	NFPKIT_RANDOM_N=$${NFPKIT_RANDOM_N:-10000} $(GO) test -count 1 -timeout 24h -v -run 'TestRandomVerdicts' ./internal/difftest
	NFPKIT_CORPUS="$${NFPKIT_CORPUS-all}" $(GO) test -count 1 -timeout 24h -v -run 'TestCorpusVerifiers' ./internal/difftest
	NFPKIT_EXPLOSIONS_N=$${NFPKIT_EXPLOSIONS_N:-400} $(GO) test -count 1 -timeout 24h -v -run 'TestExplosions' ./internal/difftest
	NFPKIT_JOINED_N=$${NFPKIT_JOINED_N:-2000} $(GO) test -count 1 -timeout 24h -v -run 'TestJoinedPaths' ./bpf/verify
