/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of options, and the commands that take them. */
#include "config/internal.h"
#include "core/listen.h"
#include "limits.h"

#define RUN	(1u << COMMAND_RUN)
#define GATEWAY (1u << COMMAND_GATEWAY)
#define STORE	(1u << COMMAND_STORE)
#define TRACE	(1u << COMMAND_TRACE)
#define RECORD	(1u << COMMAND_RECORD)
#define REPLAY	(1u << COMMAND_REPLAY)
#define STATUS	(1u << COMMAND_STATUS)
#define DOCTOR	(1u << COMMAND_DOCTOR)

#define CAPTURE (RUN | TRACE | RECORD)
#define CHAIN	(RUN | TRACE | REPLAY)
#define BACKEND (RUN | GATEWAY)
#define EVERY	(CAPTURE | REPLAY | STATUS | DOCTOR | GATEWAY | STORE)

#define FIELD(name) \
	.offset = offsetof(struct config, name), .width = sizeof(((struct config *)0)->name)
#define MIB	(1ull << 20)
#define GIB	(1ull << 30)
#define HOUR_NS (3600ull * 1000000000)
#define DAY_NS	(24 * HOUR_NS)
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
	{ "memory-limit", 0, OPT_SIZE, 0, CAPTURE | REPLAY | GATEWAY, FIELD(memory_limit), .min = 32 * MIB,
	  .max = 1024 * GIB, .arg = "SIZE", .fallback = "256M", .help = "shed load near this much memory" },
	{ "tls", 0, OPT_BOOL, 0, CAPTURE, FIELD(tls), .fallback = "true",
	  .help = "do not look inside TLS (no uprobes on OpenSSL)" },
	{ "raw-queries", 0, OPT_BOOL, 0, CHAIN | GATEWAY, FIELD(raw_queries), .fallback = "false",
	  .help = "keep the values in queries; shows secrets" },

	{ "output", 'o', OPT_STRING, 0, TRACE | RECORD | REPLAY | STORE, FIELD(output), .arg = "FILE",
	  .help = "write to FILE (- is standard output)" },
	{ "format", 0, OPT_ENUM, 0, TRACE | REPLAY, FIELD(format), .arg = "FORM",
	  .choices = "tree|otlp-json", .fallback = "tree",
	  .fallback_note = "tree; by FILE.json",
	  .help = "tree, or otlp-json: one request a line" },
	{ "duration", 0, OPT_DURATION, 0, TRACE | RECORD, FIELD(duration_ns), .max = 365 * DAY_NS,
	  .arg = "TIME", .fallback = "0", .fallback_note = "until ended", .help = "end after this time" },
	{ "service", 0, OPT_STRING, 0, TRACE | REPLAY, FIELD(service), .arg = "GLOB",
	  .help = "show traces that touch this service" },
	{ "min-duration", 0, OPT_DURATION, 0, TRACE | REPLAY, FIELD(min_duration_ns),
	  .max = 365 * DAY_NS, .arg = "TIME", .fallback = "0", .help = "show traces that took as long" },
	{ "errors", 0, OPT_BOOL, 0, TRACE | REPLAY, FIELD(errors), .fallback = "false",
	  .help = "show traces with an error" },
	{ "color", 0, OPT_ENUM, 0, TRACE | REPLAY | STATUS | DOCTOR, FIELD(color), .arg = "WHEN",
	  .choices = "auto|always|never", .fallback = "auto", .help = "auto, always, never" },
	{ "user", 'u', OPT_STRING, 0, TRACE | RECORD, FIELD(user), .arg = "USER",
	  .fallback_note = "who called sudo", .help = "run CMD as this user" },

	{ "listen", 0, OPT_STRING, 0, BACKEND, FIELD(listen), .arg = "ADDR:PORT",
	  .fallback = "127.0.0.1:8009", .expects = "ADDR:PORT such as 127.0.0.1:8009 or [::1]:8009",
	  .check = listen_valid, .help = "serve queries, metrics and status here" },
	{ "otlp-http", 0, OPT_STRING, 0, BACKEND, FIELD(otlp_http), .arg = "ADDR:PORT",
	  .fallback = "127.0.0.1:4318", .expects = "ADDR:PORT such as 127.0.0.1:4318, or off",
	  .check = check_receiver, .help = "receive OTLP/HTTP and Zipkin here, or off" },
	{ "otlp-grpc", 0, OPT_STRING, 0, BACKEND, FIELD(otlp_grpc), .arg = "ADDR:PORT",
	  .fallback = "127.0.0.1:4317", .expects = "ADDR:PORT such as 127.0.0.1:4317, or off",
	  .check = check_receiver, .help = "receive OTLP/gRPC here, or off" },
	{ "receive-max-body", 0, OPT_SIZE, OPTION_RARE, BACKEND, FIELD(receive_max_body),
	  .min = 1024, .max = GIB, .arg = "SIZE", .fallback = "64M",
	  .help = "largest request taken, unpacked" },
	{ "receive-max-rate", 0, OPT_SIZE, OPTION_RARE, BACKEND, FIELD(receive_max_rate),
	  .max = 1024 * GIB, .arg = "SIZE", .fallback = "0", .fallback_note = "no limit",
	  .help = "bytes a second taken from all senders" },
	{ "receive-max-requests", 0, OPT_SIZE, OPTION_RARE, BACKEND, FIELD(receive_max_requests),
	  .max = GIB, .arg = "N", .fallback = "0", .fallback_note = "no limit",
	  .help = "requests a second taken from all senders" },
	{ "receive-connections", 0, OPT_SIZE, OPTION_RARE, BACKEND, FIELD(receive_connections),
	  .min = 1, .max = 1000000, .arg = "N", .fallback = "2000",
	  .help = "most connections of each receiver" },

	{ "store", 0, OPT_STRING, OPTION_URLS, BACKEND, FIELD(store), .arg = "WHERE",
	  .fallback = "/var/lib/telltale",
	  .expects = "a directory, clickhouse+http://HOST:8123/DATABASE, or none",
	  .check = check_store, .help = "a directory, a ClickHouse, or none" },
	{ "retention", 0, OPT_DURATION, 0, BACKEND, FIELD(retention_ns), .max = 3650 * DAY_NS,
	  .arg = "TIME", .fallback = "7d", .help = "drop spans older than this; 0 keeps them" },
	{ "store-max-bytes", 0, OPT_SIZE, 0, BACKEND, FIELD(store_max_bytes), .max = 1024 * 1024 * GIB,
	  .arg = "SIZE", .fallback = "10G", .help = "drop the oldest spans past this; 0: no limit" },
	{ "rollup", 0, OPT_DURATION, OPTION_RARE, BACKEND, FIELD(rollup_ns), .max = 3650 * DAY_NS,
	  .arg = "TIME", .fallback = "0", .fallback_note = "none",
	  .help = "keep hourly summaries of dropped spans for so long" },
	{ "store-key-file", 0, OPT_STRING, OPTION_RARE, BACKEND | STORE, FIELD(store_key_file),
	  .arg = "FILE", .help = "encrypt the store with this key: 32 bytes or 64 hex digits" },
	{ "store-key", 0, OPT_STRING, OPTION_RARE | OPTION_SECRET, BACKEND | STORE, FIELD(store_key),
	  .arg = "HEX", .expects = "64 hex digits", .check = check_name,
	  .help = "the same key in hex; best as a variable" },

	{ "sampling", 0, OPT_ENUM, 0, BACKEND, FIELD(sampling), .arg = "HOW",
	  .choices = "always|never|ratio|rate|tail", .fallback = "always",
	  .help = "what is kept: always, never, ratio, rate, tail" },
	{ "sampling-ratio", 0, OPT_RATIO, 0, BACKEND, FIELD(sampling_ratio), .arg = "RATIO",
	  .fallback = "1", .otel = { "OTEL_TRACES_SAMPLER_ARG" }, .help = "of traces, 0 to 1" },
	{ "sampling-parent", 0, OPT_BOOL, OPTION_RARE, BACKEND, FIELD(sampling_parent),
	  .fallback = "true", .help = "do not follow the caller's decision not to sample" },
	{ "max-traces-per-second", 0, OPT_SIZE, OPTION_RARE, BACKEND, FIELD(max_traces_per_second),
	  .min = 1, .max = 1000000, .arg = "N", .fallback = "100",
	  .otel = { "MAX_TRACES_PER_SECOND" }, .help = "of sampling by rate, and tail's share of the ordinary" },
	{ "sampling-service", 0, OPT_LIST, OPTION_RARE, BACKEND, FIELD(sampling_service), .max = 64,
	  .arg = "GLOB=HOW", .expects = "GLOB=always, GLOB=never or GLOB=RATIO",
	  .check = check_sampling_service, .help = "for services so named; repeatable" },
	{ "tail-buffer", 0, OPT_SIZE, OPTION_RARE, BACKEND, FIELD(tail_buffer), .min = MIB,
	  .max = 1024 * GIB, .arg = "SIZE", .fallback = "256M",
	  .help = "spans waiting for the decision on their trace" },

	{ "redact-allow", 0, OPT_LIST, OPTION_RARE, BACKEND, FIELD(redact_allow), .max = 256,
	  .arg = "KEY", .check = check_name, .help = "attributes never looked at; * and ?; repeatable" },
	{ "redact-deny", 0, OPT_LIST, OPTION_RARE, BACKEND, FIELD(redact_deny), .max = 256,
	  .arg = "KEY[=ACTION]", .check = check_name, .help = "attributes always masked, or KEY=hash, KEY=drop; repeatable" },
	{ "redact-rule", 0, OPT_LIST, OPTION_RARE | OPTION_WHOLE, BACKEND, FIELD(redact_rule),
	  .max = 32, .arg = "NAME=ACTION[:PATTERN]",
	  .expects = "NAME=mask:PATTERN, NAME=hash:PATTERN or NAME=drop:PATTERN",
	  .check = check_redact_rule, .help = "a rule of one's own, or what a built-in one does" },
	{ "redact-hash-key-file", 0, OPT_STRING, OPTION_RARE, BACKEND, FIELD(redact_hash_key_file),
	  .arg = "FILE", .help = "key of hashed values, needed by hash" },

	{ "otlp-endpoint", 0, OPT_LIST, OPTION_URLS, BACKEND, FIELD(otlp_endpoint), .max = 16, .arg = "URL",
	  .expects = "a URL such as http://localhost:4318", .check = check_endpoint, .otel = OTLP("ENDPOINT"),
	  .help = "export spans there; several take turns" },
	{ "otlp-protocol", 0, OPT_ENUM, 0, BACKEND, FIELD(otlp_protocol), .arg = "HOW",
	  .choices = "grpc|http/protobuf|http/json", .fallback = "http/protobuf",
	  .otel = OTLP("PROTOCOL"), .help = "grpc, http/protobuf, http/json" },
	{ "otlp-headers", 0, OPT_STRING, OPTION_SECRET, BACKEND, FIELD(otlp_headers), .arg = "K=V[,K=V]",
	  .expects = "K=V[,K=V...] with percent-encoded values", .check = check_headers,
	  .otel = OTLP("HEADERS"), .help = "sent with every export" },
	{ "otlp-compression", 0, OPT_ENUM, OPTION_RARE, BACKEND, FIELD(otlp_compression), .arg = "HOW",
	  .choices = "none|gzip", .fallback = "none", .otel = OTLP("COMPRESSION"), .help = "none or gzip" },
	{ "otlp-timeout", 0, OPT_DURATION, OPTION_OTEL_MS | OPTION_RARE, BACKEND, FIELD(otlp_timeout_ns),
	  .min = 1000000, .max = HOUR_NS, .arg = "TIME", .fallback = "10s", .otel = OTLP("TIMEOUT"),
	  .help = "for one export" },
	{ "otlp-insecure", 0, OPT_BOOL, OPTION_RARE, BACKEND, FIELD(otlp_insecure), .fallback = "false",
	  .otel = OTLP("INSECURE"), .help = "gRPC without TLS where the URL does not say" },
	{ "otlp-certificate", 0, OPT_STRING, OPTION_RARE, BACKEND, FIELD(otlp_certificate), .arg = "FILE",
	  .otel = OTLP("CERTIFICATE"), .help = "authorities trusted (PEM)" },
	{ "otlp-client-key", 0, OPT_STRING, OPTION_RARE, BACKEND, FIELD(otlp_client_key), .arg = "FILE",
	  .otel = OTLP("CLIENT_KEY"), .help = "our private key (PEM)" },
	{ "otlp-client-certificate", 0, OPT_STRING, OPTION_RARE, BACKEND, FIELD(otlp_client_certificate),
	  .arg = "FILE", .otel = OTLP("CLIENT_CERTIFICATE"), .help = "our certificate (PEM)" },
	{ "queue-size", 0, OPT_SIZE, OPTION_RARE, BACKEND, FIELD(queue_size), .min = 65536, .max = 64 * GIB,
	  .arg = "SIZE", .fallback = "64M", .help = "spans waiting for export, of each exporter" },
	{ "export-spans", 0, OPT_SIZE, OPTION_RARE, BACKEND, FIELD(export_spans), .max = 1 << 30,
	  .arg = "N", .fallback = "0", .fallback_note = "no limit",
	  .otel = { "OTEL_BSP_MAX_QUEUE_SIZE" }, .help = "the same, counted in spans" },
	{ "export-batch", 0, OPT_SIZE, OPTION_RARE, BACKEND, FIELD(export_batch), .min = 1, .max = 65536,
	  .arg = "N", .fallback = "4096", .otel = { "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" },
	  .help = "spans in one export" },
	{ "export-delay", 0, OPT_DURATION, OPTION_OTEL_MS | OPTION_RARE, BACKEND, FIELD(export_delay_ns),
	  .max = HOUR_NS, .arg = "TIME", .fallback = "1s", .otel = { "OTEL_BSP_SCHEDULE_DELAY" },
	  .help = "a batch waits so long for more" },
	{ "export-give-up", 0, OPT_DURATION, OPTION_OTEL_MS | OPTION_RARE, BACKEND,
	  FIELD(export_give_up_ns), .min = 1000000, .max = 30 * DAY_NS, .arg = "TIME",
	  .fallback = "5m", .fallback_note = "5m; never with export-spool",
	  .otel = { "OTEL_BSP_EXPORT_TIMEOUT" }, .help = "a batch that no endpoint took is dropped" },
	{ "export-spool", 0, OPT_STRING, OPTION_RARE, BACKEND, FIELD(export_spool), .arg = "DIR",
	  .help = "keep what waits for export there, across restarts" },
	{ "export-spool-bytes", 0, OPT_SIZE, OPTION_RARE, BACKEND, FIELD(export_spool_bytes),
	  .min = MIB, .max = 1024 * GIB, .arg = "SIZE", .fallback = "1G",
	  .help = "most that waits there, of each exporter" },
	{ "export-file", 0, OPT_STRING, OPTION_RARE, BACKEND, FIELD(export_file), .arg = "FILE",
	  .help = "write OTLP/JSON lines there, with rotation" },
	{ "export-file-size", 0, OPT_SIZE, OPTION_RARE, BACKEND, FIELD(export_file_size), .min = 4096,
	  .max = 1024 * GIB, .arg = "SIZE", .fallback = "100M", .help = "a new file past this" },
	{ "export-file-age", 0, OPT_DURATION, OPTION_RARE, BACKEND, FIELD(export_file_age_ns),
	  .max = 365 * DAY_NS, .arg = "TIME", .fallback = "0", .fallback_note = "no limit",
	  .help = "a new file after this" },
	{ "export-file-keep", 0, OPT_SIZE, OPTION_RARE, BACKEND, FIELD(export_file_keep), .max = 1000,
	  .arg = "N", .fallback = "5", .help = "old files kept" },
	{ "export-stdout", 0, OPT_BOOL, OPTION_RARE, BACKEND, FIELD(export_stdout), .fallback = "false",
	  .help = "print traces as trees" },
	{ "zipkin-endpoint", 0, OPT_STRING, OPTION_RARE | OPTION_URLS, BACKEND,
	  FIELD(zipkin_endpoint), .arg = "URL",
	  .expects = "a URL such as http://localhost:9411/api/v2/spans", .check = check_url,
	  .otel = { "OTEL_EXPORTER_ZIPKIN_ENDPOINT" }, .help = "export spans there in Zipkin's form" },
	{ "zipkin-timeout", 0, OPT_DURATION, OPTION_OTEL_MS | OPTION_RARE, BACKEND, FIELD(zipkin_timeout_ns),
	  .min = 1000000, .max = HOUR_NS, .arg = "TIME", .fallback = "10s",
	  .otel = { "OTEL_EXPORTER_ZIPKIN_TIMEOUT" }, .help = "for one export" },
	{ "kafka-brokers", 0, OPT_LIST, OPTION_RARE, BACKEND, FIELD(kafka_brokers), .max = 64,
	  .arg = "HOST:PORT", .check = check_name, .help = "export spans to Kafka; repeatable" },
	{ "kafka-topic", 0, OPT_STRING, OPTION_RARE, BACKEND, FIELD(kafka_topic), .arg = "NAME",
	  .fallback = "otlp_spans", .check = check_name, .help = "with OTLP requests in protobuf" },
	{ "kafka-settings", 0, OPT_STRING, OPTION_RARE | OPTION_SECRET, BACKEND, FIELD(kafka_settings),
	  .arg = "K=V[,K=V]", .expects = "K=V[,K=V...] with percent-encoded values",
	  .check = check_headers, .help = "of librdkafka, such as sasl.password" },
	{ "sources", 0, OPT_STRING, OPTION_RARE, BACKEND, FIELD(sources), .arg = "FILE",
	  .fallback_note = "sources.json in the store", .check = check_name,
	  .help = "what is traced, as changed through the API" },
	{ "metrics-series", 0, OPT_SIZE, OPTION_RARE, BACKEND, FIELD(metrics_series), .max = MIB,
	  .arg = "N", .fallback = "10000", .help = "most series of span metrics" },

	{ "address", 0, OPT_STRING, 0, STATUS, FIELD(address), .arg = "ADDR:PORT",
	  .fallback = "127.0.0.1:8009", .fallback_note = "as listen", .expects = "ADDR:PORT such as 127.0.0.1:8009 or [::1]:8009",
	  .check = listen_valid, .help = "of the running agent" },
	{ "json", 0, OPT_BOOL, 0, STATUS | DOCTOR | STORE, FIELD(json), .fallback = "false",
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
		"Traces this machine until ended: keeps, serves and exports what it sees.",
		{ "sudo telltale run", "sudo telltale run --otlp-endpoint http://collector:4318" } },
	[COMMAND_GATEWAY] = { "gateway", "[OPTION...]",
		"Receives spans of others; keeps, serves and exports them. Needs no privilege.",
		{ "telltale gateway --store ./traces", "telltale gateway --sampling tail" } },
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
	[COMMAND_STORE] = { "store", "stats|check|export [OPTION...] DIR",
		"Looks into a store, also beside a running writer: figures, damage, all spans.",
		{ "telltale store stats --json /var/lib/telltale", "telltale store export -o all.jsonl DIR" },
		2, 2, false, "WHAT and DIR" },
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
