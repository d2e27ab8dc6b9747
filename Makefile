# Lunapool.  `make help` lists what there is.
VARIANT ?= release
CC ?= gcc
B := build/$(VARIANT)

PKGS := libpq openssl libprotobuf-c liburing ldap lber jansson luajit libcurl libmicrohttpd
CFLAGS.release := -O2 -g -fno-plt
CFLAGS.debug := -O0 -g3
CFLAGS.asan := -O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
CFLAGS.tsan := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
ifeq ($(filter $(VARIANT),release debug asan tsan),)
$(error VARIANT must be release, debug, asan or tsan)
endif

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Wno-unused-parameter -Werror
CFLAGS += -std=c11 -D_GNU_SOURCE -fvisibility=hidden -fno-strict-aliasing -fstack-protector-strong $(WARN) $(CFLAGS.$(VARIANT)) \
	-Iinclude $(shell pkg-config --cflags $(PKGS) libsystemd 2>/dev/null)
LIBS = $(shell pkg-config --libs $(PKGS) libsystemd 2>/dev/null) -lev -lpg_query -lpam -lpthread -lm

SRC := $(wildcard src/*/*.c)
OBJ := $(SRC:%.c=$(B)/%.o)
MAIN := $(wildcard src/*.c)
MAIN_OBJ := $(MAIN:%.c=$(B)/%.o)
UNIT := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/*/*_test.c))
FUZZ := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_OBJ := $(SRC:%.c=build/fuzz/%.o)
FUZZ_CFLAGS = $(filter-out -Werror -fsanitize=%,$(CFLAGS)) -Itests/fuzz -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_SECONDS ?= 600
MAKEFLAGS += --no-print-directory
-include local.mk

.PHONY: all
all: build/lunapool ## the release program, at build/lunapool

build/lunapool: build/release/lunapool
	@cp -f $< $@
ifneq ($(VARIANT),release)
build/release/lunapool: FORCE
	@$(MAKE) --no-print-directory VARIANT=release build/release/lunapool
FORCE:
endif

$(B)/lunapool: $(MAIN_OBJ) $(B)/liblunapool.a
	@echo "  LINK $@"
	@$(CC) $(CFLAGS) -o $@ $^ $(LIBS)

$(B)/liblunapool.a: $(OBJ)
	@rm -f $@ && ar rcs $@ $^

$(B)/%.o: %.c | $(B)/.deps
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/src/policy/stock.o build/fuzz/src/policy/stock.o: $(wildcard lua/lunapool/*.lua)

$(B)/unit/%: tests/unit/%.c $(B)/liblunapool.a | $(B)/.deps-check
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CFLAGS) -Itests/lib -MMD -MP -o $@ $< $(B)/liblunapool.a $(LIBS) -lcmocka

build/fuzz/src/%.o: src/%.c | $(B)/.deps-check
	@mkdir -p $(@D)
	@echo "  FUZZ $<"
	@clang $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
build/fuzz/liblunapool.a: $(FUZZ_OBJ)
	@rm -f $@ && ar rcs $@ $^
build/fuzz/%_fuzz: tests/fuzz/%_fuzz.c tests/fuzz/fuzz.h build/fuzz/liblunapool.a
	@echo "  FUZZ $<"
	@clang $(FUZZ_CFLAGS) -fsanitize=fuzzer -o $@ $< build/fuzz/liblunapool.a $(LIBS)

$(B)/.deps:
	@packaging/deps.sh build
	@mkdir -p $(B) && touch $@
$(B)/.deps-check:
	@packaging/deps.sh check
	@mkdir -p $(B) && touch $@

# Of these the run is repeated with the engine that auto does not choose where the kernel grants io_uring.
# Who somebody is, is no business of theirs.
ENGINE_TESTS := $(filter-out tests/wire/auth%,$(sort $(wildcard tests/wire/*.t))) $(patsubst %,tests/pg/%.t,basics cancel copy limits sizes)

.PHONY: test check check-long fuzz fuzz-smoke bench bench-failover demo docs clean help layers headers
test: $(UNIT) $(B)/lunapool layers ## unit tests only: seconds
	@prove -Q $(UNIT)
check: ## every test; VARIANT=asan and tsan run the same ones with sanitizers
	@packaging/deps.sh check
	@$(MAKE) -s -j$$(nproc) $(B)/lunapool $(UNIT) $(FUZZ) headers
	@VARIANT=$(VARIANT) ENGINE_TESTS='$(ENGINE_TESTS)' tests/check.sh $(UNIT)
check-long: ## as check, with the long variants of what has them: hours
	@LUNAPOOL_LONG=1 $(MAKE) check
layers:
	@tests/layers.sh
build/tests/mixup: $(wildcard tests/mixup/*.[ch]) | $(B)/.deps-check
	@mkdir -p $(@D)
	@gcc -O2 -g -std=c11 -D_GNU_SOURCE $(WARN) -I$$(pg_config --includedir) -o $@ $(filter %.c,$^) -lpq -lssl -lcrypto
$(B)/classes: tests/pg/classes.c $(B)/liblunapool.a | $(B)/.deps-check
	@$(CC) $(CFLAGS) -MMD -MP -o $@ $< $(B)/liblunapool.a $(LIBS)
$(B)/bench/%: tests/bench/%.c $(B)/liblunapool.a
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -MMD -MP -o $@ $< $(B)/liblunapool.a $(LIBS)
headers: $(patsubst %.h,$(B)/%.h.ok,$(filter-out include/tbl/%,$(wildcard include/*/*.h)))
$(B)/%.h.ok: %.h | $(B)/.deps
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -fsyntax-only -x c -MMD -MP -MF $@.d -MT $@ $< && touch $@
fuzz: $(FUZZ) ## every fuzz target for FUZZ_SECONDS (600)
	@tests/fuzz/run $(FUZZ_SECONDS) $(FUZZ)
fuzz-smoke: $(FUZZ) ## every fuzz target for 5 seconds
	@FUZZ_SEED=1 tests/fuzz/run 5 $(FUZZ)
bench: ## what a transaction and its routing cost beside pgbouncer, haproxy and pgpool2; QUICK=1 for a first look
	@packaging/deps.sh bench
	@$(MAKE) -j$$(nproc) VARIANT=release build/lunapool build/release/bench/sql_bench build/release/bench/policy_bench
	@tests/bench/bench.py $(if $(QUICK),--quick)
bench-failover: ## for how long writes stand still when something happens to the primary, beside pgpool2; QUICK=1 for a first look
	@packaging/deps.sh bench
	@$(MAKE) -j$$(nproc) VARIANT=release build/lunapool
	@tests/bench/failover.py $(if $(QUICK),--quick)
demo: ## PostgreSQL with two standbys, Lunapool in front; RUN='psql' runs that against it
	@{ packaging/deps.sh demo && $(MAKE) -s -j$$(nproc) build/lunapool; } >&2
	@packaging/demo.sh
demo: export DEMO_RUN = $(value RUN)
docs: $(B)/lunapool ## generates docs/parameters.md, docs/commands.md, docs/statements.md, docs/metrics.md and the samples in conf.d/
	@packaging/docs.sh $<
clean: ## removes build/
	rm -rf build
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

-include $(wildcard $(B)/bench/*.d) $(B)/classes.d $(FUZZ_OBJ:.o=.d) $(OBJ:.o=.d) $(MAIN_OBJ:.o=.d) $(UNIT:%=%.d) $(wildcard $(B)/include/*/*.d)
