/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options, from one table: command-line flags, TELLTALE_* variables, a YAML file, --help and the
 * README's reference all come from its rows.
 *
 * Order: flag, TELLTALE_* variable, file, standard OTEL_* variable, default. Each value remembers
 * where it came from. Every source is checked, also where a stronger one overrides it. An empty
 * variable counts as unset. Anything not understood is refused with its place and what was
 * expected, except OTEL_* variables, which warn and are ignored (OpenTelemetry specification,
 * "Environment Variable Specification").
 *
 * No global state. Not thread-safe while it is built; read-only afterwards.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/str.h"

enum command {
	COMMAND_NONE, /* no command was named: show the general help and fail */
	COMMAND_RUN,
	COMMAND_GATEWAY,
	COMMAND_TRACE,
	COMMAND_RECORD,
	COMMAND_REPLAY,
	COMMAND_STORE, /* stats, check, export */
	COMMAND_STATUS,
	COMMAND_DOCTOR,
	COMMAND_OPTIONS, /* prints every option: its value and origin, or the reference */
	COMMAND_HELP,	 /* config_help(stdout, c->help_topic) and success */
	COMMAND_VERSION,
	COMMAND_MAX,
};

/* Each by the order of its choices in the option table. */
enum config_capture { /* as enum capture of the probe room */
		      CONFIG_CAPTURE_AUTO,
		      CONFIG_CAPTURE_TRAMPOLINE,
		      CONFIG_CAPTURE_SOCKTP,
		      CONFIG_CAPTURE_SYSCALL,
};
enum config_format { CONFIG_FORMAT_TREE, CONFIG_FORMAT_OTLP_JSON };
enum config_color { CONFIG_COLOR_AUTO, CONFIG_COLOR_ALWAYS, CONFIG_COLOR_NEVER };
enum config_compression { CONFIG_COMPRESSION_NONE, CONFIG_COMPRESSION_GZIP };
enum config_protocol { CONFIG_GRPC, CONFIG_HTTP_PROTOBUF, CONFIG_HTTP_JSON };
enum config_sampling {
	CONFIG_SAMPLING_ALWAYS,
	CONFIG_SAMPLING_NEVER,
	CONFIG_SAMPLING_RATIO,
	CONFIG_SAMPLING_RATE,
	CONFIG_SAMPLING_TAIL,
};

struct config_list {
	const char **v;
	uint32_t cnt;
};

struct config_pids {
	uint32_t *v;
	uint32_t cnt;
};

struct config_ports {
	uint16_t *v; /* host byte order */
	uint32_t cnt;
};

/* Strings are owned by the struct; NULL where not given and there is no default. Sizes in bytes. */
struct config {
	enum command command;
	enum command help_topic; /* COMMAND_HELP: which command's; COMMAND_NONE: the general one */
	int argc;	   /* trace, record: the command to run; replay: the file; else none */
	char *const *argv; /* ended by NULL; its strings are borrowed from the caller */

	const char *config; /* the file's path */
	const char
		*log_level; /* "error", "warn", "info", "debug"; default: info for run, else warn */
	bool quiet;	    /* then log_level is "error" already */

	/* what to capture, and how */
	int capture;		    /* enum config_capture */
	struct config_list process; /* globs */
	struct config_pids pid;
	struct config_list cgroup;
	struct config_ports port;
	const char *protocol; /* comma-separated names, as proto_cfg.only; NULL: all */
	uint32_t capture_bytes;
	uint32_t ring_size; /* a power of two, whole pages */
	uint32_t max_connections;
	uint64_t memory_limit;
	bool tls;
	bool raw_queries;

	/* run */
	const char *listen;		  /* ADDR:PORT, [ADDR]:PORT */
	struct config_list otlp_endpoint; /* as given */
	struct config_list otlp_urls; /* whole; with /v1/traces but for gRPC; none: do not export */
	int otlp_protocol;	      /* enum config_protocol */
	bool otlp_insecure;
	const char *otlp_headers; /* k=v,k2=v2 */
	int otlp_compression;	  /* enum config_compression */
	uint64_t otlp_timeout_ns;
	const char *otlp_certificate; /* PEM files; NULL: the system's, or none */
	const char *otlp_client_key;
	const char *otlp_client_certificate;
	uint64_t queue_size;
	uint32_t export_batch; /* spans */
	uint32_t export_spans; /* spans that may wait; 0: only bytes are limited */
	uint64_t export_delay_ns;
	uint64_t export_give_up_ns; /* 0: with a spool never, else the exporter's default */
	const char *export_spool;   /* a directory; NULL: the queues are in memory */
	uint64_t export_spool_bytes;
	const char *export_file;
	uint64_t export_file_size;
	uint64_t export_file_age_ns; /* 0: no limit */
	uint32_t export_file_keep;
	bool export_stdout;
	struct config_list zipkin_endpoint; /* whole URLs; none: do not export */
	const char *zipkin_headers;	    /* as those of OTLP */
	uint64_t zipkin_timeout_ns;
	const char *zipkin_certificate;
	const char *zipkin_client_key;
	const char *zipkin_client_certificate;
	struct config_list kafka_brokers;
	const char *kafka_topic;
	const char *kafka_settings; /* k=v,k2=v2, of librdkafka */

	/* run, gateway: what is kept */
	const char *store; /* a directory, clickhouse+http://..., NULL: nothing is kept */
	uint64_t retention_ns;
	uint64_t store_max_bytes;
	uint64_t rollup_ns;
	const char *store_key_file;
	const char *store_key;
	const char *store_certificate; /* PEM files, of a ClickHouse by HTTPS; NULL: the system's */
	const char *store_client_key;
	const char *store_client_certificate;

	/* run, gateway: what comes in */
	const char *otlp_http; /* ADDR:PORT; NULL: do not receive */
	const char *otlp_grpc;
	uint64_t receive_max_body;
	uint64_t receive_max_rate;     /* bytes a second; 0: no limit */
	uint64_t receive_max_requests; /* a second; 0: no limit */
	uint32_t receive_connections;  /* of each receiver */
	uint32_t receive_threads;      /* of each receiver */
	uint64_t receive_idle_ns;
	int sampling; /* enum config_sampling */
	bool sampling_parent;
	double sampling_ratio;
	uint32_t max_traces_per_second;
	struct config_list sampling_service; /* GLOB=always|never|RATIO */
	uint64_t tail_buffer;
	uint64_t tail_wait_ns;
	struct config_list redact_allow;
	struct config_list redact_deny;
	struct config_list redact_rule; /* NAME=ACTION:PATTERN */
	const char *redact_hash_key_file;
	uint32_t metrics_series;
	const char *sources; /* a file; NULL: in the store's directory */

	/* trace, record, replay */
	const char *output;	  /* "-": standard output */
	int format;		  /* enum config_format */
	uint64_t duration_ns;	  /* 0: until ended */
	const char *service;	  /* glob; NULL: all */
	uint64_t min_duration_ns; /* 0: all */
	bool errors;
	int color;	  /* enum config_color */
	const char *user; /* name or number; not looked up here */

	/* status, doctor, options */
	const char *address;
	bool json;
	bool markdown;

	struct config_list warnings; /* one line each, for the log: ignored OTEL_* variables */
	struct config_private *private;
};

#define CONFIG_WHY_MAX 512

/*
 * Reads all sources. args and env as main() gets them; args[0] is skipped. 0, or -EINVAL (an
 * option), -ENOMEM, or -errno of the file; 'why' is then one line for the user, without a line end.
 * With --help or --version the other sources are not read, so these work with a broken file.
 */
int config_new(int argc, char *const *argv, char *const *env, struct config **ret_config,
	       char why[CONFIG_WHY_MAX]);
/* Reads all sources anew, as config_new() did: the same arguments and environment, which are
 * borrowed still, and the file as it is now. */
int config_again(const struct config *c, struct config **ret_config, char why[CONFIG_WHY_MAX]);
/* The next option of their command whose value differs; *at begins with 0. NULL: no more. Valid for
 * ever. */
const char *config_next_change(const struct config *a, const struct config *b, size_t *at);
void config_free(struct config *c);

/* Where an option's value came from: "default", "FILE:LINE", "TELLTALE_LISTEN", "--listen". NULL
 * for a name that is no option. Valid as long as c. */
const char *config_origin(const struct config *c, const char *option);

/* --help of a command, under 40 lines; COMMAND_NONE: the program's. */
void config_help(FILE *out, enum command command);
/* The options reference of the README, in Markdown. */
void config_markdown(FILE *out);
/* Every option's value and origin, one a line; secrets are masked. */
void config_print(const struct config *c, FILE *out);
/* Endpoints as logs may show them: no user, password or query in their URLs. Cut at size. */
void config_show_urls(struct str text, char *out, size_t size);
/* "run", "trace", ...; "telltale" for COMMAND_NONE. */
const char *config_command_name(enum command command);

#endif
