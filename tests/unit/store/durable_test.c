/* SPDX-License-Identifier: Apache-2.0 */
/* What must never be lost, by whatever happens to the process, the disk or the files. */
#include "unit/store/fill.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/wait.h>

#define BATCH_TRACES 8
#define BATCH_SPANS  4

static struct fill f;

static int before(void **state)
{
	begin(&f);
	return 0;
}

static char disk[96]; /* a file system of its own; empty: none */

static int after(void **state)
{
	close_store(&f);
	if (disk[0])
		umount2(disk, MNT_DETACH);
	disk[0] = 0;
	end(&f);
	return 0;
}

static int push_batch(uint64_t batch)
{
	for (uint64_t t = 0; t < BATCH_TRACES; t++)
		push_trace(&f, batch * BATCH_TRACES + t, BATCH_SPANS);
	return sync_writer(f.writer);
}

static bool has_batch(uint64_t batch)
{
	for (uint64_t t = 0; t < BATCH_TRACES; t++)
		if (!has_trace(f.store, batch * BATCH_TRACES + t, BATCH_SPANS))
			return false;
	return true;
}

/* ---- kill -9 ------------------------------------------------------------------------------- */

/* Says the number of each batch that was acknowledged. */
static void write_until_killed(int out, uint64_t batch)
{
	if (open_store(&f))
		_exit(1);
	for (;; batch++) {
		if (push_batch(batch))
			_exit(2);
		if (write(out, &batch, sizeof(batch)) != sizeof(batch))
			_exit(3);
	}
}

/* Returns the first batch that was not acknowledged. */
static uint64_t write_and_kill(uint64_t from, uint64_t cnt)
{
	int ends[2], status;
	uint64_t batch, next = from;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(ends[0]);
		write_until_killed(ends[1], from);
	}
	close(ends[1]);
	while (read(ends[0], &batch, sizeof(batch)) == sizeof(batch)) {
		assert_int_equal(batch, next);
		next++;
		if (next == from + cnt)
			kill(pid, SIGKILL);
	}
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return next;
}

static void nothing_acknowledged_is_lost_by_kill_9(void **state)
{
	uint64_t next = 0;

	/* no compaction, one, several */
	for (uint64_t cnt = 1; cnt < 200; cnt = cnt * 4 + 3) {
		next = write_and_kill(next, cnt);
		assert_int_equal(open_store(&f), 0);
		for (uint64_t b = 0; b < next; b++)
			assert_true(has_batch(b));
		close_store(&f);
		/* what was not acknowledged may be there, and comes again */
	}
}

/* ---- full disk ----------------------------------------------------------------------------- */

static bool is_admitted(void *ctx)
{
	return store_admits(f.store) == 0;
}

static void write_ballast(const char *path, size_t bytes)
{
	int fd = open(path, O_CREAT | O_RDWR, 0600);

	assert_true(fd >= 0);
	assert_int_equal(posix_fallocate(fd, 0, (off_t)bytes), 0);
	close(fd);
}

static void fill_up(const char *ballast)
{
	uint64_t batch = 0, kept;
	int err;

	while (!(err = push_batch(batch)))
		batch++;
	kept = batch;
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(store_admits(f.store), -ENOSPC);
	assert_int_equal(push_batch(batch), -ENOSPC);
	for (uint64_t b = 0; b < kept; b += 7)
		assert_true(has_batch(b));
	assert_int_equal(unlink(ballast), 0);
	assert_true(comes_true(is_admitted, NULL));
	for (batch += 1; batch < kept + 20; batch++)
		assert_int_equal(push_batch(batch), 0);
	for (uint64_t b = 0; b < kept; b++)
		assert_true(has_batch(b));
	for (uint64_t b = kept + 1; b < batch; b++)
		assert_true(has_batch(b));
	close_store(&f);
	assert_int_equal(open_store(&f), 0);
	assert_true(has_batch(0) && has_batch(kept - 1) && has_batch(batch - 1));
}

static char ballast[128], where[128];

/* A disk of 6 MiB for the store, with so much of it taken. */
static void make_disk(size_t taken)
{
	snprintf(disk, sizeof(disk), "%s/disk", f.dir);
	snprintf(ballast, sizeof(ballast), "%s/ballast", disk);
	snprintf(where, sizeof(where), "%s/store", disk);
	assert_int_equal(mkdir(disk, 0700), 0);
	if (mount("tmpfs", disk, "tmpfs", 0, "size=6m")) {
		printf("SKIP: a small tmpfs cannot be mounted: %s\n", strerror(errno));
		disk[0] = 0;
		skip();
	}
	write_ballast(ballast, taken);
	f.cfg.where = where;
}

static void a_full_disk_refuses_serves_and_recovers(void **state)
{
	make_disk(3 << 20);
	assert_int_equal(open_store(&f), 0);
	fill_up(ballast);
}

/* To the last page. */
static void fill_disk(void)
{
	static const char page[4096];
	int fd = open(ballast, O_WRONLY | O_APPEND);

	assert_true(fd >= 0);
	while (write(fd, page, sizeof(page)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
	close(fd);
}

static void a_store_opens_on_a_full_disk(void **state)
{
	struct trace_id kept = trace_of(0);
	struct store *reader;

	make_disk(4096);
	assert_int_equal(open_store(&f), 0);
	for (uint64_t b = 0; b < 4; b++)
		assert_int_equal(push_batch(b), 0);
	close_store(&f);
	fill_disk();
	f.cfg.read_only = true;
	assert_int_equal(store_open(&f.cfg, &reader, f.why), 0);
	assert_true(has_trace(reader, 0, BATCH_SPANS));
	store_close(reader);
	f.cfg.read_only = false;
	assert_int_equal(open_store(&f), 0);
	assert_int_equal(store_admits(f.store), -ENOSPC);
	assert_int_equal(push_batch(4), -ENOSPC);
	assert_int_equal(store_archive(f.store, &kept, true), -ENOSPC);
	for (uint64_t b = 0; b < 4; b++)
		assert_true(has_batch(b));
	assert_int_equal(stats_of(f.store).bad_blocks, 0);
	assert_int_equal(unlink(ballast), 0);
	assert_true(comes_true(is_admitted, NULL));
	assert_int_equal(push_batch(5), 0);
	while (store_archive(f.store, &kept, true)) /* when its file is thawed */
		usleep(10000);
	close_store(&f);
	assert_int_equal(open_store(&f), 0);
	for (uint64_t b = 0; b < 6; b++)
		assert_true(has_batch(b) == (b != 4));
}

static bool first_is_gone(void *ctx)
{
	return !has_batch(0);
}

/* Retention makes room, so it must not need any. */
static void what_is_too_old_goes_from_a_full_disk(void **state)
{
	make_disk(4096);
	f.cfg.retention_ns = 1000 * NS_PER_MS;
	assert_int_equal(open_store(&f), 0);
	for (uint64_t b = 0; b < 2; b++) { /* the one that is written stays */
		assert_int_equal(push_batch(b), 0);
		usleep(60000);
	}
	fill_disk();
	assert_true(comes_true(first_is_gone, NULL));
	assert_int_equal(unlink(ballast), 0);
	while (push_batch(2))
		usleep(10000);
}

static char lines[4096];

static void note_line(void *ctx, const char *line)
{
	snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "%s\n", line);
}

static void a_store_that_may_not_be_written_can_be_read(void **state)
{
	make_disk(4096);
	assert_int_equal(open_store(&f), 0);
	assert_int_equal(push_batch(0), 0);
	close_store(&f);
	assert_int_equal(mount(NULL, disk, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_int_equal(open_store(&f), -EROFS);
	f.cfg.read_only = true;
	assert_int_equal(open_store(&f), 0);
	assert_true(has_batch(0));
	assert_int_equal(stats_of(f.store).bad_partitions, 0);
	assert_int_equal(store_check(f.store, note_line, NULL), 0);
}

/* As a copy may be: its log without the file that readers share. */
static void a_log_that_cannot_be_read_is_told_of(void **state)
{
	char log[160];

	make_disk(4096);
	assert_int_equal(open_store(&f), 0);
	assert_int_equal(push_batch(0), 0);
	snprintf(log, sizeof(log), "%s/part-0000000001.db-wal", where);
	close_store(&f);
	write_ballast(log, 4096);
	assert_int_equal(mount(NULL, disk, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	f.cfg.read_only = true;
	assert_int_equal(open_store(&f), 0);
	assert_int_equal(stats_of(f.store).bad_partitions, 1);
}

/* ---- corruption ---------------------------------------------------------------------------- */

static void sql(const char *file, const char *text)
{
	char path[128];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/%s", f.dir, file);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void corrupt_and_look(const char *how)
{
	for (uint64_t b = 0; b < 5; b++)
		assert_int_equal(push_batch(b), 0);
	close_store(&f);
	sql("part-0000000001.db", how);
	assert_int_equal(open_store(&f), 0);
	lines[0] = 0;
	assert_int_equal(store_check(f.store, note_line, NULL), 1);
	assert_non_null(strstr(lines, "part-0000000001.db: block 3: "));
	for (uint64_t b = 0; b < 5; b++)
		assert_true(has_batch(b) == (b != 2));
	assert_int_equal(count_spans(f.store), 4 * BATCH_TRACES * BATCH_SPANS);
	assert_int_equal(stats_of(f.store).bad_blocks, 1);
	/* merging passes it over too */
	for (uint64_t b = 5; b < 40; b++)
		assert_int_equal(push_batch(b), 0);
	usleep(300000);
	for (uint64_t b = 0; b < 40; b++)
		assert_true(has_batch(b) == (b != 2));
}

static void a_corrupted_body_is_named_and_skipped(void **state)
{
	assert_int_equal(open_store(&f), 0);
	corrupt_and_look("UPDATE data SET body = zeroblob(length(body)) WHERE id = 3");
}

static void a_corrupted_filter_is_named_and_skipped(void **state)
{
	assert_int_equal(open_store(&f), 0);
	corrupt_and_look("UPDATE data SET filter = x'00ff00ff00ff' WHERE id = 3");
}

static void a_body_that_is_not_there_is_named_and_skipped(void **state)
{
	assert_int_equal(open_store(&f), 0);
	corrupt_and_look("DELETE FROM data WHERE id = 3");
}

static void a_changed_byte_of_an_encrypted_body_is_found(void **state)
{
	f.cfg.key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
	assert_int_equal(open_store(&f), 0);
	/* the body of another block is no better */
	corrupt_and_look("UPDATE data SET body = (SELECT body FROM data WHERE id = 4)"
			 " WHERE id = 3");
}

/* Two partitions, batches 0 and 1. */
static void make_two(void)
{
	f.cfg.retention_ns = 24 * NS_PER_S;
	assert_int_equal(open_store(&f), 0);
	assert_int_equal(push_batch(0), 0);
	usleep(1100000);
	assert_int_equal(push_batch(1), 0);
	assert_int_equal(stats_of(f.store).partitions, 2);
	close_store(&f);
	f.cfg.retention_ns = 0;
}

static void spoil(const char *file, off_t from, size_t len)
{
	char path[128], junk[8192];
	int fd;

	memset(junk, 0x5a, sizeof(junk));
	snprintf(path, sizeof(path), "%s/%s", f.dir, file);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, junk, len, from), len);
	close(fd);
}

static void a_corrupted_file_is_left_out_and_the_rest_served(void **state)
{
	char path[128];

	make_two();
	spoil("part-0000000001.db", 0, 4096);
	f.cfg.retention_ns = 24 * 3600 * NS_PER_S;
	assert_int_equal(open_store(&f), 0);
	/* retention must not take it for old: somebody may want to mend it */
	usleep(600000);
	snprintf(path, sizeof(path), "%s/part-0000000001.db", f.dir);
	assert_int_equal(access(path, F_OK), 0);
	assert_false(has_batch(0));
	assert_true(has_batch(1));
	lines[0] = 0;
	assert_true(store_check(f.store, note_line, NULL) > 0);
	assert_non_null(strstr(lines, "part-0000000001.db"));
	assert_int_equal(push_batch(2), 0);
	assert_true(has_batch(2));
}

static void a_cut_file_is_no_crash(void **state)
{
	char path[128];

	make_two();
	snprintf(path, sizeof(path), "%s/part-0000000001.db", f.dir);
	assert_int_equal(truncate(path, 30000), 0);
	assert_int_equal(open_store(&f), 0);
	assert_false(has_batch(0));
	assert_true(has_batch(1));
}

static void the_file_that_is_written_may_be_corrupted_too(void **state)
{
	make_two();
	spoil("part-0000000002.db", 0, 4096);
	assert_int_equal(open_store(&f), 0);
	assert_true(has_batch(0));
	assert_false(has_batch(1));
	assert_int_equal(push_batch(2), 0);
	assert_true(has_batch(2));
}

static void without_store_db_partitions_are_served(void **state)
{
	make_two();
	spoil("store.db", 0, 4096);
	assert_int_equal(open_store(&f), 0);
	assert_true(has_batch(0) && has_batch(1));
	assert_int_equal(push_batch(2), 0);
}

static void a_partition_that_was_never_finished_goes(void **state)
{
	char path[128];

	make_two();
	snprintf(path, sizeof(path), "%s/part-0000000003.db", f.dir);
	close(open(path, O_CREAT | O_RDWR, 0600));
	assert_int_equal(open_store(&f), 0);
	assert_true(has_batch(0) && has_batch(1));
	assert_int_equal(push_batch(2), 0);
	assert_int_equal(stats_of(f.store).bad_blocks, 0);
}

static void what_is_no_file_is_left_out(void **state)
{
	char path[128];

	make_two();
	snprintf(path, sizeof(path), "%s/part-0000000003.db", f.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/part-0000000004.db", f.dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	f.cfg.read_only = true;
	for (int round = 0; round < 2; round++) {
		assert_int_equal(open_store(&f), 0);
		assert_true(has_batch(0) && has_batch(1));
		assert_int_equal(stats_of(f.store).bad_partitions, 2);
		f.cfg.read_only = false;
		if (!round)
			close_store(&f);
	}
	assert_int_equal(push_batch(2), 0);
	assert_true(has_batch(2));
}

static void remove_parts(void)
{
	char path[128];

	for (int seq = 1; seq < 30; seq++)
		for (int i = 0; i < 3; i++) {
			static const char *const suffix[] = { "", "-wal", "-shm" };

			snprintf(path, sizeof(path), "%s/part-%010d.db%s", f.dir, seq, suffix[i]);
			unlink(path);
		}
}

/* Numbers of partitions that have gone are not given again: their files would go as well. */
static void what_follows_deleted_files_outlives_a_restart(void **state)
{
	f.cfg.retention_ns = 1500 * NS_PER_MS;
	assert_int_equal(open_store(&f), 0);
	assert_int_equal(push_batch(0), 0);
	assert_true(comes_true(first_is_gone, NULL));
	close_store(&f);
	remove_parts();
	f.cfg.retention_ns = 0;
	for (int round = 0; round < 2; round++) {
		assert_int_equal(open_store(&f), 0);
		assert_int_equal(push_batch(1), 0);
		close_store(&f);
	}
	f.cfg.read_only = true;
	assert_int_equal(open_store(&f), 0);
	assert_int_equal(count_spans(f.store), 2 * BATCH_TRACES * BATCH_SPANS);
}

/* Nothing is acknowledged that is in no file. */
static void files_deleted_under_a_writer_are_not_written(void **state)
{
	struct trace_id id = trace_of(BATCH_TRACES);
	char path[128];

	assert_int_equal(open_store(&f), 0);
	assert_int_equal(push_batch(0), 0);
	remove_parts();
	assert_int_equal(push_batch(1), 0);
	assert_true(has_batch(1));
	snprintf(path, sizeof(path), "%s/store.db", f.dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(store_archive(f.store, &id, true), -EIO);
	assert_int_equal(push_batch(2), 0);
	close_store(&f);
	assert_int_equal(open_store(&f), 0);
	assert_true(has_batch(1) && has_batch(2));
}

static void a_folder_deleted_under_a_writer_refuses(void **state)
{
	char away[80];

	assert_int_equal(open_store(&f), 0);
	assert_int_equal(push_batch(0), 0);
	snprintf(away, sizeof(away), "%s.away", f.dir);
	assert_int_equal(rename(f.dir, away), 0);
	assert_true(push_batch(1) < 0);
	assert_int_equal(rename(away, f.dir), 0);
	assert_int_equal(push_batch(2), 0);
	close_store(&f);
	assert_int_equal(open_store(&f), 0);
	assert_true(has_batch(0) && has_batch(2));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(nothing_acknowledged_is_lost_by_kill_9),
		CASE(a_full_disk_refuses_serves_and_recovers),
		CASE(a_store_opens_on_a_full_disk),
		CASE(what_is_too_old_goes_from_a_full_disk),
		CASE(a_store_that_may_not_be_written_can_be_read),
		CASE(a_log_that_cannot_be_read_is_told_of),
		CASE(a_corrupted_body_is_named_and_skipped),
		CASE(a_corrupted_filter_is_named_and_skipped),
		CASE(a_body_that_is_not_there_is_named_and_skipped),
		CASE(a_changed_byte_of_an_encrypted_body_is_found),
		CASE(a_corrupted_file_is_left_out_and_the_rest_served),
		CASE(a_cut_file_is_no_crash),
		CASE(the_file_that_is_written_may_be_corrupted_too),
		CASE(without_store_db_partitions_are_served),
		CASE(a_partition_that_was_never_finished_goes),
		CASE(what_is_no_file_is_left_out),
		CASE(what_follows_deleted_files_outlives_a_restart),
		CASE(files_deleted_under_a_writer_are_not_written),
		CASE(a_folder_deleted_under_a_writer_refuses),
	};
	int failed;

	make_services();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free_services();
	return failed;
}
