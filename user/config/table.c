/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of options, and the commands that take them. */
#include "config/internal.h"
#include "limits.h"

#define RUN    (1u << COMMAND_RUN)
#define TRACE  (1u << COMMAND_TRACE)
#define RECORD (1u << COMMAND_RECORD)
#define REPLAY (1u << COMMAND_REPLAY)
#define STATUS (1u << COMMAND_STATUS)
#define DOCTOR (1u << COMMAND_DOCTOR)

#define CAPTURE (RUN | TRACE | RECORD)
#define CHAIN	(RUN | TRACE | REPLAY)
#define EVERY	(CAPTURE | REPLAY | STATUS | DOCTOR)

#define FIELD(name) \
	.offset = offsetof(struct config, name), .width = sizeof(((struct config *)0)->name)
#define MIB	(1ull << 20)
#define GIB	(1ull << 30)
#define HOUR_NS (3600ull * 1000000000)
#define NUM_(x) #x
#define NUM(x)	NUM_(x)
#define OTLP(name)                                                            \
	{                                                                     \
		"OTEL_EXPORTER_OTLP_TRACES_" name, "OTEL_EXPORTER_OTLP_" name \
	}

/* clang-format off */
const struct option config_table[] = {
	{ "config", 0, OPT_STRING, OPTION_NOT_FILE, EVERY, FIELD(config), .arg = "FILE",
	  .help = "read options from a YAML file" },

	{ "capture", 0, OPT_ENUM, 0, CAPTURE, FIELD(capture), .arg = "HOW",
	  .choices = "auto|trampoline|socktp|syscall", .fallback = "auto",
	  .help = "how to see sockets: auto, trampoline, socktp, syscall" },
	{ "process", 0, OPT_LIST, 0, CAPTURE, FIELD(process), .max = FILTER_NAMES, .arg = "GLOB",
	  .expects = "process names with * and ?", .check = check_name,
	  .help = "only processes so named, and their children; repeatable" },
	{ "pid", 'p', OPT_PIDS, 0, CAPTURE, FIELD(pid), .min = 1, .max = 1024, .arg = "PID[,PID]",
	  .help = "only these processes, and their children" },
	{ "cgroup", 0, OPT_LIST, 0, CAPTURE, FIELD(cgroup), .max = FILTER_CGROUPS, .arg = "PATH",
	  .expects = "paths below the cgroup v2 mount", .check = check_name,
	  .help = "only processes in this cgroup or below; repeatable" },
	{ "port", 0, OPT_PORTS, 0, CAPTURE, FIELD(port), .min = 1, .max = FILTER_PORTS, .arg = "N[,N]",
	  .help = "only connections with this port at either end" },
	{ "protocol", 0, OPT_WORDS, 0, CHAIN, FIELD(protocol), .max = 16, .arg = "LIST",
	  .choices = "http|redis|postgresql|mysql|dns", .fallback_note = "all",
	  .help = "only http, redis, postgresql, mysql, dns" },
	{ "capture-bytes", 0, OPT_SIZE, 0, CAPTURE, FIELD(capture_bytes), .max = CAPTURE_MAX,
	  .arg = "SIZE", .fallback = NUM(CAPTURE_DEFAULT),
	  .help = "payload kept of a message, 0 to 16K" },
	{ "ring-size", 0, OPT_SIZE, 0, CAPTURE, FIELD(ring_size), .min = 16384, .max = GIB,
	  .arg = "SIZE", .fallback = "8M", .expects = "a power of two of memory pages, 16K to 1G, such as 8M",
	  .check = check_ring_size, .help = "buffer between kernel and program; a power of two" },
	{ "max-connections", 0, OPT_SIZE, 0, CAPTURE | REPLAY, FIELD(max_connections), .min = 64,
	  .max = 4 * MIB, .arg = "N", .fallback = "65536", .help = "connections followed at a time" },
	{ "memory-limit", 0, OPT_SIZE, 0, CAPTURE | REPLAY, FIELD(memory_limit), .min = 32 * MIB,
	  .max = 1024 * GIB, .arg = "SIZE", .fallback = "256M", .help = "shed load near this much memory" },
	{ "tls", 0, OPT_BOOL, 0, CAPTURE, FIELD(tls), .fallback = "true",
	  .help = "do not look inside TLS (no uprobes on OpenSSL)" },
	{ "raw-queries", 0, OPT_BOOL, 0, CHAIN, FIELD(raw_queries), .fallback = "false",
	  .help = "keep the values in queries; shows secrets" },

	{ "output", 'o', OPT_STRING, 0, TRACE | RECORD | REPLAY, FIELD(output), .arg = "FILE",
	  .help = "write to FILE (- is standard output)" },
	{ "format", 0, OPT_ENUM, 0, TRACE | REPLAY, FIELD(format), .arg = "FORM",
	  .choices = "tree|otlp-json", .fallback = "tree",
	  .fallback_note = "tree; by FILE.json",
	  .help = "tree, or otlp-json: one request a line" },
	{ "duration", 0, OPT_DURATION, 0, TRACE | RECORD, FIELD(duration_ns), .max = 8760 * HOUR_NS,
	  .arg = "TIME", .fallback = "0", .fallback_note = "until ended", .help = "end after this time" },
	{ "service", 0, OPT_STRING, 0, TRACE | REPLAY, FIELD(service), .arg = "GLOB",
	  .help = "show traces that touch this service" },
	{ "min-duration", 0, OPT_DURATION, 0, TRACE | REPLAY, FIELD(min_duration_ns),
	  .max = 8760 * HOUR_NS, .arg = "TIME", .fallback = "0", .help = "show traces that took as long" },
	{ "errors", 0, OPT_BOOL, 0, TRACE | REPLAY, FIELD(errors), .fallback = "false",
	  .help = "show traces with an error" },
	{ "color", 0, OPT_ENUM, 0, TRACE | REPLAY | STATUS | DOCTOR, FIELD(color), .arg = "WHEN",
	  .choices = "auto|always|never", .fallback = "auto", .help = "auto, always, never" },
	{ "user", 'u', OPT_STRING, 0, TRACE | RECORD, FIELD(user), .arg = "USER",
	  .fallback_note = "who called sudo", .help = "run CMD as this user" },

	{ "listen", 0, OPT_STRING, 0, RUN, FIELD(listen), .arg = "ADDR:PORT",
	  .fallback = "127.0.0.1:8009", .expects = "ADDR:PORT such as 127.0.0.1:8009 or [::1]:8009",
	  .check = check_address, .help = "serve metrics and status here" },
	{ "otlp-endpoint", 0, OPT_STRING, 0, RUN, FIELD(otlp_endpoint), .arg = "URL",
	  .expects = "a URL such as http://localhost:4318", .check = check_url, .otel = OTLP("ENDPOINT"),
	  .help = "export spans there; /v1/traces is added" },
	{ "otlp-headers", 0, OPT_STRING, OPTION_SECRET, RUN, FIELD(otlp_headers), .arg = "K=V[,K=V]",
	  .expects = "K=V[,K=V...] with percent-encoded values", .check = check_headers,
	  .otel = OTLP("HEADERS"), .help = "sent with every export" },
	{ "otlp-compression", 0, OPT_ENUM, 0, RUN, FIELD(otlp_compression), .arg = "HOW",
	  .choices = "none|gzip", .fallback = "none", .otel = OTLP("COMPRESSION"), .help = "none or gzip" },
	{ "otlp-timeout", 0, OPT_DURATION, OPTION_OTEL_MS, RUN, FIELD(otlp_timeout_ns), .min = 1000000,
	  .max = HOUR_NS, .arg = "TIME", .fallback = "10s", .otel = OTLP("TIMEOUT"),
	  .help = "for one export" },
	{ "otlp-certificate", 0, OPT_STRING, 0, RUN, FIELD(otlp_certificate), .arg = "FILE",
	  .otel = OTLP("CERTIFICATE"), .help = "authorities trusted (PEM)" },
	{ "otlp-client-key", 0, OPT_STRING, 0, RUN, FIELD(otlp_client_key), .arg = "FILE",
	  .otel = OTLP("CLIENT_KEY"), .help = "our private key (PEM)" },
	{ "otlp-client-certificate", 0, OPT_STRING, 0, RUN, FIELD(otlp_client_certificate),
	  .arg = "FILE", .otel = OTLP("CLIENT_CERTIFICATE"), .help = "our certificate (PEM)" },
	{ "queue-size", 0, OPT_SIZE, 0, RUN, FIELD(queue_size), .min = 65536, .max = 64 * GIB,
	  .arg = "SIZE", .fallback = "64M", .help = "spans waiting for export" },
	{ "recent-traces", 0, OPT_SIZE, 0, RUN, FIELD(recent_traces), .min = 65536, .max = 64 * GIB,
	  .arg = "SIZE", .fallback = "16M", .help = "newest traces kept in memory" },

	{ "address", 0, OPT_STRING, 0, STATUS, FIELD(address), .arg = "ADDR:PORT",
	  .fallback = "127.0.0.1:8009", .fallback_note = "as listen", .expects = "ADDR:PORT such as 127.0.0.1:8009 or [::1]:8009",
	  .check = check_address, .help = "of the running agent" },
	{ "json", 0, OPT_BOOL, 0, STATUS | DOCTOR, FIELD(json), .fallback = "false",
	  .help = "for programs to read" },
	{ "markdown", 0, OPT_BOOL, OPTION_FLAG_ONLY, 1u << COMMAND_OPTIONS, FIELD(markdown),
	  .fallback = "false", .help = "print the reference of all options" },

	{ "log-level", 0, OPT_WORDS, 0, EVERY, FIELD(log_level), .max = 1, .arg = "LEVEL",
	  .choices = "error|warn|info|debug", .fallback = "warn", .fallback_note = "info for run, else warn",
	  .otel = { "OTEL_LOG_LEVEL" }, .help = "error, warn, info, debug" },
	{ "quiet", 'q', OPT_BOOL, 0, EVERY, FIELD(quiet), .fallback = "false",
	  .help = "log errors only" },
	{ "help", 'h', OPT_ACTION, OPTION_FLAG_ONLY, EVERY, .help = "show this" },
	{ "version", 'V', OPT_ACTION, OPTION_FLAG_ONLY, EVERY, .help = "show the version" },
};
const size_t config_table_cnt = ARRAY_LEN(config_table);
_Static_assert(ARRAY_LEN(config_table) <= OPTIONS_MAX, "origins are kept in arrays of this size");

const struct command_info config_commands[COMMAND_MAX] = {
	[COMMAND_NONE] = { "telltale", "COMMAND [OPTION...]",
		"Shows every request that flows through the programs of this machine; changes none.",
		{ "sudo telltale trace -- curl -s http://localhost/", "sudo telltale run" } },
	[COMMAND_RUN] = { "run", "[OPTION...]",
		"Traces this machine until ended: exports spans, serves metrics and status.",
		{ "sudo telltale run --otlp-endpoint http://localhost:4318" } },
	[COMMAND_TRACE] = { "trace", "[OPTION...] [-- CMD ARG...]",
		"Runs CMD, or watches running processes, and prints their requests as trees.",
		{ "sudo telltale trace -- curl -s http://localhost/",
		  "sudo telltale trace -p \"$(pidof nginx)\" --min-duration 100ms" },
		0, 1 << 20, true, "CMD" },
	[COMMAND_RECORD] = { "record", "-o FILE [OPTION...] [-- CMD ARG...]",
		"Writes the kernel's records to FILE, which holds payload, for a later replay.",
		{ "sudo telltale record -o shop.tt --duration 30s" },
		0, 1 << 20, true, "CMD" },
	[COMMAND_REPLAY] = { "replay", "FILE [OPTION...]",
		"Turns a recording into traces, as they would have been shown; needs no privilege.",
		{ "telltale replay shop.tt", "telltale replay shop.tt --format otlp-json -o shop.json" },
		1, 1, false, "FILE" },
	[COMMAND_STATUS] = { "status", "[OPTION...]",
		"Shows what a running agent has seen, sent on and dropped, stage by stage.",
		{ "telltale status", "telltale status --json" } },
	[COMMAND_DOCTOR] = { "doctor", "[OPTION...]",
		"Tells what this kernel, its privileges and its programs allow, and what to do.",
		{ "sudo telltale doctor" } },
	[COMMAND_OPTIONS] = { "options", "[OPTION...]",
		"Prints every option with its value and where that came from.",
		{ "telltale options --config telltale.yaml" } },
	[COMMAND_HELP] = { "help", "[COMMAND]", "Shows a command's options.", { "telltale help trace" },
		0, 1, false, "COMMAND" },
	[COMMAND_VERSION] = { "version", "", "Shows the version.", { "telltale version" } },
};
/* clang-format on */

const struct option *option_find(struct str name)
{
	for (size_t i = 0; i < config_table_cnt; i++) {
		if (str_eq(str_of(config_table[i].name), name))
			return &config_table[i];
	}
	return NULL;
}
