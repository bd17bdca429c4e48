/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the MySQL parser share. Sources: MySQL Internals, "Client/Server Protocol";
 * MariaDB knowledge base, "MariaDB Protocol".
 *
 * Each command has one reply, a run of packets with consecutive numbers. Whether EOF packets are
 * left out (CLIENT_DEPRECATE_EOF) is seen from the packets themselves, since a connection may be
 * joined after its handshake.
 */
#ifndef PROTO_MYSQL_INTERNAL_H
#define PROTO_MYSQL_INTERNAL_H

#include "proto/sql.h"

#define MY_HEADER_LEN	4
#define MY_PACKET_MAX	0xffffffu /* a packet of this size goes on in the next one */
#define MY_DB_LEN	64
#define MY_QUEUE_MAX	64
#define MY_TEXT_WANTED	(SQL_TEXT_MAX + 64)
#define MY_REPLY_WANTED 512 /* bytes of an OK or ERR packet that hold what matters */

enum my_command {
	COM_QUIT = 0x01,
	COM_INIT_DB = 0x02,
	COM_QUERY = 0x03,
	COM_FIELD_LIST = 0x04,
	COM_CREATE_DB = 0x05,
	COM_DROP_DB = 0x06,
	COM_REFRESH = 0x07,
	COM_SHUTDOWN = 0x08,
	COM_STATISTICS = 0x09,
	COM_PROCESS_INFO = 0x0a,
	COM_PROCESS_KILL = 0x0c,
	COM_DEBUG = 0x0d,
	COM_PING = 0x0e,
	COM_CHANGE_USER = 0x11,
	COM_BINLOG_DUMP = 0x12,
	COM_STMT_PREPARE = 0x16,
	COM_STMT_EXECUTE = 0x17,
	COM_STMT_SEND_LONG_DATA = 0x18,
	COM_STMT_CLOSE = 0x19,
	COM_STMT_RESET = 0x1a,
	COM_SET_OPTION = 0x1b,
	COM_STMT_FETCH = 0x1c,
	COM_BINLOG_DUMP_GTID = 0x1e,
	COM_RESET_CONNECTION = 0x1f,
	COM_STMT_BULK_EXECUTE = 0xfa, /* MariaDB */
	COM_LOGIN = 0xff,	      /* ours: the handshake response */
};

enum my_capability {
	CLIENT_MYSQL = 1 << 0, /* absent: MariaDB's extended capabilities follow */
	CLIENT_CONNECT_WITH_DB = 1 << 3,
	CLIENT_COMPRESS = 1 << 5,
	CLIENT_PROTOCOL_41 = 1 << 9,
	CLIENT_SSL = 1 << 11,
	CLIENT_SECURE_CONNECTION = 1 << 15,
	CLIENT_PLUGIN_AUTH_LENENC = 1 << 21,
	CLIENT_SESSION_TRACK = 1 << 23,
	CLIENT_DEPRECATE_EOF = 1 << 24,
	CLIENT_OPTIONAL_METADATA = 1 << 25,
	CLIENT_ZSTD = 1 << 26,
	CLIENT_QUERY_ATTRIBUTES = 1 << 27,
};

/* Where in a reply the next packet is. */
enum my_step {
	STEP_FIRST,	 /* OK, ERR, LOCAL INFILE or a result's number of columns */
	STEP_COLUMNS,	 /* definitions; 'left' of them */
	STEP_ROWS_BEGIN, /* after them: EOF, or the first row */
	STEP_ROWS,
	STEP_PREPARED, /* definitions of parameters and columns; EOF packets in between */
};

struct my_state {
	uint32_t caps_server, caps; /* caps: of both; valid with caps_known */
	bool caps_known;
	bool mariadb;
	bool greeted;
	char db[MY_DB_LEN];
	uint8_t db_len;
	char next_db[MY_DB_LEN]; /* becomes db when the command succeeds */
	uint8_t next_db_len;
	struct stmts statements; /* by 4 bytes of id; the newest one also by an empty key */

	/* request side */
	uint8_t request_seq;	     /* of its latest packet */
	bool request_goes_on;	     /* that one was full: the next continues it */
	bool infile;		     /* the server asked for a file; ended by an empty packet */
	uint8_t queue[MY_QUEUE_MAX]; /* commands without a reply so far */
	uint8_t queue_head, queue_cnt;

	/* response side */
	struct msg *reply;
	bool reply_open;
	bool in_step; /* as in postgres_internal.h */
	bool unsure;
	bool row_goes_on;
	uint8_t reply_seq; /* of its latest packet */
	uint8_t step;	   /* enum my_step */
	bool no_eof;	   /* CLIENT_DEPRECATE_EOF, known from the handshake or seen */
	bool eof_known;
	bool cut_rows; /* their number is not known */
	uint32_t left;
	uint32_t left_columns; /* STEP_PREPARED: after the parameters */
	uint32_t row_results;
	uint64_t rows;
	uint32_t debt;
	uint64_t debt_ns;
};

static inline struct str my_db(const struct my_state *st)
{
	return (struct str){ st->db, st->db_len };
}

static inline struct str my_system(const struct my_state *st)
{
	return st->mariadb ? STR("mariadb") : STR("mysql");
}

/* Length-encoded integer; bad for the markers 0xfb (NULL) and 0xff. */
static inline uint64_t my_take_lenenc(struct cursor *c)
{
	uint8_t first = take_u8(c);

	switch (first) {
	case 0xfb:
	case 0xff: c->bad = true; return 0;
	case 0xfc: return take_u16le(c);
	case 0xfd: return take_u24le(c);
	case 0xfe: return take_u64le(c);
	default: return first;
	}
}

static inline bool my_has_text(uint8_t command)
{
	return command == COM_QUERY || command == COM_STMT_PREPARE;
}

/* The text of COM_QUERY: after the attributes that MySQL 8 clients send. st may be NULL: nothing is
 * known. False, *ret untouched, when it cannot be found. */
bool my_query_text(const struct my_state *st, struct cursor body, struct str *ret);

/* HandshakeResponse41, as far as it can be told from its fixed part. */
bool my_plausible_login(const uint8_t *body, size_t len);

enum parse my_parse_client(struct parser *ps, struct my_state *st, struct cursor *c);
enum parse my_parse_server(struct parser *ps, struct my_state *st, struct cursor *c);

#endif
