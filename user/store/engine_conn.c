/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to SQLite files, and its errors as ours. */
#include "store/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BUSY_MS 5000

int sql_error(sqlite3 *db, int rc)
{
	int sys = db ? sqlite3_system_errno(db) : 0;

	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE: return 0;
	case SQLITE_FULL: return -ENOSPC;
	case SQLITE_NOMEM: return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_MISMATCH:
	case SQLITE_ERROR: return -EBADMSG; /* a table that is not there, a row that is not */
	case SQLITE_BUSY:
	case SQLITE_LOCKED: return -EBUSY;
	case SQLITE_PERM:
	case SQLITE_AUTH: return -EACCES;
	case SQLITE_READONLY: return -EROFS;
	case SQLITE_CANTOPEN: return sys ? -sys : -ENOENT;
	}
	/* limits of a quota or of the process are a full disk too */
	return sys == ENOSPC || sys == EDQUOT || sys == EFBIG ? -ENOSPC : -EIO;
}

int sql_exec(sqlite3 *db, const char *sql)
{
	return sql_error(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

int sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret)
{
	return sql_error(db, sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL));
}

int sql_run(sqlite3_stmt *s)
{
	int err = sql_error(sqlite3_db_handle(s), sqlite3_step(s));

	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return err;
}

int sql_number(sqlite3 *db, const char *sql, uint64_t *ret)
{
	sqlite3_stmt *s = NULL;
	int err = sql_prepare(db, sql, &s), rc;

	if (!err) {
		rc = sqlite3_step(s);
		err = sql_error(db, rc);
		if (!err && rc != SQLITE_ROW)
			err = -EBADMSG;
		if (!err)
			*ret = (uint64_t)sqlite3_column_int64(s, 0);
	}
	sqlite3_finalize(s);
	return err;
}

int sql_live_bytes(sqlite3 *db, uint64_t *ret)
{
	uint64_t pages = 0, unused = 0;
	int err = sql_number(db, "PRAGMA page_count", &pages);

	if (!err)
		err = sql_number(db, "PRAGMA freelist_count", &unused);
	if (!err)
		*ret = (pages - MIN(unused, pages)) * PAGE_BYTES;
	return err;
}

int conn_open_frozen(const char *path, struct conn **ret_conn)
{
	char uri[3 * 4096 + 32] = "file:";
	size_t len = strlen(uri);
	int err;

	for (; *path && len < sizeof(uri) - 32; path++)
		len += (size_t)sprintf(uri + len, strchr("?#%", *path) ? "%%%02x" : "%c", *path);
	if (*path)
		return -ENAMETOOLONG;
	strcpy(uri + len, "?immutable=1");
	err = conn_open(uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, ret_conn);
	if (!err)
		(*ret_conn)->frozen = true;
	return err;
}

int conn_open(const char *path, int flags, struct conn **ret_conn)
{
	struct conn *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	err = sql_error(c->db, sqlite3_open_v2(path, &c->db, flags | SQLITE_OPEN_NOMUTEX, NULL));
	if (err && c->db)
		err = sql_error(c->db, sqlite3_extended_errcode(c->db));
	if (err)
		goto fail;
	sqlite3_busy_timeout(c->db, BUSY_MS);
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	err = sql_exec(c->db, "PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY;"
			      "PRAGMA cell_size_check=ON; PRAGMA cache_size=-256");
	if (err)
		goto fail;
	*ret_conn = c;
	return 0;
fail:
	conn_close(c);
	return err;
}

void conn_close(struct conn *c)
{
	if (!c)
		return;
	sqlite3_finalize(c->top);
	sqlite3_finalize(c->list);
	sqlite3_finalize(c->filter);
	sqlite3_finalize(c->row);
	sqlite3_finalize(c->data);
	sqlite3_finalize(c->drop[0]);
	sqlite3_finalize(c->drop[1]);
	sqlite3_close(c->db);
	free(c);
}
