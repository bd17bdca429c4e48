# SPDX-License-Identifier: Apache-2.0
# One non-recursive Makefile; everything built lands in $(B). `make help` lists the targets.

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := all

# V=1 shows the commands; SAN=1 builds with ASan and UBSan in a folder of its own.
Q := $(if $(V),,@)
# FUZZ=1 builds with clang's fuzzer besides; CROSS=aarch64-linux-gnu- for another machine.
B := build$(if $(SAN),/san)$(if $(FUZZ),/fuzz)$(if $(CROSS),/$(patsubst %-,%,$(CROSS)))
say = $(if $(V),,@printf '  %-8s %s\n' $(1) $(2:$(B)/%=%))

CC := $(if $(FUZZ),clang,$(CROSS)gcc)
AR := $(CROSS)ar
CLANG ?= clang
BPFTOOL ?= $(or $(shell command -v bpftool),/usr/sbin/bpftool)
ARCH ?= $(if $(findstring aarch64,$(CROSS)),arm64,$(subst x86_64,x86,$(subst aarch64,arm64,$(shell uname -m))))

# The rooms of user/, in the order data flows.
ROOMS := core config ring stream proto span redact trace analyze store receive export discover probe api cli

CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter $(if $(CI),$(if $(FUZZ),,-Werror))
comma := ,
SANFLAGS := $(if $(SAN)$(FUZZ),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer) \
	$(if $(FUZZ),-fsanitize=fuzzer-no-link)
# limits.h of ours must not stand in for the C library's: include/ is for quoted names only.
INC := -iquote include -Iuser -I$(B)/gen $(if $(CROSS),-idirafter /usr/include -idirafter /usr/include/$(shell uname -m)-linux-gnu)
# A hash of 16 bytes is cheaper than the call to it.
UCFLAGS = -std=gnu11 -D_GNU_SOURCE -DXXH_INLINE_ALL $(if $(KAFKA),-DHAVE_RDKAFKA) $(CFLAGS) $(WARN) $(SANFLAGS) $(INC) -pthread
VERSION := $(or $(shell git describe --always --dirty 2>/dev/null),unknown)
# Kafka is optional: without librdkafka that exporter says so.
KAFKA := $(if $(CROSS),,$(shell pkg-config --exists rdkafka 2>/dev/null && echo 1))
LDLIBS := -lbpf -lelf -lz -lzstd -lprotobuf-c -lyaml -lcurl -lmicrohttpd -lnghttp2 -ljansson -lsqlite3 -lpcre2-8 \
	-lsodium -lgnutls $(if $(KAFKA),-lrdkafka) -lm -pthread

# ---- kernel side: small objects, linked to one, one skeleton -------------------------------

# maps.bpf.c first: the linker of libbpf 1.1 loses the offset of a map whose extern it saw first
BPF_SRC := bpf/maps.bpf.c $(filter-out bpf/maps.bpf.c,$(wildcard bpf/*.bpf.c))
BPF_OBJ := $(BPF_SRC:bpf/%.bpf.c=$(B)/bpf/%.bpf.o)
BPF_CFLAGS := -target bpf -D__TARGET_ARCH_$(ARCH) -O2 -g -Wall -Wno-unused-function \
	-Iinclude -Ivmlinux -Ibpf -mcpu=v2

$(B)/bpf/%.bpf.o: bpf/%.bpf.c Makefile
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

$(B)/telltale.bpf.o: $(BPF_OBJ)
	$(call say,LINK,$@)
	$(Q)$(BPFTOOL) gen object $@ $^

$(B)/gen/telltale.skel.h: $(B)/telltale.bpf.o
	@mkdir -p $(@D)
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name telltale_bpf >$@

# ---- user side: one archive a room ---------------------------------------------------------

PROTOS := $(wildcard user/export/*.proto)
PROTO_C := $(PROTOS:user/export/%.proto=$(B)/gen/%.pb-c.c)
PROTO_O := $(PROTO_C:%.c=%.o)

$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: user/export/%.proto
	@mkdir -p $(@D)
	$(call say,PROTOC,$@)
	$(Q)protoc-c --proto_path=user/export --c_out=$(B)/gen $<

$(B)/gen/%.pb-c.o: $(B)/gen/%.pb-c.c
	$(call say,CC,$@)
	$(Q)$(CC) $(UCFLAGS) -c $< -o $@

$(B)/user/%.o: user/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(UCFLAGS) -DTELLTALE_VERSION='"$(VERSION)"' -MMD -MP -c $< -o $@

# what must be generated before a room compiles
$(B)/user/probe/%.o: INC += -Ibpf
$(B)/user/export/%.o: | $(PROTO_C)
# what is built in as it is
$(B)/user/api/self.o: user/api/openapi.json

room_obj = $(patsubst user/%.c,$(B)/user/%.o,$(wildcard user/$(1)/*.c))
define room_rules
$(B)/lib/$(1).a: $(call room_obj,$(1)) $(if $(filter export,$(1)),$(PROTO_O))
	@mkdir -p $$(@D)
	$$(call say,AR,$$@)
	$(Q)rm -f $$@ && $(AR) rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rules,$(r))))
ROOM_LIBS := $(ROOMS:%=$(B)/lib/%.a)
# A pattern without a recipe adds no prerequisites, so the objects are named.
$(call room_obj,export): | $(PROTO_C)
$(call room_obj,probe): | $(B)/gen/telltale.skel.h

# main, the pipe, the agent, the commands: what sees every room
PROGRAM_OBJ := $(patsubst user/%.c,$(B)/user/%.o,$(wildcard user/*.c))

$(B)/telltale: $(PROGRAM_OBJ) $(ROOM_LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(UCFLAGS) -o $@ $(PROGRAM_OBJ) -Wl,--start-group $(ROOM_LIBS) -Wl,--end-group $(LDLIBS)

all: $(B)/telltale ## build the program

# everything up to the linker, for a machine whose libraries are not here
objects: $(BPF_OBJ) $(patsubst user/%.c,$(B)/user/%.o,$(wildcard user/*.c user/*/*.c)) $(PROTO_O)

# ---- tests ----------------------------------------------------------------------------------

# A room's unit tests link the room and what it builds on, so that each stands alone.
LINK_core := core
LINK_config := config core
LINK_ring := ring core
LINK_stream := stream ring core
LINK_span := span proto stream ring core
LINK_proto := proto span stream ring core
LINK_redact := redact span core
LINK_trace := trace span core
LINK_analyze := analyze span core
LINK_store := store trace span core
LINK_receive := receive export span core
LINK_export := export span core
LINK_discover := discover ring core
LINK_probe := probe ring core
LINK_api := api store trace export span core
LINK_cli := cli trace span core

UNIT_SRC := $(wildcard tests/unit/*/*_test.c)
UNIT_BIN := $(UNIT_SRC:tests/%.c=$(B)/tests/%)
define unit_rules
$(B)/tests/unit/$(1)/%: tests/unit/$(1)/%.c $(LINK_$(1):%=$(B)/lib/%.a)
	@mkdir -p $$(@D)
	$$(call say,TEST,$$@)
	$(Q)$(CC) $(UCFLAGS) -Itests -MMD -MP -o $$@ $$< -Wl,--start-group $(LINK_$(1):%=$(B)/lib/%.a) -Wl,--end-group -lcmocka $(LDLIBS)
endef
$(foreach r,$(ROOMS),$(eval $(call unit_rules,$(r))))

unit-build: $(UNIT_BIN)

# `make unit` or `make unit ROOM=proto`
unit: $(if $(ROOM),$(filter $(B)/tests/unit/$(ROOM)/%,$(UNIT_BIN)),$(UNIT_BIN)) ## build and run the unit tests
	$(Q)fail=0; for t in $^; do $$t || fail=1; done; exit $$fail

# tells what our TraceQL parser accepts, to be compared with Grafana's grammar
$(B)/tests/traceql/accept: tests/traceql/accept.c $(LINK_api:%=$(B)/lib/%.a)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(UCFLAGS) -o $@ $< -Wl,--start-group $(LINK_api:%=$(B)/lib/%.a) -Wl,--end-group $(LDLIBS)

# fuzz targets: tests/fuzz/NAME_fuzz.c, linked with the rooms that parse
LINK_fuzz := api receive store discover redact export trace span proto stream ring config core
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(B)/tests/%,$(wildcard tests/fuzz/*_fuzz.c))
$(B)/tests/%_fuzz: tests/fuzz/%_fuzz.c $(LINK_fuzz:%=$(B)/lib/%.a)
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)
	$(Q)$(CC) $(UCFLAGS) -fsanitize=fuzzer -Itests -MMD -MP -o $@ $< -Wl,--start-group $(LINK_fuzz:%=$(B)/lib/%.a) -Wl,--end-group $(LDLIBS)
fuzz-build: $(FUZZ_BIN)

fuzz: ## build and run each fuzz target for FUZZ_SECONDS (20)
	$(Q)FUZZ_SECONDS=$(or $(FUZZ_SECONDS),20) tests/fuzz/run.sh

FORMAT_SRC = $(wildcard bpf/*.[ch] include/*.h user/*.[ch] user/*/*.[ch] tests/*/*.[ch] tests/*/*/*.[ch])
check-format: ## is the source formatted as .clang-format says?
	$(Q)clang-format --dry-run -Werror --ferror-limit=0 $(FORMAT_SRC)
format: ## format the source
	$(Q)clang-format -i $(FORMAT_SRC)

deps: ## install missing Debian packages (needs root when there are any)
	$(Q)tests/deps.sh test

# the README's two commands; as root they install what is missing first
test: ## build and run every test; STAGE=unit runs one stage
	$(Q)if [ "$$(id -u)" = 0 ]; then tests/deps.sh test; fi
	$(Q)$(MAKE) --no-print-directory -j2 all
	$(Q)tests/run $(STAGE)

run: ## build, then run the agent on this machine (root)
	$(Q)if [ "$$(id -u)" = 0 ]; then tests/deps.sh build; fi
	$(Q)$(MAKE) --no-print-directory -j2 all
	$(B)/telltale run

$(B)/tests/load: tests/bench/load.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(UCFLAGS) -o $@ $<

$(B)/tests/bench_otlp: tests/bench/otlp.c $(LINK_receive:%=$(B)/lib/%.a)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(UCFLAGS) -Itests -MMD -MP -o $@ $< -Wl,--start-group $(LINK_receive:%=$(B)/lib/%.a) -Wl,--end-group $(LDLIBS)

bench-otlp: $(B)/tests/bench_otlp ## what reading OTLP costs
	$(Q)$<

$(B)/tests/bench_redact: tests/bench/redact.c $(LINK_redact:%=$(B)/lib/%.a)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(UCFLAGS) -Itests -MMD -MP -o $@ $< -Wl,--start-group $(LINK_redact:%=$(B)/lib/%.a) -Wl,--end-group $(LDLIBS)

bench-redact: $(B)/tests/bench_redact ## what the redaction gate costs a span
	$(Q)$<

bench: all $(B)/tests/load ## what tracing costs on this machine (root); BENCH='--rounds 3 --only nginx'
	$(Q)tests/bench/bench.py $(BENCH)
bench-vm: all $(B)/tests/load ## the same in instructions, in guests; KERNELS='bookworm trixie'
	$(Q)tests/bench/vm.sh $(KERNELS)

$(B)/tests/bench_%: tests/bench/%.c $(LINK_store:%=$(B)/lib/%.a)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(UCFLAGS) -Itests -MMD -MP -o $@ $< -Wl,--start-group $(LINK_store:%=$(B)/lib/%.a) -Wl,--end-group $(LDLIBS)
$(B)/tests/otlp_load: tests/bench/otlp_load.c $(LINK_export:%=$(B)/lib/%.a)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(UCFLAGS) -Itests -MMD -MP -o $@ $< -Wl,--start-group $(LINK_export:%=$(B)/lib/%.a) -Wl,--end-group $(LDLIBS)
$(B)/tests/bench_chain: tests/bench/chain.c $(B)/user/pipe.o $(B)/user/kernel_books.o $(ROOM_LIBS)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(UCFLAGS) -MMD -MP -o $@ $(filter %.c %.o,$^) -Wl,--start-group $(ROOM_LIBS) -Wl,--end-group $(LDLIBS)
bench-store: all $(B)/tests/otlp_load ## what taking in, keeping and finding spans costs; BENCH=SPANS (10000000)
	$(Q)tests/bench/store.py $(BENCH)
bench-complete: all $(B)/tests/otlp_load ## how many traces are whole whose spans come apart; BENCH='10000 20': traces/s, seconds
	$(Q)tests/bench/complete.py $(BENCH)
bench-block: $(B)/tests/bench_block ## what a block of the store costs; BENCH='500000 1': spans, level of zstd
	$(Q)$(B)/tests/bench_block $(BENCH)

bench-engine: $(B)/tests/bench_store ## what the embedded store costs and how soon it finds; BENCH='10000000': spans
	$(Q)rm -rf $(B)/bench-engine
	$(Q)$(B)/tests/bench_store $(or $(BENCH),1000000) $(B)/bench-engine
	$(Q)rm -rf $(B)/bench-engine

demo: ## a small shop of real programs, traced (root)
	$(Q)if [ "$$(id -u)" = 0 ]; then tests/deps.sh test; fi
	$(Q)$(MAKE) --no-print-directory -j2 all
	$(Q)tests/demo/demo.py

clean: ## remove what was built
	rm -rf $(B)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.PHONY: all objects unit unit-build fuzz-build fuzz check-format format deps test run bench bench-block bench-complete bench-engine bench-otlp bench-redact bench-store bench-vm demo clean help
