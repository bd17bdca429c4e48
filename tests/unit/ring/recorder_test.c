/* SPDX-License-Identifier: Apache-2.0 */
/* Recorder and replay together: what is written comes back, and spoilt files are told. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "unit/ring/records.h"
#include "core/buf.h"
#include "ring/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static union any_record r;
static char dir[64], path[128];

static void collect(void *ctx, const struct event_hdr *rec)
{
	assert_int_equal((uintptr_t)rec % 8, 0);
	assert_int_equal(buf_add(ctx, rec, rec->size), 0);
}

static int replay(struct buf *ret_seen, uint64_t *ret_offset)
{
	struct gate *g = gate_new((struct event_sink){ ret_seen, collect });
	int err;

	assert_non_null(g);
	buf_clear(ret_seen);
	err = replay_file(path, g, ret_offset);
	gate_free(g);
	return err;
}

/* cnt records of all kinds and many sizes, also appended to 'written'. */
static void record_many(int cnt, struct buf *written)
{
	struct recorder *rec;

	assert_int_equal(recorder_open(path, &rec), 0);
	for (int i = 0; i < cnt; i++) {
		record_make(&r, record_kinds[(size_t)i % ARRAY_LEN(record_kinds)]);
		r.h.ts_ns = (uint64_t)i;
		if (r.h.kind == EVENT_DATA) {
			r.data.cap = r.data.len = (uint32_t)(i * 37 % 60000);
			memset(r.data.payload, i, r.data.cap);
			r.h.size = (uint16_t)(sizeof(r.data) + r.data.cap);
		}
		assert_int_equal(recorder_write(rec, &r.h), 0);
		assert_int_equal(buf_add(written, &r, r.h.size), 0);
	}
	assert_int_equal(recorder_close(rec), 0);
}

static void what_is_recorded_comes_back_byte_for_byte(void **state)
{
	struct buf written = { 0 }, seen = { 0 };
	uint64_t offset;
	struct stat st;

	record_many(2000, &written);
	assert_int_equal(replay(&seen, &offset), 0);
	assert_int_equal(seen.len, written.len);
	assert_memory_equal(seen.p, written.p, seen.len);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(offset, st.st_size);
	buf_fini(&written);
	buf_fini(&seen);
}

static void a_recording_is_its_owners_alone_even_when_it_replaces_another(void **state)
{
	struct buf written = { 0 }, seen = { 0 };
	mode_t mask = umask(0);
	struct stat st;
	int old, entries = 0;
	char c;
	DIR *d;

	old = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
	assert_true(old >= 0);
	assert_int_equal(write(old, "x", 1), 1);
	record_many(20, &written);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* who had the old file open sees the old file */
	assert_int_equal(pread(old, &c, 1, 0), 1);
	assert_int_equal(c, 'x');
	assert_int_equal(pread(old, &c, 1, 1), 0);
	assert_int_equal(replay(&seen, NULL), 0);
	close(old);
	umask(mask);
	d = opendir(dir);
	while (d && readdir(d))
		entries++;
	assert_int_equal(entries, 3); /* . and .. and the recording: no temporary file stays */
	closedir(d);
	buf_fini(&written);
	buf_fini(&seen);
}

static void every_cut_is_noticed_except_between_records(void **state)
{
	struct buf written = { 0 }, seen = { 0 };
	uint64_t boundary[14], offset;
	unsigned int cnt = 0;
	struct stat st;

	record_many(13, &written);
	boundary[cnt++] = sizeof(struct file_head);
	for (size_t at = 0; at < written.len;) {
		struct event_hdr h;

		memcpy(&h, written.p + at, sizeof(h));
		at += h.size;
		boundary[cnt] = boundary[cnt - 1] + file_size_of(h.size);
		cnt++;
	}
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(boundary[cnt - 1], st.st_size);
	for (off_t size = st.st_size; size-- > 0;) {
		unsigned int last = 0;
		bool clean = false;

		assert_int_equal(truncate(path, size), 0);
		for (unsigned int i = 0; i < cnt; i++) {
			if (boundary[i] <= (uint64_t)size)
				last = i;
			clean |= boundary[i] == (uint64_t)size;
		}
		assert_int_equal(replay(&seen, &offset), clean ? 0 : -EBADMSG);
		if (size >= (off_t)sizeof(struct file_head))
			assert_int_equal(offset, boundary[last]);
	}
	buf_fini(&written);
	buf_fini(&seen);
}

static void put(const void *p, size_t len, off_t at)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, p, len, at), len);
	close(fd);
}

static void a_spoilt_file_is_told_with_its_place(void **state)
{
	struct buf written = { 0 }, seen = { 0 };
	uint64_t offset = 99;
	uint32_t other = 0x04030201, version = 2;
	uint16_t size = 3;

	record_many(2, &written); /* an EVENT_CONN first */
	put(&size, 2,
	    sizeof(struct file_head) + sizeof(struct event_conn) +
		    offsetof(struct event_hdr, size));
	assert_int_equal(replay(&seen, &offset), -EBADMSG);
	assert_int_equal(offset, sizeof(struct file_head) + sizeof(struct event_conn));
	assert_int_equal(seen.len, sizeof(struct event_conn));

	put(&version, 4, offsetof(struct file_head, version));
	assert_int_equal(replay(&seen, &offset), -EBADMSG);
	assert_int_equal(offset, offsetof(struct file_head, version));
	put(&other, 4, offsetof(struct file_head, order));
	assert_int_equal(replay(&seen, &offset), -EBADMSG);
	assert_int_equal(offset, offsetof(struct file_head, order));
	put("T", 1, 0);
	assert_int_equal(replay(&seen, &offset), -EBADMSG);
	assert_int_equal(offset, 0);
	assert_int_equal(seen.len, 0);
	buf_fini(&written);
	buf_fini(&seen);
}

static void a_bad_record_with_sound_framing_is_skipped(void **state)
{
	struct buf written = { 0 }, seen = { 0 };
	uint16_t kind = 77;

	record_many(3, &written);
	put(&kind, 2, sizeof(struct file_head) + offsetof(struct event_hdr, kind));
	assert_int_equal(replay(&seen, NULL), 0);
	assert_int_equal(seen.len, written.len - sizeof(struct event_conn));
	buf_fini(&written);
	buf_fini(&seen);
}

static void what_cannot_be_opened_is_an_error(void **state)
{
	struct recorder *rec = NULL;
	struct buf seen = { 0 };
	struct gate *g = gate_new((struct event_sink){ &seen, collect });
	char link_path[160];

	assert_int_equal(replay_file("/nonexistent/file", g, NULL), -ENOENT);
	assert_int_equal(replay_file(dir, g, NULL), -EISDIR);
	assert_int_equal(recorder_open("/nonexistent/file", &rec), -ENOENT);
	assert_int_equal(recorder_open(dir, &rec), -EISDIR);
	snprintf(link_path, sizeof(link_path), "%s/link", dir);
	assert_int_equal(symlink(path, link_path), 0);
	assert_int_equal(recorder_open(link_path, &rec), -ELOOP);
	unlink(link_path);
	assert_null(rec);
	assert_int_equal(recorder_close(NULL), 0);
	gate_free(g);
}

static void a_full_device_is_reported_and_stays_reported(void **state)
{
	struct recorder *rec = NULL;

	if (access("/dev/full", W_OK)) {
		print_message("SKIP: no writable /dev/full here\n");
		skip();
	}
	/* the head is written at once, so that a full disk shows before anything is traced */
	assert_int_equal(recorder_open("/dev/full", &rec), -ENOSPC);
	assert_null(rec);
}

static void a_failed_write_leaves_whole_records(void **state)
{
	struct rlimit old, low = { 300 * 1024, RLIM_INFINITY };
	struct recorder *rec = NULL;
	struct buf seen = { 0 };
	int err = 0;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(recorder_open(path, &rec), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	record_make(&r, EVENT_EXEC);
	for (int i = 0; i < 1000 && !err; i++)
		err = recorder_write(rec, &r.h);
	assert_int_equal(err, -EFBIG);
	assert_int_equal(recorder_write(rec, &r.h), -EFBIG);
	assert_int_equal(recorder_close(rec), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(replay(&seen, NULL), 0);
	assert_true(seen.len >= sizeof(struct event_exec));
	assert_int_equal(seen.len % sizeof(struct event_exec), 0);
	buf_fini(&seen);
}

static int make_dir(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/recorder_test.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/recording", dir);
	return 0;
}

static int remove_dir(void **state)
{
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_recorded_comes_back_byte_for_byte),
		cmocka_unit_test(a_recording_is_its_owners_alone_even_when_it_replaces_another),
		cmocka_unit_test(every_cut_is_noticed_except_between_records),
		cmocka_unit_test(a_spoilt_file_is_told_with_its_place),
		cmocka_unit_test(a_bad_record_with_sound_framing_is_skipped),
		cmocka_unit_test(what_cannot_be_opened_is_an_error),
		cmocka_unit_test(a_failed_write_leaves_whole_records),
		cmocka_unit_test(a_full_device_is_reported_and_stays_reported),
	};
	return cmocka_run_group_tests_name("ring/recorder", tests, make_dir, remove_dir);
}
